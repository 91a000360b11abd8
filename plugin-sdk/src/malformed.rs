//! What to say of data that does not fit. Failures are kept and shown to operators, and serde's
//! messages quote values: `invalid type: string "4242 4242 …", expected u64`. What comes from the
//! program (expected types, names of fields) and the position stay; what comes from the data goes.

use std::fmt::{self, Write as _};

use serde::de::{self, Expected, Unexpected};
use serde_json::error::Category;

use crate::Failure;

/// Why something does not fit: what a parser says, or what is said here.
#[derive(Debug)]
pub(crate) enum Fault<E> {
    Parser(E),
    Said(Why),
}

/// A sentence. One word long, since whatever reads a field hands it on, and not inlined, for the same reason.
#[derive(Debug, Default)]
pub(crate) struct Why(Box<Sentence>);

#[derive(Debug, Default)]
struct Sentence(String);

impl Why {
    pub(crate) fn as_str(&self) -> &str {
        &self.0.0
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn said(parts: &[&str], expected: Option<&dyn Expected>) -> Self {
        let mut said = String::new();
        parts.iter().for_each(|part| said.push_str(part));
        if let Some(expected) = expected {
            let _ = write!(said, ", expected {expected}");
        }
        Self(Box::new(Sentence(said)))
    }

    #[cold]
    #[inline(never)]
    fn found(start: &str, found: &Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::said(&[start, kind(found)], Some(expected))
    }

    #[cold]
    #[inline(never)]
    fn unknown(start: &str, expected: &[&str]) -> Self {
        let mut said = start.to_owned();
        let (before, between) = match expected.len() {
            0 => ("none", ""),
            1 | 2 => ("", " or "),
            _ => ("one of ", ", "),
        };
        said.push_str(before);
        for (at, name) in expected.iter().enumerate() {
            said.push_str(if at == 0 { "" } else { between });
            for part in ["`", name, "`"] {
                said.push_str(part);
            }
        }
        Self(Box::new(Sentence(said)))
    }
}

impl<E: fmt::Display> fmt::Display for Fault<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parser(error) => error.fmt(f),
            Self::Said(why) => f.write_str(why.as_str()),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for Fault<E> {}

impl<E: fmt::Debug + fmt::Display> de::Error for Fault<E> {
    /// A sentence of the author's own types: no telling what it quotes.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Said(Why::said(&["a value does not fit"], None))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Said(Why::found("invalid type: ", &found, expected))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Said(Why::found("invalid value: ", &found, expected))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::Said(Why::said(&["invalid length ", &length.to_string()], Some(expected)))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Said(Why::unknown("unknown variant, expected ", expected))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Said(Why::unknown("unknown field, expected ", expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Said(Why::said(&["missing field `", field, "`"], None))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Said(Why::said(&["duplicate field `", field, "`"], None))
    }
}

/// What serde and serde_json call values, before they quote them.
const KINDS: &[&str] = &[
    "boolean",
    "integer",
    "floating point",
    "character",
    "string",
    "byte array",
    "unit value",
    "null",
    "Option value",
    "newtype struct",
    "sequence",
    "map",
    "enum",
    "unit variant",
    "newtype variant",
    "tuple variant",
    "struct variant",
];

/// What a value is, without the value.
fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(_) => "floating point",
        Unexpected::Char(_) => "character",
        Unexpected::Str(_) => "string",
        Unexpected::Bytes(_) => "byte array",
        Unexpected::Unit => "null",
        Unexpected::Option => "Option value",
        Unexpected::NewtypeStruct => "newtype struct",
        Unexpected::Seq => "sequence",
        Unexpected::Map => "map",
        Unexpected::Enum => "enum",
        Unexpected::UnitVariant => "unit variant",
        Unexpected::NewtypeVariant => "newtype variant",
        Unexpected::TupleVariant => "tuple variant",
        Unexpected::StructVariant => "struct variant",
        Unexpected::Other(_) => "value",
    }
}

/// A reject for JSON that the author's own code could not read or write.
pub(crate) fn json(what: &str, error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    let (line, column) = (error.line(), error.column());
    let place = if line == 0 { String::new() } else { format!(" at line {line} column {column}") };
    let said = text.strip_suffix(place.as_str()).unwrap_or(&text);
    let said = match error.classify() {
        // The parser's own sentences, which quote nothing.
        Category::Syntax | Category::Eof | Category::Io => said.to_owned(),
        Category::Data => without_values(said),
    };
    Failure::reject(format!("malformed {what}: {said}{place}"))
}

/// serde's message for a value that does not fit, without the value.
fn without_values(said: &str) -> String {
    /// Sentences of serde and its derive that name only what the program knows.
    const OWN: [&str; 4] = [
        "missing field `",
        "duplicate field `",
        "invalid length ",
        "data did not match any variant",
    ];
    /// Sentences that quote the data up to `, expected …`.
    const QUOTING: [&str; 4] =
        ["invalid type: ", "invalid value: ", "unknown variant `", "unknown field `"];

    if OWN.iter().any(|own| said.starts_with(own)) {
        return said.to_owned();
    }
    for quoting in QUOTING {
        let Some(rest) = said.strip_prefix(quoting) else { continue };
        let (quoted, expected) = match rest.rfind(", expected ") {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        // `string "…"`, `integer `…``: the kind is before the quote. What is none is an author's own sentence.
        let kind = quoted.split(['"', '`']).next().unwrap_or_default().trim_end();
        let kind = if kind.is_empty() || KINDS.contains(&kind) { kind } else { "value" };
        let start = quoting.trim_end_matches('`').trim_end();
        return match start.strip_suffix(':') {
            Some(start) => format!("{start}: {kind}{expected}"),
            None => format!("{start}{expected}"),
        };
    }
    "a value does not fit".to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape counts")]
    struct Card {
        number: u64,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Credit,
    }

    fn said(text: &str) -> String {
        let error = serde_json::from_str::<Card>(text).expect_err("malformed");
        json("JSON", &error).message().to_owned()
    }

    #[test]
    fn what_the_author_reads_himself_is_not_quoted_either() {
        let cases = [
            ("{}", "malformed JSON: missing field `number` at line 1 column 2"),
            ("{\"number\":", "malformed JSON: EOF while parsing a value at line 1 column 10"),
            (
                r#"{"number": "4242, expected x \" ` 4242"}"#,
                "malformed JSON: invalid type: string, expected u64 at line 1 column 39",
            ),
            (
                r#"{"number": -4242}"#,
                "malformed JSON: invalid value: integer, expected u64 at line 1 column 16",
            ),
            (
                r#"{"number": 1, "kind": "secret"}"#,
                "malformed JSON: unknown variant, expected `credit` at line 1 column 30",
            ),
            (
                r#"{"secret": 1}"#,
                "malformed JSON: unknown field, expected `number` or `kind` at line 1 column 9",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(said(text), expected);
        }
    }

    #[test]
    fn an_unknown_sentence_is_not_passed_on() {
        assert_eq!(without_values("bad card 4242"), "a value does not fit");
        let said = without_values("invalid value: card 4242, expected one of ours");
        assert_eq!(said, "invalid value: value, expected one of ours");
        let said = without_values("invalid type: null, expected u64");
        assert_eq!(said, "invalid type: null, expected u64");
    }
}
