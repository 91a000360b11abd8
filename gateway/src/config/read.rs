//! Reads TOML and collects every fault with its place, instead of stopping at the first.
//!
//! A [`Section`] is one table being read. Each getter notes the key it was asked for, so that what
//! is left when the section ends is an unknown key, and the noted keys are what it is compared with.

use std::{
    cell::RefCell,
    fmt,
    ops::{Range, RangeInclusive},
};

use serde_json::Value as Json;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::units;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1.
    pub column: usize,
    /// What is wrong, where in the tree, and what would help.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Where faults gather while the file is read.
pub(super) struct Faults<'a> {
    text: &'a str,
    found: RefCell<Vec<(usize, String)>>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, found: RefCell::default() }
    }

    pub(super) fn add(&self, at: usize, message: impl Into<String>) {
        self.found.borrow_mut().push((at, message.into()));
    }

    /// All faults in the order of the file; none means it is good.
    pub(super) fn into_vec(self) -> Vec<Fault> {
        let mut found = self.found.into_inner();
        found.sort();
        found
            .into_iter()
            .map(|(at, message)| {
                let before = &self.text[..at.min(self.text.len())];
                let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
                Fault {
                    line: before.matches('\n').count() + 1,
                    column: before[line_start..].chars().count() + 1,
                    message,
                }
            })
            .collect()
    }
}

/// A value with its place and its path in the tree.
#[derive(Clone)]
pub(super) struct Node<'t, 'a> {
    value: &'t Spanned<DeValue<'a>>,
    path: String,
    faults: &'t Faults<'a>,
}

/// One table while it is read.
pub(super) struct Section<'t, 'a> {
    table: &'t DeTable<'a>,
    span: Range<usize>,
    path: String,
    faults: &'t Faults<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'t, 'a> Node<'t, 'a> {
    /// Notes a fault at this value.
    pub(super) fn fault(&self, message: impl fmt::Display) {
        self.faults.add(self.value.span().start, format!("{}: {message}", self.path));
    }

    fn expect<T>(&self, what: &str, read: impl FnOnce(&'t DeValue<'a>) -> Option<T>) -> Option<T> {
        let value = read(self.value.get_ref());
        if value.is_none() {
            self.fault(format_args!("expected {what}, found {}", self.value.get_ref().type_str()));
        }
        value
    }

    pub(super) fn text(&self) -> Option<&'t str> {
        self.expect("a string", |value| value.as_str())
    }

    pub(super) fn flag(&self) -> Option<bool> {
        self.expect("true or false", DeValue::as_bool)
    }

    /// A whole number within `range`.
    pub(super) fn number(&self, range: Range<u64>) -> Option<u64> {
        let number = self.expect("a whole number", |value| {
            let digits = value.as_integer()?;
            i128::from_str_radix(&digits.as_str().replace('_', ""), digits.radix()).ok()
        })?;
        let within = u64::try_from(number).ok().filter(|number| range.contains(number));
        if within.is_none() {
            let (least, most) = (range.start, range.end - 1);
            self.fault(format_args!("{number} is not between {least} and {most}"));
        }
        within
    }

    /// A number above 0, and 1 at most.
    pub(super) fn share(&self) -> Option<f64> {
        let text = match self.value.get_ref() {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) => number.as_str(),
            _ => return self.expect("a number such as 0.01, or \"off\"", |_| None),
        };
        let number = text.replace('_', "").parse().ok();
        let within = number.filter(|share: &f64| *share > 0.0 && *share <= 1.0);
        if within.is_none() {
            self.fault(format_args!("{text} is no share: above 0, and 1 at most"));
        }
        within
    }

    /// A size in bytes within `range`.
    pub(super) fn size_in(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let size = self.parsed(units::size)?;
        let within = range.contains(&size);
        if !within {
            let (least, most) = range.into_inner();
            self.fault(format_args!("is between {} and {}", units::Size(least), units::Size(most)));
        }
        within.then_some(size)
    }

    pub(super) fn items(&self) -> Option<Vec<Self>> {
        let array = self.expect("a list", |value| value.as_array())?;
        let item =
            |(i, value)| Self { value, path: format!("{}[{i}]", self.path), faults: self.faults };
        Some(array.iter().enumerate().map(item).collect())
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::String(_))
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub(super) fn section(&self) -> Option<Section<'t, 'a>> {
        let table = self.expect("a table", |value| value.as_table())?;
        Some(Section {
            table,
            span: self.value.span(),
            path: self.path.clone(),
            faults: self.faults,
            known: RefCell::default(),
        })
    }

    /// A string parsed by `parse`, whose error becomes the fault.
    pub(super) fn parsed<T, E: fmt::Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(self.text()?).map_err(|error| self.fault(error)).ok()
    }

    /// A number that JSON can hold; one that it can't is a fault.
    fn kept(&self, number: Option<Json>) -> Option<Json> {
        if number.is_none() {
            self.fault("JSON has no such number");
        }
        number
    }

    /// The value as JSON, for what is handed on as it is.
    pub(super) fn json(&self) -> Option<Json> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(Json::from(&**text)),
            DeValue::Boolean(flag) => Some(Json::from(*flag)),
            DeValue::Integer(digits) => {
                let text = digits.as_str().replace('_', "");
                let number = i64::from_str_radix(&text, digits.radix()).ok();
                self.kept(number.map(Json::from))
            }
            DeValue::Float(float) => {
                let number = float.as_str().replace('_', "").parse().ok();
                self.kept(number.and_then(serde_json::Number::from_f64).map(Json::from))
            }
            DeValue::Datetime(time) => Some(Json::from(time.to_string())),
            // Every value is looked at before one is missed, so that all faults are found.
            DeValue::Array(_) => {
                let items: Vec<_> = self.items()?.iter().map(Self::json).collect();
                items.into_iter().collect()
            }
            DeValue::Table(_) => {
                let entries = self.section()?.entries();
                let read: Vec<_> =
                    entries.into_iter().map(|(key, node)| Some((key, node.json()?))).collect();
                read.into_iter().collect()
            }
        }
    }
}

impl<'t, 'a> Section<'t, 'a> {
    /// The whole file.
    pub(super) fn root(table: &'t Spanned<DeTable<'a>>, faults: &'t Faults<'a>) -> Self {
        Self {
            table: table.get_ref(),
            span: table.span(),
            path: String::new(),
            faults,
            known: RefCell::default(),
        }
    }

    /// Notes a fault about the section as a whole.
    pub(super) fn fault(&self, message: impl fmt::Display) {
        let path = if self.path.is_empty() { "the file" } else { &self.path };
        self.faults.add(self.span.start, format!("{path}: {message}"));
    }

    fn child_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value at `key`, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Node<'t, 'a>> {
        self.known.borrow_mut().push(key);
        let value = self.table.get(key)?;
        Some(Node { value, path: self.child_path(key), faults: self.faults })
    }

    /// The section at `key`, if it is there and is one.
    pub(super) fn sub(&self, key: &'static str) -> Option<Section<'t, 'a>> {
        self.get(key)?.section()
    }

    /// Every entry, for tables whose keys are names. Marks nothing as known.
    pub(super) fn entries(&self) -> Vec<(String, Node<'t, 'a>)> {
        let entry =
            |(key, value): (&'t Spanned<std::borrow::Cow<'a, str>>, &'t Spanned<DeValue<'a>>)| {
                let key = key.get_ref().to_string();
                let path = self.child_path(&key);
                (key, Node { value, path, faults: self.faults })
            };
        self.table.iter().map(entry).collect()
    }

    /// Ends the section: whatever nobody asked for is unknown.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for (key, _) in self.table.iter() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let place = if self.path.is_empty() { "the top" } else { &self.path };
            let hint = near(name, known.iter().copied())
                .map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
            self.faults.add(key.span().start, format!("unknown key \"{name}\" at {place}{hint}"));
        }
    }
}

/// The candidate that `name` may have been meant to be.
pub(crate) fn near<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(name.len()) / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}
