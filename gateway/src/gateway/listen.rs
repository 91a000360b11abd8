//! Addresses to listen on.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use super::StartError;

/// Connections that wait in the system's backlog.
const BACKLOG: u32 = 1024;

/// An address at which connections are refused still: one at which another listens is known from the beginning, and
/// nobody waits for an answer that is long in coming.
pub(super) struct Reserved {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Reserved {
    /// Takes it.
    pub(super) fn take(address: SocketAddr) -> Result<Self, StartError> {
        let take = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // Connections of the last run may linger on it.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        };
        let socket = take().map_err(|source| StartError::Listen { address, source })?;
        Ok(Self { socket, address })
    }

    /// Lets connections come.
    pub(super) fn listen(self) -> Result<TcpListener, StartError> {
        let Self { socket, address } = self;
        socket.listen(BACKLOG).map_err(|source| StartError::Listen { address, source })
    }
}

/// Listens at once. Where that is, too.
pub(super) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listen = async || -> io::Result<_> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen().await.map_err(|source| StartError::Listen { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_refused_until_they_are_let_come_and_one_that_is_taken_is_known() {
        let reserved = Reserved::take(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = reserved.socket.local_addr().unwrap();
        let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _listener = reserved.listen().unwrap();
        tokio::net::TcpStream::connect(address).await.unwrap();
        assert!(matches!(Reserved::take(address), Err(StartError::Listen { .. })));
    }
}
