//! Files that are not plugins, or bad ones: each is refused with words that help. Modules are made
//! from text here; tests with built guests are in the end-to-end crate.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod guest;
mod load;
mod run;
mod settings;

use std::sync::{Arc, OnceLock};

use hookweir_event::{Clock, Event, EventId, Hops, Timestamp};
use hookweir_host::{Grant, Host, Limits, LoadFault, NoNetwork, NoState, Settings, Version};

/// One engine for the whole process, as in the gateway.
fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        Host::new(Settings::default(), Clock::system(), Arc::new(NoState), Arc::new(NoNetwork))
            .unwrap()
    })
}

async fn prepare(bytes: impl Into<Vec<u8>>) -> Result<Version, LoadFault> {
    prepare_under(Limits::default(), bytes).await
}

async fn prepare_under(limits: Limits, bytes: impl Into<Vec<u8>>) -> Result<Version, LoadFault> {
    let grant = Grant { limits, ..Grant::default() };
    host().prepare("tested".parse().unwrap(), bytes.into(), grant).await
}

fn event() -> Event {
    Event {
        id: EventId::new(Timestamp::from_secs(1_700_000_000), [7; 10]),
        origin: "test".parse().unwrap(),
        event_type: "tested".parse().unwrap(),
        received_at: Timestamp::from_secs(1_700_000_000),
        method: "POST".into(),
        path: "/".into(),
        query: None,
        headers: vec![],
        body: b"{}".to_vec(),
        attributes: vec![],
        hops: Hops::default(),
    }
}
