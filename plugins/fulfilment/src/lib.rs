//! Fulfilment: an order that is paid is sent to the warehouse, which ships it once.
//!
//! What `payments` makes of a payment comes here as an event of its own, with attempts and waits of its own: a
//! warehouse that is down holds up no payment.

use hookweir_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Deserialize)]
struct Config {
    warehouse_url: String,
}

/// What is read of `order.paid`.
#[derive(Deserialize)]
struct Paid {
    order: String,
    customer: Option<String>,
    fulfilment: Asked,
}

#[derive(Deserialize)]
struct Asked {
    /// The same for an order whenever it is asked for: what keeps the warehouse from shipping twice.
    idempotency_key: String,
}

/// What the warehouse answers.
#[derive(Deserialize)]
struct Taken {
    shipment: String,
}

/// An order that is on its way.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fulfilled {
    order: String,
    shipment: String,
}

#[plugin(
    subscribe = ["plugin.payments/order.paid"],
    http = ["https://*"],
    secrets = ["WAREHOUSE_KEY"]
)]
fn handle(event: Event) -> Result<Outputs, Failure> {
    let Config { warehouse_url } = config::all()?;
    let Paid { order, customer, fulfilment } = event.json()?;
    let answer = http::post(warehouse_url)
        .bearer("WAREHOUSE_KEY")
        .header("idempotency-key", fulfilment.idempotency_key)
        .json(&json!({ "order_reference": order, "customer": customer }))?
        .send()?
        .ok_or_retry()?; // what the warehouse says of why not is in the attempt's log
    let Taken { shipment } = answer.json()?;
    log::info!(order = order, shipment = shipment, "taken by the warehouse");
    Ok(outputs![Output::json("order.fulfilled", &Fulfilled { order, shipment })?])
}

#[cfg(test)]
mod tests;
