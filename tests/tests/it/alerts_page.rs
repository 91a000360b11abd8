//! The page about alerts names each alert there is with its setting and default, says what to do, and tells what
//! the events tell.

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

use hookweir::{
    alerts::Kind,
    config::{AlertsConfig, Config, Surroundings},
};
use hookweir_tests::guests::root;

fn page() -> String {
    fs::read_to_string(root().join("docs/operating/alerts.md")).unwrap()
}

/// The rows of the table below these headings, without markup.
fn table(page: &str, headings: &str) -> Vec<Vec<String>> {
    let lines = page.lines().skip_while(|line| *line != headings).skip(2);
    let rows: Vec<_> = lines
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|').map(str::trim);
            let text =
                |cell: &str| cell.trim_matches(['[', '`']).split('`').next().unwrap().to_owned();
            cells.map(text).collect::<Vec<_>>()
        })
        .collect();
    assert!(!rows.is_empty(), "there is no table {headings}");
    rows
}

/// What `[alerts]` of these settings means.
fn alerts(settings: impl IntoIterator<Item = (String, String)>) -> AlertsConfig {
    let lines = settings.into_iter().map(|(name, value)| format!("{name} = {value}\n"));
    let text = format!("[alerts]\n{}", lines.collect::<String>());
    let around =
        Surroundings { env: &|_| None, file: &|_: &Path| Err(io::ErrorKind::NotFound.into()) };
    match Config::parse(&text, Path::new(""), &around) {
        Ok(config) => config.alerts,
        Err(faults) => panic!("{text}{faults:?}"),
    }
}

#[test]
fn it_names_each_alert_with_its_setting_and_default() {
    let page = page();
    let kinds = table(&page, "| alert | setting | default | of |");
    let names: Vec<_> = kinds.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, Kind::ALL.map(Kind::as_str));
    let more = table(&page, "| setting | default | meaning |");
    let of = |rows: &[Vec<String>], at: usize| -> Vec<_> {
        rows.iter().map(|row| (row[at].clone(), row[at + 1].clone())).collect()
    };
    let (own, more) = (of(&kinds, 1), of(&more, 0));
    let defaults = own.iter().chain(&more).cloned();
    assert_eq!(alerts(defaults), AlertsConfig::default());
    // None is left out: a setting that is not named keeps its default.
    let off = own.iter().map(|(name, _)| (name.clone(), "\"off\"".to_owned()));
    let others = more.iter().map(|(name, _)| {
        let other = if name == "window" { "\"77s\"" } else { "77" };
        (name.clone(), other.to_owned())
    });
    let expected = AlertsConfig {
        window: Duration::from_secs(77),
        at_least: 77,
        latency: None,
        error_rate: None,
        queue_age: None,
        dead_letters: None,
        refusal_rate: None,
        disk_free: None,
    };
    assert_eq!(alerts(off.chain(others)), expected);
}

#[test]
fn it_says_of_each_what_it_means_and_what_to_do() {
    let page = page();
    let sections: BTreeMap<_, _> = page
        .split("\n### `")
        .skip(1)
        .map(|section| section.split_once("`\n\n").unwrap())
        .map(|(name, text)| (name, text.split("\n## ").next().unwrap().trim()))
        .collect();
    assert_eq!(sections.len(), Kind::ALL.len());
    for kind in Kind::ALL {
        let text = sections[kind.as_str()];
        assert!(text.split("\n\n").count() >= 2, "{} has no advice: {text}", kind.as_str());
    }
    let told = table(&page, "| alert | in its body |");
    let names: Vec<_> = told.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, Kind::ALL.map(Kind::as_str));
}
