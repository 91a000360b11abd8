//! An order as it is kept and shown: what each of those who know something of it said last.

use std::time::Duration;

use hookweir_sdk::prelude::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const PREFIX: &str = "order:";
/// How long an order is kept after its last change: 400 days.
const KEPT: Duration = Duration::from_secs(400 * 86_400);
/// Ids in one listing.
const PAGE: usize = 100;

/// An order. Each part is replaced as a whole, by news of a later time only.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) shop: Option<Dated<Shop>>,
    pub(crate) shipment: Option<Dated<Shipment>>,
    pub(crate) payment: Option<Payment>,
}

/// Something that was so at that time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Dated<T> {
    pub(crate) updated_at: Timestamp,
    pub(crate) is: T,
}

/// What the shop says of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shop {
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) total: String,
    pub(crate) currency: String,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Open,
    Paid,
    Fulfilled,
    Refunded,
    Cancelled,
}

/// Where its parcel is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shipment {
    pub(crate) status: String,
    pub(crate) company: Option<String>,
    pub(crate) tracking_numbers: Vec<String>,
}

/// What the plugin `payments` found out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub(crate) payment: String,
    pub(crate) status: String,
}

impl Order {
    /// The order of this id, if anything is known of it.
    pub(crate) fn load(id: &str) -> Result<Option<Self>, Failure> {
        state::json(&format!("{PREFIX}{id}"))
    }

    /// Changes what is known of it. Two events that do so at the same time come one after the other: the one
    /// that read what the other has changed is run again by the gateway.
    pub(crate) fn change(id: &str, change: impl FnOnce(&mut Self)) -> Result<(), Failure> {
        let mut order = Self::load(id)?.unwrap_or_default();
        change(&mut order);
        state::set_json_for(&format!("{PREFIX}{id}"), &order, KEPT)
    }

    /// Forgets it.
    pub(crate) fn forget(id: &str) -> Result<bool, Failure> {
        state::delete(&format!("{PREFIX}{id}"))
    }
}

impl<T> Dated<T> {
    /// Takes the place of what is older. Of two of one time nobody can tell: the one that comes later stays.
    pub(crate) fn put(self, place: &mut Option<Self>) {
        if place.as_ref().is_none_or(|known| known.updated_at <= self.updated_at) {
            *place = Some(self);
        }
    }
}

/// The ids of orders, in the order of their text, behind one.
pub(crate) fn ids(after: &str) -> Result<Vec<String>, Failure> {
    let keys = state::keys(PREFIX, Some(&format!("{PREFIX}{after}")), PAGE)?;
    Ok(keys.into_iter().map(|key| key[PREFIX.len()..].to_owned()).collect())
}
