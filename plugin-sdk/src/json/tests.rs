//! Whatever serde_json reads is read the same, and what does not fit is said without being quoted.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape counts")]
struct Card {
    number: u64,
    kind: Option<Kind>,
    limits: Option<(u8, u8)>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Credit,
}

fn said(text: &str) -> String {
    let failure = read::<Card>("body", text.as_bytes()).expect_err("malformed");
    assert!(!failure.is_retry());
    failure.message().to_owned()
}

#[test]
fn it_says_what_and_where_but_quotes_nothing() {
    // Numbers are asked for by name then, and what is found in their place is not said.
    if NUMBERS_ARE_MAPS {
        return;
    }
    let cases = [
        ("{}", "malformed body: missing field `number` at line 1 column 2"),
        ("{\"number\":", "malformed body: it ends too early at line 1 column 10"),
        ("{\"number\": 1]", "malformed body: it is no JSON at line 1 column 13"),
        ("{\"number\": 1} 2", "malformed body: it is no JSON at line 1 column 15"),
        (
            r#"{"number": "4242, expected x \" ` 4242"}"#,
            "malformed body: invalid type: string, expected u64 near line 1 column 2",
        ),
        (
            r#"{"number": -4242}"#,
            "malformed body: invalid value: integer, expected u64 near line 1 column 2",
        ),
        (
            r#"{"number": 42.42}"#,
            "malformed body: invalid type: floating point, expected u64 near line 1 column 2",
        ),
        (
            r#"{"number": null}"#,
            "malformed body: invalid type: null, expected u64 near line 1 column 2",
        ),
        (
            r#"{"number": 1, "kind": "secret"}"#,
            "malformed body: unknown variant, expected `credit` near line 1 column 15",
        ),
        (
            r#"{"number": 1, "limits": [1]}"#,
            "malformed body: invalid length 1, expected a tuple of size 2 near line 1 column 15",
        ),
        (
            "{\"number\": {},\n \"kind\": null,\n \"limits\": null}",
            "malformed body: invalid type: map, expected u64 near line 1 column 2",
        ),
        (
            "{\"number\": 1,\n \"limits\": [1, \"4242\"\n], \"kind\": null}",
            "malformed body: invalid type: string, expected u8 near line 2 column 2",
        ),
        (
            r#"{"secret": 1}"#,
            "malformed body: unknown field, expected one of `number`, `kind`, `limits` near line 1 column 2",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(said(text), expected);
    }
    let failure = read_value::<Card>("data", json!({ "number": "4242" })).expect_err("a string");
    assert_eq!(failure.message(), "malformed data: invalid type: string, expected u64");
}

#[test]
fn what_an_author_goes_on_after_is_not_why_the_rest_is_no_json() {
    fn if_it_fits<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
        Ok(u8::deserialize(from).ok())
    }
    #[derive(Debug, Deserialize)]
    struct Lenient {
        #[serde(deserialize_with = "if_it_fits")]
        count: Option<u8>,
    }
    let read = |text: &str| read::<Lenient>("body", text.as_bytes());
    assert_eq!(read(r#"{"count": "many"}"#).expect("it goes on").count, None);
    let failure = read(r#"{"count": "many"]"#).expect_err("no JSON");
    assert_eq!(failure.message(), "malformed body: it is no JSON at line 1 column 17");
}

#[test]
fn a_number_is_no_map() {
    let failure = read::<BTreeMap<String, Value>>("body", b"4242").expect_err("a number");
    assert!(!failure.message().contains("4242"), "{}", failure.message());
    let failure = read::<Card>("body", b"4242").expect_err("a number");
    assert!(!failure.message().contains("4242"), "{}", failure.message());
}

#[test]
fn what_an_authors_type_says_is_not_passed_on() {
    #[derive(Debug)]
    struct Never;
    impl<'de> Deserialize<'de> for Never {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            IgnoredAny::deserialize(from)?;
            Err(de::Error::custom("bad card 4242"))
        }
    }
    let failure = read::<Never>("body", b"4242").expect_err("never");
    assert_eq!(failure.message(), "malformed body: a value does not fit at line 1 column 4");
}

/// All that serde has, in one type.
#[derive(Debug, PartialEq, Deserialize)]
struct All {
    small: (i8, i16, i32, i64, u8, u16, u32, u64),
    large: (i128, u128),
    floats: (f32, f64, f64),
    truth: bool,
    letter: char,
    text: String,
    nothing: (),
    unit: Unit,
    new: New,
    none: Option<u8>,
    some: Option<Option<u8>>,
    list: Vec<New>,
    by_number: BTreeMap<Id, bool>,
    by_truth: BTreeMap<bool, u8>,
    variants: Vec<Variant>,
    untagged: Vec<Untagged>,
    tagged: Tagged,
    any: Value,
    #[serde(default)]
    absent: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Deserialize)]
struct New(u16);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Id(u64);

#[derive(Debug, PartialEq, Deserialize)]
enum Variant {
    Plain,
    New(u8),
    Tuple(u8, String),
    Struct { a: u8 },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", content = "value")]
enum Tagged {
    One(u64),
}

#[test]
fn it_reads_what_serde_json_reads() {
    let text = r#"{
        "small": [-128, -3, 4, -5, 255, 6, 7, 18446744073709551615],
        "large": [-170141183460469231731687303715884105728, 340282366920938463463374607431768211455],
        "floats": [1.5, 1e300, 3], "truth": true, "letter": "ß", "text": "a\n\"\u20ac",
        "nothing": null, "unit": null, "new": 9, "none": null, "some": 4, "list": [1, 2],
        "by_number": { "18446744073709551615": true }, "by_truth": { "false": 1 },
        "variants": ["Plain", { "New": 1 }, { "Tuple": [2, "b"] }, { "Struct": { "a": 3 } },
            { "Struct": [4] }],
        "untagged": [7, "x"], "tagged": { "kind": "One", "value": 5 },
        "any": { "a": [1, -2.5, "b", null, false] }, "more": [{ "c": 1e-7 }]
    }"#;
    let ours: All = read("body", text.as_bytes()).expect("it fits");
    assert_eq!(ours, serde_json::from_str::<All>(text).expect("it fits"));
    assert_eq!((ours.small.7, ours.floats.1, &*ours.text), (u64::MAX, 1e300, "a\n\"€"));
    assert_eq!(ours.rest["more"][0]["c"], json!(1e-7));
    let value: Value = serde_json::from_str(r#"{ "new": 7 }"#).expect("JSON");
    let map: BTreeMap<String, New> = read_value("data", value).expect("it fits");
    assert_eq!(map["new"], New(7));
}

#[test]
fn it_refuses_what_serde_json_refuses() {
    for text in
        ["", "[", "[1", "1 2", "{\"a\"", "{\"a\":1,}", "nul", "01", "\"\\x\"", "\"\u{1}\"", "1e999"]
    {
        // Any number fits if it is kept as text.
        if text == "1e999" && NUMBERS_ARE_MAPS {
            continue;
        }
        assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
        assert!(read::<Value>("body", text.as_bytes()).is_err(), "{text}");
    }
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert!(read::<Value>("body", deep.as_bytes()).is_err());
    assert!(read::<Value>("body", b"\"\xff\"").is_err());
}

/// Else numbers would be read as maps, or all that quotes would be in every plugin.
#[test]
fn whether_numbers_are_maps_is_known() {
    struct IsMap;
    impl<'de> Visitor<'de> for IsMap {
        type Value = bool;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number")
        }
        fn visit_f64<E: de::Error>(self, _: f64) -> Result<bool, E> {
            Ok(false)
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            while map.next_entry::<String, String>()?.is_some() {}
            Ok(true)
        }
    }
    let found = serde_json::Deserializer::from_str("1.5").deserialize_any(IsMap).expect("a number");
    assert_eq!(found, NUMBERS_ARE_MAPS);
}

#[test]
fn what_can_not_be_written_is_a_reject() {
    let failure = write(&BTreeMap::from([((1, 2), 3)])).expect_err("its keys are pairs");
    assert!(!failure.is_retry() && failure.message().contains("are its keys text?"));
}
