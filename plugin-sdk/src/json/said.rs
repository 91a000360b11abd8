//! Why something did not fit, past the parser, and in words.

use std::cell::Cell;

use serde_json::error::Category;

use crate::{
    Failure,
    malformed::{Fault, Why},
};

#[cold]
pub(super) fn malformed(
    what: &str,
    said: Option<&Why>,
    error: Option<&serde_json::Error>,
    place: Option<Place>,
) -> Failure {
    let parsers = error.map_or("a value does not fit", |error| match error.classify() {
        Category::Data => "a value does not fit",
        Category::Eof => "it ends too early",
        Category::Syntax | Category::Io => "it is no JSON",
    });
    let why = said.map_or(parsers, Why::as_str);
    Failure::reject(match place {
        Some(Place { word, line, column }) => {
            format!("malformed {what}: {why} {word} line {line} column {column}")
        }
        None => format!("malformed {what}: {why}"),
    })
}

/// Where something is, counted from 1.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) word: &'static str,
    pub(super) line: usize,
    /// In bytes.
    pub(super) column: usize,
}

/// What did not fit, on its way past the parser.
#[derive(Default)]
pub(super) struct Said {
    pub(super) why: Cell<Option<Why>>,
    /// Where the text of the field lies that was read last, if it lies in the JSON itself.
    pub(super) field: Cell<Option<*const u8>>,
}

impl Said {
    /// What the parser is told: a value, its own error, or that there is no value.
    pub(super) fn keep<T, E>(&self, made: Result<T, Fault<E>>) -> Result<Option<T>, E> {
        match made {
            Ok(value) => Ok(Some(value)),
            Err(Fault::Parser(error)) => Err(error),
            Err(Fault::Said(why)) => {
                self.why.set(Some(why));
                Ok(None)
            }
        }
    }

    /// What the parser answers.
    pub(super) fn tell<T, E>(&self, answered: Result<Option<T>, E>) -> Result<T, Fault<E>> {
        match answered {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Fault::Said(self.why.take().unwrap_or_default())),
            Err(error) => Err(Fault::Parser(error)),
        }
    }

    /// The field that was read last: what did not fit is its value, or stands behind it.
    #[cold]
    pub(super) fn place_in(&self, json: &[u8]) -> Option<Place> {
        let at = self.field.get()?.addr().checked_sub(json.as_ptr().addr())?;
        let before = json.get(..at)?;
        let lines = before.iter().filter(|&&byte| byte == b'\n').count();
        let line_starts = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        // The quote in front of the text is the field's.
        Some(Place { word: "near", line: lines + 1, column: at - line_starts })
    }
}
