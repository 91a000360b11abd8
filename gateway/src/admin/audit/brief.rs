//! What was said, cut to a size that a line of the audit log has room for.

use hookweir_event::REDACTED;
use serde_json::{Map, Value};

/// The most of a text that is kept, in bytes as JSON has it.
const TEXT_MAX: usize = 256;
/// The most of a list, or of an object's fields.
const ITEMS_MAX: usize = 20;
/// How deep the lists in a field may be.
const DEPTH_MAX: usize = 3;
/// The most of all together, in bytes as JSON has it, but for what says that something is left out: a line of
/// that for each of the depths.
const ALL_MAX: usize = 4 << 10;
/// Stands for what is left out.
const MORE: &str = "…";

/// The same with no more than so much of it, and without objects inside: no order takes one, so nobody knows what
/// is in it.
pub(in crate::admin) fn brief(said: Map<String, Value>) -> Value {
    Cut { left: ALL_MAX }.fields(said).into()
}

/// No more of a text than a line has room for.
pub(in crate::admin) fn brief_text(text: &str) -> String {
    Cut { left: TEXT_MAX }.text(text)
}

/// Cuts, as long as there is room.
struct Cut {
    /// In bytes.
    left: usize,
}

impl Cut {
    fn value(&mut self, value: Value, depth: usize) -> Value {
        match value {
            Value::String(text) => self.text(&text).into(),
            Value::Object(_) => self.text(REDACTED).into(),
            Value::Array(_) if depth == 0 => self.text(MORE).into(),
            Value::Array(items) => self.items(items, depth - 1).into(),
            plain => {
                self.take(plain.to_string().len());
                plain
            }
        }
    }

    fn items(&mut self, items: Vec<Value>, depth: usize) -> Vec<Value> {
        let mut more = items.len();
        let mut kept = Vec::new();
        for item in items.into_iter().take(ITEMS_MAX) {
            if !self.has_room() {
                break;
            }
            kept.push(self.value(item, depth));
            more -= 1;
        }
        if more > 0 {
            kept.push(format!("{MORE} and {more} more").into());
        }
        kept
    }

    fn fields(&mut self, fields: Map<String, Value>) -> Map<String, Value> {
        let mut more = fields.len();
        let mut kept = Map::new();
        for (name, value) in fields.into_iter().take(ITEMS_MAX) {
            if !self.has_room() {
                break;
            }
            let name = self.text(&name);
            kept.insert(name, self.value(value, DEPTH_MAX));
            more -= 1;
        }
        if more > 0 {
            kept.insert(MORE.into(), format!("and {more} more").into());
        }
        kept
    }

    /// Whether there is room for one more, and takes what stands around it: quotes, a comma or a colon.
    fn has_room(&mut self) -> bool {
        self.take(PUNCTUATION);
        self.left > 0
    }

    fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    fn text(&mut self, text: &str) -> String {
        let room = self.left.min(TEXT_MAX);
        let mut taken = 0;
        let end = text.char_indices().find(|(_, c)| {
            taken += escaped(*c);
            taken > room
        });
        match end {
            None => {
                self.take(taken);
                text.to_owned()
            }
            Some((end, _)) => {
                self.take(room + MORE.len());
                format!("{}{MORE}", &text[..end])
            }
        }
    }
}

/// What stands around a field: `"":"",`.
const PUNCTUATION: usize = 6;

/// How many bytes a character has in JSON.
fn escaped(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => "\\u0000".len(),
        c => c.len_utf8(),
    }
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
    fn what_is_long_is_cut_and_what_is_in_an_object_is_not_there() {
        let said = object(&json!({
            "events": (0..23).collect::<Vec<_>>(), "plugin": "é".repeat(200), "off": false,
            "deep": [[[[1]]]], "within": [{ "value": "hush" }],
        }));
        let shown = brief(said);
        let events = shown["events"].as_array().unwrap();
        assert_eq!((events.len(), &events[20]), (21, &json!("… and 3 more")));
        assert_eq!(shown["plugin"], format!("{}…", "é".repeat(128)));
        assert_eq!((&shown["within"], &shown["off"]), (&json!(["[redacted]"]), &json!(false)));
        assert_eq!(shown["deep"], json!([[["…"]]]));
    }

    #[test]
    fn all_together_has_a_size_and_what_is_left_out_is_counted() {
        let texts = vec!["w".repeat(300); 20];
        let said = object(&json!({ "a": texts, "b": texts, "c": 1 }));
        let shown = brief(said);
        let kept = shown["a"].as_array().unwrap();
        assert_eq!(kept.len(), 17, "16 of 256 bytes are what there is room for");
        assert_eq!((&kept[16], &shown["…"]), (&json!("… and 4 more"), &json!("and 2 more")));
        // What a control character takes is what JSON makes of it.
        assert_eq!(brief_text(&"\0".repeat(100)).len(), 42 + MORE.len());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "(?s).{0,400}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 400, 40, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..40).prop_map(Value::from),
                prop::collection::vec(("(?s).{0,40}", inner), 0..40)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_never_has_more_than_there_is_room_for(said in prop::collection::vec(("[a-z]{1,9}", any_json()), 0..40)) {
            let shown = brief(said.into_iter().collect()).to_string();
            // Where it ends, each depth may say so.
            let ends = (DEPTH_MAX + 1) * 40;
            prop_assert!(shown.len() <= ALL_MAX + ends, "{} bytes", shown.len());
        }

        #[test]
        fn what_fits_is_as_it_was(names in prop::collection::btree_set("[a-z]{1,9}", 0..20), text in "[ -~]{0,80}") {
            let said: Map<_, _> =
                names.into_iter().map(|name| (name, Value::from(text.clone()))).collect();
            prop_assert_eq!(brief(said.clone()), Value::Object(said));
        }
    }
}
