//! What events are searched by, where an engine writes that down beside them.

use hookweir_event::{Digest, Event, EventType, OrderKey, Origin, PluginName};

use crate::Route;

/// Something that events are searched by, as eight bytes of its hash. What few events have in common
/// with few others, such as a dedupe key, is rare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Term {
    pub(crate) print: u64,
    pub(crate) rare: bool,
}

impl Term {
    pub(crate) fn origin(origin: &Origin) -> Self {
        Self::common(b"origin", origin.to_string().as_bytes())
    }

    pub(crate) fn event_type(event_type: &EventType) -> Self {
        Self::common(b"type", event_type.as_str().as_bytes())
    }

    pub(crate) fn plugin(plugin: &PluginName) -> Self {
        Self::common(b"plugin", plugin.as_str().as_bytes())
    }

    pub(crate) fn order_key(order_key: &OrderKey) -> Self {
        Self { rare: true, ..Self::common(b"order", order_key.as_str().as_bytes()) }
    }

    /// A claim is a hash already.
    pub(crate) fn claim(claim: &Digest) -> Self {
        Self { print: first_eight(claim), rare: true }
    }

    fn common(kind: &[u8], text: &[u8]) -> Self {
        Self { print: first_eight(&Digest::of_fields(&[kind, text])), rare: false }
    }
}

fn first_eight(digest: &Digest) -> u64 {
    let (eight, _) = digest.as_bytes().split_first_chunk().expect("invariant: a digest has 32");
    u64::from_be_bytes(*eight)
}

/// What an event is searched by.
pub(crate) fn terms(event: &Event, claims: &[Digest], routes: &[Route]) -> Vec<Term> {
    let mut terms = vec![Term::origin(&event.origin), Term::event_type(&event.event_type)];
    terms.extend(claims.iter().map(Term::claim));
    terms.extend(routes.iter().map(|route| Term::plugin(&route.plugin)));
    terms.extend(routes.iter().filter_map(|route| route.order_key.as_ref()).map(Term::order_key));
    terms
}
