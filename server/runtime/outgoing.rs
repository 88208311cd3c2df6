//! Connections to other servers: from `bind-source-addr`, if that is possible.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::state::Server;

/// Connects to an address within `patience`.
pub fn connect(server: &Server, to: &SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let Some(from) = source(server, to) else {
        return TcpStream::connect_timeout(to, patience);
    };
    let socket = Socket::new(Domain::for_address(*to), Type::STREAM, Some(Protocol::TCP))?;
    if let Err(error) = socket.bind(&from.into()) {
        warn_of(from.ip(), &error);
        return TcpStream::connect_timeout(to, patience);
    }
    socket.connect_timeout(&(*to).into(), patience)?;
    Ok(socket.into())
}

/// The same for the cluster's bus, without a limit.
pub async fn connect_async(server: &Server, to: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    if let Some(from) = source(server, &to) {
        let socket = match to {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        match socket.bind(from) {
            Ok(()) => return socket.connect(to).await,
            Err(error) => warn_of(from.ip(), &error),
        }
    }
    tokio::net::TcpStream::connect(to).await
}

/// Where from to connect to an address, if that is said for its family.
fn source(server: &Server, to: &SocketAddr) -> Option<SocketAddr> {
    let source: IpAddr = (*server.settings.source.lock())?;
    (source.is_ipv4() == to.is_ipv4()).then_some(SocketAddr::new(source, 0))
}

/// As in Valkey, the connection is made all the same.
fn warn_of(source: IpAddr, error: &io::Error) {
    tracing::warn!("Can't connect from bind-source-addr {source}: {error}");
}
