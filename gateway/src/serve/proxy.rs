//! The PROXY header, version 1 or 2, by which a balancer says for whom it speaks, before anything else on a
//! connection (HAProxy's `proxy-protocol.txt`). Only so much is read as belongs to it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Section 2.2: the signature, the command, the family, and the length of the rest.
const HEAD: usize = 16;
/// What follows the addresses of version 2 is passed over; balancers send some hundred bytes of it.
const REST_MAX: usize = 4096;
/// Section 2.1: the longest line of version 1.
const LINE_MAX: usize = 107;

/// The address that the header names. None: the balancer speaks for itself, when it looks after us, say.
///
/// # Errors
/// If there is no header, one that can't be read, or one that is not of a TCP connection.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; v2::PROTOCOL_PREFIX.len()];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        binary(stream, header).await
    } else {
        line(stream, header).await
    }
}

async fn binary(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    let begun = header.len();
    header.resize(HEAD, 0);
    stream.read_exact(&mut header[begun..]).await?;
    let rest = usize::from(u16::from_be_bytes([header[begun + 2], header[begun + 3]]));
    if rest > REST_MAX {
        return Err(bad("the PROXY header is too long"));
    }
    header.resize(HEAD + rest, 0);
    stream.read_exact(&mut header[HEAD..]).await?;
    let header = v2::Header::try_from(&header[..]);
    let header = header.map_err(|error| bad(&format!("the PROXY header: {error}")))?;
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    match (header.protocol, header.addresses) {
        (v2::Protocol::Stream, v2::Addresses::IPv4(named)) => {
            Ok(Some(socket(named.source_address, named.source_port)))
        }
        (v2::Protocol::Stream, v2::Addresses::IPv6(named)) => {
            Ok(Some(socket(named.source_address, named.source_port)))
        }
        _ => Err(bad("the PROXY header names no TCP connection")),
    }
}

async fn line(
    stream: &mut (impl AsyncRead + Unpin),
    mut line: Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    if !line.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        return Err(bad("there is no PROXY header"));
    }
    // Byte by byte: what comes after it is HTTP's, or TLS's.
    while !line.ends_with(b"\n") {
        if line.len() == LINE_MAX {
            return Err(bad("the PROXY header is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    let header = v1::Header::try_from(&line[..]);
    match header.map_err(|error| bad(&format!("the PROXY header: {error}")))?.addresses {
        v1::Addresses::Tcp4(named) => Ok(Some(socket(named.source_address, named.source_port))),
        v1::Addresses::Tcp6(named) => Ok(Some(socket(named.source_address, named.source_port))),
        // Section 2.1: what follows is to be ignored, and the real peer counts.
        v1::Addresses::Unknown => Ok(None),
    }
}

fn socket(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into().to_canonical(), port)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is read of these bytes, and what is left of them.
    fn parse(mut bytes: &[u8]) -> (Result<Option<String>, String>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(read(&mut bytes));
        let read = read.map(|named| named.map(|named| named.to_string()));
        (read.map_err(|error| error.to_string()), bytes.to_vec())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];

    #[test]
    fn both_versions_name_the_client_and_leave_the_request() {
        let v6 =
            [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x12, 0x34, 0, 80]].concat();
        let with_more = [&V4[..], &[4, 0, 2, 1, 2]].concat();
        for (header, client) in [
            (v2(0x21, 0x11, &V4), Some("192.0.2.7:4660")),
            (v2(0x21, 0x11, &with_more), Some("192.0.2.7:4660")),
            (v2(0x21, 0x21, &v6), Some("[2001:db8::7]:4660")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &V4), None),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n".to_vec(), Some("192.0.2.7:4660")),
            (b"PROXY TCP6 2001:db8::7 ::1 4660 80\r\n".to_vec(), Some("[2001:db8::7]:4660")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
        ] {
            let (read, left) = parse(&[&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat());
            assert_eq!(read, Ok(client.map(str::to_owned)), "{header:?}");
            assert_eq!(left, b"GET / HTTP/1.1\r\n\r\n", "{header:?}");
        }
    }

    #[test]
    fn what_is_none_or_names_no_tcp_connection_is_refused() {
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200], b"\r\n"].concat();
        for bytes in [
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 80\n".to_vec(),
            long,
            v2(0x11, 0x11, &V4),
            v2(0x21, 0x11, &V4[..11]),
            v2(0x21, 0x12, &V4),
            v2(0x21, 0x00, &[]),
            v2(0x21, 0x31, &[0; 216]),
            v2(0x21, 0x11, &[0; REST_MAX + 1]),
            v2(0x21, 0x11, &V4)[..20].to_vec(),
        ] {
            let (read, _) = parse(&bytes);
            assert!(read.is_err(), "{read:?}: {}", String::from_utf8_lossy(&bytes));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(
            version in 0..3_u8,
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let begin: &[u8] = match version {
                1 => b"PROXY ",
                2 => v2::PROTOCOL_PREFIX,
                _ => b"",
            };
            let (_, left) = parse(&[begin, &bytes].concat());
            prop_assert!(left.len() <= bytes.len());
        }

        #[test]
        fn every_address_comes_through(address in any::<[u8; 4]>(), port in any::<u16>(), more in 0..100_usize) {
            let [high, low] = port.to_be_bytes();
            let rest = [&address[..], &[0; 4], &[high, low, 0, 80], &vec![0; more]].concat();
            let named = SocketAddr::new(IpAddr::from(address), port).to_string();
            prop_assert_eq!(parse(&v2(0x21, 0x11, &rest)).0, Ok(Some(named)));
        }
    }
}
