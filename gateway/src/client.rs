//! Who is asking: the peer, or whom a trusted proxy says it speaks for.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};

use crate::config::AddressList;

/// The client's address. It is the peer's unless the peer is in `trusted`; then the right-most
/// untrusted address that `Forwarded` (RFC 7239) or `X-Forwarded-For` names, since everything left
/// of that one could have been written by anybody.
pub(crate) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &AddressList) -> IpAddr {
    let peer = peer.to_canonical();
    let trusts = |address| trusted.contains(address);
    if !trusts(peer) {
        return peer;
    }
    let forwarded = rightmost(headers, &header::FORWARDED, forwarded_for, trusts);
    let x_forwarded = rightmost(headers, &X_FORWARDED_FOR, read, trusts);
    match (forwarded, x_forwarded) {
        (Some(one), None) | (None, Some(one)) => one,
        (Some(one), Some(other)) if one == other => one,
        // A proxy appends to one of the two; the other is the sender's own invention, and there is
        // no telling which.
        _ => peer,
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The first untrusted address from the right; `None` if a hop can't be read before one is found.
fn rightmost(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&str) -> Option<IpAddr>,
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let lines: Vec<_> =
        headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    let mut last = None;
    for hop in hops {
        let address = read(hop.trim())?;
        if !trusts(address) {
            return Some(address);
        }
        last = Some(address);
    }
    last
}

/// The `for` of one hop: `for=192.0.2.60;proto=http` or `for="[2001:db8::1]:4711"`.
fn forwarded_for(hop: &str) -> Option<IpAddr> {
    let pairs = hop.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    read(value.trim_matches('"'))
}

/// An address with or without port and brackets.
fn read(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.split_once(']').map(|(inside, _)| inside);
    let parsed = text
        .parse()
        .or_else(|_| text.parse::<std::net::SocketAddr>().map(|socket| socket.ip()))
        .ok()
        .or_else(|| bare()?.parse().ok());
    parsed.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::Networks;

    fn who(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|block| block.parse().unwrap());
        let trusted = AddressList { networks: Networks::new(trusted), ..AddressList::default() };
        address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn a_stranger_can_not_say_who_it_is() {
        assert_eq!(who("192.0.2.9", &[("x-forwarded-for", "198.51.100.1")]), "192.0.2.9");
    }

    #[test]
    fn a_trusted_proxy_names_the_right_most_untrusted_hop() {
        let forged = "203.0.113.7, 198.51.100.1, 10.0.0.2";
        assert_eq!(who("10.0.0.1", &[("x-forwarded-for", forged)]), "198.51.100.1");
        let lines = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "198.51.100.2")];
        assert_eq!(who("10.0.0.1", &lines), "198.51.100.2");
        let forwarded = [("forwarded", "for=203.0.113.7, for=\"[2001:db8::5]:80\";proto=https")];
        assert_eq!(who("fd00::1", &forwarded), "2001:db8::5");
    }

    #[test]
    fn what_can_not_be_read_is_not_believed() {
        assert_eq!(who("10.0.0.1", &[("x-forwarded-for", "198.51.100.1, unknown")]), "10.0.0.1");
        assert_eq!(who("10.0.0.1", &[("forwarded", "for=_hidden")]), "10.0.0.1");
        assert_eq!(who("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn two_headers_that_disagree_are_not_believed() {
        let lines = [("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=203.0.113.7")];
        assert_eq!(who("10.0.0.1", &lines), "10.0.0.1");
    }
}
