//! A scheme as the operator writes it: texts, not yet checked. The keys are those of the table
//! `scheme = { … }` in the configuration.

/// What is wrong with a declaration, and at which of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key, as the configuration spells it.
    pub field: &'static str,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Whether the signed bytes are claimed beside the id, so that a captured request can't be replayed
/// under a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayGuard {
    /// They are claimed, together with the type.
    Content,
    /// They are not.
    None,
}

impl ReplayGuard {
    /// The guard that a configuration's word means.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "content" => Some(Self::Content),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

/// A scheme as the operator writes it. A place is `header:NAME`, `query:NAME`, `form:NAME`,
/// `json:/POINTER` or `form-json:FIELD:/POINTER`.
///
/// Standard forms:
/// - GitHub: `signature = "header:x-hub-signature-256"`, `prefix = "sha256="`
/// - Stripe: `signature = "header:stripe-signature"`, `separator = ","`, `prefix = "v1="`,
///   `timestamp = "signature:t"`
/// - Standard Webhooks: `signature = "header:webhook-signature"`, `separator = " "`,
///   `prefix = "v1,"`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declaration {
    /// The place of the signature or signatures.
    pub signature: Option<String>,
    /// What stands before each signature. With a separator, items without it are passed over: other
    /// versions, other fields.
    pub prefix: Option<String>,
    /// What stands between several signatures or fields in one value.
    pub separator: Option<String>,
    /// `hmac-sha1`, `hmac-sha256`, `hmac-sha512`, or `equal` for a static token.
    pub algorithm: Option<String>,
    /// `hex` in either case, `hex-lower`, `base64` with padding or `base64url` without.
    pub encoding: Option<String>,
    /// The string to sign: `{body}`, `{ts}.{body}`, `{id}.{ts}.{body}`, `v0:{ts}:{body}`.
    pub signed: Option<String>,
    /// How the configured secret is written: `raw` (default), `hex`, `base64` or `whsec`.
    pub secret_encoding: Option<String>,
    /// The place of the signed time, or `signature:NAME` for the item `NAME=…` beside the signature.
    pub timestamp: Option<String>,
    /// `s` (default), `ms` or `rfc3339`.
    pub timestamp_unit: Option<String>,
    /// How old the signed time may be; `5m` if left out.
    pub tolerance: Option<String>,
    /// How far ahead it may be: a duration or `any`; the same as `tolerance` if left out.
    pub tolerance_future: Option<String>,
    /// The place of the event type, or `const:TEXT`. Alternatives are parted by ` | `; the first
    /// that is there counts. The key is `type`.
    pub event_type: Option<String>,
    /// The place of the dedupe id, `content` for SHA-256 of source, type and body, or `none`.
    /// Alternatives are parted by ` | `; `content` may be the last.
    pub id: Option<String>,
    /// `content` or `none`. If left out, the signed bytes are claimed where the id is not signed and
    /// no signed time limits a replay, unless `id = "none"` says that equal requests are different
    /// events.
    pub replay_guard: Option<String>,
}

impl Declaration {
    /// The keys, as the configuration spells them.
    pub const KEYS: &'static [&'static str] = &[
        "signature",
        "prefix",
        "separator",
        "algorithm",
        "encoding",
        "signed",
        "secret_encoding",
        "timestamp",
        "timestamp_unit",
        "tolerance",
        "tolerance_future",
        "type",
        "id",
        "replay_guard",
    ];

    /// The value of `key`, to read or to set; none if there is no such key.
    pub fn value_mut(&mut self, key: &str) -> Option<&mut Option<String>> {
        Some(match key {
            "signature" => &mut self.signature,
            "prefix" => &mut self.prefix,
            "separator" => &mut self.separator,
            "algorithm" => &mut self.algorithm,
            "encoding" => &mut self.encoding,
            "signed" => &mut self.signed,
            "secret_encoding" => &mut self.secret_encoding,
            "timestamp" => &mut self.timestamp,
            "timestamp_unit" => &mut self.timestamp_unit,
            "tolerance" => &mut self.tolerance,
            "tolerance_future" => &mut self.tolerance_future,
            "type" => &mut self.event_type,
            "id" => &mut self.id,
            "replay_guard" => &mut self.replay_guard,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_value_of_its_own() {
        let mut declaration = Declaration::default();
        for key in Declaration::KEYS {
            let value = declaration.value_mut(key).unwrap();
            assert_eq!(*value, None, "{key}");
            *value = Some((*key).to_owned());
        }
        // All fields are set: there is none without a key.
        assert!(!format!("{declaration:?}").contains("None"));
        assert_eq!(declaration.value_mut("sceme"), None);
    }
}
