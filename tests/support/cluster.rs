//! Nodes of a cluster as processes.

use super::{Peer, Reply, Server, eventually};

/// Milliseconds; long enough for a busy machine.
const NODE_TIMEOUT: &str = "3000";

/// A node with a port for the bus that it was told.
pub struct Node {
    pub server: Server,
    pub bus_port: u16,
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port can be bound");
    listener.local_addr().expect("it is bound").port()
}

impl Node {
    pub fn start(peer: Option<Peer>, more: &[&str]) -> Node {
        let bus_port = free_port();
        let port = bus_port.to_string();
        let mut directives = vec![
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &port,
            "--cluster-node-timeout",
            NODE_TIMEOUT,
        ];
        directives.extend(more);
        let server = match peer {
            None => Server::start(&directives),
            Some(peer) => Server::start_peer(peer, &directives),
        };
        Node { server, bus_port }
    }

    pub fn ask(&self, words: &[&str]) -> Reply {
        self.server.client().command(words)
    }

    pub fn text(&self, words: &[&str]) -> String {
        match self.ask(words) {
            Reply::Bulk(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => panic!("{words:?}: {other:?}"),
        }
    }

    pub fn id(&self) -> String {
        self.text(&["CLUSTER", "MYID"])
    }

    pub fn is_up(&self) -> bool {
        self.text(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
    }

    /// Its address in a redirection.
    pub fn place(&self) -> String {
        format!("127.0.0.1:{}", self.server.port())
    }
}

/// Makes nodes a cluster, the slots shared out evenly.
pub fn join(nodes: &[Node]) {
    let count = nodes.len();
    for (at, node) in nodes.iter().enumerate() {
        let first = (16384 * at / count).to_string();
        let last = (16384 * (at + 1) / count - 1).to_string();
        let epoch = (at + 1).to_string();
        assert_eq!(
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]),
            Reply::ok()
        );
        let add = ["CLUSTER", "ADDSLOTSRANGE", &first, &last];
        assert_eq!(node.ask(&add), Reply::ok());
    }
    for node in &nodes[1..] {
        introduce(&nodes[0], node);
    }
    eventually("the cluster is up everywhere", || {
        nodes.iter().all(Node::is_up)
    });
}

/// Has a node meet another one.
pub fn introduce(node: &Node, other: &Node) {
    let (port, bus) = (other.server.port().to_string(), other.bus_port.to_string());
    let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
    assert_eq!(node.ask(&meet), Reply::ok());
}

/// A replica of the node at `at`, with its first copy.
pub fn replica_of(nodes: &[Node], at: usize, directives: &[&str]) -> Node {
    let replica = Node::start(None, directives);
    introduce(&nodes[0], &replica);
    let primary = nodes[at].id();
    eventually("the new node knows the one it is to follow", || {
        replica.ask(&["CLUSTER", "REPLICATE", &primary]) == Reply::ok()
    });
    eventually("the replica has a copy", || {
        let text = replica.text(&["INFO", "replication"]);
        text.contains("master_link_status:up")
    });
    eventually("everyone knows the replica, which is linked to all", || {
        let follows = format!("slave {primary}");
        let knows = |node: &Node| node.text(&["CLUSTER", "NODES"]).contains(&follows);
        let known = replica.text(&["CLUSTER", "NODES"]);
        let linked = known.matches(" connected").count() == nodes.len() + 1;
        linked && nodes.iter().all(knows)
    });
    replica
}
