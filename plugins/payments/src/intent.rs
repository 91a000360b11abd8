//! What the plugin reads of Stripe's event object and the payment intent in it.
//! Shapes: <https://docs.stripe.com/api/events/object>, <https://docs.stripe.com/api/payment_intents/object>.

use hookweir_sdk::{Failure, OrFail};
use serde::Deserialize;

/// A Stripe event, as delivered.
#[derive(Deserialize)]
pub(crate) struct StripeEvent {
    /// When it happened: Unix time in seconds.
    #[serde(default)]
    pub(crate) created: u64,
    pub(crate) data: Data,
}

/// What the event is about.
#[derive(Deserialize)]
pub(crate) struct Data {
    pub(crate) object: Intent,
}

/// A payment intent. What is not needed is not named, so Stripe may add to it.
#[derive(Deserialize)]
pub(crate) struct Intent {
    pub(crate) id: String,
    pub(crate) amount_received: u64,
    pub(crate) currency: String,
    pub(crate) customer: Option<String>,
    pub(crate) last_payment_error: Option<PaymentError>,
    pub(crate) metadata: Metadata,
}

/// Why the last attempt to pay failed.
#[derive(Deserialize)]
pub(crate) struct PaymentError {
    pub(crate) code: Option<String>,
}

/// What the shop wrote into the intent when it made it.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    order_id: Option<String>,
    /// `fail-once` or `fail:N`: plays a warehouse that does not answer at first.
    downstream: Option<String>,
}

impl Metadata {
    /// The order that is paid for.
    pub(crate) fn order(&self) -> Result<String, Failure> {
        let order = self.order_id.clone().filter(|order| !order.is_empty());
        order.ok_or("no metadata.order_id: not a payment of the shop's").or_reject()
    }

    /// How many attempts the warehouse is to fail.
    pub(crate) fn failures(&self) -> Result<u32, Failure> {
        match self.downstream.as_deref() {
            None => Ok(0),
            Some("fail-once") => Ok(1),
            Some(other) => other
                .strip_prefix("fail:")
                .and_then(|count| count.parse().ok())
                .ok_or("metadata.downstream is neither `fail-once` nor `fail:N`")
                .or_reject(),
        }
    }
}
