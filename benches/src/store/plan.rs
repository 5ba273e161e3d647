//! What is measured, in which order, and how often.

use super::cacache::Cacache;
use super::files::{Files, UnsyncedFiles};
use super::lmdb::Lmdb;
use super::records::Records;
use super::rekindle::Rekindle;
use super::report::Row;
use super::sqlite::Sqlite;
use super::subject::{Open, SMALL, Subject};
use super::{Options, Work, timing};
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};

const TEN_THOUSAND: usize = 10_000;
const MILLION: usize = 1_000_000;

/// Bytes of a payload in `flush-1000`.
const LARGE: usize = 5 << 10;

/// Look-ups per round and subject.
pub(super) const LOOK_UPS: usize = 10_016;

/// Look-ups before those, which are not timed.
pub(super) const WARM_UP: usize = 8 * LOOK_UPS;

/// Records put per round and subject.
const PUTS: usize = 500;

/// Look-ups after each time that the kernel was made to forget a store. Few, because each brings in
/// more than it needs.
const COLD_LOOK_UPS: usize = 16;

struct Plan<'a> {
    options: &'a Options,
    folder: &'a Path,
    subjects: Vec<Box<dyn Subject>>,
    rows: Vec<Row>,
}

/// Measures everything, in stores that are made in `folder`.
pub(super) fn measure(options: &Options, folder: &Path) -> Result<Vec<Row>> {
    let all: Vec<Box<dyn Subject>> = vec![
        Box::new(Rekindle),
        Box::new(Files),
        Box::new(UnsyncedFiles),
        Box::new(Cacache),
        Box::new(Lmdb),
        Box::new(Sqlite),
    ];
    let wanted = |name| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut plan = Plan {
        options,
        folder,
        subjects: all
            .into_iter()
            .filter(|subject| wanted(subject.name()))
            .collect(),
        rows: Vec::new(),
    };
    ensure!(!plan.subjects.is_empty(), "no such subject");
    plan.with_store_of(TEN_THOUSAND)?;
    if options.wants(Work::Flush) {
        plan.flush()?;
    }
    // Unless it is asked for: to fill the peers' stores takes most of a minute.
    if options.wants(Work::Prune) && !(options.quick && options.work.is_empty()) {
        plan.prune()?;
    }
    if !options.quick {
        plan.with_store_of(MILLION)?;
    }
    Ok(plan.rows)
}

/// A subject's store that was made for some works.
struct Made<'a> {
    subject: &'a dyn Subject,
    folder: PathBuf,
}

/// Samples of each subject in turn.
type Samples = Vec<Vec<f64>>;

impl Plan<'_> {
    /// All work on stores that have `count` records already.
    fn with_store_of(&mut self, count: usize) -> Result<()> {
        let wants = |work| self.options.wants(work);
        let open = wants(Work::Open) && count == MILLION;
        if !open && !wants(Work::Get) && !wants(Work::Put) {
            return Ok(());
        }
        let records = Records {
            set: "records",
            first: 0,
            count,
            payload: SMALL,
        };
        let mut made = Vec::new();
        for subject in &self.subjects {
            // The same files.
            if subject.name() == "files-unsynced"
                || count == MILLION && subject.makes_files() && !self.options.million_files
            {
                continue;
            }
            eprintln!("making {count} records for {} ...", subject.name());
            let folder = self.folder.join(format!("{}-{count}", subject.name()));
            subject
                .fill(&folder, &records)
                .with_context(|| format!("{} cannot keep {count} records", subject.name()))?;
            made.push(Made {
                subject: subject.as_ref(),
                folder,
            });
        }
        let mut rows = Vec::new();
        if open {
            rows.extend(self.open(&made, &records)?);
        }
        if self.options.wants(Work::Get) {
            rows.extend(self.look_up(&made, &records)?);
            rows.extend(self.look_up_cold(&made, &records)?);
        }
        if self.options.wants(Work::Put) {
            rows.extend(self.put(&made, &records)?);
        }
        for made in &made {
            std::fs::remove_dir_all(&made.folder)?;
        }
        self.rows.extend(rows);
        Ok(())
    }

    fn open(&self, made: &[Made<'_>], records: &Records) -> Result<Vec<Row>> {
        eprintln!("open ...");
        let mut resident: Samples = vec![Vec::new(); made.len()];
        let mut with_get = resident.clone();
        let mut cold = resident.clone();
        let mut cold_with_get = resident.clone();
        let mut heap = vec![0; made.len()];
        let mut index = vec![None; made.len()];
        let rounds = self.options.rounds;
        let mut payload = Vec::with_capacity(2 * SMALL);
        for key in records.random_keys(2 * rounds, 3) {
            for (number, made) in made.iter().enumerate() {
                // The first time is for the page cache.
                get(
                    made.subject.open(&made.folder)?.as_mut(),
                    &key,
                    &mut payload,
                )?;
                let before = timing::heap_bytes();
                let (open, opening) = timing::of(|| made.subject.open(&made.folder))?;
                let mut open = open;
                let ((), getting) = timing::of(|| get(open.as_mut(), &key, &mut payload))?;
                heap[number] = timing::heap_bytes().saturating_sub(before);
                index[number] = open.index_bytes();
                resident[number].push(opening);
                with_get[number].push(opening + getting);
            }
        }
        for key in records.random_keys(rounds, 7) {
            for (number, made) in made.iter().enumerate() {
                if !is_forgettable(made, records) {
                    continue;
                }
                timing::forget(&made.folder)?;
                let (mut open, opening) = timing::of(|| made.subject.open(&made.folder))?;
                let ((), getting) = timing::of(|| get(open.as_mut(), &key, &mut payload))?;
                cold[number].push(opening);
                cold_with_get[number].push(opening + getting);
            }
        }
        let count = records.count;
        let mut rows = rows("open-1m", count, "resident", made, resident);
        for (number, made) in made.iter().enumerate() {
            let name = made.subject.name();
            if let Some(row) = rows.iter_mut().find(|row| row.subject == name) {
                row.heap_bytes = Some(heap[number]);
                row.index_bytes = index[number];
                row.disk_bytes = Some(timing::disk_bytes(&made.folder)?);
            }
        }
        let get = "open-1m-and-get";
        rows.extend(self::rows("open-1m", count, "cold", made, cold));
        rows.extend(self::rows(get, count, "resident", made, with_get));
        rows.extend(self::rows(get, count, "cold", made, cold_with_get));
        Ok(rows)
    }

    fn look_up(&self, made: &[Made<'_>], records: &Records) -> Result<Vec<Row>> {
        eprintln!("get ...");
        let mut found: Samples = vec![Vec::new(); made.len()];
        let mut missing = found.clone();
        let absent = Records {
            set: "absent",
            ..*records
        };
        let mut payload = Vec::with_capacity(2 * SMALL);
        let mut open = Vec::new();
        for made in made {
            let mut store = made.subject.open(&made.folder)?;
            // Every page is in memory afterwards, and known to this process where it is mapped.
            for key in records.keys() {
                get(store.as_mut(), &key, &mut payload)?;
            }
            open.push(store);
        }
        for round in 0..self.options.rounds {
            let keys = records.random_keys(LOOK_UPS, round as u64 + 11);
            let absent = absent.random_keys(LOOK_UPS, round as u64 + 11);
            let warm_up = records.random_keys(WARM_UP, round as u64 + 1011);
            for (number, store) in open.iter_mut().enumerate() {
                // So that the processor's caches have this subject's and not those of the one before.
                for key in &warm_up {
                    get(store.as_mut(), key, &mut payload)?;
                }
                timing::batches(&keys, &mut found[number], |key| {
                    get(store.as_mut(), key, &mut payload)
                })?;
                timing::batches(&absent, &mut missing[number], |key| {
                    ensure!(!store.get(key, &mut payload)?, "an absent key was found");
                    Ok(())
                })?;
            }
        }
        let mut rows = rows("get", records.count, "resident", made, found);
        rows.extend(self::rows(
            "get-missing",
            records.count,
            "resident",
            made,
            missing,
        ));
        Ok(rows)
    }

    fn look_up_cold(&self, made: &[Made<'_>], records: &Records) -> Result<Vec<Row>> {
        eprintln!("get, cold ...");
        let mut samples: Samples = vec![Vec::new(); made.len()];
        let mut payload = Vec::with_capacity(2 * SMALL);
        let rounds = self.options.rounds;
        let keys = records.random_keys(rounds * COLD_LOOK_UPS, 5);
        for keys in keys.chunks(COLD_LOOK_UPS) {
            for (number, made) in made.iter().enumerate() {
                if !is_forgettable(made, records) {
                    continue;
                }
                timing::forget(&made.folder)?;
                let mut store = made.subject.open(&made.folder)?;
                for key in keys {
                    timing::once(&mut samples[number], || {
                        get(store.as_mut(), key, &mut payload)
                    })?;
                }
            }
        }
        Ok(rows("get", records.count, "cold", made, samples))
    }

    fn put(&self, made: &[Made<'_>], records: &Records) -> Result<Vec<Row>> {
        eprintln!("put ...");
        let mut samples: Samples = vec![Vec::new(); made.len()];
        let mut open = Vec::new();
        for made in made {
            open.push(made.subject.open(&made.folder)?);
        }
        let mut payload = Vec::with_capacity(2 * SMALL);
        for round in 0..self.options.rounds {
            let new = Records {
                set: "new",
                first: round * PUTS,
                count: PUTS,
                payload: SMALL,
            };
            for (number, store) in open.iter_mut().enumerate() {
                new.for_each(|key, payload| {
                    timing::once(&mut samples[number], || store.put(key, payload))
                })?;
                for key in new.keys() {
                    get(store.as_mut(), &key, &mut payload)?;
                }
            }
        }
        Ok(rows("put", records.count, "resident", made, samples))
    }

    fn flush(&mut self) -> Result<()> {
        eprintln!("flush-1000 ...");
        let made = self.folders("flush");
        let mut samples: Samples = vec![Vec::new(); made.len()];
        // Files that are synced one by one take a second each time.
        for round in 0..self.options.rounds.min(3) {
            let records = Records {
                set: "flush",
                first: round * 1_000,
                count: 1_000,
                payload: LARGE,
            }
            .made();
            for (number, made) in made.iter().enumerate() {
                let mut store = made.subject.open(&made.folder)?;
                timing::once(&mut samples[number], || store.put_all_durably(&records))?;
                drop(store);
                std::fs::remove_dir_all(&made.folder)?;
            }
        }
        let rows = rows("flush-1000", 1_000, "resident", &made, samples);
        self.rows.extend(rows);
        Ok(())
    }

    fn prune(&mut self) -> Result<()> {
        eprintln!("prune ...");
        let made = self.folders("prune");
        let mut samples: Samples = vec![Vec::new(); made.len()];
        let records = Records {
            set: "prune",
            first: 0,
            count: TEN_THOUSAND,
            payload: SMALL,
        };
        for _ in 0..self.options.rounds.min(2) {
            for (number, made) in made.iter().enumerate() {
                if made.subject.name() == "files-unsynced" {
                    continue;
                }
                made.subject.fill(&made.folder, &records)?;
                let mut store = made.subject.open(&made.folder)?;
                let mut taken = Vec::new();
                if timing::once(&mut taken, || store.prune_half(records.count))? {
                    samples[number].extend(taken);
                }
                drop(store);
                std::fs::remove_dir_all(&made.folder)?;
            }
        }
        let rows = rows("prune", records.count, "resident", &made, samples);
        self.rows.extend(rows);
        Ok(())
    }

    /// A folder for each subject, not made yet.
    fn folders(&self, work: &str) -> Vec<Made<'_>> {
        let made = self.subjects.iter().map(|subject| Made {
            subject: subject.as_ref(),
            folder: self.folder.join(format!("{}-{work}", subject.name())),
        });
        made.collect()
    }
}

/// To make the kernel forget a million files, one by one and each time, takes longer than all the rest.
fn is_forgettable(made: &Made<'_>, records: &Records) -> bool {
    records.count < MILLION || !made.subject.makes_files()
}

fn get(store: &mut dyn Open, key: &[u8; 32], payload: &mut Vec<u8>) -> Result<()> {
    ensure!(store.get(key, payload)?, "a record is missing");
    Ok(())
}

fn rows(
    work: &'static str,
    records: usize,
    state: &'static str,
    made: &[Made<'_>],
    samples: Samples,
) -> Vec<Row> {
    let rows = made
        .iter()
        .zip(samples)
        .filter_map(|(made, samples)| Row::new(work, made.subject.name(), records, state, samples));
    rows.collect()
}
