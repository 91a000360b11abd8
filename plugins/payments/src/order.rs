//! An order as this plugin knows it: how its payment stands, and since when.
//!
//! Stripe may send events late, twice or in another order. What is paid stays paid; of the rest the newest by
//! Stripe's own clock holds.

use std::time::Duration;

use hookweir_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// How long an order is kept after its last news: 90 days. Stripe sends an event again for 3 at most.
const KEPT: Duration = Duration::from_secs(90 * 86_400);

/// What is kept under `order:ID`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) status: Status,
    /// The payment intent that said so.
    pub(crate) payment: String,
    /// When: Stripe's `created`, Unix time in seconds.
    pub(crate) at: u64,
}

/// How a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Processing,
    Failed,
    Canceled,
    Paid,
}

/// What came of an event.
#[derive(Debug, PartialEq)]
pub(crate) enum Came {
    /// The order stands so from now on.
    News,
    /// It was known, or is older than what is.
    Nothing,
    /// It is paid a second time, by another payment than this one.
    Twice(String),
}

impl Order {
    /// Keeps news of an order. Of two that come at the same time the gateway runs one again.
    pub(crate) fn keep(self, id: &str) -> Result<Came, Failure> {
        let key = format!("order:{id}");
        let came = match state::json(&key)? {
            Some(known) => self.against(known),
            None => Came::News,
        };
        match &came {
            Came::News => state::set_json_for(&key, &self, KEPT)?,
            // Told once, however often Stripe says so.
            Came::Twice(_) => {
                let told = format!("again:{id}:{}", self.payment);
                if !state::set_if_absent(&told, "", Some(KEPT))? {
                    return Ok(Came::Nothing);
                }
            }
            Came::Nothing => {}
        }
        Ok(came)
    }

    fn against(&self, known: Self) -> Came {
        match (known.status, self.status) {
            (Status::Paid, Status::Paid) if known.payment != self.payment => {
                Came::Twice(known.payment)
            }
            (Status::Paid, _) => Came::Nothing,
            (_, Status::Paid) => Came::News,
            _ if *self == known || self.at < known.at => Came::Nothing,
            _ => Came::News,
        }
    }
}
