//! What attempts sent and were answered, where that is kept.

use axum::extract::State;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hookweir_event::{Answered, EventId, Excerpt, Exchange, Exchanges, Headers};
use hookweir_host::HttpFault;
use hookweir_store::DeliveryId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Desk,
    asked::{At, Text},
    fault::{Fault, Refused},
    reply::{Answer, Json},
};

/// What one attempt sent, in the order in which the plugin made its requests.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SentRequests {
    /// Those for which `record_requests` had room.
    items: Vec<SentRequest>,
    /// How many more were sent.
    omitted: u32,
}

/// A request that a plugin sent. What was a secret of the plugin's grant reads `[redacted]`.
#[derive(Debug, Serialize, ToSchema)]
struct SentRequest {
    /// Its method.
    method: String,
    /// The whole URL.
    url: String,
    /// Its headers, as names and values, without those of the gateway's own.
    headers: Vec<[String; 2]>,
    /// What was sent.
    body: SentBody,
    /// What was answered; null if nothing was.
    response: Option<SentResponse>,
    /// Why nothing was.
    error: Option<SentError>,
}

/// What a request was answered.
#[derive(Debug, Serialize, ToSchema)]
struct SentResponse {
    /// Its status.
    status: u16,
    /// Its headers, as names and values; null if there was room for nothing but the status.
    headers: Option<Vec<[String; 2]>>,
    /// Its body; null in the same case.
    body: Option<SentBody>,
}

/// Why a request has no answer.
#[derive(Debug, Serialize, ToSchema)]
struct SentError {
    /// One word: `timeout`, `connect`, .., or `cut-off`, if the attempt ended before.
    code: String,
    /// A sentence.
    message: String,
}

/// A body, or its beginning.
#[derive(Debug, Serialize, ToSchema)]
struct SentBody {
    /// The length of the whole.
    bytes: u64,
    /// What is kept of it, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// What is kept of it, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// The SHA-256 of the whole, in hex, if only its beginning is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

/// Show what an attempt sent.
///
/// Each request with what it was answered, as far as the plugin's `record_requests` and `record_body_max` had it
/// kept. An attempt of which nothing was to be kept has none to show.
#[utoipa::path(get, path = "/v1/deliveries/{event}/{number}/attempts/{attempt}/requests",
    operation_id = "attempts.requests", tag = "events",
    params(("event" = String, Path, format = "uuid", description = "The event."),
           ("number" = u16, Path, minimum = 0, maximum = 1022, description = "Which of its deliveries, counted from 0."),
           ("attempt" = u32, Path, minimum = 1, maximum = 1023, description = "Which of its attempts, counted from 1.")),
    responses((status = 200, description = "The requests.", body = SentRequests),
              (status = 404, description = "There is no such attempt, or its requests are not kept.", body = Refused),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn show(
    State(desk): State<Desk>,
    At((Text(event), ordinal, attempt)): At<(Text<EventId>, u16, u32)>,
) -> Answer<SentRequests> {
    let delivery = DeliveryId { event, ordinal };
    let found = desk.store.reader().exchanges(delivery, attempt).await?;
    let missing = || Fault::missing("there is no such attempt, or its requests are not kept");
    Ok(Json(found.ok_or_else(missing)?.into()))
}

impl From<Exchanges> for SentRequests {
    fn from(exchanges: Exchanges) -> Self {
        let Exchanges { kept, left_out } = exchanges;
        Self { items: kept.into_iter().map(SentRequest::from).collect(), omitted: left_out }
    }
}

impl From<Exchange> for SentRequest {
    fn from(exchange: Exchange) -> Self {
        let Exchange { method, url, headers, body, answer } = exchange;
        let error = |code: String, message: String| (None, Some(SentError { code, message }));
        let (response, error) = match answer {
            Answered::Response { status, headers, body } => {
                let (headers, body) = (Some(pairs(headers)), Some(body.into()));
                (Some(SentResponse { status, headers, body }), None)
            }
            Answered::Status(status) => {
                (Some(SentResponse { status, headers: None, body: None }), None)
            }
            Answered::Fault { code, detail } => {
                let fault = HttpFault::from_parts(&code, &detail);
                error(code, fault.map_or(detail, |fault| fault.to_string()))
            }
            Answered::CutOff => error("cut-off".to_owned(), "the attempt ended before".to_owned()),
        };
        Self { method, url, headers: pairs(headers), body: body.into(), response, error }
    }
}

fn pairs(headers: Headers) -> Vec<[String; 2]> {
    let pair =
        |(name, value): (String, Vec<u8>)| [name, String::from_utf8_lossy(&value).into_owned()];
    headers.into_iter().map(pair).collect()
}

impl From<Excerpt> for SentBody {
    fn from(excerpt: Excerpt) -> Self {
        let Excerpt { mut bytes, len, digest } = excerpt;
        // A beginning may end within a character.
        if let (Some(_), Err(error)) = (digest, str::from_utf8(&bytes))
            && error.error_len().is_none()
        {
            bytes.truncate(error.valid_up_to());
        }
        let (text, base64) = match String::from_utf8(bytes) {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(BASE64_STANDARD.encode(error.as_bytes()))),
        };
        Self { bytes: len, text, base64, sha256: digest.map(|digest| digest.to_string()) }
    }
}
