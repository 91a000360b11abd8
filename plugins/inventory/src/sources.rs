//! What each source tells, in one form.

use hookweir_sdk::prelude::*;
use jiff::Timestamp;
use serde::Deserialize;

use crate::level::At;

/// Where something is, as its source names it.
pub(crate) struct Place {
    pub(crate) source: String,
    pub(crate) item: String,
    pub(crate) location: String,
}

/// What was told of a place.
pub(crate) enum News {
    /// A level; none, if the item is no longer kept there.
    Counted { at: At, available: Option<i64> },
    /// A change of one.
    Moved { at: At, id: String, by: i64 },
}

/// Shopify's levels. Shapes: <https://shopify.dev/docs/api/webhooks>, topics `inventory_levels/*`.
#[derive(Deserialize)]
struct InventoryLevel {
    inventory_item_id: u64,
    location_id: u64,
    available: Option<i64>,
    /// Missing where an item and a place are parted.
    updated_at: Option<Timestamp>,
}

/// A warehouse's count or move; `sequence` grows with each of one place.
#[derive(Deserialize)]
struct Stock {
    id: Option<String>,
    item: String,
    location: String,
    sequence: i64,
    available: Option<i64>,
    by: Option<i64>,
}

/// Reads an event.
///
/// # Errors
/// A reject if it is none of these.
pub(crate) fn read(event: &Event) -> Result<(Place, News), Failure> {
    match event.event_type() {
        topic if topic.starts_with("inventory_levels/") => shopify(event),
        "stock.counted" => {
            let stock: Stock = event.json()?;
            let available = Some(stock.available.ok_or("no `available`").or_reject()?);
            let news = News::Counted { at: At(stock.sequence, 0), available };
            Ok((Place::new(event, stock.item, stock.location)?, news))
        }
        "stock.moved" => {
            let stock: Stock = event.json()?;
            let by = stock.by.ok_or("no `by`").or_reject()?;
            let id = stock.id.ok_or("no `id`: a move can't be told from another").or_reject()?;
            let news = News::Moved { at: At(stock.sequence, 0), id, by };
            Ok((Place::new(event, stock.item, stock.location)?, news))
        }
        other => Err(Failure::reject(format!("nothing is known of `{other}`"))),
    }
}

fn shopify(event: &Event) -> Result<(Place, News), Failure> {
    let level: InventoryLevel = event.json()?;
    // Finer than `updated_at`, which counts seconds, but not signed: so it only decides between equals.
    let triggered = event.header("x-shopify-triggered-at").map(str::parse::<Timestamp>);
    let triggered = triggered.transpose().map_err(|_| "x-shopify-triggered-at is no time");
    let triggered = triggered.or_reject()?;
    let updated = level.updated_at.or(triggered).ok_or("it says no time").or_reject()?;
    let fine = triggered.unwrap_or(updated);
    let nanos = i64::try_from(fine.as_nanosecond()).map_err(|_| "a time that is none");
    let at = At(updated.as_second(), nanos.or_reject()?);
    // A level that Shopify does not track has no number either.
    let is_parted = event.event_type() == "inventory_levels/disconnect";
    let available = level.available.filter(|_| !is_parted);
    let (item, location) = (level.inventory_item_id.to_string(), level.location_id.to_string());
    Ok((Place::new(event, item, location)?, News::Counted { at, available }))
}

impl Place {
    fn new(event: &Event, item: String, location: String) -> Result<Self, Failure> {
        // Names are parts of a key and of a path.
        let fits = |name: &str| !name.is_empty() && name.len() <= 100 && !name.contains('/');
        if !fits(&item) || !fits(&location) {
            return Err(Failure::reject("an item or a location has no name that can be kept"));
        }
        Ok(Self { source: event.source().to_owned(), item, location })
    }

    /// Under which its level is kept.
    pub(crate) fn key(&self) -> String {
        format!("{}{}", Self::prefix(&self.source, &self.item), self.location)
    }

    /// What the keys of an item begin with, whatever the location.
    pub(crate) fn prefix(source: &str, item: &str) -> String {
        format!("level/{source}/{item}/")
    }
}
