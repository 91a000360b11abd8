//! A page of metrics, read as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};

/// What one look at `/metrics` found.
#[derive(Debug, Clone)]
pub struct Scrape {
    samples: Vec<Sample>,
    types: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Reads OpenMetrics text. Panics at anything that it must not be.
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with("# EOF\n"), "it ends before its end");
        let (mut samples, mut types) = (Vec::new(), BTreeMap::new());
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(named) = line.strip_prefix("# TYPE ") {
                let (name, kind) = named.split_once(' ').unwrap();
                let before = types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} is there twice");
            } else if !line.starts_with('#') {
                samples.push(sample(line));
            }
        }
        Self { samples, types }
    }

    /// The sum of all samples of this name that have these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.having(name, labels).map(|sample| sample.value).sum()
    }

    /// How many samples of this name have these labels.
    pub fn series(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.having(name, labels).count()
    }

    /// All values of a label.
    pub fn labelled(&self, label: &str) -> BTreeSet<String> {
        self.samples.iter().filter_map(|sample| sample.labels.get(label).cloned()).collect()
    }

    /// All names of labels.
    pub fn labels(&self) -> BTreeSet<String> {
        self.samples.iter().flat_map(|sample| sample.labels.keys().cloned()).collect()
    }

    /// The names by which the metrics are asked for, with their types. Of a histogram it is the one
    /// without an ending.
    pub fn names(&self) -> BTreeMap<String, String> {
        let asked = |(name, kind): (&String, &String)| {
            let ending = match &**kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            (format!("{name}{ending}"), kind.clone())
        };
        self.types.iter().map(asked).collect()
    }

    fn having(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| {
            let has = |(label, value): &(&str, &str)| {
                sample.labels.get(*label).is_some_and(|found| found == value)
            };
            sample.name == name && labels.iter().all(has)
        })
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
    let Some((name, labels)) = series.split_once('{') else {
        return Sample { name: series.to_owned(), labels: BTreeMap::new(), value };
    };
    let labels = labels.strip_suffix('}').unwrap().split("\",");
    let pair = |pair: &str| {
        let (label, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        (label.to_owned(), value.trim_end_matches('"').to_owned())
    };
    Sample { name: name.to_owned(), labels: labels.map(pair).collect(), value }
}
