//! A rehearsal: a version is run on an event of its author's before it goes live. The state it finds and
//! the answers it gets are the author's too; nothing is sent and nothing kept.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use hookweir_event::{Event, PluginName, StateEntry, StateKey};
use http::Response;

use crate::{Allowance, Answer, HttpFault, Sending, StateReader, Transport};

/// What a version is run on.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// The event.
    pub event: Event,
    /// Which attempt on it this is, counted from 1.
    pub attempt: u32,
    /// What is in its state.
    pub state: BTreeMap<String, Vec<u8>>,
    /// What requests are answered with, by method and URL: `POST https://api.example.com/v1`. Others are
    /// denied, and so are those that the grant does not allow.
    pub answers: BTreeMap<String, Response<Bytes>>,
}

/// State and answers as one rehearsal has them.
pub(crate) struct Props(Rehearsal);

impl Props {
    pub(crate) fn of(rehearsal: &Rehearsal) -> Arc<Self> {
        Arc::new(Self(rehearsal.clone()))
    }
}

impl StateReader for Props {
    fn get<'a>(&'a self, _: &'a PluginName, key: &'a str) -> Answer<'a, Option<StateEntry>> {
        Box::pin(async move {
            let value = self.0.state.get(key).cloned();
            Ok(value.map(|value| StateEntry {
                key: key.to_owned(),
                version: 1,
                value,
                expires_at: None,
            }))
        })
    }

    fn keys<'a>(
        &'a self,
        _: &'a PluginName,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<StateKey>> {
        Box::pin(async move {
            let keys = self.0.state.keys().filter(|key| key.starts_with(prefix));
            let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
            Ok(keys
                .take(limit)
                .map(|key| StateKey { key: key.clone(), expires_at: None })
                .collect())
        })
    }

    fn bytes<'a>(&'a self, _: &'a PluginName) -> Answer<'a, u64> {
        let bytes = self.0.state.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        Box::pin(async move { Ok(bytes as u64) })
    }
}

impl Transport for Props {
    fn send(&self, request: http::Request<Bytes>, mut allowance: Allowance) -> Sending<'_> {
        Box::pin(async move {
            let line = format!("{} {}", request.method(), request.uri());
            let Some(answer) = self.0.answers.get(&line) else {
                // This is kept and listed, and some URLs are secrets.
                let (method, uri) = (request.method(), request.uri());
                let scheme = uri.scheme_str().unwrap_or_default();
                let host = uri.authority().map_or("", |authority| authority.as_str());
                return Err(HttpFault::Denied(format!(
                    "the sample has no answer for this {method} to {scheme}://{host}"
                )));
            };
            allowance.take(answer.body().len())?;
            Ok(answer.clone())
        })
    }
}
