//! The contract's page, held to the contract: each interface, function, type and field is on it, and nothing
//! else; each function is called in both languages; and its figures are those of the README's config.

use std::{collections::BTreeSet, fs};

use hookweir_tests::guests::root;
use wit_parser::{Interface, Resolve, TypeDefKind};

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What the page has a heading for, as `(interface or interface.function, what is below it)`. What an interface
/// says ends with its first function.
fn sections(page: &str) -> Vec<(&str, &str)> {
    let heads = page.match_indices("\n## `").chain(page.match_indices("\n### `"));
    let mut starts: Vec<_> = heads.map(|(at, head)| (at, at + head.len())).collect();
    starts.sort_unstable();
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([page.len()]);
    let section = |((_, name), end): (&(usize, usize), usize)| {
        let text = &page[*name..end];
        let (name, below) = text.split_once('`').unwrap();
        // A heading of the first rank ends it as well.
        (name, below.split("\n# ").next().unwrap())
    };
    starts.iter().zip(ends).map(section).collect()
}

/// What is between backticks.
fn words(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Names of types that an interface makes itself, and of what is in them.
fn names(resolve: &Resolve, interface: &Interface) -> Vec<String> {
    let mut names = Vec::new();
    for (name, id) in &interface.types {
        let fields: Vec<&String> = match &resolve.types[*id].kind {
            TypeDefKind::Record(record) => record.fields.iter().map(|field| &field.name).collect(),
            TypeDefKind::Enum(cases) => cases.cases.iter().map(|case| &case.name).collect(),
            // Taken over by `use`, or another name for a list.
            TypeDefKind::Type(_) => continue,
            _ => Vec::new(),
        };
        names.push(name.clone());
        names.extend(fields.into_iter().cloned());
    }
    names
}

/// What the page lacks of the contract, or has too much.
fn faults(wit: &str, page: &str) -> Vec<String> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("hookweir.wit", wit).unwrap();
    let sections = sections(page);
    let mut expected = BTreeSet::new();
    let mut faults = Vec::new();
    for (name, id) in &resolve.packages[package].interfaces {
        let interface = &resolve.interfaces[*id];
        expected.insert(name.clone());
        expected.extend(interface.functions.keys().map(|function| format!("{name}.{function}")));
        let said: String =
            sections.iter().filter(|(head, _)| head == name).map(|(_, below)| *below).collect();
        let words = words(&said);
        let lacks = names(&resolve, interface).into_iter().filter(|n| !words.contains(n.as_str()));
        faults.extend(lacks.map(|lacks| format!("`{name}` does not say `{lacks}`")));
    }
    let heads: BTreeSet<_> = sections.iter().map(|(head, _)| (*head).to_owned()).collect();
    faults.extend(expected.difference(&heads).map(|head| format!("`{head}` is not there")));
    faults.extend(heads.difference(&expected).map(|head| format!("there is no `{head}`")));
    for (head, below) in sections.iter().filter(|(head, _)| head.contains('.')) {
        let calls = |language: &str| below.matches(&format!("\n- {language}: `")).count();
        if (calls("JavaScript"), calls("Python")) != (1, 1) {
            faults.push(format!("`{head}` is not called once in each language"));
        }
    }
    faults
}

/// Rows of tables that name a setting: `| what | figure | `setting` | .. |`.
fn limits(page: &str) -> Vec<(&str, &str)> {
    page.lines().filter_map(limit).collect()
}

fn limit(line: &str) -> Option<(&str, &str)> {
    let cells: Vec<_> = line.split(" | ").collect();
    let [_, figure, setting, _] = cells[..] else { return None };
    let setting = setting.strip_prefix('`')?.strip_suffix('`')?;
    (!setting.starts_with('[')).then_some((setting, figure))
}

#[test]
fn it_says_all_of_the_contract_and_nothing_else() {
    let (wit, page) = (read("plugin-sdk/wit/hookweir.wit"), read("docs/wit.md"));
    assert_eq!(faults(&wit, &page), [""; 0]);
    // It sees what is amiss.
    for (from, to, fault) in [
        ("  delete: func(", "  remove: func(", "`state.remove` is not there"),
        ("  set: func(", "  put: func(", "there is no `state.set`"),
        ("    retryable: bool,\n", "    again: bool,\n", "`http` does not say `again`"),
        ("    retry,\n", "    later,\n", "`types` does not say `later`"),
        ("interface clock {", "interface watch {}\n\ninterface clock {", "`watch` is not there"),
    ] {
        let changed = wit.replace(from, to);
        assert_ne!(changed, wit, "{fault}: the sample changes nothing");
        let found = faults(&changed, &page);
        assert!(found.iter().any(|found| found == fault), "no {fault:?} in {found:?}");
    }
    let silent = page.replacen("- Python: `", "- Ruby: `", 1);
    assert_eq!(faults(&wit, &silent), ["`handler.handle` is not called once in each language"]);
}

#[test]
fn its_figures_are_the_defaults() {
    let (page, readme) = (read("docs/wit.md"), read("README.md"));
    let limits = limits(&page);
    assert!(limits.len() > 15, "{limits:?}");
    for (setting, figure) in limits {
        let line = |figure: &str| format!("\n{setting} = {figure} ");
        let is_there = readme.contains(&line(figure))
            || readme.contains(&line(&format!("\"{figure}\"")))
            || readme.contains(&format!("\n{setting} = \"{figure}\"\n"));
        assert!(is_there, "the README has another figure for `{setting}` than {figure}");
    }
}
