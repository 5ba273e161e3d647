//! Bars: what a figure has to be, alone or as a ratio of two figures of one run.

use crate::row::Row;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// A bar with what was found. In JSON it is a row beside those that it is about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Bar {
    pub(crate) bar: String,
    /// What was found; none where what it is about was not measured.
    pub(crate) figure: Option<f64>,
    pub(crate) unit: String,
    #[serde(flatten)]
    pub(crate) needs: Needs,
    pub(crate) holds: Option<bool>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(tag = "needs", content = "limit", rename_all = "kebab-case")]
pub(crate) enum Needs {
    AtMost(f64),
    AtLeast(f64),
}

impl Needs {
    fn hold(self, figure: f64) -> bool {
        match self {
            Self::AtMost(limit) => figure <= limit,
            Self::AtLeast(limit) => figure >= limit,
        }
    }

    /// In words.
    pub(crate) fn words(self) -> (&'static str, f64) {
        match self {
            Self::AtMost(limit) => ("at most", limit),
            Self::AtLeast(limit) => ("at least", limit),
        }
    }
}

impl Bar {
    pub(crate) fn new(bar: String, unit: &str, figure: Option<f64>, needs: Needs) -> Self {
        Self {
            bar,
            figure,
            unit: unit.to_owned(),
            needs,
            holds: figure.map(|figure| needs.hold(figure)),
        }
    }
}

/// A figure of one row.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) work: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) of: fn(&Row) -> u64,
}

impl Figure {
    fn find(&self, rows: &[Row]) -> Option<f64> {
        let is_it = |row: &&Row| row.work == self.work && row.subject == self.subject;
        let row = rows.iter().filter(|row| row.refused.is_none()).find(is_it);
        row.map(|row| (self.of)(row) as f64)
    }
}

/// A bar that rows are held against.
pub(crate) struct Wanted {
    pub(crate) name: &'static str,
    pub(crate) of: Figure,
    /// What it is divided by; none if the figure is a time with a bar in microseconds.
    pub(crate) by: Option<Figure>,
    pub(crate) needs: Needs,
}

impl Wanted {
    fn found(&self, rows: &[Row]) -> Bar {
        let of = self.of.find(rows);
        let (figure, unit) = match &self.by {
            None => (of.map(|ns| ns / 1e3), "us"),
            Some(by) => (of.zip(by.find(rows)).map(|(of, by)| of / by), "x"),
        };
        Bar::new(self.name.to_owned(), unit, figure, self.needs)
    }
}

/// Each of `wanted` with its figure in `rows`.
pub(crate) fn held_against(rows: &[Row], wanted: &[Wanted]) -> Vec<Bar> {
    wanted.iter().map(|wanted| wanted.found(rows)).collect()
}

pub(crate) fn median(row: &Row) -> u64 {
    row.median_ns
}

/// A line for each.
pub(crate) fn text(bars: &[Bar]) -> String {
    let mut text = String::from("\n");
    for bar in bars {
        let (words, limit) = bar.needs.words();
        let (name, unit) = (&bar.bar, &bar.unit);
        let verdict = match bar.holds {
            Some(true) => "holds",
            Some(false) => "DOES NOT HOLD",
            None => "not measured",
        };
        let found = bar
            .figure
            .map_or(String::new(), |figure| match (limit - 1.0).abs() < 0.05 {
                true => format!(" {figure:.3} {unit}"),
                false => format!(" {figure:.2} {unit}"),
            });
        let _ = writeln!(
            text,
            "{verdict:<13} {name}:{found} ({words} {limit} {unit})"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_holds_by_its_figure_and_is_not_measured_without_one() {
        let mut rows: Vec<Row> = Row::new("work".to_owned(), "one", vec![3_000])
            .into_iter()
            .collect();
        rows.extend(Row::new("work".to_owned(), "other", vec![6_000]));
        let figure = |subject| Figure {
            work: "work",
            subject,
            of: median,
        };
        let wanted = |by, needs| Wanted {
            name: "bar",
            of: figure("other"),
            by,
            needs,
        };
        let bars = held_against(
            &rows,
            &[
                wanted(None, Needs::AtMost(6.0)),
                wanted(Some(figure("one")), Needs::AtLeast(2.5)),
                wanted(Some(figure("none")), Needs::AtLeast(1.0)),
            ],
        );
        let found: Vec<_> = bars.iter().map(|bar| (bar.figure, bar.holds)).collect();
        assert_eq!(
            found,
            [
                (Some(6.0), Some(true)),
                (Some(2.0), Some(false)),
                (None, None)
            ]
        );
    }
}
