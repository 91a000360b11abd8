//! What searches show beside events: their deliveries one by one, all that is kept of events, and what is new.

use rusqlite::Connection;

use super::{
    deliver::is_unreadable,
    look::{PAGE_BYTES, PAGE_MAX, View},
    parcels::{self, Entry, Parcel, Part, Walk},
    search::{LOOK_MAX, Looker, Meant, TEXT_MAX, find, is_meant},
};
use crate::{Cursor, DeliveryId, Exported, Filter, Listed, News, Page, Shown};

/// A page of the deliveries that a filter means. All those of an event are on one page, so it may have some
/// more than `limit`; it has fewer if they are large.
pub(crate) fn deliveries(
    connection: &Connection,
    filter: &Filter,
    from: Option<Cursor>,
    limit: usize,
) -> rusqlite::Result<Page<Listed>> {
    each_delivery(connection, filter, (from, limit), |view, parcel, entry, stood| {
        let event = view.summary(entry)?;
        let delivery = view.delivery(parcel, entry.id, stood)?;
        let bytes = delivery.bytes();
        Ok((Listed { event, delivery }, bytes))
    })
}

/// The same, by their names alone.
pub(crate) fn delivery_ids(
    connection: &Connection,
    filter: &Filter,
    from: Option<Cursor>,
    limit: usize,
) -> rusqlite::Result<Page<DeliveryId>> {
    each_delivery(connection, filter, (from, limit), |_, _, entry, stood| {
        let id = super::look::delivery_id(entry.id, stood.key);
        Ok((id, size_of_val(&id)))
    })
}

/// `show` says as well how many bytes it has.
fn each_delivery<T>(
    connection: &Connection,
    filter: &Filter,
    (from, limit): (Option<Cursor>, usize),
    show: impl Fn(&View<'_>, &Parcel, &Entry, super::stand::Stood) -> rusqlite::Result<(T, usize)>,
) -> rusqlite::Result<Page<T>> {
    let Page { found, next } = find(connection, filter, from, limit)?;
    let (view, mut shown, mut bytes) = (View::new(connection)?, Vec::new(), 0);
    let mut looker = Looker::new(connection, Part::Directory);
    let mut found = found.into_iter().peekable();
    while let Some(event) = found.next() {
        looker.look(event, |parcel, entry| {
            for stood in view.stood(entry)? {
                if is_meant(&view, filter, &stood)? {
                    let (one, size) = show(&view, parcel, entry, stood)?;
                    bytes += size;
                    shown.push(one);
                }
            }
            Ok(())
        })?;
        // A page has room for `limit` deliveries: what is left of the events is on the next.
        let is_full = shown.len() >= limit.clamp(1, PAGE_MAX) || bytes >= PAGE_BYTES;
        if is_full && found.peek().is_some() {
            return Ok(Page { found: shown, next: Some(Cursor::at(event)) });
        }
    }
    Ok(Page { found: shown, next })
}

/// A page of events with all that is kept of them.
pub(crate) fn whole(
    connection: &Connection,
    filter: &Filter,
    from: Option<Cursor>,
    limit: usize,
) -> rusqlite::Result<Page<Exported>> {
    let Page { found, next } = find(connection, filter, from, limit)?;
    let (view, mut exported, mut bytes) = (View::new(connection)?, Vec::new(), 0);
    let mut whole = Looker::new(connection, Part::Whole);
    let mut directory = Looker::new(connection, Part::Directory);
    for key in found {
        if bytes >= PAGE_BYTES {
            // The last one is in, and this one is next.
            return Ok(Page { found: exported, next: Some(Cursor::at(key + 1)) });
        }
        let read = whole.look(key, |parcel, entry| {
            parcel.event(entry, parcels::origin(connection, entry.origin)?)
        });
        let event = match read {
            Err(error) if is_unreadable(&error) => None,
            read => read?,
        };
        let Some(shown) = directory.look(key, |parcel, entry| view.shown(parcel, entry))? else {
            continue;
        };
        bytes += shown.bytes() + event.as_ref().map_or(0, |event| event.body.len());
        exported.push(Exported { next: Cursor::at(key), shown, event });
    }
    Ok(Page { found: exported, next })
}

/// Events that came at or behind a cursor, in the order of their commits; without one nothing but where the
/// next will be. Dedupe keys and duplicates are not looked at.
pub(crate) fn news(
    connection: &Connection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: usize,
) -> rusqlite::Result<News<Shown>> {
    let next_event: i64 =
        connection.query_row("SELECT next_event FROM totals", [], |row| row.get(0))?;
    let from = after.map_or(next_event, |cursor| cursor.event.min(next_event));
    let limit = limit.clamp(1, PAGE_MAX);
    let (view, meant) = (View::new(connection)?, Meant::new(filter));
    let (mut found, mut bytes) = (Vec::new(), 0);
    let (mut looked, mut read) = (0, 0);
    let (mut next, mut more) = (from, false);
    parcels::walk(connection, from, meant.part(), |parcel| {
        for entry in parcel.entries.iter().filter(|entry| entry.key >= from) {
            if found.len() >= limit || bytes >= PAGE_BYTES || looked >= LOOK_MAX {
                more = true;
                return Ok(Walk::Enough);
            }
            looked += 1;
            next = entry.key + 1;
            if meant.includes(connection, &view, &parcel, entry)? {
                let shown = view.shown(&parcel, entry)?;
                bytes += shown.bytes();
                found.push(shown);
            }
        }
        read += parcel.content_len();
        if read >= TEXT_MAX {
            more = next < next_event;
            return Ok(Walk::Enough);
        }
        Ok(Walk::On)
    })?;
    Ok(News { found, next: Cursor::at(next), more })
}
