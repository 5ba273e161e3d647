//! `rekindle status`: where the cache is, how much is in it, and what it is worth.

use crate::arguments::Place;
use crate::exit::Exit;
use crate::print::Printer;
use crate::progress::{Bar, Counted};
use crate::records::{SHOWN_DIGITS, shown_name, source_name};
use crate::units::{ago, bytes, count, counted, duration, now};
use rekindle_cache_core::bundle::PublicKey;
use rekindle_cache_core::lifetime::Lifetime;
use rekindle_cache_core::store::{Deaths, FolderStore, Found, Limits, Store as _, Verdict};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

/// How many definitions are named as the costliest.
const COSTLIEST: usize = 3;

/// How many reasons why something was compiled are shown.
const REASONS: usize = 4;

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
    /// Code that processes died in, the newest first.
    deaths: Vec<Death>,
    life: Life,
    #[serde(skip)]
    now: u64,
}

#[derive(Debug, Serialize)]
struct Costly {
    name: String,
    compile_ns: u64,
}

/// Code that processes died in.
#[derive(Debug, Serialize)]
struct Death {
    key: String,
    deaths: u64,
    signal: String,
    /// `counted`, `set aside` or `cleared`.
    state: &'static str,
}

/// What processes have counted over the cache's life.
#[derive(Debug, Default, Serialize)]
struct Life {
    since: Option<u64>,
    processes: u64,
    counts: BTreeMap<String, u64>,
    latency_ns: BTreeMap<String, Latency>,
    /// Why lines of the file were left out.
    ignored: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Latency {
    count: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
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
        deaths: Death::of(&store),
        life: Life::read(store.folder()),
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
        for (name, text) in self.life.lines(self.now) {
            line(name, text)?;
        }
        if !self.deaths.is_empty() {
            line("deaths", Death::line(&self.deaths))?;
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

impl Death {
    fn of(store: &FolderStore) -> Vec<Self> {
        let known = Deaths::collect(store).known();
        let deaths = known.into_iter().rev().map(|deadly| Self {
            key: deadly.key.to_string(),
            deaths: u64::from(deadly.deaths),
            signal: deadly.signal,
            state: match deadly.verdict {
                Verdict::SetAside => "set aside",
                Verdict::Cleared => "cleared",
                _ => "counted",
            },
        });
        deaths.collect()
    }

    /// What became of all of them, for people.
    fn line(deaths: &[Self]) -> String {
        let of = |state| deaths.iter().filter(|death| death.state == state).count();
        let all = deaths
            .iter()
            .fold(0, |sum: u64, death| sum.saturating_add(death.deaths));
        format!(
            "{} in the code of {}: {} set aside, {} cleared, {} waiting for a second",
            counted(all, "death"),
            counted(deaths.len() as u64, "definition"),
            of("set aside"),
            of("cleared"),
            of("counted"),
        )
    }
}

impl Life {
    /// Of the folder of a store's files. What cannot be read is told of, and is nothing.
    fn read(folder: &Path) -> Self {
        let lifetime = match Lifetime::read(folder) {
            Ok(lifetime) => lifetime,
            Err(error) => {
                return Self {
                    ignored: vec![error.to_string()],
                    ..Self::default()
                };
            }
        };
        let latencies = lifetime.latencies.iter().filter_map(|(name, histogram)| {
            let quantile = |share| {
                let time = histogram.quantile(share)?;
                u64::try_from(time.as_nanos()).ok()
            };
            let latency = Latency {
                count: histogram.count(),
                p50: quantile(0.5)?,
                p90: quantile(0.9)?,
                p99: quantile(0.99)?,
                max: quantile(1.0)?,
            };
            Some((name.clone(), latency))
        });
        Self {
            since: lifetime.since.filter(|since| *since > 0),
            processes: lifetime.processes,
            latency_ns: latencies.collect(),
            counts: lifetime.counts,
            ignored: lifetime.ignored,
        }
    }

    /// For people: what each line is called, and what it says.
    fn lines(&self, now: u64) -> Vec<(&'static str, String)> {
        let of = |name: &str| self.counts.get(name).copied().unwrap_or_default();
        let mut lines = Vec::new();
        let definitions = of("definitions");
        if definitions > 0 {
            let runs = counted(self.processes, "run");
            let used = counted(definitions, "evaluation");
            let first = match self.since {
                Some(since) => format!(", the first {}", ago(since, now)),
                None => String::new(),
            };
            lines.push(("life", format!("{used} in {runs}{first}")));
            let tenths = u128::from(of("hits")) * 1000 / u128::from(definitions);
            let saved = duration(of("saved_ns"));
            let hits = format!("{}.{} % hits, {saved} saved", tenths / 10, tenths % 10);
            lines.push(("", hits));
        }
        match (of("verified"), of("wrong")) {
            (0, _) => {}
            (verified, 0) => lines.push((
                "",
                format!("{} verified, all right", counted(verified, "hit")),
            )),
            (verified, wrong) => {
                let wrong = format!(
                    "{} of {} WRONG",
                    count(wrong),
                    counted(verified, "verified hit")
                );
                lines.push((
                    "",
                    format!(
                        "{wrong}: the program does not tell all that its definitions depend on"
                    ),
                ));
            }
        }
        for (name, latency) in &self.latency_ns {
            let (median, late) = (duration(latency.p50), duration(latency.p99));
            lines.push(("", format!("{name} in {median}, 99 % within {late}")));
        }
        let reasons = self.counts.iter().filter(|(name, _)| name.contains(' '));
        let mut reasons: Vec<_> = reasons.collect();
        reasons.sort_by_key(|(_, times)| Reverse(**times));
        for (reason, times) in reasons.into_iter().take(REASONS) {
            lines.push(("", format!("{} times {reason}", count(*times))));
        }
        if let [first, ..] = self.ignored.as_slice() {
            let ignored = counted(self.ignored.len() as u64, "line");
            lines.push(("", format!("{ignored} of the statistics left out: {first}")));
        }
        lines
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
