//! A secret, and what is shown of bytes that have some in them: by what a plugin that may read one is likely to
//! have put there, which is the secret as it is, or a part of it if it is a URL.

use std::{fmt, ops::Range, sync::Arc};

use hookweir_event::REDACTED;
use zeroize::Zeroizing;

/// A text that does not print and does not stay in memory.
#[derive(Clone, PartialEq)]
pub struct SecretText(Arc<Zeroizing<String>>);

impl SecretText {
    /// Hides a text.
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What is not to be seen: of a URL who it is for and the password alone, the path with its query and
    /// without, and the query, but not the host; of anything else all of it.
    fn forms(&self) -> Vec<&str> {
        let secret = self.0.trim();
        let Some((_, rest)) = secret.split_once("://").filter(|_| is_url(secret)) else {
            return vec![secret];
        };
        let (authority, place) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let place = place.split('#').next().unwrap_or_default();
        let (path, query) = place.split_once('?').unwrap_or((place, ""));
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        let password = user.split_once(':').map_or("", |(_, password)| password);
        vec![user, password, place, path.trim_end_matches('/'), query]
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|url| url.scheme().is_some() && url.host().is_some())
}

/// Bytes without these secrets, which read `[redacted]`, also where they overlap; text stays text. What a plugin
/// has made of a secret, such as its base64, is not found.
pub fn without_secrets(secrets: &[SecretText], bytes: &[u8]) -> Vec<u8> {
    let forms =
        secrets.iter().flat_map(SecretText::forms).filter(|form| !matches!(*form, "" | "/"));
    let mut found: Vec<_> = forms.flat_map(|form| occurrences(form.as_bytes(), bytes)).collect();
    found.sort_unstable_by_key(|range| range.start);
    let (mut shown, mut end) = (Vec::with_capacity(bytes.len()), 0);
    for range in found {
        if range.start >= end {
            shown.extend_from_slice(&bytes[end..range.start]);
            shown.extend_from_slice(REDACTED.as_bytes());
        }
        end = end.max(range.end);
    }
    shown.extend_from_slice(&bytes[end..]);
    shown
}

/// All of them, those that overlap included.
fn occurrences(form: &[u8], bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let windows = bytes.windows(form.len()).enumerate();
    windows.filter(move |(_, window)| *window == form).map(|(at, window)| at..at + window.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(secrets: &[&str], bytes: &[u8]) -> String {
        let secrets: Vec<_> =
            secrets.iter().map(|secret| SecretText::new((*secret).into())).collect();
        without_secrets(&secrets, bytes).escape_ascii().to_string()
    }

    #[test]
    fn no_end_of_a_secret_looks_out_from_behind_another() {
        for secrets in [["abcd", "abcdef"], ["abcdef", "abcd"], ["abcd", "cdef"], ["cdef", "abcd"]]
        {
            assert_eq!(shown(&secrets, b"-abcdef-"), "-[redacted]-", "{secrets:?}");
        }
        assert_eq!(shown(&["aba"], b"ababa"), "[redacted]");
        assert_eq!(shown(&["ab", "cd"], b"abcd"), "[redacted][redacted]");
        assert_eq!(shown(&["", "/", " \n"], b"a / b"), "a / b");
    }

    #[test]
    fn bytes_that_are_no_text_hide_nothing() {
        assert_eq!(shown(&["sk-123"], b"\xff\0sk-123\xfe"), "\\xff\\x00[redacted]\\xfe");
    }

    #[test]
    fn of_a_url_the_host_stays_and_nothing_else() {
        let url = "https://me:word@hooks.test/T0/B0?key=9";
        for (text, expected) in [
            (url, "https://[redacted]@hooks.test[redacted]"),
            ("https://hooks.test/T0/B0", "https://hooks.test[redacted]"),
            ("the word, of hooks.test", "the [redacted], of hooks.test"),
            ("?a&key=9", "?a&[redacted]"),
        ] {
            assert_eq!(shown(&[url], text.as_bytes()), expected, "{text}");
        }
        assert_eq!(shown(&["https://token@hooks.test/"], b"token / x"), "[redacted] / x");
        assert_eq!(shown(&["https://hooks.test?key=9"], b"?key=9"), "[redacted]");
        // No URL that anything is sent to.
        for plain in ["me:word@hooks.test", "a://", "://"] {
            assert_eq!(shown(&[plain], plain.as_bytes()), "[redacted]");
        }
    }

    proptest! {
        #[test]
        fn no_secret_is_left_and_text_stays_text(
            secrets in prop::collection::vec("[ab\u{e9}]{1,3}", 0..4),
            text in "[abc\u{e9}]{0,40}",
        ) {
            let hidden: Vec<_> = secrets.iter().cloned().map(SecretText::new).collect();
            let shown = String::from_utf8(without_secrets(&hidden, text.as_bytes())).unwrap();
            for between in shown.split(REDACTED) {
                prop_assert!(!secrets.iter().any(|secret| between.contains(secret.as_str())), "{}", shown);
            }
        }
    }
}
