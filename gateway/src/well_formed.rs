//! What HTTP asks of a request beyond what hyper checks (RFC 9112, RFC 9113): a request that two servers could
//! read in two ways is answered with 400, and over HTTP/1 the last of its connection.
//!
//! Hyper refuses lengths and chunks that can't be read, spaces before colons and folded lines, and answers a
//! request with a length *and* chunks by its chunks, as the last of its connection.

use http::{HeaderMap, Method, Uri, Version, header, uri::Authority};

/// Whether there is one way to read it.
///
/// # Errors
/// What is wrong, as the end of "the request is malformed: ".
pub(crate) fn check(
    version: Version,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), &'static str> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        // Section 6.1: no other coding is known here, and chunks within chunks are none of them.
        let chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        if !chunked || codings.next().is_some() {
            return Err("the only transfer coding is chunked, once");
        }
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    // RFC 9112, section 3.2.
    if hosts.next().is_some() {
        return Err("more than one host");
    }
    let Some(host) = host else {
        return if version == Version::HTTP_11 { Err("no host") } else { Ok(()) };
    };
    if host.is_empty() {
        return Ok(());
    }
    let host = Authority::try_from(host.as_bytes()).map_err(|_| "the host is none")?;
    if host.as_str().contains('@') {
        return Err("the host is none");
    }
    // RFC 9112, section 3.2.2, and RFC 9113, section 8.3.1.
    match uri.authority() {
        Some(target) if *method != Method::CONNECT && !same(target, &host, uri) => {
            Err("two hosts that differ")
        }
        _ => Ok(()),
    }
}

/// Whether they name the same, one of them perhaps with the port that its scheme has anyway.
fn same(one: &Authority, other: &Authority, uri: &Uri) -> bool {
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(version: Version, uri: &str, lines: &[(&str, &str)]) -> Result<(), &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                http::HeaderName::try_from(*name).unwrap(),
                http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        check(version, &Method::POST, &uri.parse().unwrap(), &headers)
    }

    #[test]
    fn there_is_one_host_or_none_where_none_is_needed() {
        let http11 = |uri: &str, lines: &[(&str, &str)]| checked(Version::HTTP_11, uri, lines);
        for good in ["a", "a.example:8080", "192.0.2.1", "[::1]:8080", ""] {
            assert_eq!(http11("/x", &[("host", good)]), Ok(()), "{good}");
        }
        for bad in ["a b", "a/b", "a@b", "a, b", "a\u{e9}"] {
            assert_eq!(http11("/x", &[("host", bad)]), Err("the host is none"), "{bad}");
        }
        assert_eq!(http11("/x", &[]), Err("no host"));
        assert_eq!(http11("/x", &[("host", "a"), ("host", "a")]), Err("more than one host"));
        assert_eq!(checked(Version::HTTP_10, "/x", &[]), Ok(()));
        assert_eq!(checked(Version::HTTP_2, "http://a/x", &[]), Ok(()));
    }

    #[test]
    fn the_target_names_the_same_host() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let target = |host: &str| checked(version, "http://a.example/x", &[("host", host)]);
            assert_eq!(target("a.example"), Ok(()));
            assert_eq!(target("A.example:80"), Ok(()));
            assert_eq!(target("a.example:81"), Err("two hosts that differ"));
            assert_eq!(target("b.example"), Err("two hosts that differ"));
        }
    }

    #[test]
    fn the_body_is_chunked_once_or_not_at_all() {
        let coded = |codings: &[&str]| {
            let lines: Vec<_> = codings.iter().map(|c| ("transfer-encoding", *c)).collect();
            checked(Version::HTTP_11, "/x", &[&lines[..], &[("host", "a")]].concat())
        };
        assert_eq!(coded(&["Chunked"]), Ok(()));
        for bad in [&["gzip, chunked"][..], &["chunked", "chunked"], &["chunked, chunked"], &[""]] {
            assert!(coded(bad).is_err(), "{bad:?}");
        }
    }
}
