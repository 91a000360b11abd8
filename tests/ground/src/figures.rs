//! Figures: what each round gave, the median of them, and how they are shown.

use std::fmt;

use serde_json::{Value, json};

/// One figure of every round.
#[derive(Debug, Clone, Default)]
pub struct Rounds(Vec<f64>);

impl Rounds {
    /// Adds the figure of the next round.
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// Round by round, this over that.
    pub fn over(&self, that: &Self) -> Self {
        Self(self.0.iter().zip(&that.0).map(|(this, that)| this / that).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The one in the middle; no number if there was no round.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    fn json(&self) -> Value {
        json!({ "median": self.median(), "rounds": self.0 })
    }
}

impl fmt::Display for Rounds {
    /// Median, and the least and the most behind it: `31,204 [28,410-33,020]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorted = self.sorted();
        let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
            return f.pad("");
        };
        f.pad(&format!("{} [{}-{}]", short(self.median()), short(*least), short(*most)))
    }
}

/// Three figures that count, and thousands set apart.
fn short(figure: f64) -> String {
    match figure.abs() {
        0.0..10.0 => format!("{figure:.2}"),
        10.0..100.0 => format!("{figure:.1}"),
        _ => {
            let digits = format!("{figure:.0}");
            let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
            groups.iter().map(|g| String::from_utf8_lossy(g)).collect::<Vec<_>>().join(",")
        }
    }
}

/// One comparison: the ratio first, then the figures of each subject.
#[derive(Debug)]
pub struct Section {
    name: &'static str,
    about: String,
    ratios: Vec<(&'static str, Rounds, Option<f64>)>,
    columns: &'static [&'static str],
    rows: Vec<(&'static str, Vec<Rounds>)>,
}

impl Section {
    /// One without figures yet: its name, what was measured, and what the columns are.
    pub fn new(name: &'static str, about: String, columns: &'static [&'static str]) -> Self {
        Self { name, about, ratios: Vec::new(), columns, rows: Vec::new() }
    }

    /// A ratio, and what it should be at least.
    pub fn ratio(&mut self, name: &'static str, ratio: Rounds, target: Option<f64>) {
        self.ratios.push((name, ratio, target));
    }

    /// A subject with a figure for each column.
    pub fn row(&mut self, subject: &'static str, figures: Vec<Rounds>) {
        self.rows.push((subject, figures));
    }

    /// Ratios and rows with all their rounds.
    pub fn json(&self) -> Value {
        let ratios: Vec<_> = self
            .ratios
            .iter()
            .map(|(name, rounds, target)| json!({ "name": name, "ratio": rounds.json(), "target": target }))
            .collect();
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|(subject, figures)| {
                let figures = self.columns.iter().zip(figures);
                let figures: serde_json::Map<_, _> =
                    figures.map(|(column, rounds)| ((*column).to_owned(), rounds.json())).collect();
                json!({ "subject": subject, "figures": figures })
            })
            .collect();
        json!({ "name": self.name, "about": self.about, "ratios": ratios, "rows": rows })
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}: {}", self.name, self.about)?;
        for (name, ratio, target) in &self.ratios {
            write!(f, "  {name}  {ratio}")?;
            if let Some(target) = target {
                let verdict = if ratio.median() >= *target { "met" } else { "MISSED" };
                write!(f, "   target {} or more: {verdict}", short(*target))?;
            }
            writeln!(f)?;
        }
        let width = self.rows.iter().map(|(subject, _)| subject.len()).max().unwrap_or(0);
        write!(f, "  {:width$}", "")?;
        for column in self.columns {
            write!(f, "  {column:>WIDTH$}")?;
        }
        writeln!(f)?;
        for (subject, figures) in &self.rows {
            write!(f, "  {subject:width$}")?;
            for figure in figures {
                write!(f, "  {figure:>WIDTH$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Of a column.
const WIDTH: usize = 24;
