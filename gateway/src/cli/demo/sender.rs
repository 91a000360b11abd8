//! The providers' side of the demo: posts webhooks over HTTP, signed as each source's provider does.

use std::{cell::Cell, collections::BTreeMap, fmt, fs, path::PathBuf, time::Duration};

use hookweir_event::{Clock, EventId, SourceName};
use hookweir_verify::Outgoing;
use serde_json::Value;

use super::super::send::{client, post};
use crate::config::{Config, SourceConfig};

/// A webhook that is to be sent.
pub(super) struct Webhook<'w> {
    pub(super) source: &'w str,
    /// Written to where the source reads it, if that is not the body.
    pub(super) event_type: &'w str,
    /// The sender's own id of it; the same.
    pub(super) id: &'w str,
    pub(super) body: Vec<u8>,
}

/// What the gateway answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) id: Option<EventId>,
    pub(super) duplicate: bool,
    pub(super) took: Duration,
}

/// Signs and posts.
pub(super) struct Sender {
    /// Where the gateway takes webhooks.
    url: String,
    sources: BTreeMap<SourceName, SourceConfig>,
    /// The folder of the plugins' sources, with their samples.
    plugins: PathBuf,
    clock: Clock,
    /// Events that were accepted, each counted once.
    accepted: Cell<usize>,
}

impl<'w> Webhook<'w> {
    /// A webhook with a JSON body.
    pub(super) fn new(source: &'w str, event_type: &'w str, id: &'w str, body: &Value) -> Self {
        Self { source, event_type, id, body: body.to_string().into_bytes() }
    }
}

impl Answer {
    /// Whether it is an event that the gateway had not.
    pub(super) fn is_news(&self) -> bool {
        (200..300).contains(&self.status) && self.id.is_some() && !self.duplicate
    }
}

impl fmt::Display for Answer {
    /// As a story tells it: the status, how long it took, and which event it became.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} ms", self.status, self.took.as_millis())?;
        match self.id {
            Some(id) if self.duplicate => write!(f, ", a duplicate of event {id}"),
            Some(id) => write!(f, ", event {id}"),
            None => Ok(()),
        }
    }
}

impl Sender {
    /// The senders of all sources of this config.
    pub(super) fn new(config: Config, plugins: PathBuf) -> Self {
        Self {
            url: format!("http://{}", config.server.listen),
            sources: config.sources,
            plugins,
            clock: Clock::system(),
            accepted: Cell::new(0),
        }
    }

    /// How many events were accepted.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.get()
    }

    /// A sample payload of a plugin, byte for byte.
    pub(super) fn raw(&self, plugin: &str, name: &str) -> Result<Vec<u8>, String> {
        let path = self.plugins.join(plugin).join("samples").join(name);
        fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// A sample payload of a plugin, to be changed.
    pub(super) fn sample(&self, plugin: &str, name: &str) -> Result<Value, String> {
        let sample = serde_json::from_slice(&self.raw(plugin, name)?);
        sample.map_err(|error| format!("{name}: {error}"))
    }

    /// The body of a plugin's sample event.
    pub(super) fn body(&self, plugin: &str, name: &str) -> Result<Value, String> {
        Ok(self.sample(plugin, name)?["body"].take())
    }

    /// Sends it as its provider would.
    pub(super) async fn send(&self, webhook: &Webhook<'_>) -> Result<Answer, String> {
        let answer = self.post(webhook.source, self.sign(webhook)?).await?;
        self.accepted.set(self.accepted.get() + usize::from(answer.is_news()));
        Ok(answer)
    }

    /// Sends it with a body that was changed after it was signed.
    pub(super) async fn forge(&self, webhook: &Webhook<'_>) -> Result<Answer, String> {
        let mut request = self.sign(webhook)?;
        request.body = [&request.body[..], b" "].concat().into();
        self.post(webhook.source, request).await
    }

    fn source(&self, name: &str) -> Result<&SourceConfig, String> {
        let found = self.sources.iter().find(|(known, _)| known.as_str() == name);
        found.map(|(_, source)| source).ok_or_else(|| format!("there is no source {name}"))
    }

    fn sign(&self, webhook: &Webhook<'_>) -> Result<Outgoing, String> {
        let source = self.source(webhook.source)?;
        let key = &source.secrets.first().ok_or("the source has no secret")?.key;
        let mut request = Outgoing::post(&source.path, webhook.body.clone());
        request.headers.push(("content-type".into(), b"application/json".to_vec()));
        request.event_type = webhook.event_type.parse().ok();
        request.id = Some(webhook.id.to_owned());
        let signed = source.scheme.sign(key, request, self.clock.now());
        signed.map_err(|error| format!("{}: {error}", webhook.source))
    }

    async fn post(&self, source: &str, request: Outgoing) -> Result<Answer, String> {
        let url = format!("{}{}", self.url, request.path);
        let client = client(None, None, None)?;
        let before = self.clock.ticks();
        let (status, reply) = post(&client, &url, request).await?;
        let took = self.clock.ticks().saturating_sub(before);
        let reply: Value = serde_json::from_str(&reply)
            .map_err(|_| format!("{source} was answered with {status} and no JSON: {reply}"))?;
        Ok(Answer {
            status,
            id: reply["id"].as_str().and_then(|id| id.parse().ok()),
            duplicate: reply["duplicate"].as_bool().unwrap_or(false),
            took,
        })
    }
}
