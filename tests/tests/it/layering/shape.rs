//! The shape of files: a header, a bound on length, nothing left behind, no assertion that asserts
//! nothing.

use super::{
    Fault,
    rules::{FILE_LINES_MAX, FN_LINES_MAX, LEFTOVERS},
    source::{Source, has_word, indent},
};

/// A header, written here or in the page that a library's users see.
const HEADERS: &[&str] = &["//! ", "#![doc = include_str!("];

pub(crate) fn check(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !HEADERS.iter().any(|header| source.text.starts_with(header)) {
        faults.push(source.fault(0, "does not begin with `//!` and why the file exists"));
    }
    let lines: Vec<&str> = source.text.lines().collect();
    if lines.len() > FILE_LINES_MAX {
        let what = format!("{} lines, {FILE_LINES_MAX} are allowed", lines.len());
        faults.push(source.fault(FILE_LINES_MAX, &what));
    }
    for (i, line) in lines.iter().enumerate() {
        if let Some(left) = LEFTOVERS.iter().find(|left| has_word(line, left)) {
            faults.push(source.fault(i, &format!("leftover `{left}`")));
        }
    }
    for (i, line) in source.code.iter().enumerate() {
        if line.trim_start().starts_with("matches!(") && is_statement(&source.code[i..]) {
            faults.push(source.fault(i, "a `matches!` whose value is thrown away asserts nothing"));
        }
        if let Some(length) = fn_length(&source.code[i..]).filter(|n| *n > FN_LINES_MAX) {
            let what = format!("a function of {length} lines, {FN_LINES_MAX} are allowed");
            faults.push(source.fault(i, &what));
        }
    }
    faults
}

/// Whether the expression that begins here is a statement: it ends with `;` on the line on which
/// rustfmt closes it.
fn is_statement(lines: &[String]) -> bool {
    let depth = indent(&lines[0]);
    let closes = |line: &&String| indent(line) == depth && line.contains(')');
    lines.iter().find(closes).is_some_and(|line| line.trim_end().ends_with(';'))
}

/// The length of the function that begins here: it ends at the first `}` with the same indent.
fn fn_length(lines: &[String]) -> Option<usize> {
    let line = lines[0].trim();
    let begins = line.split_whitespace().take(5).any(|word| word == "fn");
    if !begins || line.ends_with(';') || line.ends_with('}') {
        return None;
    }
    let depth = indent(&lines[0]);
    let ends = |line: &String| indent(line) == depth && line.trim() == "}";
    lines.iter().position(ends).map(|n| n + 1)
}

#[cfg(test)]
fn faults(text: &str) -> Vec<Fault> {
    check(&Source::new("gateway/src/sample.rs", text))
}

#[test]
fn a_file_in_shape_has_no_faults() {
    let text = "//! Why.\n\nfn a(x: u8) -> bool {\n    let y = matches!(x, 1);\n    matches!(x, 2) || y\n}\n\n\
                fn b(x: u8) -> bool {\n    matches!(x, 3)\n}\n";
    assert_eq!(faults(text), [""; 0]);
}

#[test]
fn each_flaw_is_seen() {
    let long_fn = format!("//! Why.\nfn a() {{\n{}}}\n", "    b();\n".repeat(FN_LINES_MAX));
    let long_file = format!("//! Why.\n{}", "const A: u8 = 1;\n".repeat(FILE_LINES_MAX));
    let samples = [
        ("fn a() {}\n".to_owned(), "sample.rs:1: does not begin"),
        (long_fn, "sample.rs:2: a function of 82 lines"),
        (long_file, "601 lines"),
        (format!("//! Why.\n// {}: later\n", LEFTOVERS[0]), "sample.rs:2: leftover"),
        ("//! Why.\nfn a() {\n    matches!(b, C);\n}\n".into(), "sample.rs:3: a `matches!`"),
        (
            "//! Why.\nfn a() {\n    matches!(\n        b,\n        C\n    );\n}\n".into(),
            "sample.rs:3",
        ),
    ];
    for (text, expected) in samples {
        let found = faults(&text);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
}
