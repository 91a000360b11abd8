//! What was said, cut to a size that a line of the audit log has room for.

use serde_json::{Map, Value};

/// The most of a text that is kept, in bytes.
const TEXT_MAX: usize = 256;
/// The most of a list, or of an object's fields.
const ITEMS_MAX: usize = 20;
/// How deep what is kept may be.
const DEPTH_MAX: usize = 4;

/// The same without what is secret, and with no more than so much of the rest.
pub(in crate::admin) fn brief(said: Map<String, Value>, secrets: &[String]) -> Value {
    let shown = said.into_iter().map(|(name, value)| match secrets.contains(&name) {
        true => (name, Value::from(hookweir_event::REDACTED)),
        false => (name, value),
    });
    cut(Value::Object(shown.collect()), DEPTH_MAX)
}

fn cut(value: Value, depth: usize) -> Value {
    match value {
        Value::String(text) => Value::String(cut_text(text)),
        Value::Array(_) | Value::Object(_) if depth == 0 => Value::from("…"),
        Value::Array(mut items) => {
            let more = items.len().saturating_sub(ITEMS_MAX);
            items.truncate(ITEMS_MAX);
            let mut items: Vec<_> = items.into_iter().map(|item| cut(item, depth - 1)).collect();
            if more > 0 {
                items.push(format!("… and {more} more").into());
            }
            items.into()
        }
        Value::Object(fields) => {
            let more = fields.len().saturating_sub(ITEMS_MAX);
            let fields = fields.into_iter().take(ITEMS_MAX);
            let mut fields: Map<_, _> =
                fields.map(|(name, value)| (cut_text(name), cut(value, depth - 1))).collect();
            if more > 0 {
                fields.insert("…".into(), format!("and {more} more").into());
            }
            fields.into()
        }
        plain => plain,
    }
}

fn cut_text(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn what_is_long_is_cut_and_what_is_secret_is_not_there() {
        let said = object(&json!({
            "events": (0..23).collect::<Vec<_>>(), "plugin": "é".repeat(200), "value": "hush", "off": false,
            "deep": [[[[1]]]],
        }));
        let shown = brief(said, &["value".into()]);
        let events = shown["events"].as_array().unwrap();
        assert_eq!((events.len(), &events[20]), (21, &json!("… and 3 more")));
        assert_eq!(shown["plugin"], format!("{}…", "é".repeat(128)));
        assert_eq!((&shown["value"], &shown["off"]), (&json!("[redacted]"), &json!(false)));
        assert_eq!(shown["deep"], json!([[["…"]]]));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![any::<bool>().prop_map(Value::from), ".{0,400}".prop_map(Value::from)];
        leaf.prop_recursive(6, 200, 40, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..40).prop_map(Value::from),
                prop::collection::vec((".{0,9}", inner), 0..40)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_never_more_than_it_was_by_much_and_cut_once(value in any_json()) {
            let once = cut(value, DEPTH_MAX);
            let size = |value: &Value| value.to_string().len();
            prop_assert!(size(&once) < (ITEMS_MAX + 1).pow(4) * 4 * TEXT_MAX);
        }
    }
}
