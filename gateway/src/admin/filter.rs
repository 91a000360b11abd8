//! Which events are meant, and which of their deliveries: the same parameters wherever there is a filter, and how
//! much of what is meant is shown.

use hookweir_event::{EventType, OrderKey, Origin, Pattern, PluginName, SourceName};
use hookweir_store::{Cursor, Filter, Page as Found, Standpoint};
use hookweir_verify::claim_of_id;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    asked::{Limit, Moment, Text},
    fault::Fault,
    reply::Page,
};

/// Which events are meant. Parameters that are none of these may be others' of the same route.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(super) struct Filtered {
    /// Where they come from: a source, `plugin.NAME` or `gateway`.
    #[param(value_type = Option<String>, pattern = "^(plugin\\.)?[a-z0-9-]{1,64}$")]
    source: Option<Text<Origin>>,
    /// What happened.
    #[serde(rename = "type")]
    #[param(rename = "type", value_type = Option<String>)]
    event_type: Option<Text<EventType>>,
    /// The same, by a pattern such as `stripe/payment_intent.*`.
    #[serde(rename = "match")]
    #[param(rename = "match", value_type = Option<String>)]
    pattern: Option<Text<Pattern>>,
    /// Received then or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Text<Moment>>,
    /// Received before.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Text<Moment>>,
    /// One of their deliveries is of this plugin,
    #[param(value_type = Option<String>, pattern = "^[a-z0-9-]{1,64}$")]
    plugin: Option<Text<PluginName>>,
    /// has this order key,
    order_key: Option<String>,
    /// and stands so: `due`, `behind`, `held`, `leased`, `done`, `dead`, `discarded`; or `blocks`, dead with others
    /// waiting behind it; or `unrouted`, the event has no delivery.
    #[param(value_type = Option<String>, pattern = "^(due|behind|held|leased|done|dead|discarded|blocks|unrouted)$")]
    state: Option<Text<Standpoint>>,
    /// They were sent again within their window.
    #[serde(default)]
    #[param(value_type = Option<bool>, default = false)]
    duplicated: bool,
    /// It is somewhere in the path, the query, a header or the body, as it is written here.
    text: Option<String>,
    /// The values that their dedupe id was made of, in the scheme's order. Needs `source`, and `type` where the
    /// id is not signed.
    #[serde(default)]
    #[param(value_type = Option<Vec<String>>)]
    dedupe: Vec<String>,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paged {
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Text<Cursor>>,
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit<50>,
}

impl Paged {
    /// Where it begins, and how long it is.
    pub(super) fn parts(&self) -> (Option<Cursor>, usize) {
        (text(&self.cursor), self.limit.0)
    }
}

impl Filtered {
    /// The filters to try one after another: an id's claim has the type in it where the id is not
    /// signed, and which of the two it is the scheme knows.
    pub(super) fn filters(&self) -> Result<Vec<Filter>, Fault> {
        let filter = self.filter();
        if self.dedupe.is_empty() {
            return Ok(vec![filter]);
        }
        let origin = filter.origin.as_ref().map(ToString::to_string);
        let source: SourceName = origin
            .and_then(|origin| origin.parse().ok())
            .ok_or_else(|| Fault::bad("a dedupe id is looked for in one source: name it"))?;
        let id: Vec<&str> = self.dedupe.iter().map(String::as_str).collect();
        let kinds = [None, filter.event_type.as_ref()];
        let kinds = if kinds[1].is_some() { &kinds[..] } else { &kinds[..1] };
        let claimed = |kind: &Option<_>| Filter {
            claim: Some(claim_of_id(&source, *kind, &id)),
            ..filter.clone()
        };
        Ok(kinds.iter().map(claimed).collect())
    }

    /// The filter where a dedupe id can't be looked for.
    pub(super) fn without_dedupe(&self) -> Result<Filter, Fault> {
        if !self.dedupe.is_empty() {
            return Err(Fault::bad("dedupe: can't be looked for here; find the event by it first"));
        }
        Ok(self.filter())
    }

    fn filter(&self) -> Filter {
        Filter {
            origin: text(&self.source),
            event_type: text(&self.event_type),
            pattern: text(&self.pattern),
            since: text(&self.since).map(|Moment(at)| at),
            until: text(&self.until).map(|Moment(at)| at),
            claim: None,
            plugin: text(&self.plugin),
            order_key: self.order_key.as_deref().map(OrderKey::new),
            state: text(&self.state),
            duplicated: self.duplicated,
            text: self.text.clone(),
        }
    }
}

pub(super) fn text<T: Clone>(given: &Option<Text<T>>) -> Option<T> {
    given.as_ref().map(|Text(value)| value.clone())
}

/// A page as it is answered.
pub(super) fn page<T, U>(page: Found<T>, show: impl Fn(T) -> U) -> Page<U> {
    let items = page.found.into_iter().map(show).collect();
    Page { items, next: page.next.map(|next| next.to_string()) }
}
