//! `rekindle why`: how the records of a definition differ.
//!
//! Processes write down what they kept and not what they missed, so this is told from the records: what
//! is different between two of them is what kept the one from being used where the other was made.

use crate::arguments::{Place, Why};
use crate::exit::Exit;
use crate::print::Printer;
use crate::records::{Source, not_found, short, shown_name};
use crate::show::{DependencyFacts, Shown};
use crate::units::{ago, counted, duration, now};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

#[derive(Debug, Serialize)]
struct Reasons {
    what: String,
    /// Whether processes wrote down their misses; until they do, only records tell.
    journal: bool,
    /// Newest first.
    records: Vec<Variant>,
}

#[derive(Debug, Serialize)]
struct Variant {
    key: String,
    environment: String,
    source: String,
    created: u64,
    compile_ns: u64,
    hits: u64,
    dependencies: u64,
    /// What the next older record has otherwise; none for the oldest.
    differs: Vec<Difference>,
}

#[derive(Debug, Serialize)]
struct Difference {
    /// `environment`, `text`, `changed`, `added`, `gone` or `none`.
    kind: &'static str,
    /// In words.
    what: String,
}

pub(crate) fn run(place: &Place, options: &Why, out: &mut Printer) -> anyhow::Result<Exit> {
    let source = Source::open(place, None)?;
    let shown = source.find(&options.what, |seen| Shown::of(seen, false));
    if shown.is_empty() {
        eprintln!(
            "rekindle: {}; it was never compiled with this cache, or could not be kept, or was pruned",
            not_found(&source, &options.what)
        );
        return Ok(Exit::Nothing);
    }
    let older = shown.iter().skip(1).map(Some).chain([None]);
    let records = shown.iter().zip(older).map(|(shown, older)| Variant {
        key: shown.row.key.clone(),
        environment: shown.row.environment.clone(),
        source: shown.row.source.clone(),
        created: shown.row.created,
        compile_ns: shown.row.compile_ns,
        hits: shown.row.hits,
        dependencies: shown.dependencies.len() as u64,
        differs: older.map_or_else(Vec::new, |older| differences(shown, older)),
    });
    let reasons = Reasons {
        what: options.what.clone(),
        journal: false,
        records: records.collect(),
    };
    out.print(&reasons, Reasons::print)?;
    Ok(Exit::Done)
}

/// What is different between a record and an older one: why the older was not used.
fn differences(newer: &Shown, older: &Shown) -> Vec<Difference> {
    let difference = |kind, what: String| Difference { kind, what };
    if newer.row.environment != older.row.environment {
        let what = "another environment: the compiler or its options, the CPU features that the code \
                    needs, the program or one of its libraries";
        return vec![difference("environment", what.to_owned())];
    }
    if newer.row.key != older.row.key {
        let what = "another name, text or context in the same environment";
        return vec![difference("text", what.to_owned())];
    }
    let by_name = |shown: &Shown| -> BTreeMap<(String, String, String), String> {
        let named = shown.dependencies.iter().cloned().map(
            |DependencyFacts {
                 kind,
                 name,
                 scope,
                 digest,
             }| ((kind, name, scope), digest),
        );
        named.collect()
    };
    let (now, before) = (by_name(newer), by_name(older));
    let in_words = |(kind, name, scope): &(String, String, String)| {
        DependencyFacts {
            kind: kind.clone(),
            name: name.clone(),
            scope: scope.clone(),
            digest: String::new(),
        }
        .in_words()
    };
    let mut found = Vec::new();
    for (name, digest) in &before {
        match now.get(name) {
            Some(other) if other != digest => {
                found.push(difference("changed", in_words(name)));
            }
            Some(_) => {}
            None => found.push(difference("gone", in_words(name))),
        }
    }
    for name in now.keys().filter(|name| !before.contains_key(*name)) {
        found.push(difference("added", in_words(name)));
    }
    if found.is_empty() {
        let what =
            "nothing: two processes compiled it at the same time, or it was taken over twice";
        found.push(difference("none", what.to_owned()));
    }
    found
}

impl Reasons {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let records = counted(self.records.len() as u64, "record");
        writeln!(out, "{}: {records}\n", shown_name(&self.what))?;
        let now = now();
        for (number, variant) in self.records.iter().enumerate() {
            let created = match variant.created {
                0 => String::new(),
                created => format!("{}, ", ago(created, now)),
            };
            writeln!(
                out,
                "  {}  {created}{}, {}, environment {}",
                short(&variant.key),
                duration(variant.compile_ns),
                counted(variant.dependencies, "dependency").replace("dependencys", "dependencies"),
                short(&variant.environment),
            )?;
            if number + 1 < self.records.len() {
                writeln!(
                    out,
                    "    the next older one was not used for it, because of"
                )?;
            }
            for difference in &variant.differs {
                let verb = match difference.kind {
                    "changed" | "added" | "gone" => format!("{}: ", difference.kind),
                    _ => String::new(),
                };
                writeln!(out, "      {verb}{}", difference.what)?;
            }
        }
        if let [only] = self.records.as_slice() {
            let dependencies = match only.dependencies {
                0 => "and nothing else: it depends on nothing that was recorded",
                _ => "and everything that it depends on as it was (`rekindle show` lists it)",
            };
            writeln!(
                out,
                "    it is used where name, text, context and environment are the same,\n    {dependencies}"
            )?;
        }
        writeln!(
            out,
            "\nTold from the records alone: processes have not written down what they missed."
        )
    }
}
