//! Payments: what Stripe says of a payment becomes what the shop knows of an order.
//!
//! `payment_intent.succeeded` makes `order.paid`, `payment_intent.payment_failed` makes
//! `order.payment_failed`; the other types of the family change nothing. An event without an order,
//! or one that is not a payment intent, will not get better: it is rejected.

mod intent;

use hookweir_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use intent::{Intent, StripeEvent};

/// An order that is paid and goes to fulfilment.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Paid {
    order: String,
    payment: String,
    customer: Option<String>,
    /// In the currency's smallest unit, as Stripe counts.
    amount: u64,
    currency: String,
    fulfilment: Fulfilment,
}

/// What the warehouse is asked for. The event's id keeps a second attempt from shipping twice.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fulfilment {
    requested: bool,
    idempotency_key: String,
}

/// An order whose payment did not go through.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct PaymentFailed {
    order: String,
    payment: String,
    reason: String,
}

#[plugin(subscribe = ["stripe/payment_intent.*"])]
pub(crate) fn handle(event: Event) -> Result<Outputs, Failure> {
    match event.event_type() {
        "payment_intent.succeeded" => paid(&event, read(&event)?),
        "payment_intent.payment_failed" => failed(read(&event)?),
        // Created, processing, canceled, …: no order changes by them.
        _ => Ok(outputs![]),
    }
}

fn read(event: &Event) -> Result<Intent, Failure> {
    Ok(event.json::<StripeEvent>()?.data.object)
}

fn paid(event: &Event, intent: Intent) -> Result<Outputs, Failure> {
    let order = intent.metadata.order()?;
    let failures = intent.metadata.failures()?;
    if event.attempt() <= failures {
        return Err(Failure::retry(format!("fulfilment of order {order} is not answering")));
    }
    let paid = Paid {
        order,
        payment: intent.id,
        customer: intent.customer,
        amount: intent.amount_received,
        currency: intent.currency,
        fulfilment: Fulfilment { requested: true, idempotency_key: event.id().to_owned() },
    };
    Ok(outputs![Output::json("order.paid", &paid)?])
}

fn failed(intent: Intent) -> Result<Outputs, Failure> {
    let order = intent.metadata.order()?;
    let reason = intent.last_payment_error.and_then(|error| error.code);
    let failed = PaymentFailed {
        order,
        payment: intent.id,
        reason: reason.unwrap_or_else(|| "unknown".to_owned()),
    };
    log::warn!(order = failed.order, reason = failed.reason, "payment failed");
    Ok(outputs![Output::json("order.payment_failed", &failed)?])
}

#[cfg(test)]
mod tests;
