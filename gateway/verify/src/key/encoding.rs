//! How configured secrets are written. Secrets look alike and decode differently: `whsec_` is base64
//! for Standard Webhooks and plain text for Stripe.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest as _, Sha1};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::KeyFault;
use crate::encoding::hex;

/// How a configured secret is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretEncoding {
    /// The text's bytes are the key, `whsec_` included: Stripe.
    Raw,
    Hex,
    Base64,
    /// Base64 behind an optional `whsec_`: Standard Webhooks.
    Whsec,
    /// The text in Unicode's compatibility decomposition: EasyPost.
    Nfkd,
    /// The key is the SHA-1 of the text: Braintree.
    Sha1,
    /// What follows `signkey-…-`: Inngest.
    Signkey,
    /// The text with this behind it: Fitbit's `&`, from OAuth 1.0.
    Suffix(Box<str>),
    /// The certificate that the sender's lead to. Said by `chain`, not by name.
    Root,
}

impl SecretEncoding {
    pub(crate) const NAMES: [&'static str; 8] =
        ["raw", "hex", "base64", "whsec", "nfkd", "sha1", "signkey", "suffix:TEXT"];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "raw" => Some(Self::Raw),
            "hex" => Some(Self::Hex),
            "base64" => Some(Self::Base64),
            "whsec" => Some(Self::Whsec),
            "nfkd" => Some(Self::Nfkd),
            "sha1" => Some(Self::Sha1),
            "signkey" => Some(Self::Signkey),
            _ => match name.strip_prefix("suffix:") {
                None | Some("") => None,
                Some(suffix) => Some(Self::Suffix(suffix.into())),
            },
        }
    }

    /// The key that `text` stands for.
    pub(super) fn decode(&self, text: &str) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        let base64 =
            |text: &str, fault| STANDARD.decode(text).map(Zeroizing::new).map_err(|_| fault);
        let bytes = match self {
            Self::Raw | Self::Root => Zeroizing::new(text.as_bytes().to_vec()),
            Self::Hex => {
                let mut bytes = Zeroizing::new(vec![0; text.len() / 2]);
                hex(text, &mut bytes, true).ok_or(KeyFault::NotHex)?;
                bytes
            }
            Self::Base64 => base64(text, KeyFault::NotBase64)?,
            Self::Whsec => base64(text.strip_prefix("whsec_").unwrap_or(text), KeyFault::NotWhsec)?,
            Self::Nfkd => Zeroizing::new(text.nfkd().collect::<String>().into_bytes()),
            Self::Sha1 => Zeroizing::new(Sha1::digest(text).to_vec()),
            Self::Signkey => {
                let rest = text.strip_prefix("signkey-").and_then(|rest| rest.split_once('-'));
                Zeroizing::new(rest.map_or(text, |(_, key)| key).as_bytes().to_vec())
            }
            Self::Suffix(suffix) => Zeroizing::new([text, suffix].concat().into_bytes()),
        };
        if bytes.is_empty() { Err(KeyFault::Empty) } else { Ok(bytes) }
    }
}
