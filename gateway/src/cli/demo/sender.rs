//! The providers' side of the demo: posts signed webhooks over HTTP, as GitHub and Stripe do.

use std::{fs, path::PathBuf};

use hookweir_event::{Clock, EventId};
use hookweir_verify::{Outgoing, Scheme};
use serde_json::Value;

use super::{super::send::post, house::House};

/// What the gateway answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) id: Option<EventId>,
    pub(super) duplicate: bool,
}

/// Posts what is in `samples`.
pub(super) struct Sender<'h> {
    house: &'h House,
    /// The folder of the plugins' sources, with their samples.
    plugins: PathBuf,
}

impl<'h> Sender<'h> {
    pub(super) fn new(house: &'h House, plugins: PathBuf) -> Self {
        Self { house, plugins }
    }

    fn sample(&self, plugin: &str, name: &str) -> Result<Vec<u8>, String> {
        let path = self.plugins.join(plugin).join("samples").join(name);
        fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// A real payload of GitHub, byte for byte.
    pub(super) async fn github(
        &self,
        event_type: &str,
        sample: &str,
        delivery: &str,
    ) -> Result<Answer, String> {
        let body = self.sample("github", sample)?;
        self.send("github", Some(event_type), Some(delivery), body, false).await
    }

    /// A payload of Stripe, with an id of its own: Stripe's ids are in the signed body.
    pub(super) async fn stripe(&self, sample: &str, id: &str) -> Result<Answer, String> {
        self.stripe_event(self.stripe_sample(sample)?, id).await
    }

    /// The payment of an order of its own.
    pub(super) async fn paid(&self, id: &str) -> Result<Answer, String> {
        let mut event = self.stripe_sample("payment_intent.succeeded.json")?;
        event["data"]["object"]["metadata"]["order_id"] = Value::from(format!("order-{id}"));
        self.stripe_event(event, id).await
    }

    fn stripe_sample(&self, sample: &str) -> Result<Value, String> {
        let event = serde_json::from_slice(&self.sample("payments", sample)?);
        event.map_err(|error| format!("{sample}: {error}"))
    }

    async fn stripe_event(&self, mut event: Value, id: &str) -> Result<Answer, String> {
        event["id"] = Value::from(id);
        self.send("stripe", None, None, event.to_string().into_bytes(), false).await
    }

    /// A payload that was changed after it was signed.
    pub(super) async fn forged(&self, sample: &str) -> Result<Answer, String> {
        let body = self.sample("payments", sample)?;
        self.send("stripe", None, None, body, true).await
    }

    async fn send(
        &self,
        source: &str,
        event_type: Option<&str>,
        id: Option<&str>,
        body: Vec<u8>,
        forge: bool,
    ) -> Result<Answer, String> {
        let scheme = Scheme::preset(source).ok_or("no such preset")?;
        let key = scheme.secret(self.house.secret(source)).map_err(|error| error.to_string())?;
        let mut request = Outgoing::post(&format!("/webhooks/{source}"), body);
        request.headers.push(("content-type".into(), b"application/json".to_vec()));
        request.event_type = event_type.and_then(|event_type| event_type.parse().ok());
        request.id = id.map(str::to_owned);
        let signed = scheme.sign(&key, request, Clock::system().now());
        let mut request = signed.map_err(|error| error.to_string())?;
        if forge {
            let mut body = request.body.to_vec();
            body.push(b' ');
            request.body = body.into();
        }
        let url = format!("http://{}{}", self.house.public, request.path);
        let (status, reply) = post(&url, request).await?;
        let reply: Value = serde_json::from_str(&reply).unwrap_or_default();
        Ok(Answer {
            status,
            id: reply["id"].as_str().and_then(|id| id.parse().ok()),
            duplicate: reply["duplicate"].as_bool().unwrap_or(false),
        })
    }
}
