//! Who is asking: the peer, or whom a trusted proxy says it speaks for.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};

use crate::config::{AddressList, Addresses};

/// The client of a request, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// By which it is counted and logged.
    pub(crate) address: IpAddr,
    /// A trusted proxy speaks for somebody, and whom can't be told: the address is the proxy's.
    pub(crate) is_doubtful: bool,
}

impl Client {
    /// The client's address is the peer's unless the peer is in `trusted`; then the right-most untrusted address
    /// that `Forwarded` (RFC 7239) or `X-Forwarded-For` names, since everything left of that one could have been
    /// written by anybody.
    ///
    /// A proxy appends to one of the two; the other is the sender's own invention, and there is no telling which. So
    /// one is believed if the other is not there at all or says the same.
    pub(crate) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &AddressList) -> Self {
        let peer = peer.to_canonical();
        let known = |address| Self { address, is_doubtful: false };
        let trusts = |address| trusted.contains(address);
        if !trusts(peer) {
            return known(peer);
        }
        let forwarded = rightmost(headers, &header::FORWARDED, forwarded_for, trusts);
        let x_forwarded = rightmost(headers, &X_FORWARDED_FOR, read, trusts);
        match (forwarded, x_forwarded) {
            (Named::Nobody, Named::Nobody) => known(peer),
            (Named::Address(one), Named::Nobody) | (Named::Nobody, Named::Address(one)) => {
                known(one)
            }
            (Named::Address(one), Named::Address(other)) if one == other => known(one),
            _ => Self { address: peer, is_doubtful: true },
        }
    }

    /// Whether these lists let it come. One that nobody knows comes only where anybody may.
    pub(crate) fn may_come(self, lists: &Addresses) -> bool {
        if self.is_doubtful { lists.are_empty() } else { lists.admit(self.address) }
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whom a header names.
enum Named {
    /// There is no such header.
    Nobody,
    Address(IpAddr),
    /// A hop can't be read, and all left of it is anybody's.
    Unreadable,
}

/// The first untrusted address from the right; the left-most if all are trusted.
fn rightmost(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&str) -> Option<IpAddr>,
    trusts: impl Fn(IpAddr) -> bool,
) -> Named {
    // By bytes: one that is no text spoils its own hop, and not those that a proxy added right of it.
    let lines = headers.get_all(name).iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut named = Named::Nobody;
    for hop in hops {
        let text = std::str::from_utf8(hop).ok();
        let Some(address) = text.and_then(|text| read(text.trim())) else {
            return Named::Unreadable;
        };
        named = Named::Address(address);
        if !trusts(address) {
            break;
        }
    }
    named
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
    use http::HeaderValue;

    use super::*;
    use crate::networks::Networks;

    fn client(peer: &str, lines: &[(&'static str, &[u8])]) -> Client {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|block| block.parse().unwrap());
        let trusted = AddressList { networks: Networks::new(trusted), ..AddressList::default() };
        Client::of(peer.parse().unwrap(), &headers, &trusted)
    }

    #[track_caller]
    fn assert_known(peer: &str, lines: &[(&'static str, &[u8])], address: &str) {
        let known = Client { address: address.parse().unwrap(), is_doubtful: false };
        assert_eq!(client(peer, lines), known);
    }

    #[track_caller]
    fn assert_doubtful(lines: &[(&'static str, &[u8])]) {
        let doubtful = Client { address: "10.0.0.1".parse().unwrap(), is_doubtful: true };
        assert_eq!(client("10.0.0.1", lines), doubtful);
    }

    #[test]
    fn a_stranger_can_not_say_who_it_is() {
        assert_known("192.0.2.9", &[("x-forwarded-for", b"198.51.100.1")], "192.0.2.9");
        assert_known("192.0.2.9", &[("x-forwarded-for", b"nonsense")], "192.0.2.9");
    }

    #[test]
    fn a_trusted_proxy_names_the_right_most_untrusted_hop() {
        let forged = b"203.0.113.7, 198.51.100.1, 10.0.0.2";
        assert_known("10.0.0.1", &[("x-forwarded-for", forged)], "198.51.100.1");
        let lines =
            [("x-forwarded-for", &b"203.0.113.7"[..]), ("x-forwarded-for", b"198.51.100.2")];
        assert_known("10.0.0.1", &lines, "198.51.100.2");
        let forwarded = b"for=203.0.113.7, for=\"[2001:db8::5]:80\";proto=https";
        assert_known("fd00::1", &[("forwarded", forwarded)], "2001:db8::5");
        assert_known("10.0.0.1", &[], "10.0.0.1");
        assert_known("10.0.0.1", &[("x-forwarded-for", b"10.0.0.3, 10.0.0.2")], "10.0.0.3");
        let same = [("x-forwarded-for", &b"198.51.100.1"[..]), ("forwarded", b"for=198.51.100.1")];
        assert_known("10.0.0.1", &same, "198.51.100.1");
    }

    #[test]
    fn what_can_not_be_read_is_not_believed() {
        for hop in [&b"198.51.100.1, unknown"[..], b"", b"198.51.100.1,", b"198.51.100.1, \xff"] {
            assert_doubtful(&[("x-forwarded-for", hop)]);
        }
        assert_doubtful(&[("forwarded", b"for=_hidden")]);
        assert_doubtful(&[("forwarded", b"proto=https")]);
    }

    #[test]
    fn what_a_sender_makes_unreadable_does_not_hide_what_the_proxy_adds() {
        let lines = [("x-forwarded-for", &b"\xff, 198.51.100.1"[..])];
        assert_known("10.0.0.1", &lines, "198.51.100.1");
        let lines = [("x-forwarded-for", &b"\xff"[..]), ("x-forwarded-for", b"198.51.100.1")];
        assert_known("10.0.0.1", &lines, "198.51.100.1");
        assert_doubtful(&[lines[0], lines[1], ("forwarded", b"for=192.0.2.7")]);
        assert_doubtful(&[("x-forwarded-for", b"\xff"), ("forwarded", b"for=192.0.2.7")]);
        assert_doubtful(&[("x-forwarded-for", b"198.51.100.1"), ("forwarded", b"for=_")]);
    }

    #[test]
    fn whom_two_headers_name_differently_comes_only_where_anybody_may() {
        let lines = [("x-forwarded-for", &b"198.51.100.1"[..]), ("forwarded", b"for=203.0.113.7")];
        assert_doubtful(&lines);
        let (doubtful, proxy) = (client("10.0.0.1", &lines), client("10.0.0.1", &[]));
        let list = |block: &str| AddressList {
            networks: Networks::new([block.parse().unwrap()]),
            ..AddressList::default()
        };
        let all = Addresses::default();
        let allow = Addresses { allow: list("10.0.0.0/8"), ..Addresses::default() };
        let deny = Addresses { deny: list("198.51.100.0/24"), ..Addresses::default() };
        for (lists, may_come) in [(&all, true), (&allow, false), (&deny, false)] {
            assert_eq!(doubtful.may_come(lists), may_come, "{lists:?}");
            assert!(proxy.may_come(lists), "it speaks for itself: {lists:?}");
        }
    }
}
