//! Endpoints as they are kept: who gets what, and with which secret it is signed.

use hookweir_sdk::prelude::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{health::Health, secret::Secrets};

const PREFIX: &str = "endpoint:";
/// How many there are. A listing is of its moment; by this entry two that register at the same time
/// come one after the other.
const COUNT: &str = "endpoints";

/// One of those that deliveries go to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    /// Patterns of event types.
    pub(crate) types: Vec<String>,
    pub(crate) description: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) secrets: Secrets,
    /// Nothing is sent to it while there is a reason.
    pub(crate) disabled: Option<Disabled>,
}

/// Since when nothing is sent, and why.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Disabled {
    pub(crate) at: Timestamp,
    pub(crate) because: String,
}

impl Endpoint {
    /// The endpoint of this id, if there is one. Any text may be asked for.
    pub(crate) fn load(id: &str) -> Result<Option<Self>, Failure> {
        match is_id(id) {
            true => state::json(&format!("{PREFIX}{id}")),
            false => Ok(None),
        }
    }

    pub(crate) fn save(&self, id: &str) -> Result<(), Failure> {
        state::set_json(&format!("{PREFIX}{id}"), self)
    }

    /// Keeps a new one, unless there are as many as there may be, and answers its id.
    pub(crate) fn add(&self, most: u32) -> Result<Option<String>, Failure> {
        if state::json::<u32>(COUNT)?.unwrap_or(0) >= most {
            return Ok(None);
        }
        state::increment(COUNT, 1)?;
        let id = format!("ep_{:016x}", random::u64());
        self.save(&id)?;
        Ok(Some(id))
    }

    /// Whether events of this type go to it.
    pub(crate) fn wants(&self, event_type: &str) -> bool {
        self.disabled.is_none() && self.types.iter().any(|pattern| matches(pattern, event_type))
    }
}

/// Forgets an endpoint and all that is known of it. Answers whether it was there.
pub(crate) fn remove(id: &str) -> Result<bool, Failure> {
    let was_there = is_id(id) && state::delete(&format!("{PREFIX}{id}"))?;
    if was_there {
        Health::forget(id)?;
        state::increment(COUNT, -1)?;
    }
    Ok(was_there)
}

/// The ids of all, in the order of their text.
pub(crate) fn ids() -> Result<Vec<String>, Failure> {
    let keys = state::keys(PREFIX, None, usize::MAX)?;
    Ok(keys.into_iter().map(|key| key[PREFIX.len()..].to_owned()).collect())
}

fn is_id(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 64 && text.strip_prefix("ep_").is_some_and(|rest| rest.chars().all(plain))
}

/// Whether a type is meant: `*` stands for any run of characters, none included.
pub(crate) fn matches(pattern: &str, event_type: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == event_type };
    let Some(mut left) = event_type.strip_prefix(first) else { return false };
    let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    // What comes first leaves most for the others.
    for part in between.split('*') {
        let Some((_, behind)) = left.split_once(part) else { return false };
        left = behind;
    }
    left.ends_with(last)
}
