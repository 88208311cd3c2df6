//! Tips: what COMMAND INFO tells clients that route requests over a cluster, or
//! compare replies. Source: the documentation of command tips; the commands are
//! those of Valkey 9.1.2.

/// A tip and the commands it is for.
struct Tip {
    name: &'static str,
    commands: &'static [&'static str],
}

/// All tips, in the order of COMMAND INFO.
const TIPS: &[Tip] = &[
    // The reply may differ from call to call.
    Tip {
        name: "nondeterministic_output",
        commands: &[
            "client|info",
            "client|list",
            "clusterscan",
            "cluster|bumpepoch",
            "cluster|count-failure-reports",
            "cluster|getkeysinslot",
            "cluster|info",
            "cluster|links",
            "cluster|myshardid",
            "cluster|nodes",
            "cluster|replicas",
            "cluster|shards",
            "cluster|slaves",
            "cluster|slot-stats",
            "cluster|slots",
            "commandlog|get",
            "commandlog|len",
            "dump",
            "function|stats",
            "hrandfield",
            "hscan",
            "info",
            "lastsave",
            "latency|doctor",
            "latency|graph",
            "latency|histogram",
            "latency|history",
            "latency|latest",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|stats",
            "migrate",
            "object|encoding",
            "object|freq",
            "object|idletime",
            "object|refcount",
            "pttl",
            "randomkey",
            "scan",
            "slowlog|get",
            "slowlog|len",
            "spop",
            "srandmember",
            "sscan",
            "time",
            "ttl",
            "xadd",
            "xautoclaim",
            "xclaim",
            "xinfo|consumers",
            "xpending",
            "xtrim",
            "zrandmember",
            "zscan",
        ],
    },
    // The order of the reply may differ from call to call.
    Tip {
        name: "nondeterministic_output_order",
        commands: &[
            "command",
            "command|docs",
            "command|info",
            "command|list",
            "function|list",
            "hgetall",
            "hkeys",
            "hvals",
            "keys",
            "module|list",
            "sdiff",
            "sinter",
            "smembers",
            "sunion",
        ],
    },
    // To be sent to every node of a cluster.
    Tip {
        name: "request_policy:all_nodes",
        commands: &[
            "acl|deluser",
            "acl|save",
            "acl|setuser",
            "client|setinfo",
            "client|setname",
            "commandlog|get",
            "commandlog|len",
            "commandlog|reset",
            "config|resetstat",
            "config|rewrite",
            "config|set",
            "latency|doctor",
            "latency|graph",
            "latency|histogram",
            "latency|history",
            "latency|latest",
            "latency|reset",
            "script|flush",
            "script|load",
            "slowlog|get",
            "slowlog|len",
            "slowlog|reset",
        ],
    },
    // To be sent to every primary of a cluster.
    Tip {
        name: "request_policy:all_shards",
        commands: &[
            "cluster|slot-stats",
            "dbsize",
            "flushall",
            "flushdb",
            "function|delete",
            "function|flush",
            "function|kill",
            "function|load",
            "function|restore",
            "function|stats",
            "info",
            "keys",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|purge",
            "memory|stats",
            "ping",
            "randomkey",
            "script|exists",
            "script|kill",
            "wait",
            "waitaof",
        ],
    },
    // To be split by the slots of its keys.
    Tip {
        name: "request_policy:multi_shard",
        commands: &["del", "exists", "mget", "mset", "msetex", "touch", "unlink"],
    },
    // To be routed in a way of its own.
    Tip {
        name: "request_policy:special",
        commands: &["clusterscan", "scan"],
    },
    // The replies of several nodes are combined by a logical and.
    Tip {
        name: "response_policy:agg_logical_and",
        commands: &["script|exists"],
    },
    // Of the replies of several nodes the least counts.
    Tip {
        name: "response_policy:agg_min",
        commands: &["wait", "waitaof"],
    },
    // The replies of several nodes are added.
    Tip {
        name: "response_policy:agg_sum",
        commands: &[
            "commandlog|len",
            "dbsize",
            "del",
            "exists",
            "latency|reset",
            "slowlog|len",
            "touch",
            "unlink",
        ],
    },
    // One error among the replies of several nodes is the reply.
    Tip {
        name: "response_policy:all_succeeded",
        commands: &[
            "acl|deluser",
            "acl|save",
            "acl|setuser",
            "client|setinfo",
            "client|setname",
            "commandlog|reset",
            "config|resetstat",
            "config|rewrite",
            "config|set",
            "flushall",
            "flushdb",
            "function|delete",
            "function|flush",
            "function|load",
            "function|restore",
            "memory|purge",
            "mset",
            "msetex",
            "ping",
            "script|flush",
            "script|load",
            "slowlog|reset",
        ],
    },
    // One success among the replies of several nodes is enough.
    Tip {
        name: "response_policy:one_succeeded",
        commands: &["function|kill", "script|kill"],
    },
    // The replies of several nodes are combined in a way of its own.
    Tip {
        name: "response_policy:special",
        commands: &[
            "clusterscan",
            "function|stats",
            "info",
            "latency|doctor",
            "latency|graph",
            "latency|histogram",
            "latency|history",
            "latency|latest",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|stats",
            "randomkey",
            "scan",
        ],
    },
];

/// The tips for a command.
pub fn tips_of(command: &str) -> Vec<&'static str> {
    TIPS.iter()
        .filter(|tip| tip.commands.contains(&command))
        .map(|tip| tip.name)
        .collect()
}
