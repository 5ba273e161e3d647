//! `rekindle why`: why a definition was compiled, and how its records differ.
//!
//! Processes note in a journal what they compiled and why it was not found. Where that is only that no
//! record had the key, the records of the same name tell which part of the key was another. What is
//! different between two records is what kept the one from being used where the other was made.

use crate::arguments::{Place, Why};
use crate::exit::Exit;
use crate::print::Printer;
use crate::records::{Source, not_found, short, shown_name};
use crate::show::{DependencyFacts, Shown};
use crate::units::{ago, counted, duration, now};
use rekindle_cache_core::journal::{Journal, Miss};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

#[derive(Debug, Serialize)]
struct Reasons {
    what: String,
    /// Newest first.
    misses: Vec<Told>,
    /// How many older misses the journal has.
    older_misses: u64,
    /// Newest first.
    records: Vec<Variant>,
}

/// A miss that a process noted.
#[derive(Debug, Serialize)]
struct Told {
    time: u64,
    process: u32,
    /// `miss`, `bypass` or `rejected`.
    outcome: String,
    /// In words.
    reason: String,
    /// Which parts of the key were other ones in the record that was nearest, in words.
    differs: Vec<String>,
}

/// How many misses are told.
const MISSES: usize = 10;

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
    let journal = match &source {
        Source::Cache(store) => Journal::read(store.folder())?,
        Source::Bundle(..) => Journal::default(),
    };
    // Somebody who gives a key means the name that it is of.
    let name = shown
        .first()
        .map_or(options.what.as_str(), |shown| &shown.row.name);
    let all = journal
        .misses
        .iter()
        .filter(|miss| miss.name == name && !name.is_empty());
    let misses: Vec<&Miss> = all.rev().collect();
    if shown.is_empty() && misses.is_empty() {
        eprintln!(
            "rekindle: {}; it was never compiled with this cache, or was pruned",
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
        differs: older.map_or_else(Vec::new, |older| differences(shown, older, &journal)),
    });
    let told = misses.iter().take(MISSES).map(|miss| Told {
        time: miss.time,
        process: miss.process,
        outcome: miss.outcome.clone(),
        reason: miss.reason.clone(),
        differs: parts(miss, &shown, &journal),
    });
    let reasons = Reasons {
        what: options.what.clone(),
        misses: told.collect(),
        older_misses: misses.len().saturating_sub(MISSES) as u64,
        records: records.collect(),
    };
    out.print(&reasons, Reasons::print)?;
    Ok(Exit::Done)
}

/// Which parts of a miss's key are other ones in the record of before that is nearest to it: none if the
/// miss is told by a dependency, or nothing of that name was kept before.
fn parts(miss: &Miss, shown: &[Shown], journal: &Journal) -> Vec<String> {
    let (text, environment) = (miss.text.to_string(), miss.environment.to_string());
    let number = |shown: &&Shown| {
        usize::from(shown.text_digest != text)
            + usize::from(shown.context != miss.context)
            + 2 * usize::from(shown.row.environment != environment)
    };
    let before = shown.iter().filter(|shown| shown.row.created < miss.time);
    let nearest = before.min_by_key(number).filter(|shown| number(shown) > 0);
    let Some(nearest) = nearest else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    if nearest.text_digest != text {
        parts.push("its text had changed".to_owned());
    }
    if nearest.context != miss.context {
        parts.push(format!("its context was {:?} before", nearest.context));
    }
    if nearest.row.environment != environment {
        parts.push(environments(
            &nearest.row.environment,
            &environment,
            journal,
        ));
    }
    parts
}

/// How two environments differ.
fn environments(was: &str, is: &str, journal: &Journal) -> String {
    let words = match (was.parse(), is.parse()) {
        (Ok(was), Ok(is)) => journal.difference(&was, &is),
        _ => Vec::new(),
    };
    match words.is_empty() {
        true => "another environment: the compiler or its options, the CPU features that the code needs, \
                 the program or one of its libraries"
            .to_owned(),
        false => format!("another environment: {}", words.join("; ")),
    }
}

/// What is different between a record and an older one: why the older was not used.
fn differences(newer: &Shown, older: &Shown, journal: &Journal) -> Vec<Difference> {
    let difference = |kind, what: String| Difference { kind, what };
    let (was, is) = (&older.row.environment, &newer.row.environment);
    if was != is {
        return vec![difference("environment", environments(was, is, journal))];
    }
    if newer.row.key != older.row.key {
        let what = match (
            newer.text_digest != older.text_digest,
            newer.context != older.context,
        ) {
            (true, false) => "another text".to_owned(),
            (false, true) => format!("another context: {:?}", older.context),
            _ => "another name, text or context in the same environment".to_owned(),
        };
        return vec![difference("text", what)];
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
        self.print_misses(out, now)?;
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
        Ok(())
    }

    fn print_misses(&self, out: &mut dyn Write, now: u64) -> io::Result<()> {
        for miss in &self.misses {
            let time = ago(miss.time, now);
            let outcome = match miss.outcome.as_str() {
                "bypass" => "not kept",
                "rejected" => "compiled again",
                _ => "compiled",
            };
            writeln!(
                out,
                "  {outcome} {time} by process {}: {}",
                miss.process, miss.reason
            )?;
            for part in &miss.differs {
                writeln!(out, "      {part}")?;
            }
        }
        if self.older_misses > 0 {
            writeln!(out, "  and {} before", counted(self.older_misses, "time"))?;
        }
        match self.misses.is_empty() || self.records.is_empty() {
            true => Ok(()),
            false => writeln!(out),
        }
    }
}
