//! The trace that an event is part of. It comes with the sender's request, is the event's attribute
//! `traceparent`, and goes on to what a plugin makes and sends.
//!
//! Where traces are recorded, what the gateway does of it becomes spans: a [`Tracer`] begins them, and an [`Exporter`]
//! sends those that have ended to a collector. Each puts itself into the attribute in the place of its parent, so
//! that one trace leads over the store, from the webhook to its attempts, what they send and what they make.

mod context;
mod export;
mod span;
mod tracer;
mod wire;

use self::context::NAME;
pub(crate) use self::{
    context::Context,
    export::Exporter,
    span::{Begun, Fact, Kind},
    tracer::Tracer,
};

/// The attribute for a request with these headers, if they name a trace as it should be named.
pub(crate) fn parent(headers: &[(String, Vec<u8>)]) -> Option<(String, String)> {
    let (_, value) = headers.iter().find(|(name, _)| name == NAME)?;
    let text = str::from_utf8(value).ok().filter(|text| Context::parse(text).is_some())?;
    Some((NAME.to_owned(), text.to_owned()))
}

/// Puts a span of ours into attributes, as the parent of what is made from them.
pub(crate) fn enter(attributes: &mut Vec<(String, String)>, context: Context) {
    attributes.retain(|(name, _)| name != NAME);
    attributes.push((NAME.to_owned(), context.text()));
}

/// The id of the trace that these attributes name, for the log. What a plugin made may name something else.
pub(crate) fn id(attributes: &[(String, String)]) -> Option<String> {
    Context::of(attributes).map(|context| context.id())
}

/// Lets what was made of an event be part of the event's trace, unless it says otherwise.
pub(crate) fn follow(made: &mut Vec<(String, String)>, event: &[(String, String)]) {
    let named =
        |attributes: &[(String, String)]| attributes.iter().find(|(name, _)| name == NAME).cloned();
    if named(made).is_none() {
        made.extend(named(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(value: &str) -> Option<String> {
        parent(&[(NAME.to_owned(), value.as_bytes().to_vec())]).map(|(_, value)| value)
    }

    #[test]
    fn only_what_is_a_trace_is_taken() {
        assert_eq!(of(GOOD).as_deref(), Some(GOOD));
        assert_eq!(parent(&[]), None);
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            &GOOD.to_uppercase(),
            &GOOD.replace("00-4", "ff-4"),
            &format!("{GOOD}-more"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_made_follows_unless_it_says_otherwise() {
        let event = vec![(NAME.to_owned(), GOOD.to_owned())];
        let mut made = vec![];
        follow(&mut made, &event);
        assert_eq!(made, event);
        let own = vec![(NAME.to_owned(), "mine".to_owned())];
        let mut made = own.clone();
        follow(&mut made, &event);
        assert_eq!(made, own);
    }

    #[test]
    fn a_span_takes_the_place_of_its_parent() {
        let mut attributes =
            vec![(NAME.to_owned(), GOOD.to_owned()), ("a".to_owned(), "b".to_owned())];
        let context = Context::parse(GOOD).unwrap();
        let inner = Context { span: [7; 8], ..context };
        enter(&mut attributes, inner);
        assert_eq!(Context::of(&attributes), Some(inner));
        assert_eq!(attributes.len(), 2);
        assert_eq!(id(&attributes).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(id(&[]), None);
    }

    #[test]
    fn what_names_no_trace_has_no_id_for_the_log() {
        for text in ["mine", "00-hello world-more-01", &GOOD.to_uppercase(), &format!("{GOOD}-")] {
            assert_eq!(id(&[(NAME.to_owned(), text.to_owned())]), None, "{text}");
        }
    }
}
