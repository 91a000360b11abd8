//! The senders' side: signs as a source's scheme asks and posts over HTTP.

use std::net::SocketAddr;

use hookweir_event::{Clock, EventId};
use hookweir_verify::{Outgoing, Scheme};
use serde_json::Value;

use crate::bounded;

/// What was answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body; null if it is none.
    pub body: Value,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Reply {
    /// The event's id, if it was accepted.
    pub fn id(&self) -> Option<EventId> {
        self.body["id"].as_str()?.parse().ok()
    }

    /// Whether it was accepted as a duplicate.
    pub fn duplicate(&self) -> bool {
        self.body["duplicate"] == true
    }

    /// The code of a refusal.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// One source's sender.
#[derive(Debug, Clone)]
pub struct Sender {
    client: reqwest::Client,
    url: String,
    path: String,
    scheme: Scheme,
    secret: String,
}

impl Sender {
    /// A sender that signs by `scheme` with `secret` and posts to `path`.
    pub fn new(gateway: SocketAddr, path: &str, scheme: Scheme, secret: &str) -> Self {
        let client = bounded::client();
        let url = format!("http://{gateway}{path}");
        Self { client, url, path: path.into(), scheme, secret: secret.into() }
    }

    /// A request with its signature, not sent yet.
    pub fn signed(&self, event_type: &str, id: &str, body: &[u8]) -> Outgoing {
        let mut request = Outgoing::post(&self.path, body.to_vec());
        request.headers.push(("content-type".into(), b"application/json".to_vec()));
        request.event_type = Some(event_type.parse().unwrap());
        request.id = Some(id.into());
        let key = self.scheme.secret(&self.secret).unwrap();
        self.scheme.sign(&key, request, Clock::system().now()).unwrap()
    }

    /// Signs and posts.
    ///
    /// # Errors
    /// If there is no answer: the gateway is gone, or gives none in two minutes.
    pub async fn send(&self, event_type: &str, id: &str, body: &[u8]) -> reqwest::Result<Reply> {
        self.post(self.signed(event_type, id, body)).await
    }

    /// Posts a request as it is.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn post(&self, request: Outgoing) -> reqwest::Result<Reply> {
        let mut posting = self.client.post(&self.url).body(request.body);
        for (name, value) in request.headers {
            posting = posting.header(name, value);
        }
        let response = posting.send().await?;
        let status = response.status().as_u16();
        let text =
            |value: &reqwest::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let headers = response.headers().iter().map(|(n, v)| (n.to_string(), text(v))).collect();
        let body = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
        Ok(Reply { status, body, headers })
    }
}
