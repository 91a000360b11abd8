//! Where a plugin's requests may go: origins as of RFC 6454 (scheme, host and port), each of one host,
//! of all below a name, or of any. What a plugin wants and what it is granted are written in the same way.

use std::{fmt, net::IpAddr, str::FromStr};

use http::Uri;
use thiserror::Error;

/// `https://api.example.com`, `http://10.0.0.7:8080`, `https://*.example.com`, where the star stands for
/// one name or more and never for none, or `https://*` for any host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpOrigin {
    tls: bool,
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    /// In lower case.
    One(Box<str>),
    /// All below it: begins with a dot.
    Below(Box<str>),
    /// Whatever it is.
    Any,
}

/// Why a text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OriginError {
    /// Something else.
    #[error("an origin is `https://host` or `https://host:port`, without a path")]
    Malformed,
    /// A star for a part of a name, or for all of a top-level domain.
    #[error(
        "`*` stands for hosts below a name with a dot in it, such as `https://*.example.com`, or for any host"
    )]
    TooWide,
}

impl HttpOrigin {
    /// Whether this URL is of this origin.
    pub fn matches(&self, url: &Uri) -> bool {
        let Some((tls, host, port)) = parts(url) else { return false };
        self.tls == tls && self.port == port && self.host.matches(&host)
    }

    /// Whether every URL of the other origin is of this one.
    pub fn covers(&self, other: &Self) -> bool {
        let host = match &other.host {
            Host::One(host) => self.host.matches(host),
            Host::Below(below) => match &self.host {
                Host::Below(wide) => below.ends_with(&**wide),
                Host::One(_) => false,
                Host::Any => true,
            },
            Host::Any => self.is_any(),
        };
        (self.tls, self.port) == (other.tls, other.port) && host
    }

    /// Whether it is of any host.
    pub fn is_any(&self) -> bool {
        self.host == Host::Any
    }
}

impl Host {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::One(one) => **one == *host,
            Self::Below(below) => host.len() > below.len() && host.ends_with(&**below),
            Self::Any => true,
        }
    }
}

/// What of a URL an origin is about: TLS, the host in lower case, the port.
fn parts(url: &Uri) -> Option<(bool, String, u16)> {
    let tls = match url.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let host = url.host()?.to_ascii_lowercase();
    Some((tls, host, url.port_u16().unwrap_or(default_port(tls))))
}

/// The same URL with its host in lower case, and its port only where it is not the scheme's.
pub(super) fn canonical(url: Uri) -> Option<Uri> {
    let (tls, host, port) = parts(&url)?;
    let authority = if port == default_port(tls) { host } else { format!("{host}:{port}") };
    let mut url = url.into_parts();
    url.authority = Some(authority.parse().ok()?);
    Uri::from_parts(url).ok()
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl FromStr for HttpOrigin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(OriginError::Malformed),
        };
        let (name, port) = match rest.rsplit_once(':') {
            Some((name, port)) if !rest.ends_with(']') => {
                (name, port.parse().map_err(|_| OriginError::Malformed)?)
            }
            _ => (rest, default_port(tls)),
        };
        let host = if name == "*" { Host::Any } else { named(name)? };
        Ok(Self { tls, host, port })
    }
}

/// One host, or all below one.
fn named(text: &str) -> Result<Host, OriginError> {
    let (below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None if text.starts_with('*') => return Err(OriginError::TooWide),
        None => (false, text),
    };
    let literal = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || !(literal || name.chars().all(fits)) {
        return Err(OriginError::Malformed);
    }
    let name = name.to_ascii_lowercase();
    match below {
        true if literal || !name.contains('.') => Err(OriginError::TooWide),
        true => Ok(Host::Below(format!(".{name}").into())),
        false => Ok(Host::One(name.into())),
    }
}

impl fmt::Display for HttpOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match &self.host {
            Host::One(host) => write!(f, "{scheme}://{host}")?,
            Host::Below(below) => write!(f, "{scheme}://*{below}")?,
            Host::Any => write!(f, "{scheme}://*")?,
        }
        if self.port == default_port(self.tls) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(text: &str) -> HttpOrigin {
        text.parse().unwrap()
    }

    fn matches(pattern: &str, url: &str) -> bool {
        origin(pattern).matches(&url.parse().unwrap())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert!(matches("https://api.example.com", "https://API.example.com/a?b"));
        assert!(matches("https://api.example.com", "https://api.example.com:443/"));
        assert!(matches("http://10.0.0.7:8080", "http://10.0.0.7:8080"));
        assert!(matches("http://[::1]:80", "http://[::1]/"));
        for other in [
            "http://api.example.com",
            "https://api.example.com:444",
            "https://example.com",
            "https://api.example.com.evil.test",
            "https://evil.test/api.example.com",
            "https://evil.test?https://api.example.com",
            "https://api.example.com.",
        ] {
            assert!(!matches("https://api.example.com", other), "{other}");
        }
    }

    #[test]
    fn a_star_is_for_hosts_below() {
        assert!(matches("https://*.example.com", "https://a.example.com"));
        assert!(matches("https://*.example.com", "https://a.b.example.com"));
        assert!(!matches("https://*.example.com", "https://example.com"));
        assert!(!matches("https://*.example.com", "https://evilexample.com"));
        assert!(!matches("https://*.example.com", "https://.example.com.evil.test"));
        assert!(matches("https://*", "https://a.example.com"));
        assert!(!matches("https://*", "http://a.example.com"));
        assert!(!matches("https://*", "https://a.example.com:8443"));
    }

    #[test]
    fn what_is_no_origin_is_said() {
        for wide in ["https://*.com", "https://*example.com", "https://*.10.0.0.1"] {
            assert_eq!(wide.parse::<HttpOrigin>(), Err(OriginError::TooWide), "{wide}");
        }
        for other in [
            "",
            "*",
            "example.com",
            "ftp://example.com",
            "https://",
            "https://example.com/",
            "https://example.com/v1",
            "https://a@example.com",
            "https://example.com:",
            "https://example.com:99999",
            "https://exa mple.com",
            "https://a.*.example.com",
        ] {
            assert_eq!(other.parse::<HttpOrigin>(), Err(OriginError::Malformed), "{other}");
        }
    }

    #[test]
    fn a_wish_is_covered_by_a_grant_as_wide() {
        let covers = |grant: &str, wish: &str| origin(grant).covers(&origin(wish));
        assert!(covers("https://*.example.com", "https://api.example.com"));
        assert!(covers("https://*.example.com", "https://*.eu.example.com"));
        assert!(covers("https://*.example.com", "https://*.example.com"));
        assert!(covers("https://*", "https://*.example.com") && covers("https://*", "https://*"));
        assert!(!covers("https://*.example.com", "https://*"));
        assert!(!covers("https://*.eu.example.com", "https://*.example.com"));
        assert!(!covers("https://api.example.com", "https://*.example.com"));
        assert!(!covers("https://*.example.com", "http://api.example.com"));
    }

    proptest! {
        #[test]
        fn an_origin_reads_back(
            text in "https?://(\\*|(\\*\\.)?[a-z0-9]{1,5}\\.[a-z]{1,5})(:[1-9][0-9]{0,3})?"
        ) {
            let parsed = origin(&text);
            prop_assert_eq!(origin(&parsed.to_string()), parsed);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}", scheme in "(https?://)?") {
            let _ = format!("{scheme}{text}").parse::<HttpOrigin>();
        }

        /// Whatever a covered origin matches, the one that covers it does.
        #[test]
        fn covering_is_matching_more(
            a in "https://(\\*|(\\*\\.)?([ab]\\.){1,3}c)",
            b in "https://(\\*|(\\*\\.)?([ab]\\.){1,3}c)",
            url in "https://([ab]\\.){1,4}c",
        ) {
            let (a, b, url) = (origin(&a), origin(&b), url.parse().unwrap());
            if a.covers(&b) && b.matches(&url) {
                prop_assert!(a.matches(&url));
            }
        }
    }
}
