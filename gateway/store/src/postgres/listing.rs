//! What searches show beside events: their deliveries one by one, and all that is kept of events.

use super::{
    look::PAGE_MAX,
    search::{find, within_a_page},
    shown::{self, Entry},
    stand::stands,
    window::Window,
};
use crate::{Cursor, DeliveryId, Exported, Filter, Listed, Page, ReadError, Shown, ShownDelivery};

impl Window {
    /// A page of the deliveries that a filter means. All those of an event are on one page, so it may have some
    /// more than `limit`; it has fewer if they are large.
    pub(crate) async fn deliveries(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Listed>, ReadError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let mut connection = self.connect().await?;
        let moment = connection.moment().await?;
        let mut found = find(&moment, filter, from, limit).await?;
        let logged = shown::logged(&moment, &found.entries).await?;
        let of = |entry: &Entry| logged.get(&entry.summary.id).copied().unwrap_or(0);
        found.keep(within_a_page(found.entries.iter().map(of)));
        let mut deliveries = shown::with_attempts(&moment, &found.entries).await?;
        let (mut listed, mut ends, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for Entry { summary, .. } in &found.entries {
            let owed = deliveries.remove(&summary.id).into_iter().flatten();
            let before = listed.len();
            listed.extend(
                owed.filter(|delivery| is_meant(filter, delivery))
                    .map(|delivery| Listed { event: summary.clone(), delivery }),
            );
            ends.push(listed.len());
            bytes.push(listed[before..].iter().map(|it| it.delivery.bytes()).sum());
        }
        let events = within_a_page(bytes.into_iter()).min(up_to(&ends, limit));
        found.keep(events);
        listed.truncate(events.checked_sub(1).map_or(0, |last| ends[last]));
        Ok(Page { found: listed, next: found.next() })
    }

    /// The same, by their names alone.
    pub(crate) async fn delivery_ids(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<DeliveryId>, ReadError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let mut connection = self.connect().await?;
        let moment = connection.moment().await?;
        let mut found = find(&moment, filter, from, limit).await?;
        let mut deliveries = shown::deliveries(&moment, &found.entries).await?;
        let (mut ids, mut ends) = (Vec::new(), Vec::new());
        for entry in &found.entries {
            let owed = deliveries.remove(&entry.summary.id).into_iter().flatten();
            ids.extend(owed.filter(|it| is_meant(filter, it)).map(|delivery| delivery.id));
            ends.push(ids.len());
        }
        let events = up_to(&ends, limit);
        found.keep(events);
        ids.truncate(events.checked_sub(1).map_or(0, |last| ends[last]));
        Ok(Page { found: ids, next: found.next() })
    }

    /// A page of events with all that is kept of them.
    pub(crate) async fn whole(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Exported>, ReadError> {
        let mut connection = self.connect().await?;
        let moment = connection.moment().await?;
        let mut found = find(&moment, filter, from, limit.clamp(1, PAGE_MAX)).await?;
        let body = |entry: &Entry| usize::try_from(entry.summary.body_len).unwrap_or(usize::MAX);
        // First what is fetched, then what is shown, which is a little more.
        found.keep(within_a_page(found.entries.iter().map(body)));
        let mut shown = found.shown(&moment).await?;
        let bytes = found
            .entries
            .iter()
            .zip(&shown)
            .map(|(entry, shown)| body(entry) + Shown::bytes(shown));
        found.keep(within_a_page(bytes));
        shown.truncate(found.entries.len());
        let mut contents = shown::contents(&moment, &found.entries).await?;
        let exported =
            found.entries.iter().zip(shown).map(|(Entry { place, summary, .. }, shown)| {
                let content = contents.remove(&summary.id);
                let event = content.and_then(|content| content.event(summary));
                Exported { next: Cursor::at(place.seq), shown, event }
            });
        Ok(Page { found: exported.collect(), next: found.next() })
    }
}

/// How many events there are up to that with which there are `limit` deliveries; `ends` says how many there are with each.
fn up_to(ends: &[usize], limit: usize) -> usize {
    (ends.iter().take_while(|end| **end < limit).count() + 1).min(ends.len())
}

/// Whether a delivery is one of those that a filter means, of an event that it means.
fn is_meant(filter: &Filter, delivery: &ShownDelivery) -> bool {
    let Filter { plugin, order_key, state, .. } = filter;
    state.is_none_or(|wanted| stands(delivery, wanted))
        && order_key.as_ref().is_none_or(|wanted| delivery.order_key.as_ref() == Some(wanted))
        && plugin.as_ref().is_none_or(|wanted| delivery.plugin == *wanted)
}
