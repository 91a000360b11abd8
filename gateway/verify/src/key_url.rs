//! Keys that lie at a URL which the request names (AWS SNS, PayPal) or the scheme (sets of JWKs).
//! Whoever can name the URL could name their own key, so the host is held against a list before
//! anything is fetched. Nothing is fetched here: whoever uses the crate brings a [`Keyring`].

use std::future::Future;

use hookweir_event::Timestamp;

use crate::{Rejection, Scheme, Secret, place::Place, request::View};

/// Where a scheme's keys lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyUrl {
    /// The place of the URL.
    pub(crate) place: Place,
    hosts: KeyHosts,
    /// Whom a certificate there must be issued to.
    issued_to: Option<Box<str>>,
}

/// Where the key of a request lies. The host is one of those that the scheme takes keys from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyLocation {
    url: String,
    issued_to: Option<Box<str>>,
    fixed: bool,
}

impl KeyLocation {
    /// The URL: `https`, without user, port or fragment.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The DNS name that a certificate there must be issued to by an authority that browsers trust;
    /// `*` stands for one label. None if it need not be: then the host's own certificate vouches for
    /// it.
    pub fn issued_to(&self) -> Option<&str> {
        self.issued_to.as_deref()
    }

    /// Whether the scheme names it, so that what lies there may change: a set of keys that are
    /// rotated. What a request names is a document of its own.
    pub fn is_fixed(&self) -> bool {
        self.fixed
    }
}

/// A key from a [`KeyLocation`].
#[derive(Debug, Clone)]
pub struct FetchedKey {
    /// The key.
    pub secret: Secret,
    /// When it was fetched.
    pub at: Timestamp,
}

/// Gets the keys that lie at URLs. The crate only names it; an implementation fetches, keeps what it
/// fetched, and makes keys of it with [`Scheme::fetched_key`].
pub trait Keyring {
    /// The key at `location`; one fetched later than `after` if that is given and may be done
    /// already, else the one it has.
    ///
    /// # Errors
    /// [`Rejection::KeyUnavailable`] if it may work later, [`Rejection::KeyRefused`] if not.
    fn key(
        &self,
        scheme: &Scheme,
        location: &KeyLocation,
        now: Timestamp,
        after: Option<Timestamp>,
    ) -> impl Future<Output = Result<FetchedKey, Rejection>> + Send;
}

impl KeyUrl {
    /// Parses `json:/SigningCertURL sns.*.amazonaws.com .pem` or `header:x-cert-url api.example.com
    /// issued-to=*.example.com`.
    pub(crate) fn parse(
        text: &str,
        place: impl FnOnce(&str) -> Result<Place, String>,
    ) -> Result<Self, String> {
        let mut words = text.split(' ');
        let place = place(words.next().unwrap_or_default())?;
        let hosts = words.next().ok_or("write a place and the hosts that it may name")?;
        let (mut ending, mut issued_to) = ("", None);
        for word in words {
            match word.strip_prefix("issued-to=") {
                Some(name) => {
                    issued_to = Some(KeyHosts::parse(name, "").map(|_| name.into())?);
                }
                None => ending = word,
            }
        }
        let hosts = KeyHosts::parse(hosts, ending)?;
        if let Place::Const(url) = &place {
            hosts.allow(url).map_err(|_| format!("`{url}`: not https at one of the hosts"))?;
        }
        Ok(Self { place, hosts, issued_to })
    }

    /// A URL that keys may be taken from, though none lies there.
    pub(crate) fn sample(&self) -> String {
        let host = self.hosts.hosts.first().map_or("", AsRef::as_ref).replace('*', "test");
        format!("https://{host}/test{}", self.hosts.ending)
    }

    /// Where the request's key lies, if keys may be taken from there.
    pub(crate) fn of<'a>(&'a self, view: &View<'a>) -> Result<KeyLocation, Rejection> {
        let url = view.find(&self.place)?.ok_or(Rejection::ForeignKey)?;
        let url = str::from_utf8(&url).map_err(|_| Rejection::ForeignKey)?;
        let url = self.hosts.allow(url)?.to_owned();
        let fixed = matches!(self.place, Place::Const(_));
        Ok(KeyLocation { url, issued_to: self.issued_to.clone(), fixed })
    }
}

/// The hosts of a provider that may be asked, and what their URLs end in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyHosts {
    /// Each a host; `*` stands for one label's characters.
    hosts: Box<[Box<str>]>,
    ending: Box<str>,
}

impl KeyHosts {
    /// Parses hosts parted by commas.
    pub(crate) fn parse(hosts: &str, ending: &str) -> Result<Self, String> {
        let text = hosts;
        let hosts: Box<[Box<str>]> = hosts.split(',').map(Into::into).collect();
        let host = |host: &str| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.*".contains(&b))
        };
        if !hosts.iter().all(|h| host(h)) {
            return Err(format!(
                "`{text}`: write hosts in lower case, parted by commas, `*` for one label"
            ));
        }
        Ok(Self { hosts, ending: ending.into() })
    }

    /// The URL, if it may be fetched: `https`, a host of the list, no user, no port, no
    /// fragment.
    pub(crate) fn allow<'u>(&self, url: &'u str) -> Result<&'u str, Rejection> {
        let refused = || Rejection::ForeignKey;
        let rest = url.strip_prefix("https://").ok_or_else(refused)?;
        let (host, path) = rest.split_once('/').ok_or_else(refused)?;
        let plain = url.bytes().all(|b| b.is_ascii_graphic() && !b"\\#@".contains(&b));
        let listed = self.hosts.iter().any(|pattern| host_matches(pattern, host));
        // An ending is a file's; behind a query anything could end so.
        let ending =
            self.ending.is_empty() || (path.ends_with(&*self.ending) && !path.contains('?'));
        (plain && listed && ending).then_some(url).ok_or_else(refused)
    }
}

/// Whether a host, in lower case, is the one that the pattern means; `*` stands for one label.
pub(crate) fn host_matches(pattern: &str, host: &str) -> bool {
    let mut labels = host.split('.');
    let label = |(pattern, label): (&str, Option<&str>)| match label {
        None | Some("") => false,
        Some(label) if pattern == "*" => {
            label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        }
        Some(label) => label == pattern,
    };
    let same = pattern.split('.').map(|p| (p, labels.next())).all(label);
    same && labels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_hosts_are_fetched_from() {
        let sns = KeyHosts::parse("sns.*.amazonaws.com,sns.*.amazonaws.com.cn", ".pem").unwrap();
        for url in [
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.cn-north-1.amazonaws.com.cn/x.pem",
        ] {
            assert_eq!(sns.allow(url), Ok(url));
        }
        for url in [
            "http://sns.us-east-1.amazonaws.com/x.pem",
            "https://sns.us-east-1.amazonaws.com.evil.example/x.pem",
            "https://sns.us-east-1.amazonaws.com@evil.example/x.pem",
            "https://evil.example/sns.us-east-1.amazonaws.com/x.pem",
            "https://evil.example\\.sns.us-east-1.amazonaws.com/x.pem",
            "https://sns.us-east-1.amazonaws.com:8443/x.pem",
            "https://sns.us-east-1.amazonaws.com/x.txt",
            "https://sns.us-east-1.amazonaws.com/?Action=x&y=.pem",
            "https://sns.us-east-1.amazonaws.com/x#.pem",
            "https://sns..amazonaws.com/x.pem",
            "https://sns.a.b.amazonaws.com/x.pem",
            "https://bucket.s3.amazonaws.com/x.pem",
            "https://sns.us-east-1.amazonaws.com",
            "",
        ] {
            assert_eq!(sns.allow(url), Err(Rejection::ForeignKey), "{url}");
        }
        assert!(KeyHosts::parse("", "").is_err());
        assert!(KeyHosts::parse("EVIL.example", "").is_err());
    }

    #[test]
    fn a_fixed_url_must_lie_on_its_own_host() {
        let parse = |text| KeyUrl::parse(text, |place| Place::parse(place, &mut Vec::new()));
        assert!(parse("const:https://keys.example/jwks.json keys.example").is_ok());
        assert!(parse("const:https://other.example/jwks.json keys.example").is_err());
        assert!(parse("const:http://keys.example/jwks.json keys.example").is_err());
        assert!(parse("header:x-cert-url").is_err());
        let named = parse("header:x-cert-url api.example.com issued-to=*.example.com").unwrap();
        assert_eq!(named.issued_to.as_deref(), Some("*.example.com"));
        assert!(parse("header:x-cert-url api.example.com issued-to=").is_err());
    }
}
