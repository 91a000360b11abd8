//! The one shape of every refusal: `{"error": sentence, "code": word}`, and where it comes from.

use std::{fmt, io, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use hookweir_store::{ReadError, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

use super::reply;
use crate::{config::Scope, reload::Refusal, serve::HEADERS_MAX};

/// After this long a store that could not be reached is asked again: what senders are told too.
const UNREACHABLE: Duration = Duration::from_secs(5);

/// Why a request is not answered with what it asks for.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    code: &'static str,
    sentence: String,
    needs: Option<Scope>,
    retry_after: Option<Duration>,
}

/// The word of a refusal, on the response that says it: for the audit log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code(pub(super) &'static str);

/// Why a request was not answered with what it asks for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refused {
    /// What is wrong, in a sentence for people.
    error: String,
    /// The same as one word, for programs: `malformed`, `unauthenticated`, `forbidden`, `not_found`,
    /// `method_not_allowed`, `too_large`, `too_many_headers`, `wrong_host`, `rate_limited`, `no_version`, `needs_grant`,
    /// `not_possible`, `conflict`, `too_many_jobs`, `unavailable`, `store`, `audit`.
    code: &'static str,
    /// The scope that the token would need, if that is what it lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    needs: Option<Scope>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, code: &'static str, sentence: impl fmt::Display) -> Self {
        Self { status, code, sentence: sentence.to_string(), needs: None, retry_after: None }
    }

    pub(super) fn bad(sentence: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", sentence)
    }

    pub(super) fn missing(sentence: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", sentence)
    }

    /// Nothing is there.
    pub(super) fn no_place() -> Self {
        Self::missing("there is no such place; GET /v1/openapi.json describes those that there are")
    }

    /// There is something, and it takes other methods.
    pub(super) fn method() -> Self {
        let sentence = "this place takes other methods: `Allow` names them";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", sentence)
    }

    /// There is no token, or one that is not known.
    pub(super) fn unauthenticated() -> Self {
        let sentence = "a token is needed: Authorization: Bearer ..";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", sentence)
    }

    /// The connection showed no certificate that lets an operator in.
    pub(super) fn uncertified(why: impl fmt::Display) -> Self {
        let sentence = format_args!("a client certificate by admin.tls.client_ca is needed: {why}");
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", sentence)
    }

    /// A `Host` that is none of ours.
    pub(super) fn wrong_host() -> Self {
        let sentence = "this is not the host's name; admin.hosts lists those that are";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", sentence)
    }

    /// The token is good, and is not for this.
    pub(super) fn forbidden(needs: Scope) -> Self {
        let sentence = format_args!("this needs a token with the scope `{needs}`");
        let fault = Self::new(StatusCode::FORBIDDEN, "forbidden", sentence);
        Self { needs: Some(needs), ..fault }
    }

    /// The body is larger than this, in bytes.
    pub(super) fn too_large(most: usize) -> Self {
        let sentence = format_args!("the body has more than {} KiB", most >> 10);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", sentence)
    }

    /// There are more header fields than are looked at.
    pub(super) fn too_many_headers() -> Self {
        let sentence = format_args!("more than {HEADERS_MAX} header fields");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_many_headers", sentence)
    }

    /// The address had too many requests refused.
    pub(super) fn limited(wait: Duration) -> Self {
        let sentence = "too many requests of this address were refused";
        let fault = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", sentence);
        Self { retry_after: Some(wait), ..fault }
    }

    /// The gateway has not started yet, for this reason.
    pub(super) fn starting(why: Option<String>) -> Self {
        let sentence = why.unwrap_or_else(|| "starting".to_owned());
        let fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", sentence);
        Self { retry_after: Some(Duration::from_secs(1)), ..fault }
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn sentence(&self) -> &str {
        &self.sentence
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response<Body> {
        let refused = Refused { error: self.sentence, code: self.code, needs: self.needs };
        let mut response = reply::json(self.status, &refused);
        response.extensions_mut().insert(Code(self.code));
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// Of the audit log: nothing else here is in files.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        let sentence = format_args!("the audit log: {error}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "audit", sentence)
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            // Nothing is wrong with what is kept, and the same may be asked again.
            ReadError::Unreachable(_) => {
                let fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, "store", error);
                Self { retry_after: Some(UNREACHABLE), ..fault }
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store", error),
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store", error)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal {
            Refusal::NoPlugin { .. } => (StatusCode::NOT_FOUND, "not_found"),
            Refusal::NoVersion { .. } => (StatusCode::NOT_FOUND, "no_version"),
            Refusal::Ambiguous { .. } => (StatusCode::CONFLICT, "no_version"),
            Refusal::Grant(_) => (StatusCode::CONFLICT, "needs_grant"),
            Refusal::NoFile
            | Refusal::NoEarlier
            | Refusal::Live(_)
            | Refusal::NotLive
            | Refusal::Pinned(_)
            | Refusal::NotPinned
            | Refusal::NotAgreed(_)
            | Refusal::NotKept { .. }
            | Refusal::CanNotServe { .. } => (StatusCode::CONFLICT, "not_possible"),
            Refusal::NotWritten(_) | Refusal::Busy | Refusal::ShuttingDown => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
        };
        Self::new(status, code, refusal)
    }
}
