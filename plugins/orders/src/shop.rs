//! News of an order, from those who send them.
//! Shapes: <https://shopify.dev/docs/api/webhooks>, topics `orders/*` and `fulfillments/*`.

use hookweir_sdk::prelude::*;
use jiff::Timestamp;
use serde::Deserialize;

use crate::order::{Dated, Order, Payment, Shipment, Shop, State};

/// What the plugin reads of Shopify's order. What is not needed is not named, so Shopify may add to it.
#[derive(Deserialize)]
struct ShopifyOrder {
    id: u64,
    name: String,
    updated_at: Timestamp,
    cancelled_at: Option<Timestamp>,
    financial_status: Option<String>,
    fulfillment_status: Option<String>,
    total_price: String,
    currency: String,
}

#[derive(Deserialize)]
struct Fulfillment {
    order_id: u64,
    status: String,
    updated_at: Timestamp,
    tracking_company: Option<String>,
    #[serde(default)]
    tracking_numbers: Vec<String>,
}

#[derive(Deserialize)]
struct Deleted {
    id: u64,
}

/// An output of the plugin `payments`.
#[derive(Deserialize)]
struct Paid {
    order: String,
    payment: String,
}

/// Any topic of an order: each brings all of it.
pub(crate) fn changed(event: &Event) -> Result<(), Failure> {
    let order: ShopifyOrder = event.json()?;
    let state = order.state();
    let ShopifyOrder { id, name, updated_at, total_price: total, currency, .. } = order;
    log::info!(order = id, "{state:?}");
    Order::change(&id.to_string(), |order| {
        Dated { updated_at, is: Shop { name, state, total, currency } }.put(&mut order.shop);
    })
}

/// A parcel is on its way.
pub(crate) fn shipped(event: &Event) -> Result<(), Failure> {
    let Fulfillment { order_id, status, updated_at, tracking_company, tracking_numbers } =
        event.json()?;
    let is = Shipment { status, company: tracking_company, tracking_numbers };
    Order::change(&order_id.to_string(), |order| {
        Dated { updated_at, is }.put(&mut order.shipment);
    })
}

/// The shop's owner has removed it.
pub(crate) fn deleted(event: &Event) -> Result<(), Failure> {
    let Deleted { id } = event.json()?;
    let was_there = Order::forget(&id.to_string())?;
    log::info!(order = id, was_there = was_there, "forgotten");
    Ok(())
}

/// `order.paid` or `order.payment_failed`. What is paid stays so: `payments` says it once and for good.
pub(crate) fn paid(event: &Event) -> Result<(), Failure> {
    let Paid { order, payment } = event.json()?;
    let status = event.event_type().trim_start_matches("order.").to_owned();
    Order::change(&order, |order| {
        if order.payment.as_ref().is_none_or(|known| known.status != "paid") {
            order.payment = Some(Payment { payment, status });
        }
    })
}

impl ShopifyOrder {
    fn state(&self) -> State {
        if self.cancelled_at.is_some() {
            return State::Cancelled;
        }
        match (self.financial_status.as_deref(), self.fulfillment_status.as_deref()) {
            (Some("refunded"), _) => State::Refunded,
            (_, Some("fulfilled")) => State::Fulfilled,
            (Some("paid"), _) => State::Paid,
            _ => State::Open,
        }
    }
}
