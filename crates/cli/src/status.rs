//! `rekindle status`: where the cache is, how much is in it, and what it is worth.

use crate::arguments::Place;
use crate::exit::Exit;
use crate::print::Printer;
use crate::progress::{Bar, Counted};
use crate::records::{SHOWN_DIGITS, shown_name, source_name};
use crate::units::{ago, bytes, count, counted, duration, now};
use rekindle_cache_core::bundle::PublicKey;
use rekindle_cache_core::store::{FolderStore, Found, Limits, Store as _};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write};
use std::ops::ControlFlow;

/// How many definitions are named as the costliest.
const COSTLIEST: usize = 3;

/// Cells of the bar that shows how full the cache is.
const BAR: u64 = 20;

#[derive(Debug, Default, Serialize)]
struct Status {
    folder: String,
    version: &'static str,
    records: u64,
    definitions: u64,
    environments: u64,
    sources: BTreeMap<String, u64>,
    image_bytes: u64,
    /// Compiling all of it again.
    compile_ns: u64,
    /// Compiling that was spared, as far as uses were noted.
    spared_ns: u64,
    hits: u64,
    oldest: Option<u64>,
    newest: Option<u64>,
    costliest: Vec<Costly>,
    size: Size,
    limits: Bounds,
    packs: u64,
    damage: Vec<String>,
    quarantined: u64,
    #[serde(skip)]
    now: u64,
}

#[derive(Debug, Serialize)]
struct Costly {
    name: String,
    compile_ns: u64,
}

#[derive(Debug, Default, Serialize)]
struct Size {
    packs: u64,
    segments: u64,
    retired: u64,
    quarantined: u64,
    other: u64,
    total: u64,
}

#[derive(Debug, Default, Serialize)]
struct Bounds {
    bytes: Option<u64>,
    records: Option<u64>,
}

pub(crate) fn run(place: &Place, out: &mut Printer) -> anyhow::Result<Exit> {
    let (folder, store) = place.look()?;
    let limits = Limits::from_environment()?;
    let bounded = |limit: u64| (limit != u64::MAX).then_some(limit);
    let usage = store.usage()?;
    let mut status = Status {
        folder: folder.display().to_string(),
        version: env!("CARGO_PKG_VERSION"),
        size: Size {
            packs: usage.packs,
            segments: usage.segments,
            retired: usage.retired,
            quarantined: usage.quarantined,
            other: usage.other,
            total: usage.total(),
        },
        limits: Bounds {
            bytes: bounded(limits.max_bytes),
            records: bounded(limits.max_entries),
        },
        packs: store.statistics().packs,
        quarantined: store.quarantined()?.len() as u64,
        now: now(),
        ..Status::default()
    };
    status.count_records(&store);
    store.for_each(&mut |found| {
        if let Found::Damaged(damage) = found {
            status.damage.push(damage.to_string());
        }
        ControlFlow::Continue(())
    });
    out.print(&status, Status::print)?;
    Ok(Exit::Done)
}

impl Status {
    fn count_records(&mut self, store: &FolderStore) {
        let mut definitions: HashSet<u64> = HashSet::new();
        let mut environments: HashSet<[u8; 32]> = HashSet::new();
        let bar = Bar::new("reading", Counted::Records);
        let total = store.statistics().records;
        let mut read = 0;
        store.inventory(&mut |listed| {
            let entry = &listed.record.metadata.entry;
            read += 1;
            bar.set(read, total);
            if entry.is_pointer() {
                return ControlFlow::Continue(());
            }
            let compile_ns = entry.compile_ns.to_native();
            self.records += 1;
            self.image_bytes += listed.record.image.bytes.len() as u64;
            self.compile_ns = self.compile_ns.saturating_add(compile_ns);
            self.hits += listed.hits;
            self.spared_ns = self
                .spared_ns
                .saturating_add(compile_ns.saturating_mul(listed.hits));
            let mut hasher = DefaultHasher::new();
            match entry.name.as_str() {
                "" => listed.record.key.hash(&mut hasher),
                name => name.hash(&mut hasher),
            }
            definitions.insert(hasher.finish());
            environments.insert(entry.environment);
            *self
                .sources
                .entry(source_name(listed.record.provenance))
                .or_default() += 1;
            // Zero where the compiler's process had no clock.
            if let Some(created) = Some(entry.created.to_native()).filter(|created| *created > 0) {
                self.oldest = Some(self.oldest.map_or(created, |oldest| oldest.min(created)));
                self.newest = Some(self.newest.map_or(created, |newest| newest.max(created)));
            }
            self.note_cost(entry.name.as_str(), compile_ns);
            ControlFlow::Continue(())
        });
        self.definitions = definitions.len() as u64;
        self.environments = environments.len() as u64;
    }

    fn note_cost(&mut self, name: &str, compile_ns: u64) {
        let place = self
            .costliest
            .partition_point(|costly| costly.compile_ns >= compile_ns);
        if name.is_empty() || place >= COSTLIEST {
            return;
        }
        self.costliest.insert(
            place,
            Costly {
                name: name.to_owned(),
                compile_ns,
            },
        );
        self.costliest.truncate(COSTLIEST);
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}\n", self.folder)?;
        let mut line = |name: &str, text: String| writeln!(out, "  {name:<10} {text}");
        if self.records == 0 {
            line("records", "none yet".to_owned())?;
        } else {
            line(
                "records",
                format!(
                    "{} of {}, in {}",
                    count(self.records),
                    counted(self.definitions, "definition"),
                    counted(self.packs, "pack"),
                ),
            )?;
        }
        line("size", self.size())?;
        if self.records > 0 {
            line(
                "worth",
                format!(
                    "{} of compiling, in {} of code",
                    duration(self.compile_ns),
                    bytes(self.image_bytes)
                ),
            )?;
            if self.hits > 0 {
                line(
                    "spared",
                    format!(
                        "{} by {}",
                        duration(self.spared_ns),
                        counted(self.hits, "noted hit")
                    ),
                )?;
            }
            if let (Some(newest), Some(oldest)) = (self.newest, self.oldest) {
                line(
                    "compiled",
                    format!(
                        "last {}, first {}",
                        ago(newest, self.now),
                        ago(oldest, self.now)
                    ),
                )?;
            }
            if self.environments > 1 {
                line(
                    "for",
                    format!(
                        "{} (compilers, options, CPUs, programs)",
                        counted(self.environments, "environment")
                    ),
                )?;
            }
            for (number, (source, records)) in self.sources.iter().enumerate() {
                let name = if number == 0 { "from" } else { "" };
                line(
                    name,
                    format!("{} {}", count(*records), source_in_words(source)),
                )?;
            }
            for (number, costly) in self.costliest.iter().enumerate() {
                let name = if number == 0 { "costliest" } else { "" };
                let cost = duration(costly.compile_ns);
                line(name, format!("{cost:>9}  {}", shown_name(&costly.name)))?;
            }
        }
        if self.damage.is_empty() && self.quarantined == 0 {
            return line(
                "health",
                "good, as far as looked (`rekindle verify` reads every byte)".to_owned(),
            );
        }
        for damage in &self.damage {
            line("damaged", damage.clone())?;
        }
        if self.quarantined > 0 {
            line("set aside", counted(self.quarantined, "damaged pack"))?;
        }
        line("health", "run `rekindle doctor`".to_owned())
    }

    fn size(&self) -> String {
        let Some(limit) = self.limits.bytes.filter(|limit| *limit > 0) else {
            return format!("{}, without a limit", bytes(self.size.total));
        };
        let part = |whole: u64| {
            (u128::from(self.size.total.min(limit)) * u128::from(whole) / u128::from(limit)) as u64
        };
        let full = part(BAR);
        let tenths = part(1000);
        format!(
            "{} of {}  [{}{}] {}.{} %",
            bytes(self.size.total),
            bytes(limit),
            "#".repeat(full as usize),
            ".".repeat((BAR - full) as usize),
            tenths / 10,
            tenths % 10,
        )
    }
}

fn source_in_words(source: &str) -> String {
    match source {
        "own" => "compiled here".to_owned(),
        "unsigned" => "from unsigned bundles".to_owned(),
        key => match key.parse::<PublicKey>() {
            Ok(_) => {
                let shown = key.get(..SHOWN_DIGITS + "ed25519:".len()).unwrap_or(key);
                format!("signed by {shown}...")
            }
            Err(_) => format!("signed by {key}"),
        },
    }
}
