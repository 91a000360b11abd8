//! `[traces]`: which share of the traces is recorded, and where they go.

use std::{fmt, time::Duration};

use hookweir_event::REDACTED;
use http::{HeaderName, HeaderValue, Uri};

use super::{
    read::{Node, Section},
    secret::Secrets,
    server::set,
};

/// Where spans are posted, below the endpoint: OTLP/HTTP, "default URL path".
const PLACE: &str = "/v1/traces";

/// How traces are recorded. Without this section none are.
#[derive(Clone, PartialEq)]
pub struct TracesConfig {
    /// Where spans are posted.
    pub url: Uri,
    /// The share of the traces that is recorded, from 0 to 1.
    pub sample: f64,
    /// What the collector calls this gateway.
    pub service: String,
    /// Headers of each request, secrets all of them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long the collector may take for one request.
    pub timeout: Duration,
}

impl TracesConfig {
    pub(super) fn read(section: Option<Section<'_, '_>>, secrets: &Secrets<'_>) -> Option<Self> {
        let section = section?;
        let mut config = Self {
            url: Uri::default(),
            // A tenth shows what is usual; a busy gateway has some ten thousand a second.
            sample: 0.1,
            service: "hookweir".to_owned(),
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
        };
        match section.get("endpoint") {
            Some(node) => set(&mut config.url, node.parsed(url)),
            None => section.fault("endpoint is missing: where the collector listens, such as \"http://127.0.0.1:4318\""),
        }
        set(&mut config.sample, section.get("sample").and_then(|node| share(&node)));
        let service = section.get("service").and_then(|node| node.text());
        set(&mut config.service, service.map(str::to_owned));
        if let Some(headers) = section.sub("headers") {
            let headers = headers.entries();
            config.headers =
                headers.iter().filter_map(|(name, node)| header(name, node, secrets)).collect();
        }
        section.finish();
        Some(config)
    }
}

fn url(text: &str) -> Result<Uri, &'static str> {
    const EXPECTED: &str = "expected the URL of a collector such as \"http://127.0.0.1:4318\"";
    let whole = format!("{}{PLACE}", text.trim_end_matches('/'));
    let url: Uri = whole.parse().map_err(|_| EXPECTED)?;
    let good = matches!(url.scheme_str(), Some("http" | "https"))
        && url.query().is_none()
        && url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if good { Ok(url) } else { Err(EXPECTED) }
}

fn share(node: &Node<'_, '_>) -> Option<f64> {
    let share = node.json()?.as_f64().filter(|share| (0.0..=1.0).contains(share));
    if share.is_none() {
        node.fault("expected a share between 0 and 1, such as 0.1");
    }
    share
}

fn header(
    name: &str,
    node: &Node<'_, '_>,
    secrets: &Secrets<'_>,
) -> Option<(HeaderName, HeaderValue)> {
    let text = secrets.text(node)?;
    let (Ok(name), Ok(mut value)) = (name.parse(), HeaderValue::from_str(&text)) else {
        node.fault("this can't be a header");
        return None;
    };
    value.set_sensitive(true);
    Some((name, value))
}

impl fmt::Debug for TracesConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, sample, service, headers, timeout } = self;
        let headers: Vec<_> = headers.iter().map(|(name, _)| (name, REDACTED)).collect();
        f.debug_struct("TracesConfig")
            .field("url", url)
            .field("sample", sample)
            .field("service", service)
            .field("headers", &headers)
            .field("timeout", timeout)
            .finish()
    }
}
