//! What the page tells, as the cache's files have it.

use crate::records::{Row, hex};
use crate::units::now;
use rekindle_cache_core::history::{self, Sample};
use rekindle_cache_core::journal::{Journal, Miss};
use rekindle_cache_core::lifetime::Lifetime;
use rekindle_cache_core::store::{Deadly, Deaths, FolderStore, Found, Limits, Store as _, Usage};
use rekindle_cache_core::timeline::Timeline;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;

/// How many definitions are named as the costliest.
const COSTLIEST: usize = 12;

/// How many misses are told, the newest.
const NEWEST_MISSES: usize = 15;

/// How many names are told that were compiled most often.
const OFTEN: usize = 6;

#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) folder: String,
    pub(super) now: u64,
    pub(super) life: Lifetime,
    pub(super) usage: Usage,
    /// None where there is no limit.
    pub(super) limit: Option<u64>,
    pub(super) records: Records,
    /// The newest first.
    pub(super) misses: Vec<Miss>,
    /// Names that were compiled more than once, as far as the journal goes back, the most often first.
    pub(super) often: Vec<(String, u64)>,
    pub(super) history: Vec<Sample>,
    pub(super) timeline: Option<Timeline>,
    /// Code that processes died in, with its definition's name where that is known.
    pub(super) deadly: Vec<(Deadly, Option<String>)>,
    pub(super) damage: Vec<String>,
    pub(super) quarantined: u64,
    /// What could not be read.
    pub(super) unread: Vec<String>,
}

/// What the records add up to.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) count: u64,
    pub(super) environments: usize,
    pub(super) image_bytes: u64,
    pub(super) compile_ns: u64,
    pub(super) costliest: Vec<Row>,
    /// What was compiled when: seconds since 1970, and bytes of images.
    pub(super) compiled: BTreeMap<u64, u64>,
}

impl Gathered {
    pub(super) fn of(folder: &Path, store: &FolderStore) -> anyhow::Result<Self> {
        let limit = Limits::from_environment()?.max_bytes;
        let files = store.folder();
        let mut unread = Vec::new();
        let mut tell = |error: &dyn std::fmt::Display| unread.push(error.to_string());
        let life = Lifetime::read(files).unwrap_or_else(|error| {
            tell(&error);
            Lifetime::default()
        });
        life.ignored.iter().for_each(|line| tell(line));
        let journal = Journal::read(files).unwrap_or_else(|error| {
            tell(&error);
            Journal::default()
        });
        let history = history::read(files).unwrap_or_else(|error| {
            tell(&error);
            Vec::new()
        });
        let timeline = Timeline::read(files).unwrap_or_else(|error| {
            tell(&error);
            None
        });
        let mut gathered = Self {
            folder: folder.display().to_string(),
            now: now(),
            usage: store.usage()?,
            limit: (limit != u64::MAX).then_some(limit),
            often: often(&journal.misses),
            misses: journal
                .misses
                .into_iter()
                .rev()
                .take(NEWEST_MISSES)
                .collect(),
            quarantined: store.quarantined()?.len() as u64,
            life,
            history,
            timeline,
            unread,
            ..Self::default()
        };
        let deadly = Deaths::collect(store).known();
        let mut names: HashMap<String, Option<String>> = (deadly.iter())
            .map(|deadly| (deadly.key.to_string(), None))
            .collect();
        gathered.records = Records::of(store, &mut names);
        let named = deadly.into_iter().rev().map(|deadly| {
            let name = names.remove(&deadly.key.to_string()).flatten();
            (deadly, name)
        });
        gathered.deadly = named.collect();
        store.for_each(&mut |found| {
            if let Found::Damaged(damage) = found {
                gathered.damage.push(damage.to_string());
            }
            ControlFlow::Continue(())
        });
        Ok(gathered)
    }
}

impl Records {
    /// Of a store. The names of those that `names` has the keys of are put there.
    fn of(store: &FolderStore, names: &mut HashMap<String, Option<String>>) -> Self {
        let mut records = Self::default();
        let mut environments = std::collections::HashSet::new();
        let mut least = 0;
        store.inventory(&mut |listed| {
            let entry = &listed.record.metadata.entry;
            if entry.is_pointer() || listed.is_duplicate {
                return ControlFlow::Continue(());
            }
            let image_bytes = listed.record.image.bytes.len() as u64;
            let compile_ns = entry.compile_ns.to_native();
            records.count += 1;
            records.image_bytes += image_bytes;
            records.compile_ns = records.compile_ns.saturating_add(compile_ns);
            environments.insert(entry.environment);
            // Zero where the compiler's process had no clock.
            let created = entry.created.to_native();
            if created > 0 {
                *records.compiled.entry(created).or_default() += image_bytes;
            }
            if !names.is_empty()
                && let Some(name) = names.get_mut(&listed.record.key.to_string())
            {
                *name = Some(entry.name.as_str().to_owned());
            }
            if records.costliest.len() < COSTLIEST || compile_ns > least {
                records.costliest.push(Row {
                    key: listed.record.key.to_string(),
                    name: entry.name.as_str().to_owned(),
                    environment: hex(&entry.environment),
                    source: crate::records::source_name(listed.record.provenance),
                    image_bytes,
                    bytes: listed.bytes,
                    compile_ns,
                    created,
                    hits: listed.hits,
                    last_used: listed.last_used,
                });
                records.costliest.sort_by_key(|row| Reverse(row.compile_ns));
                records.costliest.truncate(COSTLIEST);
                least = records.costliest.last().map_or(0, |row| row.compile_ns);
            }
            ControlFlow::Continue(())
        });
        records.environments = environments.len();
        records
    }
}

/// The names that were compiled more than once, with how often.
fn often(misses: &[Miss]) -> Vec<(String, u64)> {
    let mut times: HashMap<&str, u64> = HashMap::new();
    for miss in misses.iter().filter(|miss| !miss.name.is_empty()) {
        *times.entry(&miss.name).or_default() += 1;
    }
    let mut often: Vec<_> = times.into_iter().filter(|(_, times)| *times > 1).collect();
    often.sort_unstable_by_key(|(name, times)| (Reverse(*times), *name));
    let often = often.into_iter().take(OFTEN);
    often
        .map(|(name, times)| (name.to_owned(), times))
        .collect()
}
