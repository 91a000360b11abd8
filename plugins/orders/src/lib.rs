//! Orders: what webhooks say of an order is kept, and looked up by REST a moment later.
//!
//! Shopify sends the whole order with each of its topics, and may send them late, twice or in another order: the
//! newest `updated_at` wins, whatever comes when. What the plugin `payments` finds out is kept beside it.

mod order;
mod shop;

use hookweir_sdk::prelude::*;

use order::Order;

#[plugin(subscribe = [
    "shopify/orders/*",
    "shopify/fulfillments/*",
    "plugin.payments/order.paid",
    "plugin.payments/order.payment_failed",
])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    match event.event_type() {
        "orders/delete" => shop::deleted(&event)?,
        topic if topic.starts_with("orders/") => shop::changed(&event)?,
        topic if topic.starts_with("fulfillments/") => shop::shipped(&event)?,
        _ => shop::paid(&event)?,
    }
    Ok(outputs![])
}

/// `GET /api/orders/ID` answers one order, `GET /api/orders/?after=ID` the ids of the next hundred.
#[api]
fn respond(request: Request) -> Result<Response, Failure> {
    match (request.method(), request.path().trim_start_matches('/')) {
        ("GET" | "HEAD", "") => {
            let after = request.parameter("after").unwrap_or_default();
            Response::json(&order::ids(&after)?)
        }
        ("GET" | "HEAD", id) => match Order::load(id)? {
            Some(order) => Response::json(&order),
            None => Ok(Response::json("there is no such order")?.status(404)),
        },
        _ => Ok(Response::new(405).header("allow", "GET, HEAD")),
    }
}

#[cfg(test)]
mod tests;
