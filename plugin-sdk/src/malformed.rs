//! What to say of data that does not fit. Failures are kept and shown to operators, and serde's
//! messages quote values: `invalid type: string "4242 4242 …", expected u64`. What comes from the
//! program (expected types, names of fields) and the position stay; what comes from the data goes.

use serde_json::error::Category;

use crate::Failure;

/// A reject for JSON that could not be read or written.
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
pub(crate) fn without_values(said: &str) -> String {
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
        // `string "…"`, `integer `…``: the kind is before the quote.
        let kind = quoted.split(['"', '`']).next().unwrap_or_default().trim_end();
        let start = quoting.trim_end_matches('`').trim_end();
        return match start.strip_suffix(':') {
            Some(start) => format!("{start}: {kind}{expected}"),
            None => format!("{start}{expected}"),
        };
    }
    // A sentence of the author's own types: no telling what it quotes.
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
        json("body", &error).message().to_owned()
    }

    #[test]
    fn it_says_what_and_where_but_quotes_nothing() {
        let cases = [
            ("{}", "malformed body: missing field `number` at line 1 column 2"),
            ("{\"number\":", "malformed body: EOF while parsing a value at line 1 column 10"),
            (
                r#"{"number": "4242, expected x \" ` 4242"}"#,
                "malformed body: invalid type: string, expected u64 at line 1 column 39",
            ),
            (
                r#"{"number": -4242}"#,
                "malformed body: invalid value: integer, expected u64 at line 1 column 16",
            ),
            (
                r#"{"number": 1, "kind": "secret"}"#,
                "malformed body: unknown variant, expected `credit` at line 1 column 30",
            ),
            (
                r#"{"secret": 1}"#,
                "malformed body: unknown field, expected `number` or `kind` at line 1 column 9",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(said(text), expected);
        }
    }

    #[test]
    fn an_unknown_sentence_is_not_passed_on() {
        assert_eq!(without_values("bad card 4242"), "a value does not fit");
    }
}
