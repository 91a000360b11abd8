//! Keys that a request names by URL: AWS SNS, PayPal. Whoever can name the URL could name their own
//! key, so the host is held against a list before anything is fetched, and nothing is fetched here.

use crate::Rejection;

/// The hosts that keys may come from, and what their URLs end in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyHosts {
    /// Each a host; `*` stands for one label's characters.
    hosts: Box<[Box<str>]>,
    ending: Box<str>,
}

impl KeyHosts {
    /// Parses `sns.*.amazonaws.com, sns.*.amazonaws.com.cn /….pem`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (hosts, ending) = text.split_once(' ').unwrap_or((text, ""));
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

    /// The URL, if a key may be fetched from it: `https`, a host of the list, no user, no port, no
    /// fragment.
    pub(crate) fn allow<'u>(&self, url: &'u str) -> Result<&'u str, Rejection> {
        let refused = || Rejection::ForeignKey;
        let rest = url.strip_prefix("https://").ok_or_else(refused)?;
        let (host, path) = rest.split_once('/').ok_or_else(refused)?;
        let plain = url.bytes().all(|b| b.is_ascii_graphic() && !b"\\#@".contains(&b));
        let listed = self.hosts.iter().any(|pattern| host_matches(pattern, host));
        let ending = path.ends_with(&*self.ending);
        (plain && listed && ending).then_some(url).ok_or_else(refused)
    }
}

fn host_matches(pattern: &str, host: &str) -> bool {
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
        let sns = KeyHosts::parse("sns.*.amazonaws.com,sns.*.amazonaws.com.cn .pem").unwrap();
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
            "https://sns.us-east-1.amazonaws.com/x#.pem",
            "https://sns..amazonaws.com/x.pem",
            "https://sns.a.b.amazonaws.com/x.pem",
            "https://bucket.s3.amazonaws.com/x.pem",
            "https://sns.us-east-1.amazonaws.com",
            "",
        ] {
            assert_eq!(sns.allow(url), Err(Rejection::ForeignKey), "{url}");
        }
        assert!(KeyHosts::parse("").is_err());
        assert!(KeyHosts::parse("EVIL.example").is_err());
    }
}
