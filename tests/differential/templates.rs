//! The commands that are compared: their syntax, family by family, each with the rule by which
//! replies are held against each other.

use super::rules::Rule;
use super::rules::Rule::{
    Drift, Exact, Member, Nested, Pairs, Scan, ScanPairs, ScanScores, Shape, Stream, Unordered,
};

/// A family: how often it is drawn against the others, and its templates.
pub type Family = (usize, &'static [(Rule, &'static str)]);

/// All families.
pub const FAMILIES: &[Family] = &[
    (12, STRINGS),
    (5, BITMAPS),
    (14, KEYS),
    (10, HASHES),
    (6, HASH_EXPIRY),
    (10, LISTS),
    (10, SETS),
    (14, SORTED_SETS),
    (14, STREAMS),
    (5, GEO),
    (3, HYPERLOGLOG),
    (4, SCRIPTS),
    (4, SERVER),
];

const STRINGS: &[(Rule, &str)] = &[
    (
        Exact,
        "SET <s> <v> [NX|XX|IFEQ <v>] [GET] [EX <ttl>|PX <pttl>|EXAT <at>|PXAT <pat>|KEEPTTL]",
    ),
    (Exact, "SET <s> <v>"),
    (Exact, "GET <s>"),
    (Exact, "SETNX <s> <v>"),
    (Exact, "SETEX <s> <ttl> <v>"),
    (Exact, "PSETEX <s> <pttl> <v>"),
    (
        Exact,
        "GETEX <s> [EX <ttl>|PX <pttl>|EXAT <at>|PXAT <pat>|PERSIST]",
    ),
    (Exact, "GETDEL <s>"),
    (Exact, "GETSET <s> <v>"),
    (Exact, "(GETRANGE|SUBSTR) <s> <i> <i>"),
    (Exact, "SETRANGE <s> <offset> <v>"),
    (Exact, "STRLEN <s>"),
    (Exact, "APPEND <s> <v>"),
    (Exact, "(INCR|DECR) <s>"),
    (Exact, "(INCRBY|DECRBY) <s> <int>"),
    (Exact, "INCRBYFLOAT <s> <float>"),
    (Exact, "MGET {<s>}"),
    (Exact, "(MSET|MSETNX) {<s> <v>}"),
    (
        Exact,
        "MSETEX #{<s> <v>} [NX|XX] [EX <ttl>|PX <pttl>|KEEPTTL]",
    ),
    (
        Exact,
        "LCS <s> <s> [LEN|IDX] [MINMATCHLEN <n>] [WITHMATCHLEN]",
    ),
    (Exact, "DELIFEQ <s> <v>"),
];

const BITMAPS: &[(Rule, &str)] = &[
    (Exact, "SETBIT <s> <offset> <bit>"),
    (Exact, "GETBIT <s> <offset>"),
    (Exact, "BITCOUNT <s> [<i> <i> [BYTE|BIT]|<i>]"),
    (Exact, "BITPOS <s> <bit> [<i>|<i> <i> [BYTE|BIT]]"),
    (Exact, "BITOP (AND|OR|XOR|NOT) <s> {<s>}"),
    (
        Exact,
        "BITFIELD <s> {(GET (u8|i5|u63|i64|u64|x) <bits>|SET (u8|i16|u1|i64) <bits> <int>|INCRBY (u4|i8|i63) <bits> <int>|OVERFLOW (WRAP|SAT|FAIL|BAD))}",
    ),
    (Exact, "BITFIELD_RO <s> {GET (u8|i5|u63|i64) <bits>}"),
];

const KEYS: &[(Rule, &str)] = &[
    (Exact, "(DEL|UNLINK) {<k>}"),
    (Exact, "(EXISTS|TOUCH) {<k>}"),
    (Exact, "TYPE <k>"),
    (Exact, "(RENAME|RENAMENX) <k> <k>"),
    (Exact, "COPY <k> <k> [DB <db>] [REPLACE]"),
    (Exact, "MOVE <k> <db>"),
    (Exact, "EXPIRE <k> <ttl> [NX|XX|GT|LT] [XX|GT|LT]"),
    (Exact, "PEXPIRE <k> <pttl> [NX|XX|GT|LT]"),
    (Exact, "EXPIREAT <k> <at> [NX|XX|GT|LT]"),
    (Exact, "PEXPIREAT <k> <pat> [NX|XX|GT|LT]"),
    (Exact, "PERSIST <k>"),
    (Drift, "(TTL|PTTL|EXPIRETIME|PEXPIRETIME) <k>"),
    (Shape, "OBJECT ENCODING <k>"),
    (Exact, "OBJECT FREQ <k>"),
    (Drift, "OBJECT IDLETIME <k>"),
    (Shape, "OBJECT REFCOUNT <k>"),
    (Shape, "MEMORY USAGE <k> [SAMPLES <n>]"),
    (Shape, "DUMP <k>"),
    (Unordered, "KEYS <glob>"),
    (Shape, "RANDOMKEY"),
    (Exact, "DBSIZE"),
    (
        Exact,
        "SORT <sortable> [BY <sortkey>] [LIMIT <i> <n>] [GET <sortby>] [GET #] [ASC|DESC] [STORE <l>]",
    ),
    // A set that a list's name was given to keeps its own order.
    (Unordered, "SORT <sortable> BY <sortby> [GET #] [ASC|DESC]"),
    (
        Exact,
        "SORT <sortable> [LIMIT <i> <n>] [GET <sortby>] [GET #] [ASC|DESC] ALPHA [STORE <l>]",
    ),
    // Elements of equal weight have no order here.
    (Unordered, "SORT <sortable> BY <sortby> ALPHA [DESC]"),
    (
        Exact,
        "SORT_RO <sortable> [ALPHA] [LIMIT <n> <n>] [GET <sortby>]",
    ),
    (
        Scan,
        "SCAN 0 COUNT 100000 [MATCH <glob>] [TYPE (string|hash|LIST|zset|none)]",
    ),
    (Shape, "SCAN <odd> [COUNT <odd>] [MATCH <glob>]"),
    (Exact, "SELECT <db>"),
    (Exact, "SWAPDB <db> <db>"),
    (Exact, "FLUSHDB [ASYNC|SYNC|BAD]"),
    (
        Exact,
        "RESTORE <k> <pttl> <v> [REPLACE] [ABSTTL] [IDLETIME <n>] [FREQ <n>]",
    ),
];

const HASHES: &[(Rule, &str)] = &[
    (Exact, "(HSET|HSET|HMSET) <h> {<m> <v>}"),
    (Exact, "HSETNX <h> <m> <v>"),
    (Exact, "HGET <h> <m>"),
    (Exact, "HMGET <h> {<m>}"),
    (Pairs, "HGETALL <h>"),
    (Exact, "HDEL <h> {<m>}"),
    (Exact, "HLEN <h>"),
    (Exact, "HSTRLEN <h> <m>"),
    (Exact, "HEXISTS <h> <m>"),
    (Unordered, "(HKEYS|HVALS) <h>"),
    (Exact, "HINCRBY <h> <m> <int>"),
    (Exact, "HINCRBYFLOAT <h> <m> <float>"),
    (ScanPairs, "HSCAN <h> 0 COUNT 100000 [MATCH <glob>]"),
    (Scan, "HSCAN <h> 0 COUNT 100000 [MATCH <glob>] NOVALUES"),
    (Member, "HRANDFIELD <h> [<i> [WITHVALUES]]"),
];

const HASH_EXPIRY: &[(Rule, &str)] = &[
    (Exact, "HEXPIRE <h> <ttl> [NX|XX|GT|LT] FIELDS #{<m>}"),
    (Exact, "HPEXPIRE <h> <pttl> [NX|XX|GT|LT] FIELDS #{<m>}"),
    (Exact, "HEXPIREAT <h> <at> [NX|XX|GT|LT] FIELDS #{<m>}"),
    (Exact, "HPEXPIREAT <h> <pat> [NX|XX|GT|LT] FIELDS #{<m>}"),
    (
        Drift,
        "(HTTL|HPTTL|HEXPIRETIME|HPEXPIRETIME) <h> FIELDS #{<m>}",
    ),
    (Exact, "HPERSIST <h> FIELDS #{<m>}"),
    (
        Exact,
        "HGETEX <h> [EX <ttl>|PX <pttl>|EXAT <at>|PXAT <pat>|PERSIST] FIELDS #{<m>}",
    ),
    (
        Exact,
        "HSETEX <h> [NX|XX] [FNX|FXX] [EX <ttl>|PX <pttl>|EXAT <at>|PXAT <pat>|KEEPTTL] FIELDS #{<m> <v>}",
    ),
    (Exact, "HGETDEL <h> FIELDS #{<m>}"),
];

const LISTS: &[(Rule, &str)] = &[
    (Exact, "(LPUSH|RPUSH) <l> {<e>}"),
    (Exact, "(LPUSH|RPUSH) <l> {<e>}"),
    (Exact, "(LPUSHX|RPUSHX) <l> {<e>}"),
    (Exact, "(LPOP|RPOP) <l> [<n>]"),
    (Exact, "LLEN <l>"),
    (Exact, "LINDEX <l> <i>"),
    (Exact, "LSET <l> <i> <e>"),
    (Exact, "LRANGE <l> <i> <i>"),
    (Exact, "LTRIM <l> <i> <i>"),
    (Exact, "LINSERT <l> (BEFORE|AFTER|AMID) <e> <e>"),
    (Exact, "LREM <l> <i> <e>"),
    (Exact, "LPOS <l> <e> [RANK <i>] [COUNT <n>] [MAXLEN <n>]"),
    (Exact, "LMOVE <l> <l> (LEFT|RIGHT) (LEFT|RIGHT|UP)"),
    (Exact, "RPOPLPUSH <l> <l>"),
    (Exact, "LMPOP #{<l>} (LEFT|RIGHT) [COUNT <n>]"),
];

/// Commands that wait for something, which they don't within a transaction.
pub const BLOCKING: &[(Rule, &str)] = &[
    (Exact, "(BLPOP|BRPOP) {<l>} <timeout>"),
    (Exact, "BLMOVE <l> <l> (LEFT|RIGHT) (LEFT|RIGHT) <timeout>"),
    (Exact, "BRPOPLPUSH <l> <l> <timeout>"),
    (Exact, "BLMPOP <timeout> #{<l>} (LEFT|RIGHT) [COUNT <n>]"),
    (Exact, "(BZPOPMIN|BZPOPMAX) {<z>} <timeout>"),
    (Exact, "BZMPOP <timeout> #{<z>} (MIN|MAX) [COUNT <n>]"),
    (Exact, "XREAD [COUNT <n>] BLOCK <block> STREAMS <x> <id>"),
    (
        Exact,
        "XREADGROUP GROUP <group> <consumer> [COUNT <n>] BLOCK <block> STREAMS <x> (>|<id>)",
    ),
];

const SETS: &[(Rule, &str)] = &[
    (Exact, "(SADD|SADD|SREM) <t> {<m>}"),
    (Exact, "SADD <t> {<int>}"),
    (Unordered, "SMEMBERS <t>"),
    (Exact, "SISMEMBER <t> <m>"),
    (Exact, "SMISMEMBER <t> {<m>}"),
    (Exact, "SCARD <t>"),
    (Exact, "SMOVE <t> <t> <m>"),
    (Unordered, "(SINTER|SUNION|SDIFF) {<t>}"),
    (Exact, "(SINTERSTORE|SUNIONSTORE|SDIFFSTORE) <t> {<t>}"),
    (Exact, "SINTERCARD #{<t>} [LIMIT <n>]"),
    (Scan, "SSCAN <t> 0 COUNT 100000 [MATCH <glob>]"),
    (Member, "SRANDMEMBER <t> [<i>]"),
    (Unordered, "SORT (t:0|t:1) [ALPHA] [BY w*] [DESC] [GET #]"),
];

const SORTED_SETS: &[(Rule, &str)] = &[
    (Exact, "ZADD <z> [NX|XX] [GT|LT] [CH] {<score> <m>}"),
    (Exact, "ZADD <z> {<score> <m>}"),
    (Exact, "ZADD <z> [NX|XX|GT|LT] [CH] INCR <score> <m>"),
    (Exact, "ZINCRBY <z> <score> <m>"),
    (Exact, "ZADD <y> {0 <m>}"),
    (Exact, "ZREM <y> {<m>}"),
    (Exact, "ZREM <z> {<m>}"),
    (Exact, "ZCARD <z>"),
    (Exact, "ZSCORE <z> <m>"),
    (Exact, "ZMSCORE <z> {<m>}"),
    (Exact, "(ZRANK|ZREVRANK) <z> <m> [WITHSCORE]"),
    (Exact, "ZCOUNT <z> <min> <max>"),
    (Exact, "ZLEXCOUNT <y> <lexmin> <lexmax>"),
    (Exact, "ZRANGE <z> <i> <i> [REV] [WITHSCORES]"),
    (
        Exact,
        "ZRANGE <z> <min> <max> BYSCORE [REV] [LIMIT <n> <i>] [WITHSCORES]",
    ),
    (
        Exact,
        "ZRANGE <y> <lexmin> <lexmax> BYLEX [REV] [LIMIT <n> <i>] [WITHSCORES]",
    ),
    (
        Exact,
        "ZRANGESTORE <z> <z> (<i> <i>|<min> <max> BYSCORE) [REV] [LIMIT <n> <i>]",
    ),
    (
        Exact,
        "ZRANGESTORE <z> <y> <lexmin> <lexmax> BYLEX [LIMIT <n> <i>]",
    ),
    (Exact, "ZREVRANGE <z> <i> <i> [WITHSCORES]"),
    (
        Exact,
        "ZRANGEBYSCORE <z> <min> <max> [WITHSCORES] [LIMIT <n> <i>]",
    ),
    (
        Exact,
        "ZREVRANGEBYSCORE <z> <max> <min> [WITHSCORES] [LIMIT <n> <i>]",
    ),
    (Exact, "ZRANGEBYLEX <y> <lexmin> <lexmax> [LIMIT <n> <i>]"),
    (
        Exact,
        "ZREVRANGEBYLEX <y> <lexmax> <lexmin> [LIMIT <n> <i>]",
    ),
    (Exact, "ZREMRANGEBYRANK <z> <i> <i>"),
    (Exact, "ZREMRANGEBYSCORE <z> <min> <max>"),
    (Exact, "ZREMRANGEBYLEX <y> <lexmin> <lexmax>"),
    (Exact, "(ZPOPMIN|ZPOPMAX) <z> [<n>]"),
    (Exact, "ZMPOP #{<z>} (MIN|MAX) [COUNT <n>]"),
    (
        Exact,
        "(ZUNION|ZINTER) #{<z>} [WEIGHTS {<weight>}] [AGGREGATE (SUM|MIN|MAX|AVG)] [WITHSCORES]",
    ),
    (
        Exact,
        "(ZUNION|ZINTER) 2 (<z>|<t>) <z> WEIGHTS <weight> <weight> WITHSCORES",
    ),
    (
        Exact,
        "(ZUNIONSTORE|ZINTERSTORE) <z> #{(<z>|<t>)} [WEIGHTS {<weight>}] [AGGREGATE (SUM|MIN|MAX)]",
    ),
    (Exact, "ZDIFF #{<z>} [WITHSCORES]"),
    (Exact, "ZDIFFSTORE <z> #{<z>}"),
    (Exact, "ZINTERCARD #{<z>} [LIMIT <n>]"),
    (ScanScores, "ZSCAN <z> 0 COUNT 100000 [MATCH <glob>]"),
    (Member, "ZRANDMEMBER <z> [<i> [WITHSCORES]]"),
];

const STREAMS: &[(Rule, &str)] = &[
    (Exact, "XADD <x> <newid> {<field> <v>}"),
    (
        Exact,
        "XADD <x> [NOMKSTREAM] [MAXLEN [=|~] <n> [LIMIT <n>]|MINID [=|~] <id>] <newid> {<field> <v>}",
    ),
    (Exact, "XLEN <x>"),
    (Exact, "(XRANGE|XREVRANGE) <x> <id> <id> [COUNT <n>]"),
    (Exact, "XDEL <x> {<id>}"),
    (Exact, "XTRIM <x> (MAXLEN|MINID) [=|~] <n> [LIMIT <n>]"),
    (Exact, "XREAD [COUNT <n>] STREAMS <x> <id>"),
    (Exact, "XREAD [COUNT <n>] STREAMS <x> <x> <id> <id>"),
    (
        Exact,
        "XSETID <x> <id> [ENTRIESADDED <n>] [MAXDELETEDID <id>]",
    ),
    (
        Exact,
        "XGROUP CREATE <x> <group> <id> [MKSTREAM] [ENTRIESREAD <n>]",
    ),
    (Exact, "XGROUP SETID <x> <group> <id> [ENTRIESREAD <n>]"),
    (Exact, "XGROUP DESTROY <x> <group>"),
    (Exact, "XGROUP CREATECONSUMER <x> <group> <consumer>"),
    (Exact, "XGROUP DELCONSUMER <x> <group> <consumer>"),
    (
        Exact,
        "XREADGROUP GROUP <group> <consumer> [COUNT <n>] [NOACK] STREAMS <x> (>|>|<id>)",
    ),
    (
        Exact,
        "XREADGROUP GROUP <group> <consumer> STREAMS <x> <x> > >",
    ),
    (Exact, "XACK <x> <group> {<id>}"),
    (
        Exact,
        "XCLAIM <x> <group> <consumer> <idle> {<id>} [IDLE 200000000] [RETRYCOUNT <n>] [FORCE] [JUSTID] [LASTID <id>]",
    ),
    (
        Exact,
        "XAUTOCLAIM <x> <group> <consumer> <idle> <id> [COUNT <n>] [JUSTID]",
    ),
    (Stream, "XPENDING <x> <group>"),
    (
        Stream,
        "XPENDING <x> <group> [IDLE <idle>] <id> <id> <n> [<consumer>]",
    ),
    (Stream, "XINFO STREAM <x> [FULL [COUNT <n>]]"),
    (Stream, "XINFO GROUPS <x>"),
    (Stream, "XINFO CONSUMERS <x> <group>"),
];

const GEO: &[(Rule, &str)] = &[
    (Exact, "GEOADD <g> [NX|XX] [CH] {<lon> <lat> <m>}"),
    (Exact, "GEODIST <g> <m> <m> [<unit>]"),
    (Exact, "(GEOHASH|GEOPOS) <g> {<m>}"),
    (
        Exact,
        "GEOSEARCH <g> (FROMMEMBER <m>|FROMLONLAT <lon> <lat>) (BYRADIUS <radius> <unit>|BYBOX <radius> <radius> <unit>) (ASC|DESC) [COUNT <n>] [WITHCOORD] [WITHDIST] [WITHHASH]",
    ),
    (
        Unordered,
        "GEOSEARCH <g> FROMLONLAT <lon> <lat> BYRADIUS <radius> <unit>",
    ),
    (
        Exact,
        "GEOSEARCHSTORE <g> <g> (FROMMEMBER <m>|FROMLONLAT <lon> <lat>) (BYRADIUS <radius> <unit>|BYBOX <radius> <radius> <unit>) [ASC COUNT <n>] [STOREDIST]",
    ),
    (
        Exact,
        "(GEORADIUS|GEORADIUS_RO) <g> <lon> <lat> <radius> <unit> ASC [WITHCOORD] [WITHDIST] [COUNT <n>]",
    ),
    (
        Exact,
        "GEORADIUSBYMEMBER <g> <m> <radius> <unit> ASC [WITHHASH] [STORE <g>|STOREDIST <g>]",
    ),
    (Exact, "ZSCORE <g> <m>"),
];

const HYPERLOGLOG: &[(Rule, &str)] = &[
    (Exact, "PFADD <p> [{<v>}]"),
    (Exact, "PFADD <p> {<m>}"),
    (Exact, "(COPY|RENAME|RENAMENX) <p> <p>"),
    (Exact, "(DEL|UNLINK|STRLEN|TYPE) <p>"),
    (Exact, "PFCOUNT {<p>}"),
    (Exact, "PFMERGE <p> {<p>}"),
    (Exact, "GET <p>"),
    (Exact, "PFDEBUG (ENCODING|TODENSE|BAD) <p>"),
];

const SCRIPTS: &[(Rule, &str)] = &[
    (Nested, "(EVAL|EVAL_RO) <script> #{<k>} {<v>}"),
    (
        Exact,
        "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db #{<k>}",
    ),
    (Exact, "SCRIPT (LOAD|EXISTS) <script>"),
    (Exact, "SCRIPT FLUSH [SYNC|ASYNC|BAD]"),
    (Nested, "(FCALL|FCALL_RO) <function> #{<k>} {<v>}"),
    (Nested, "FUNCTION LIST [LIBRARYNAME (lib*|none)] [WITHCODE]"),
    (Exact, "FUNCTION DELETE (liba|libb|none)"),
    (Exact, "FUNCTION FLUSH"),
    (Exact, "FUNCTION LOAD [REPLACE] (<script>|<v>)"),
];

const SERVER: &[(Rule, &str)] = &[
    (Exact, "PING [<v>]"),
    (Exact, "ECHO <v>"),
    (Exact, "PUBLISH <channel> <v>"),
    (Exact, "SPUBLISH <channel> <v>"),
    (Unordered, "PUBSUB CHANNELS [<glob>]"),
    (Exact, "PUBSUB NUMSUB {<channel>}"),
    (Exact, "PUBSUB NUMPAT"),
    (Exact, "CLIENT GETNAME"),
    (Exact, "CLIENT SETNAME <v>"),
    (Exact, "CLIENT SETINFO (LIB-NAME|LIB-VER|LIB) <v>"),
    (Exact, "CLIENT NO-TOUCH (ON|OFF|MAYBE)"),
    (Exact, "CLIENT UNBLOCK <odd> [TIMEOUT|ERROR]"),
    (Exact, "(UNWATCH|DISCARD|EXEC)"),
    (Exact, "WATCH {<watched>}"),
    (Exact, "CONFIG SET nonesuch <v>"),
    (Exact, "OBJECT <odd> <k>"),
    (Exact, "NOSUCHCOMMAND {<v>}"),
];
