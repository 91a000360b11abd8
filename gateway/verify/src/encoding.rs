//! How a signature is written. Decoding is strict: one text for one signature, so that no second
//! spelling passes (lenient decoders take 16 KiB of `sig=sig=…`, or other trailing bits).

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// The longest MAC is 64 bytes long: 128 hex digits.
const SHORT_TEXT: usize = 128;
/// Room for what so much text decodes to in any encoding: base64 makes three bytes of four.
const SHORT: usize = SHORT_TEXT / 4 * 3;

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is: static tokens.
    Raw,
    /// Hex digits in either case.
    Hex,
    /// Hex digits in lower case only: what every preset's provider writes.
    HexLower,
    /// RFC 4648, section 4, padded, trailing bits zero.
    Base64,
    /// RFC 4648, section 5, unpadded, trailing bits zero.
    Base64Url,
}

/// A decoded signature.
#[derive(Debug)]
pub(crate) enum Claimed<'a> {
    Raw(&'a [u8]),
    /// A MAC or a signature on a curve.
    Short {
        bytes: [u8; SHORT],
        len: usize,
    },
    /// An RSA signature, or the credentials of HTTP's basic authentication.
    Long(Vec<u8>),
}

impl Claimed<'_> {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Raw(bytes) => bytes,
            Self::Short { bytes, len } => &bytes[..*len],
            Self::Long(bytes) => bytes,
        }
    }
}

impl Encoding {
    pub(crate) const NAMES: [&'static str; 4] = ["hex", "hex-lower", "base64", "base64url"];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "hex" => Some(Self::Hex),
            "hex-lower" => Some(Self::HexLower),
            "base64" => Some(Self::Base64),
            "base64url" => Some(Self::Base64Url),
            _ => None,
        }
    }

    /// The signature that `text` is the canonical spelling of.
    pub(crate) fn decode(self, text: &str) -> Option<Claimed<'_>> {
        if text.is_empty() {
            return None;
        }
        if self == Self::Raw {
            return Some(Claimed::Raw(text.as_bytes()));
        }
        if text.len() <= SHORT_TEXT {
            let mut bytes = [0; SHORT];
            let len = self.decode_into(text, &mut bytes)?;
            return Some(Claimed::Short { bytes, len });
        }
        let mut bytes = vec![0; text.len()];
        let len = self.decode_into(text, &mut bytes)?;
        bytes.truncate(len);
        Some(Claimed::Long(bytes))
    }

    fn decode_into(self, text: &str, bytes: &mut [u8]) -> Option<usize> {
        match self {
            Self::Raw => None,
            Self::Hex => hex(text, bytes, true),
            Self::HexLower => hex(text, bytes, false),
            Self::Base64 => STANDARD.decode_slice(text, bytes).ok(),
            Self::Base64Url => URL_SAFE_NO_PAD.decode_slice(text, bytes).ok(),
        }
    }

    /// The canonical spelling.
    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Raw => String::from_utf8_lossy(bytes).into_owned(),
            Self::Hex | Self::HexLower => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
        }
    }
}

/// Decodes hex into `out` and returns how many bytes that were.
pub(crate) fn hex(text: &str, out: &mut [u8], upper: bool) -> Option<usize> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' if upper => Some(b - b'A' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > out.len() {
        return None;
    }
    for (out, [high, low]) in out.iter_mut().zip(pairs) {
        *out = digit(*high)? << 4 | digit(*low)?;
    }
    Some(pairs.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn second_spellings_do_not_pass() {
        let bytes = |e: Encoding, text| e.decode(text).map(|c| c.as_bytes().to_vec());
        assert_eq!(bytes(Encoding::Base64, "YQ=="), Some(b"a".to_vec()));
        for text in ["YQ", "YQ=", "YR==", "YQ==YQ==", "YQ== ", " YQ==", "YQ==\n", "Y-==", ""] {
            assert_eq!(bytes(Encoding::Base64, text), None, "{text}");
        }
        assert_eq!(bytes(Encoding::Base64Url, "_w"), Some(vec![255]));
        for text in ["_w==", "/w", "_x"] {
            assert_eq!(bytes(Encoding::Base64Url, text), None, "{text}");
        }
        assert_eq!(bytes(Encoding::Hex, "aF"), Some(vec![0xaf]));
        assert_eq!(bytes(Encoding::HexLower, "aF"), None);
        for text in ["a", "0x", "ag", "aä"] {
            assert_eq!(bytes(Encoding::Hex, text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn exactly_the_canonical_text_decodes(text in "[A-Za-z0-9+/_=-]{0,24}") {
            for encoding in Encoding::NAMES.iter().filter_map(|n| Encoding::parse(n)) {
                if let Some(claimed) = encoding.decode(&text) {
                    let canonical = encoding.encode(claimed.as_bytes());
                    let same = match encoding {
                        Encoding::Hex => canonical.eq_ignore_ascii_case(&text),
                        _ => canonical == text,
                    };
                    prop_assert!(same, "{encoding:?} took {text} for {canonical}");
                }
            }
        }

        #[test]
        fn every_mac_decodes(bytes in proptest::collection::vec(any::<u8>(), 1..=64)) {
            for encoding in Encoding::NAMES.iter().filter_map(|n| Encoding::parse(n)) {
                let text = encoding.encode(&bytes);
                let claimed = encoding.decode(&text);
                prop_assert_eq!(claimed.as_ref().map(Claimed::as_bytes), Some(bytes.as_slice()));
            }
        }

        #[test]
        fn nothing_panics(text: String) {
            for encoding in Encoding::NAMES.iter().filter_map(|n| Encoding::parse(n)) {
                encoding.decode(&text);
            }
        }
    }
}
