//! Inventory: stock levels that are exact, however often and in whatever order they are told.
//!
//! Each source is the truth for its own places. Shopify tells levels; a warehouse counts now and then, and tells
//! moves in between. A level is a function of the set of what was told, so duplicates, disorder and retries
//! can't change it: see the module `level`.

mod level;
mod sources;

use std::collections::BTreeMap;

use hookweir_sdk::prelude::*;
use serde::Serialize;

use level::Level;
use sources::{News, Place};

/// Places that one answer of the api has at most.
const PLACES_MAX: usize = 500;

/// What other plugins learn of a level.
#[derive(Serialize)]
struct StockChanged<'a> {
    source: &'a str,
    item: &'a str,
    location: &'a str,
    /// How many there are now; null if the item is no longer kept there.
    available: Option<i64>,
}

#[plugin(subscribe = [
    "shopify/inventory_levels/*",
    "warehouse/stock.counted",
    "warehouse/stock.moved",
])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    let (place, news) = sources::read(&event)?;
    let Place { source, item, location } = &place;
    let mut level: Level = state::json(&place.key())?.unwrap_or_default();
    let before = level.available();
    match news {
        News::Counted { at, available } => level.count(at, available),
        News::Moved { at, id, by } => level.moved(at, id, by),
    }
    state::set_json(&place.key(), &level)?;
    let available = level.available();
    if available == before {
        return Ok(outputs![]);
    }
    let changed = StockChanged { source, item, location, available };
    let mut outputs = outputs![Output::json("stock.changed", &changed)?];
    let low: i64 = config::get("low").unwrap_or_default().parse().unwrap_or(0);
    let is_low = |available: Option<i64>| available.is_some_and(|available| available <= low);
    if is_low(available) && !is_low(before) {
        log::warn!(item = item, location = location, "{} left", available.unwrap_or_default());
        outputs.push(Output::json("stock.low", &changed)?);
    }
    Ok(outputs)
}

/// An item at all places of a source.
#[derive(Default, Serialize)]
struct Stock {
    available: i64,
    locations: BTreeMap<String, i64>,
}

/// `GET /api/inventory/SOURCE/ITEM` answers how many of an item there are, and where.
#[api]
fn respond(request: Request) -> Result<Response, Failure> {
    let path: Vec<_> = request.path().trim_matches('/').split('/').collect();
    let (source, item) = match (request.method(), &path[..]) {
        ("GET" | "HEAD", [source, item]) => (source, item),
        ("GET" | "HEAD", _) => return Ok(Response::new(404)),
        _ => return Ok(Response::new(405).header("allow", "GET, HEAD")),
    };
    let mut stock = Stock::default();
    let prefix = Place::prefix(source, item);
    for key in state::keys(&prefix, None, PLACES_MAX)? {
        let level: Level = state::json(&key)?.unwrap_or_default();
        if let Some(available) = level.available() {
            stock.available += available;
            stock.locations.insert(key[prefix.len()..].to_owned(), available);
        }
    }
    Response::json(&stock)
}

#[cfg(test)]
mod tests;
