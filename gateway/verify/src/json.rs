//! Values at JSON pointers (RFC 6901), taken from a body without building a tree of it. One pass
//! serves all pointers; what none of them leads to is skipped. Values stay raw text, so that a
//! number of 20 digits is not rounded, and an id with it.

use std::{borrow::Cow, fmt};

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value, value::RawValue};

/// How many pointers one scheme may have: 16 flags, an array on the stack. AWS SNS needs 11.
pub(crate) const MAX_POINTERS: usize = 16;
/// How deep a pointer may lead. Recursion follows pointers, so this bounds the stack.
const MAX_DEPTH: usize = 16;

/// The raw value for each pointer, by its index.
pub(crate) type Found<'a> = [Option<&'a RawValue>; MAX_POINTERS];

/// A JSON pointer (RFC 6901), at least one step long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(Box<[Box<str>]>);

impl std::str::FromStr for Pointer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl Pointer {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(steps) = text.strip_prefix('/') else {
            return Err(format!("`{text}` is no JSON pointer: write `/name` or `/outer/inner`"));
        };
        let steps: Box<[Box<str>]> = steps
            .split('/')
            .map(|step| step.replace("~1", "/").replace("~0", "~").into())
            .collect();
        if steps.len() > MAX_DEPTH {
            return Err(format!("a JSON pointer has at most {MAX_DEPTH} steps"));
        }
        Ok(Self(steps))
    }

    /// The text, number or boolean there, as text. None if there is nothing, or something else, or the
    /// body is no JSON.
    pub fn text_in<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        find(body, std::slice::from_ref(self))[0].and_then(text)
    }

    /// The value there.
    pub(crate) fn find_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(value, |value, step| match value {
            Value::Object(object) => object.get_mut(&**step),
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Writes a value there; objects on the way are made. None if something else is in the way.
    pub(crate) fn insert(&self, value: &mut Value, new: Value) -> Option<()> {
        let (last, way) = self.0.split_last()?;
        let parent = way.iter().try_fold(value, |value, step| match value {
            Value::Object(object) => {
                Some(object.entry(&**step).or_insert_with(|| Value::Object(Map::new())))
            }
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
            _ => None,
        })?;
        parent.as_object_mut()?.insert(last.to_string(), new);
        Some(())
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|step| write!(f, "/{}", step.replace('~', "~0").replace('/', "~1")))
    }
}

/// Looks up all `pointers` (at most [`MAX_POINTERS`]). Finds nothing in what is not JSON. Of equal
/// keys the last counts, as in nearly every parser that a plugin may use.
pub(crate) fn find<'a>(body: &'a [u8], pointers: &[Pointer]) -> Found<'a> {
    let mut found = [None; MAX_POINTERS];
    let mask = pointers.iter().take(MAX_POINTERS).fold(0_u16, |mask, _| mask << 1 | 1);
    if mask == 0 || body.is_empty() {
        return found;
    }
    let mut input = serde_json::Deserializer::from_slice(body);
    let walk = Walk { pointers, mask, depth: 0, found: &mut found };
    match walk.deserialize(&mut input).and_then(|()| input.end()) {
        Ok(()) => found,
        Err(_) => [None; MAX_POINTERS],
    }
}

/// A scalar as text: a string without its quotes and escapes, a number or a boolean as written.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let raw = raw.get();
    match raw.as_bytes().first()? {
        b'{' | b'[' | b'n' => None,
        b'"' if !raw.contains('\\') => raw.get(1..raw.len() - 1).map(Cow::Borrowed),
        b'"' => serde_json::from_str(raw).ok().map(Cow::Owned),
        _ => Some(Cow::Borrowed(raw)),
    }
}

/// The elements of an array, each as its raw text.
pub(crate) fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// Where `raw` lies in the `body` that it was found in.
pub(crate) fn range_in(body: &[u8], raw: &RawValue) -> Option<std::ops::Range<usize>> {
    let start = raw.get().as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    let end = start.checked_add(raw.get().len())?;
    (end <= body.len()).then_some(start..end)
}

/// Reads one value at `depth` to which the pointers of `mask` lead.
struct Walk<'w, 'de> {
    pointers: &'w [Pointer],
    mask: u16,
    depth: usize,
    found: &'w mut Found<'de>,
}

impl<'de> Walk<'_, 'de> {
    /// Those pointers whose next step is `step`.
    fn matching(&self, step: impl Fn(&str) -> bool) -> u16 {
        let mut matching = 0;
        for (index, pointer) in self.pointers.iter().enumerate().take(MAX_POINTERS) {
            let bit = 1 << index;
            if self.mask & bit != 0 && pointer.0.get(self.depth).is_some_and(|s| step(s)) {
                matching |= bit;
            }
        }
        matching
    }

    fn child(&mut self, mask: u16) -> Child<'_, 'de> {
        for index in (0..MAX_POINTERS).filter(|index| mask & 1 << index != 0) {
            self.found[index] = None;
        }
        Child(Walk { pointers: self.pointers, mask, depth: self.depth + 1, found: self.found })
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(mask) = map.next_key_seed(Key(&self))? {
            if mask == 0 {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(self.child(mask))?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            let mask = self.matching(|step| step.parse() == Ok(index));
            if seq.next_element_seed(self.child(mask))?.is_none() {
                break;
            }
        }
        Ok(())
    }

    // A scalar where a pointer leads further: there is nothing to find.
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a key as the pointers that go on with it, without keeping the key.
struct Key<'k, 'w, 'de>(&'k Walk<'w, 'de>);

impl<'de> DeserializeSeed<'de> for Key<'_, '_, '_> {
    type Value = u16;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<u16, D::Error> {
        input.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_, '_> {
    type Value = u16;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<u16, E> {
        Ok(self.0.matching(|step| step == key))
    }
}

/// Reads the value under a key or index: kept where a pointer ends, walked where one goes on.
struct Child<'w, 'de>(Walk<'w, 'de>);

impl<'de> DeserializeSeed<'de> for Child<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        let Walk { pointers, mask, depth, found } = self.0;
        if mask == 0 {
            return input.deserialize_ignored_any(IgnoredAny).map(|_| ());
        }
        let mut ending = 0;
        for (index, pointer) in pointers.iter().enumerate().take(MAX_POINTERS) {
            if mask & 1 << index != 0 && pointer.0.len() == depth {
                ending |= 1 << index;
            }
        }
        if ending == 0 {
            return Walk { pointers, mask, depth, found }.deserialize(input);
        }
        let raw = <&'de RawValue as serde::Deserialize>::deserialize(input)?;
        for index in (0..MAX_POINTERS).filter(|index| ending & 1 << index != 0) {
            found[index] = Some(raw);
        }
        match mask & !ending {
            0 => Ok(()),
            mask => Walk { pointers, mask, depth, found }
                .deserialize(&mut serde_json::Deserializer::from_str(raw.get()))
                .map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look(body: &str, pointers: &[&str]) -> Vec<Option<String>> {
        let pointers: Vec<_> = pointers.iter().map(|p| Pointer::parse(p).unwrap()).collect();
        let found = find(body.as_bytes(), &pointers);
        found[..pointers.len()].iter().map(|raw| raw.and_then(text).map(Cow::into_owned)).collect()
    }

    #[test]
    fn one_pass_serves_all_pointers() {
        let body = r#"{"type":"a","event":{"type":"b","n":[1,{"id":12345678901234567890123}]},"x~/":true}"#;
        assert_eq!(
            look(body, &["/event/type", "/type", "/event/n/1/id", "/x~0~1", "/none", "/event"]),
            [
                Some("b".into()),
                Some("a".into()),
                Some("12345678901234567890123".into()),
                Some("true".into()),
                None,
                None
            ]
        );
    }

    #[test]
    fn of_equal_keys_the_last_counts_with_all_below_it() {
        assert_eq!(look(r#"{"a":{"b":1},"a":{"c":2}}"#, &["/a/b"]), [None]);
        assert_eq!(look(r#"{"a":{"b":1},"a":{"b":"\u0032"}}"#, &["/a/b"]), [Some("2".into())]);
        assert_eq!(look(r#"{"a":{"b":1},"a":7}"#, &["/a/b"]), [None]);
    }

    #[test]
    fn nothing_is_found_in_what_is_not_json() {
        for body in ["", "{", r#"{"a":1"#, r#"{"a":1}x"#, "a=1", "\u{feff}{}", "7"] {
            assert_eq!(look(body, &["/a"]), [None], "{body}");
        }
    }

    #[test]
    fn a_raw_value_knows_where_it_lies() {
        let body = br#"{ "a" : "secret" }"#;
        let found = find(body, &[Pointer::parse("/a").unwrap()]);
        assert_eq!(range_in(body, found[0].unwrap()), Some(8..16));
    }

    proptest! {
        #[test]
        fn any_body_and_pointer_is_survived(body: Vec<u8>, text in "(/[a-z~0-9]{0,3}){1,4}") {
            find(&body, &[Pointer::parse(&text).unwrap()]);
        }

        #[test]
        fn a_pointer_reads_back(text in "(/([a-z]|~0|~1){0,3}){1,4}") {
            prop_assert_eq!(Pointer::parse(&text).unwrap().to_string(), text);
        }
    }
}
