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
    /// What the signature is: `message` (default), over the text that `signed` says; `jwt`, a JSON
    /// Web Token; or `http-message`, RFC 9421.
    pub kind: Option<String>,
    /// What a request must have for the scheme to apply to it: places, or places with values
    /// (`header:x-version=v2`), parted by ` & `.
    pub require: Option<String>,
    /// The place of the signature or signatures. Several are parted by ` | `, and all that are in
    /// the request are tried. `header:x-signature-*` is every header whose name begins so.
    pub signature: Option<String>,
    /// What stands before each signature. With a separator, items without it are passed over: other
    /// versions, other fields.
    pub prefix: Option<String>,
    /// What stands between several signatures or fields in one value.
    pub separator: Option<String>,
    /// `hmac-sha256` and its sisters, `ed25519`, `ecdsa-p256-sha256`, `rsa-sha256`,
    /// `rsa-pss-sha512`, …, `sha256` for a plain hash with `{secret}` in it, or `equal` for a static
    /// token. For a `jwt`, the names of RFC 7518 that its header may have: `HS256 HS512`.
    pub algorithm: Option<String>,
    /// `hex` in either case, `hex-lower`, `base64` with padding or `base64url` without.
    pub encoding: Option<String>,
    /// The string to sign: `{body}`, `{ts}.{body}`, `{id}.{ts}.{body}`, `v0:{ts}:{body}`. `{?` and
    /// `?}` enclose what is left out if a part of it is missing. Alternatives are parted by ` | `.
    pub signed: Option<String>,
    /// What the claims of a `jwt` must be: `iss=Upstash & sub={url} & hash={sha256:body}`. With `?=`
    /// a claim is left out when the body is empty.
    pub claims: Option<String>,
    /// What an `http-message` signature must cover: `@method @target-uri content-digest` (default),
    /// or `any`.
    pub covered: Option<String>,
    /// The `keyid` that an `http-message` signature must name.
    pub key_id: Option<String>,
    /// A place that holds the SHA-256 of the body, then its encoding: `query:bodySHA256 hex`.
    pub body_digest: Option<String>,
    /// The pointer to an array in the body. Each of its items is signed by itself; `signature` and
    /// `signed` look into the item.
    pub each: Option<String>,
    /// The place of the URL of the sender's certificate, then the hosts that it may lie on and what
    /// it must end in: `json:/SigningCertURL sns.*.amazonaws.com .pem`.
    pub key_url: Option<String>,
    /// `x5c` if the certificates in a `jwt`'s header sign it, up to the root that the source holds;
    /// behind it the object identifiers of extensions that intermediate and leaf must have.
    pub chain: Option<String>,
    /// How the configured secret is written: `raw` (default), `hex`, `base64`, `whsec`, `nfkd`,
    /// `sha1`, `signkey` or `suffix:TEXT`. Public keys are recognised.
    pub secret_encoding: Option<String>,
    /// The place of the signed time; `signature:NAME` for the item `NAME=…` beside the signature,
    /// `signature:` for the first item; `claim:NAME` in a `jwt`.
    pub timestamp: Option<String>,
    /// `s` (default), `ms` or `rfc3339`.
    pub timestamp_unit: Option<String>,
    /// How old the signed time may be: a duration or `any`; `5m` if left out. Of a `jwt` without
    /// `timestamp`, how long after its end it is taken; `any` takes one without an end.
    pub tolerance: Option<String>,
    /// How far ahead it may be: a duration or `any`; the same as `tolerance` if left out.
    pub tolerance_future: Option<String>,
    /// The place of the event type, or `const:TEXT`. Alternatives are parted by ` | `; the first
    /// that is there counts. ` + ` joins two with a full stop. The key is `type`.
    pub event_type: Option<String>,
    /// The place of the dedupe id, `content` for SHA-256 of source, type and body, or `none`.
    /// Alternatives are parted by ` | `; `content` may be the last. ` + ` joins two, where one does not
    /// stand alone: a CloudEvent's id and source.
    pub id: Option<String>,
    /// `content` or `none`. If left out, the signed bytes are claimed where the id is not signed and
    /// no signed time limits a replay, unless `id = "none"` says that equal requests are different
    /// events.
    pub replay_guard: Option<String>,
}

impl Declaration {
    /// The keys, as the configuration spells them.
    pub const KEYS: &'static [&'static str] = &[
        "kind",
        "require",
        "signature",
        "prefix",
        "separator",
        "algorithm",
        "encoding",
        "signed",
        "claims",
        "covered",
        "key_id",
        "body_digest",
        "each",
        "key_url",
        "chain",
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
            "kind" => &mut self.kind,
            "require" => &mut self.require,
            "signature" => &mut self.signature,
            "prefix" => &mut self.prefix,
            "separator" => &mut self.separator,
            "algorithm" => &mut self.algorithm,
            "encoding" => &mut self.encoding,
            "signed" => &mut self.signed,
            "claims" => &mut self.claims,
            "covered" => &mut self.covered,
            "key_id" => &mut self.key_id,
            "body_digest" => &mut self.body_digest,
            "each" => &mut self.each,
            "key_url" => &mut self.key_url,
            "chain" => &mut self.chain,
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
