//! What is shown or kept of bytes that may have secrets in them.

use std::fmt::{self, Write as _};

use hookweir_event::REDACTED;
use zeroize::Zeroizing;

use super::SecretText;

/// What must not be seen, in all the forms in which it is looked for.
#[derive(Default)]
pub struct Redaction {
    /// The longest first.
    forms: Vec<Zeroizing<Vec<u8>>>,
    /// Of each byte, whether one of them begins with it.
    begins: Vec<bool>,
}

impl Redaction {
    /// Of these secrets: as they are, percent-encoded, and within JSON; of one that is a URL, all but its host. What a
    /// plugin has made of them otherwise, such as their base64, is not found.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s SecretText>) -> Self {
        let mut forms = Vec::new();
        for part in secrets.into_iter().flat_map(SecretText::parts) {
            let json = Zeroizing::new(serde_json::Value::from(part).to_string());
            forms.push(Zeroizing::new(part.as_bytes().to_vec()));
            forms.push(Zeroizing::new(percent_encoded(part).into_bytes()));
            forms.push(Zeroizing::new(json.as_bytes()[1..json.len() - 1].to_vec()));
        }
        // The path of a URL without one is everywhere, and no secret; nor is it when it is encoded.
        forms.retain(|form| !matches!(&form[..], b"" | b"/" | b"%2F"));
        forms.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        forms.dedup();
        let begins = |byte: u8| forms.iter().any(|form| form[0] == byte);
        let begins = (0..=u8::MAX).map(begins).collect();
        Self { forms, begins }
    }

    /// A text without them: each reads `[redacted]`, and so do several that overlap.
    pub fn text(&self, text: &str) -> String {
        // What is replaced is text, so what is left of it is.
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// Bytes without them.
    pub fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.beginning(bytes, usize::MAX).0
    }

    /// The first `max` bytes of something without them, and whether that is all of it. One that begins there and
    /// goes on is hidden whole.
    pub(super) fn beginning(&self, bytes: &[u8], max: usize) -> (Vec<u8>, bool) {
        let end = bytes.len().min(max);
        let mut kept = Vec::with_capacity(end);
        let mut hidden_to = 0;
        for at in 0..end {
            match self.form_at(&bytes[at..]) {
                Some(form) => {
                    if at >= hidden_to {
                        kept.extend_from_slice(REDACTED.as_bytes());
                    }
                    hidden_to = hidden_to.max(at + form.len());
                }
                None if at >= hidden_to => kept.push(bytes[at]),
                None => {}
            }
        }
        let whole = bytes.len() <= max && kept.len() <= max;
        kept.truncate(max);
        (kept, whole)
    }

    /// The longest one with which something begins.
    fn form_at(&self, bytes: &[u8]) -> Option<&[u8]> {
        let first = bytes.first()?;
        if !self.begins.get(usize::from(*first)).is_some_and(|begins| *begins) {
            return None;
        }
        let mut forms = self.forms.iter().map(|form| form.as_slice());
        forms.find(|form| bytes.starts_with(form))
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// As a form or a client writes it into a URL.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => _ = write!(encoded, "%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(secrets: &[&str], bytes: &[u8]) -> String {
        let secrets: Vec<_> =
            secrets.iter().map(|secret| SecretText::new((*secret).into())).collect();
        Redaction::new(&secrets).bytes(bytes).escape_ascii().to_string()
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

    #[test]
    fn a_secret_is_hidden_in_each_form_and_a_longer_one_whole() {
        const KEY: &str = "sk \"1/2\"";
        let secrets = [KEY, " sk ", "https://chat.test/hook/abc?d=e\n"];
        for (said, kept) in [
            (KEY, "[redacted]"),
            ("a=sk%20%221%2F2%22&b", "a=[redacted]&b"),
            (r#"{"key":"sk \"1/2\""}"#, r#"{"key":"[redacted]"}"#),
            ("skates", "[redacted]ates"),
            ("https://chat.test/hook/abc?d=e", "https://chat.test[redacted]"),
            ("https://chat.test:443/hook/abc?d=e", "https://chat.test:443[redacted]"),
            ("https://chat.test/hook/abc", "https://chat.test[redacted]"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(shown(&secrets, said.as_bytes()).replace('\\', ""), kept.replace('\\', ""));
        }
        assert_eq!(shown(&["", " ", "/", "https://host.test/"], b"a / b"), "a / b");
    }

    proptest! {
        #[test]
        fn no_secret_is_left_and_text_stays_text(
            secrets in prop::collection::vec("[ab\u{e9}]{1,3}", 0..4),
            text in "[abc\u{e9}]{0,40}",
        ) {
            let hidden: Vec<_> = secrets.iter().cloned().map(SecretText::new).collect();
            let shown = Redaction::new(&hidden).bytes(text.as_bytes());
            let shown = String::from_utf8(shown).unwrap();
            for between in shown.split(REDACTED) {
                prop_assert!(!secrets.iter().any(|secret| between.contains(secret.as_str())), "{}", shown);
            }
        }
    }
}
