//! What a chapter tells: a heading, what happened in a few lines, and what must be so with a mark before it.

use std::fmt::Display;

use hookweir_event::EventId;
use serde::Serialize;

use super::{
    ending::{Ending, Expected},
    sender::Answer,
};

/// Characters of a line, unless a word is longer.
const WIDTH: usize = 112;

/// One thing that must be so.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) what: String,
    pub(super) ok: bool,
    /// What was found instead.
    pub(super) why_not: Option<String>,
}

/// A chapter as it is told.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    pub(super) title: &'static str,
    /// The plugins that it is about.
    pub(super) plugins: &'static [&'static str],
    pub(super) told: Vec<String>,
    pub(super) checks: Vec<Check>,
    /// Events whose fate is known beforehand.
    #[serde(skip)]
    pub(super) expected: Vec<Expected>,
}

impl Page {
    pub(super) fn new(title: &'static str, plugins: &'static [&'static str]) -> Self {
        Self { title, plugins, told: Vec::new(), checks: Vec::new(), expected: Vec::new() }
    }

    /// Tells one line; one that begins with a space is a quote, and is not broken.
    pub(super) fn tell(&mut self, line: impl Display) {
        self.told.push(line.to_string());
    }

    /// Says whether something is so; the error is what was found instead.
    pub(super) fn check(&mut self, what: impl Display, result: Result<(), String>) {
        let (what, why_not) = (what.to_string(), result.err());
        self.checks.push(Check { what, ok: why_not.is_none(), why_not });
    }

    /// An event that must have been accepted, with what must come of it and of its outputs, by their types.
    /// Answers its id, if there is one.
    pub(super) fn expect(
        &mut self,
        what: &'static str,
        answer: &Answer,
        deliveries: Vec<Ending>,
        outputs: Vec<(&'static str, Vec<Ending>)>,
    ) -> Result<EventId, String> {
        match answer.id.filter(|_| answer.is_news()) {
            Some(event) => {
                self.expected.push(Expected { event, what, deliveries, outputs });
                Ok(event)
            }
            None => Err(format!("{what}: answered with {answer}, and not accepted")),
        }
    }

    /// Whether all is as it should be.
    pub(super) fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    /// The page as people read it, its number first.
    pub(super) fn lines(&self, number: usize) -> Vec<String> {
        let about = match self.plugins {
            [] => String::new(),
            plugins => format!("  [{}]", plugins.join(", ")),
        };
        let mut lines = vec![format!("{number}. {}{about}", self.title)];
        // What is further in is quoted: as it is.
        let told = |line: &String| match line.starts_with(' ') {
            true => vec![format!("   {line}")],
            false => wrapped(&format!("   {line}")),
        };
        lines.extend(self.told.iter().flat_map(told));
        for Check { what, ok, why_not } in &self.checks {
            lines.extend(wrapped(&format!("   {} {what}", if *ok { "✓" } else { "✗" })));
            let why_not = why_not.as_deref().unwrap_or_default();
            lines.extend(
                why_not
                    .lines()
                    .filter(|line| !line.is_empty())
                    .map(|line| format!("       {line}")),
            );
        }
        lines.push(String::new());
        lines
    }
}

/// A line in as many as it takes, those behind the first two columns further in.
fn wrapped(line: &str) -> Vec<String> {
    let indent = line.len() - line.trim_start().len();
    let mut lines = vec![" ".repeat(indent)];
    // Spaces in a row are a table's.
    for word in line.trim_start().split(' ') {
        let last = lines.last_mut().expect("invariant: it has one from the start");
        let length = last.chars().count() + word.chars().count();
        if length >= WIDTH && !last.trim().is_empty() {
            let further = format!("{}{word}", " ".repeat(indent + 2));
            lines.push(further);
        } else {
            let between = if last.len() == indent { "" } else { " " };
            last.push_str(between);
            last.push_str(word);
        }
    }
    lines
}

/// That two are the same, or what there is instead.
#[expect(clippy::needless_pass_by_value, reason = "callers make both for this alone")]
pub(super) fn same<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{found:?} instead of {wanted:?}")) }
}

/// That something is so, or these words.
pub(super) fn so(holds: bool, else_say: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(else_say()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_went_wrong_below_its_mark() {
        let mut page = Page::new("A push", &["github"]);
        page.tell("GitHub sent a push");
        page.check("it was told once", same(1, 1));
        assert!(page.is_ok());
        page.check("the board has it", same(vec![2], vec![]));
        page.check("all are done", Err("one waits\nand another".into()));
        assert!(!page.is_ok());
        let expected = "3. A push  [github]\n   GitHub sent a push\n   ✓ it was told once\n   \
                        ✗ the board has it\n       [2] instead of []\n   ✗ all are done\n       one waits\n       \
                        and another\n";
        assert_eq!(page.lines(3).join("\n"), expected);
        let long = format!("   ✓ {}end", "four ".repeat(30));
        let lines = wrapped(&long);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("     four") && lines[1].ends_with("four end"), "{lines:?}");
        assert_eq!(lines.concat().matches("four").count(), 30);
        assert!(lines[0].chars().count() <= WIDTH && lines[0].starts_with("   ✓ four"));
        assert_eq!(wrapped("  a   b"), ["  a   b"]);
        assert_eq!(wrapped(&"x".repeat(200)).len(), 1);
        assert_eq!(so(true, || unreachable!()), Ok(()));
        assert_eq!(so(false, || "no".into()), Err("no".into()));
    }
}
