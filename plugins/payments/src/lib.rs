//! Payments: what Stripe says of a payment becomes what the shop knows of an order.
//!
//! The order's state is kept. `order.paid`, which asks for fulfilment, is made when it is paid for the first time and
//! never again: state and output commit together. An event without an order, or one that is not a payment
//! intent, will not get better: it is rejected.

mod intent;
mod order;

use hookweir_sdk::{prelude::*, stripe};
use serde::{Deserialize, Serialize};

use intent::{Intent, StripeEvent};
use order::{Came, Order, Status};

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

/// An order that was paid once more, by another payment: money to give back.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct PaidAgain {
    order: String,
    payment: String,
    first_payment: String,
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
    let status = match event.event_type() {
        stripe::PAYMENT_INTENT_PROCESSING => Status::Processing,
        stripe::PAYMENT_INTENT_PAYMENT_FAILED => Status::Failed,
        stripe::PAYMENT_INTENT_CANCELED => Status::Canceled,
        stripe::PAYMENT_INTENT_SUCCEEDED => Status::Paid,
        // Created, requires action, …: no order changes by them.
        _ => return Ok(outputs![]),
    };
    let StripeEvent { created: at, data } = event.json()?;
    let intent = data.object;
    let order = intent.metadata.order()?;
    let failures = intent.metadata.failures()?;
    if status == Status::Paid && event.attempt() <= failures {
        return Err(Failure::retry(format!("fulfilment of order {order} is not answering")));
    }
    let news = Order { status, payment: intent.id.clone(), at };
    match (news.keep(&order)?, status) {
        (Came::News, Status::Paid) => paid(&event, order, intent),
        (Came::News, Status::Failed) => failed(order, intent),
        (Came::Twice(first), _) => paid_again(order, intent, first),
        _ => Ok(outputs![]),
    }
}

fn paid(event: &Event, order: String, intent: Intent) -> Result<Outputs, Failure> {
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

fn paid_again(order: String, intent: Intent, first_payment: String) -> Result<Outputs, Failure> {
    let again = PaidAgain { order, payment: intent.id, first_payment };
    log::warn!(order = again.order, payment = again.payment, "paid a second time");
    Ok(outputs![Output::json("order.paid_again", &again)?])
}

fn failed(order: String, intent: Intent) -> Result<Outputs, Failure> {
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
