//! Why a request was not taken. The text is for the operator's audit log: it says which part was
//! wrong and holds no secret. The reply to the sender never tells.

use thiserror::Error;

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// No signature where the scheme looks for it, or an empty one.
    #[error("the signature is missing")]
    MissingSignature,
    /// A signature that the scheme's sender can't have written: prefix, alphabet, padding, size.
    #[error("the signature is malformed")]
    MalformedSignature,
    /// No signature matches with any valid secret.
    #[error("the signature matches none of the secrets")]
    BadSignature,
    /// The scheme signs the time, and there is none.
    #[error("the timestamp is missing")]
    MissingTimestamp,
    /// A timestamp in another format than the scheme's.
    #[error("the timestamp is malformed")]
    MalformedTimestamp,
    /// Genuine, but signed longer ago than the tolerance: a replay, or a slow sender.
    #[error("the timestamp is stale by {skew_ms} ms")]
    StaleTimestamp {
        /// Now minus the signed time, in milliseconds.
        skew_ms: i64,
    },
    /// Genuine, but signed further in the future than the tolerance.
    #[error("the timestamp lies {} ms in the future", skew_ms.unsigned_abs())]
    FutureTimestamp {
        /// Now minus the signed time, in milliseconds; negative.
        skew_ms: i64,
    },
    /// A header or parameter that the scheme reads occurs twice; readers differ in which one counts.
    #[error("`{0}` occurs more than once")]
    DuplicatedHeader(String),
    /// None of the source's secrets is valid at this time.
    #[error("no secret is valid now")]
    NoValidSecret,
    /// Something that the signature covers is not in the request.
    #[error("`{0}`, which the signature covers, is missing")]
    MissingPart(String),
    /// The body is not the one whose hash the request names.
    #[error("the body does not have the hash that the request says it has")]
    BodyDigest,
    /// A token that is well signed and made for something else.
    #[error("the claim `{0}` of the token is missing or another than this request's")]
    Claim(String),
    /// A signature that leaves out what it must cover.
    #[error("the signature does not cover `{0}`")]
    NotCovered(String),
    /// The request names a key on a host that keys are not taken from.
    #[error("the request names a key that this scheme does not take keys from")]
    ForeignKey,
    /// The request's key can't be had now; it may be had later.
    #[error("the key can't be fetched: {0}")]
    KeyUnavailable(String),
    /// What lies where the request's key should be is none that can be trusted.
    #[error("the key is refused: {0}")]
    KeyRefused(String),
    /// A handshake with another token than the source's parameter of this name, or a source without
    /// that parameter.
    #[error("the handshake does not have the source's `{0}`")]
    HandshakeToken(&'static str),
    /// A handshake that wants something signed that could be an event.
    #[error("the handshake's challenge is none that its provider sends")]
    NoChallenge,
    /// A handshake that would replace the source's secret.
    #[error("the handshake brings a secret, and the source has one")]
    SecretIsKnown,
    /// A handshake that brings a secret to a source that is not to take one.
    #[error("the handshake brings a secret, and the source does not say secrets = \"handshake\"")]
    SecretIsUnwanted,
    /// More of these than any honest request has.
    #[error("the request has more {0} than are looked at")]
    TooMany(&'static str),
    /// The id holds the text that follows it among the signed bytes, so where it ends is open to
    /// choice. Standard Webhooks, "Signature scheme": ids have no full stop.
    #[error("the id runs into what follows it in the signed text")]
    AmbiguousId,
    /// The source's verifier says that it is not genuine.
    #[error("the verifier refused it: {0}")]
    Refused(String),
    /// The source's verifier came to no answer on this request.
    #[error("the verifier failed: {0}")]
    VerifierFailed(String),
    /// The source's verifier can't be asked now; it may be later.
    #[error("the verifier can't be asked: {0}")]
    VerifierUnavailable(String),
    /// Genuine, without an event type where the scheme looks for one.
    #[error("no event type at {0}")]
    MissingType(String),
    /// Genuine, without an id where the scheme looks for one.
    #[error("no id at {0}")]
    MissingId(String),
    /// Genuine, with a body that is not in the content coding that the request says it is in.
    #[error("the body can't be decoded: {0}")]
    ContentCoding(String),
    /// Genuine, with a body that is larger than so many bytes when it is decoded.
    #[error("the decoded body is larger than {0} bytes")]
    ContentTooLarge(u64),
    /// Genuine, with a value that can't be taken.
    #[error("malformed: {0}")]
    Malformed(String),
}

impl Rejection {
    /// Whether the sender is proven and only the content can't be taken: answered as a bad request.
    /// All others are failures of authentication.
    pub fn is_authentic(&self) -> bool {
        matches!(
            self,
            Self::MissingType(_)
                | Self::MissingId(_)
                | Self::ContentCoding(_)
                | Self::ContentTooLarge(_)
                | Self::Malformed(_)
        )
    }

    /// The reason as one word, for metrics and the audit log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MissingSignature => "missing-signature",
            Self::MalformedSignature => "malformed-signature",
            Self::BadSignature => "bad-signature",
            Self::MissingTimestamp => "missing-timestamp",
            Self::MalformedTimestamp => "malformed-timestamp",
            Self::StaleTimestamp { .. } => "stale-timestamp",
            Self::FutureTimestamp { .. } => "future-timestamp",
            Self::DuplicatedHeader(_) => "duplicated-header",
            Self::NoValidSecret => "no-valid-secret",
            Self::MissingPart(_) => "missing-part",
            Self::BodyDigest => "body-digest",
            Self::Claim(_) => "claim",
            Self::NotCovered(_) => "not-covered",
            Self::ForeignKey => "foreign-key",
            Self::KeyUnavailable(_) => "key-unavailable",
            Self::KeyRefused(_) => "key-refused",
            Self::HandshakeToken(_) => "handshake-token",
            Self::NoChallenge => "no-challenge",
            Self::SecretIsKnown => "secret-is-known",
            Self::SecretIsUnwanted => "secret-is-unwanted",
            Self::TooMany(_) => "too-many",
            Self::AmbiguousId => "ambiguous-id",
            Self::Refused(_) => "refused",
            Self::VerifierFailed(_) => "verifier-failed",
            Self::VerifierUnavailable(_) => "verifier-unavailable",
            Self::MissingType(_) => "missing-type",
            Self::MissingId(_) => "missing-id",
            Self::ContentCoding(_) => "content-coding",
            Self::ContentTooLarge(_) => "content-too-large",
            Self::Malformed(_) => "malformed",
        }
    }
}
