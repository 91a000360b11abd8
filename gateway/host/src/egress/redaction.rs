//! What is shown or kept of bytes that may have secrets in them.

use std::{
    borrow::Cow,
    fmt::{self},
};

use hookweir_event::REDACTED;
use zeroize::Zeroizing;

use super::SecretText;

/// What must not be seen, however it is written.
#[derive(Default)]
pub struct Redaction {
    parts: Vec<Zeroizing<Vec<u8>>>,
    /// Of each byte, whether one of them may begin with it, as it is or encoded.
    begins: Vec<bool>,
}

impl Redaction {
    /// Of these secrets: as they are, percent-encoded as URLs and forms have it, and as strings of JSON have it; of one
    /// that is a URL, all but its host. What a plugin has made of them otherwise, such as their base64, is not found.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s SecretText>) -> Self {
        let parts = secrets.into_iter().flat_map(SecretText::parts);
        let mut parts: Vec<_> =
            parts.map(|part| Zeroizing::new(part.as_bytes().to_vec())).collect();
        // The path of a URL without one is everywhere, and no secret.
        parts.retain(|part| !matches!(&part[..], b"" | b"/"));
        parts.sort_by(|one, other| one.cmp(other));
        parts.dedup();
        let begins = |byte: u8| {
            let encoded = matches!(byte, b'%' | b'\\');
            parts.iter().any(|part| encoded || part[0] == byte || (part[0], byte) == (b' ', b'+'))
        };
        let begins = (0..=u8::MAX).map(begins).collect();
        Self { parts, begins }
    }

    /// A text without them: each reads `[redacted]`, and so do several that overlap.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.parts.is_empty() {
            return Cow::Borrowed(text);
        }
        // What is replaced is text, so what is left of it is.
        Cow::Owned(String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned())
    }

    /// Bytes without them.
    pub fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.beginning(bytes, usize::MAX).0
    }

    /// The first `max` bytes of something without them, and whether that is all of it. One that begins there and
    /// goes on is hidden whole.
    pub(super) fn beginning(&self, bytes: &[u8], max: usize) -> (Vec<u8>, bool) {
        let end = bytes.len().min(max);
        if self.parts.is_empty() {
            return (bytes[..end].to_vec(), bytes.len() <= max);
        }
        let mut kept = Vec::with_capacity(end);
        let mut hidden_to = 0;
        for at in 0..end {
            match self.length_at(&bytes[at..]) {
                Some(length) => {
                    if at >= hidden_to {
                        kept.extend_from_slice(REDACTED.as_bytes());
                    }
                    hidden_to = hidden_to.max(at + length);
                }
                None if at >= hidden_to => kept.push(bytes[at]),
                None => {}
            }
        }
        let whole = bytes.len() <= max && kept.len() <= max;
        kept.truncate(max);
        (kept, whole)
    }

    /// How long the longest one is with which something begins.
    fn length_at(&self, bytes: &[u8]) -> Option<usize> {
        let first = bytes.first()?;
        if !self.begins[usize::from(*first)] {
            return None;
        }
        let readings = [plain, percent, json];
        let lengths = self.parts.iter().flat_map(|part| {
            readings.into_iter().filter_map(|reading| written_length(part, bytes, reading))
        });
        lengths.max()
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// Reads what stands first, in one way of writing: the bytes that are meant, how many, and how many it takes.
type Reading = fn(&[u8]) -> Option<([u8; 4], usize, usize)>;

/// How many bytes `part` takes at the beginning of `bytes`, if it stands there in this way of writing.
fn written_length(part: &[u8], bytes: &[u8], read: Reading) -> Option<usize> {
    let (mut left, mut at) = (part, 0);
    while !left.is_empty() {
        let (meant, count, takes) = read(&bytes[at..])?;
        left = left.strip_prefix(&meant[..count])?;
        at += takes;
    }
    Some(at)
}

fn one(byte: u8, takes: usize) -> Option<([u8; 4], usize, usize)> {
    Some(([byte, 0, 0, 0], 1, takes))
}

fn plain(bytes: &[u8]) -> Option<([u8; 4], usize, usize)> {
    one(*bytes.first()?, 1)
}

/// As in URLs (RFC 3986) and forms (URL Standard), whichever bytes the writer thought it had to encode.
fn percent(bytes: &[u8]) -> Option<([u8; 4], usize, usize)> {
    match bytes {
        [b'%', high, low, ..] => match hex(&[*high, *low]).and_then(|it| u8::try_from(it).ok()) {
            Some(byte) => one(byte, 3),
            None => one(b'%', 1),
        },
        [b'+', ..] => one(b' ', 1),
        _ => plain(bytes),
    }
}

/// As in a string of JSON (RFC 8259, section 7), whichever characters the writer thought it had to escape.
fn json(bytes: &[u8]) -> Option<([u8; 4], usize, usize)> {
    let [b'\\', escaped, rest @ ..] = bytes else { return plain(bytes) };
    let unit = |rest: &[u8]| hex(rest.get(..4)?);
    match escaped {
        b'b' => one(0x08, 2),
        b'f' => one(0x0c, 2),
        b'n' => one(b'\n', 2),
        b'r' => one(b'\r', 2),
        b't' => one(b'\t', 2),
        b'u' => {
            let high = unit(rest)?;
            let low = rest.get(4..).and_then(|rest| unit(rest.strip_prefix(b"\\u")?));
            let pair = low.and_then(|low| surrogates(high, low));
            let (found, takes) = match (pair, char::from_u32(high)) {
                (Some(found), _) => (found, 12),
                (None, found) => (found?, 6),
            };
            let mut meant = [0; 4];
            let count = found.encode_utf8(&mut meant).len();
            Some((meant, count, takes))
        }
        other => one(*other, 2),
    }
}

fn surrogates(high: u32, low: u32) -> Option<char> {
    let is_pair = (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low);
    let found = is_pair.then(|| 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
    found.and_then(char::from_u32)
}

fn hex(digits: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    digits.iter().try_fold(0, |number, byte| Some(number * 16 + digit(byte)?))
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

    /// As JavaScript's `encodeURIComponent` does, with this case of digits.
    fn encoded(text: &str, upper: bool) -> String {
        let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
        let byte = |byte: u8| match (keep(byte), upper) {
            (true, _) => char::from(byte).to_string(),
            (false, true) => format!("%{byte:02X}"),
            (false, false) => format!("%{byte:02x}"),
        };
        text.bytes().map(byte).collect()
    }

    /// As PHP does, and whoever writes ASCII alone.
    fn escaped(text: &str) -> String {
        let unit = |unit: u16| match u8::try_from(unit) {
            Ok(b'/') => "\\/".to_owned(),
            Ok(byte) if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("\\u{unit:04x}"),
        };
        text.encode_utf16().map(unit).collect()
    }

    #[test]
    fn what_is_no_escape_is_read_as_it_is() {
        for text in ["100%", "%zz", "%4", "a\\u12", "\\", "\\ud800\\u0041", "%", "+"] {
            assert_eq!(
                shown(&["secret"], text.as_bytes()),
                text.escape_default().to_string(),
                "{text}"
            );
        }
        assert_eq!(shown(&["100%"], b"100%25 or 100%"), "[redacted] or [redacted]");
    }

    proptest! {
        #[test]
        fn however_a_secret_is_written_it_is_not_seen(secret in "[a-z~*!'/ \"\\\\+%&=\u{e9}\u{1f600}]{6,12}") {
            let secret = format!("s{secret}t");
            let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let quoted = serde_json::Value::from(&*secret).to_string();
            let hide = Redaction::new([&SecretText::new(secret.clone())]);
            for written in [
                form,
                encoded(&secret, true),
                encoded(&secret, false),
                quoted[1..quoted.len() - 1].to_owned(),
                escaped(&secret),
                secret,
            ] {
                let text = format!("<{written}>");
                prop_assert_eq!(hide.text(&text), "<[redacted]>", "{}", written);
            }
        }

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
