//! Which code processes died in, and what became of it.
//!
//! An entry in whose first run two processes died of a signal such as SIGSEGV or SIGABRT is set aside: its
//! record is removed, with the reason, and the definition is compiled again. If that gives the same bytes,
//! the code does what it was written to do; the entry is cleared, and no death counts against those
//! bytes any more.
//!
//! `running/deaths`: the magic `RKDEATH1`, then the entries, of 64 bytes each, the one that was changed
//! last at the end. Numbers are little-endian.
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | XXH3 of bytes 8 to 64 |
//! | 8 | 8 | the checksum of the image |
//! | 16 | 32 | the form key |
//! | 48 | 4 | deaths |
//! | 52 | 4 | state: 0 counted, 1 set aside, 2 cleared |
//! | 56 | 4 | the signal of the last death |
//! | 60 | 4 | zero |
//!
//! The file is changed in place by whoever holds its lock. An entry that was cut off or whose checksum is
//! wrong is passed over: then a death is forgotten. Beyond [`MOST`] entries the oldest ones go.

use super::files::{self, Lock, RUNNING};
use super::io::{Disk, Io, read_full_at, write_all_at};
use super::running::{self, Death};
use super::{FolderStore, Store, StoreError};
use crate::digest::{Digest, checksum};
use crate::folder::fault;
use crate::key::FormKey;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, LittleEndian, U32, U64, Unaligned};

const FILE: &str = "deaths";
const MAGIC: [u8; 8] = *b"RKDEATH1";

/// So many entries are remembered.
const MOST: usize = 1024;

/// After so many deaths an entry is set aside: one can be chance.
const TOO_MANY: u32 = 2;

/// How long a process waits for another that changes the file: it may have been stopped.
const PATIENCE: Duration = Duration::from_millis(100);

const COUNTED: u32 = 0;
const SET_ASIDE: u32 = 1;
const CLEARED: u32 = 2;

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Entry {
    checksum: U64<LittleEndian>,
    image: U64<LittleEndian>,
    key: [u8; 32],
    deaths: U32<LittleEndian>,
    state: U32<LittleEndian>,
    signal: U32<LittleEndian>,
    zero: U32<LittleEndian>,
}

impl Entry {
    fn is(&self, key: &FormKey, image: u64) -> bool {
        self.key == key.0.0 && self.image.get() == image
    }

    fn reason(&self) -> String {
        let deaths = self.deaths.get();
        let signal = signal_name(self.signal.get());
        format!(
            "{deaths} processes died while they ran it for the first time, the last of {signal}"
        )
    }
}

/// What became of code that processes died in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is used as before: a death can be chance.
    Counted,
    /// Its record was removed.
    SetAside,
    /// Compiling gave the same code again, which is kept from then on.
    Cleared,
}

/// Code that processes died in while they ran it for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadly {
    /// The key of its definition; a key of no record, where a better compiler died of a unit.
    pub key: FormKey,
    /// How many processes.
    pub deaths: u32,
    /// What the last one died of.
    pub signal: String,
    /// What became of it.
    pub verdict: Verdict,
}

/// What is known of the code that processes died in, as of when the store was opened.
pub struct Deaths {
    path: PathBuf,
    /// Whether anything is set aside; as a rule nothing is.
    any: AtomicBool,
    entries: Mutex<Vec<Entry>>,
}

impl Deaths {
    /// Counts where processes died that used the folder of `store`, and sets aside what two have died in.
    /// In a store that is read only, what others have counted is known, and nothing is changed.
    ///
    /// It lists one small folder; where nobody has died, that is all.
    pub fn collect(store: &FolderStore) -> Self {
        let deaths = Self {
            path: store.folder().join(RUNNING).join(FILE),
            any: AtomicBool::new(false),
            entries: Mutex::default(),
        };
        let collected = match store.is_read_only() {
            true => deaths.read(),
            false => deaths.collect_from(store),
        };
        if let Err(error) = collected {
            store.fault(&error);
        }
        deaths
    }

    /// The code that processes died in, the one that was changed last at the end.
    pub fn known(&self) -> Vec<Deadly> {
        let entries = self.entries();
        let known = entries.iter().map(|entry| Deadly {
            key: FormKey(Digest(entry.key)),
            deaths: entry.deaths.get(),
            signal: signal_name(entry.signal.get()),
            verdict: match entry.state.get() {
                CLEARED => Verdict::Cleared,
                SET_ASIDE => Verdict::SetAside,
                _ => Verdict::Counted,
            },
        });
        known.collect()
    }

    /// Why nothing is found by `key`, if that is because processes died in what was.
    pub fn reason(&self, key: &FormKey) -> Option<String> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let entries = self.entries();
        let mut set_aside = entries
            .iter()
            .filter(|entry| entry.state.get() == SET_ASIDE);
        set_aside
            .find(|entry| entry.key == key.0.0)
            .map(Entry::reason)
    }

    /// How many processes died in the code of `key` whose image has this checksum; none if that was cleared.
    pub fn count(&self, key: &FormKey, image: u64) -> u32 {
        let entries = self.entries();
        let known = entries.iter().find(|entry| entry.is(key, image));
        known
            .filter(|entry| entry.state.get() != CLEARED)
            .map_or(0, |entry| entry.deaths.get())
    }

    /// Whether so many did that this code is not used.
    pub fn are_too_many(&self, key: &FormKey, image: u64) -> bool {
        self.count(key, image) >= TOO_MANY
    }

    /// Notes that the definition `key` was compiled again, to an image with this checksum. Whether that is
    /// what had been set aside: it is cleared then, and should be kept before it runs.
    pub fn compiled(&self, key: &FormKey, image: u64) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let is_known = |entry: &Entry| entry.is(key, image) && entry.state.get() == SET_ASIDE;
        if !self.entries().iter().any(is_known) {
            return false;
        }
        let cleared = self.change(|entries| {
            for entry in entries.iter_mut().filter(|entry| entry.is(key, image)) {
                entry.state = U32::new(CLEARED);
            }
        });
        if let Err(error) = cleared {
            tracing::debug!(%error, "what was compiled again is not noted");
        }
        true
    }

    fn collect_from(&self, store: &FolderStore) -> Result<(), StoreError> {
        let died = running::collect(store.folder())?;
        match died.is_empty() {
            true => self.read()?,
            false => self.change(|entries| died.iter().for_each(|death| count(entries, death)))?,
        }
        let condemned: Vec<Entry> = {
            let entries = self.entries();
            let condemned = entries
                .iter()
                .filter(|entry| entry.state.get() == COUNTED && entry.deaths.get() >= TOO_MANY);
            condemned.copied().collect()
        };
        if condemned.is_empty() {
            return Ok(());
        }
        for entry in &condemned {
            store.set_aside(&FormKey(Digest(entry.key)), &entry.reason());
        }
        // Before it is noted: who dies in between does it again.
        store.flush()?;
        self.change(|entries| {
            for entry in entries.iter_mut() {
                let is_condemned =
                    |other: &Entry| other.key == entry.key && other.image == entry.image;
                if entry.state.get() == COUNTED && condemned.iter().any(is_condemned) {
                    entry.state = U32::new(SET_ASIDE);
                }
            }
        })
    }

    /// Knows what the file says.
    fn read(&self) -> Result<(), StoreError> {
        match files::open(&Disk, &self.path, false)? {
            Some(file) => {
                let entries = read_entries(&file, &self.path)?;
                self.know(entries);
            }
            None => self.know(Vec::new()),
        }
        Ok(())
    }

    /// Changes the file, and knows what it says then.
    fn change(&self, change: impl FnOnce(&mut Vec<Entry>)) -> Result<(), StoreError> {
        let (file, path) = (self.lock()?, &self.path);
        let mut entries = read_entries(&file, path)?;
        change(&mut entries);
        let surplus = entries.len().saturating_sub(MOST);
        entries.drain(..surplus);
        let mut bytes = MAGIC.to_vec();
        for entry in &mut entries {
            let covered = entry.as_bytes().get(8..).map_or(0, checksum);
            entry.checksum = U64::new(covered);
            bytes.extend_from_slice(entry.as_bytes());
        }
        write_all_at(&Disk, &file, path, &bytes, 0).map_err(fault("write", path))?;
        file.set_len(bytes.len() as u64)
            .map_err(fault("write", path))?;
        let _ = file.unlock();
        self.know(entries);
        Ok(())
    }

    fn know(&self, entries: Vec<Entry>) {
        let any = (entries.iter()).any(|entry| entry.state.get() == SET_ASIDE);
        *self.entries() = entries;
        self.any.store(any, Ordering::Relaxed);
    }

    /// The file, locked; it is made if it is not there.
    fn lock(&self) -> Result<File, StoreError> {
        let (io, path) = (&Disk, &self.path);
        let began = Instant::now();
        loop {
            let file = match files::open(io, path, true)? {
                Some(file) => file,
                None => match io.create(path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                    Err(error) => return Err(fault("create", path)(error)),
                },
            };
            match files::lock(io, &file, path).map_err(fault("lock", path))? {
                Lock::Ours => return Ok(file),
                Lock::Taken | Lock::Gone if began.elapsed() > PATIENCE => {
                    return Err(fault("lock", path)(ErrorKind::WouldBlock.into()));
                }
                Lock::Taken | Lock::Gone => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a death, unless the code was cleared.
fn count(entries: &mut Vec<Entry>, death: &Death) {
    let known = (entries.iter()).position(|entry| entry.is(&death.key, death.image));
    let mut entry = match known {
        Some(place) => entries.remove(place),
        None => Entry {
            checksum: U64::new(0),
            image: U64::new(death.image),
            key: death.key.0.0,
            deaths: U32::new(0),
            state: U32::new(COUNTED),
            signal: U32::new(0),
            zero: U32::new(0),
        },
    };
    match entry.state.get() {
        CLEARED => {}
        _ => {
            // What was set aside and is run all the same is another record of the same code, such as one
            // that was imported: that is set aside as well.
            entry.state = U32::new(COUNTED);
            entry.deaths = U32::new(entry.deaths.get().saturating_add(1));
            entry.signal = U32::new(death.signal);
        }
    }
    entries.push(entry);
}

fn read_entries(file: &File, path: &Path) -> Result<Vec<Entry>, StoreError> {
    let mut bytes = vec![0; MAGIC.len() + MOST * size_of::<Entry>()];
    let length = read_full_at(&Disk, file, path, &mut bytes, 0).map_err(fault("read", path))?;
    let bytes = bytes.get(..length).unwrap_or_default();
    let Some(entries) = bytes.strip_prefix(&MAGIC) else {
        return Ok(Vec::new());
    };
    let entries = entries.chunks_exact(size_of::<Entry>());
    let entries = entries.filter_map(|bytes| {
        let entry = Entry::read_from_bytes(bytes).ok()?;
        (bytes.get(8..).map(checksum) == Some(entry.checksum.get())).then_some(entry)
    });
    Ok(entries.collect())
}

/// What people call a signal.
fn signal_name(signal: u32) -> String {
    let known = [
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGTRAP, "SIGTRAP"),
    ];
    let name = known
        .iter()
        .find(|(number, _)| number.cast_unsigned() == signal);
    name.map_or_else(
        || format!("signal {signal}"),
        |(_, name)| (*name).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::tests::{key, metadata};
    use crate::store::running::RunningFile;
    use crate::store::{Found, NewRecord, Provenance};
    use std::ops::ControlFlow;
    use std::os::unix::fs::FileExt;

    fn put(store: &FolderStore, name: &str) -> u64 {
        let image = crate::artifact::Image::new(name.as_bytes().to_vec());
        let metadata = metadata(name, &image.bytes);
        store
            .put(NewRecord {
                key: key(name),
                metadata: &metadata,
                image: image.as_ref(),
                provenance: Provenance::OWN,
            })
            .expect("a good record");
        image.checksum
    }

    fn has(store: &FolderStore, name: &str) -> bool {
        let mut found = false;
        store.get(&key(name), &mut |shown| {
            found |= matches!(shown, Found::Record(_));
            ControlFlow::Continue(())
        });
        found
    }

    /// Leaves what a process leaves that dies in `image`.
    fn die_in(folder: &Path, name: &str, image: u64) {
        let file = RunningFile::create(folder).expect("made").expect("local");
        let mut slot = Vec::new();
        slot.extend(1_u32.to_ne_bytes());
        slot.extend(libc::SIGSEGV.to_ne_bytes());
        slot.extend(image.to_ne_bytes());
        slot.extend(key(name).0.0);
        file.file().write_all_at(&slot, 64).expect("written");
        file.file().unlock().expect("unlocked");
        std::mem::forget(file);
    }

    #[test]
    fn two_deaths_set_aside_and_the_same_bytes_clear() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("cache");
        let open = || FolderStore::open(&folder).expect("opens");
        let store = open();
        let image = put(&store, "a");
        put(&store, "b");
        store.flush().expect("flushed");
        die_in(store.folder(), "a", image);
        assert!(
            Deaths::collect(&store).reason(&key("a")).is_none(),
            "one is chance"
        );
        assert!(has(&store, "a"));
        die_in(store.folder(), "a", image);
        let deaths = Deaths::collect(&store);
        let reason = deaths.reason(&key("a")).expect("it is set aside");
        assert!(reason.contains("2 processes died"), "{reason}");
        assert!(reason.ends_with("SIGSEGV"), "{reason}");
        let expected = |verdict| Deadly {
            key: key("a"),
            deaths: 2,
            signal: "SIGSEGV".to_owned(),
            verdict,
        };
        assert_eq!(deaths.known(), [expected(Verdict::SetAside)]);
        assert!(!has(&store, "a") && !has(&open(), "a"));
        assert!(has(&store, "b") && deaths.reason(&key("b")).is_none());
        let removals = store.removals();
        assert_eq!(removals.len(), 1);
        assert_eq!(removals[0].reason, reason);

        // Another process, which compiles it to other bytes first, and then to the same.
        let store = open();
        let deaths = Deaths::collect(&store);
        assert!(deaths.reason(&key("a")).is_some());
        assert!(!deaths.compiled(&key("a"), image + 1));
        assert!(deaths.compiled(&key("a"), image));
        assert_eq!(deaths.known(), [expected(Verdict::Cleared)]);
        assert!(deaths.reason(&key("a")).is_none());
        put(&store, "a");
        store.flush().expect("flushed");
        for _ in 0..3 {
            die_in(store.folder(), "a", image);
            assert!(Deaths::collect(&store).reason(&key("a")).is_none());
        }
        assert!(has(&open(), "a"));
    }

    #[test]
    fn a_store_that_is_read_only_is_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("cache");
        let store = FolderStore::open(&folder).expect("opens");
        let image = put(&store, "a");
        store.flush().expect("flushed");
        die_in(store.folder(), "a", image);
        die_in(store.folder(), "a", image);
        let running = store.folder().join(RUNNING);
        drop(store);
        let store = FolderStore::open_read_only(&folder).expect("opens");
        assert!(Deaths::collect(&store).reason(&key("a")).is_none());
        assert_eq!(Disk.list(&running).expect("listed").len(), 2);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_damage_forgets() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = FolderStore::open(folder.path().join("cache")).expect("opens");
        die_in(store.folder(), "a", 1);
        let deaths = Deaths::collect(&store);
        deaths
            .change(|entries| {
                for number in 0..2 * MOST as u64 {
                    let death = Death {
                        key: key("a"),
                        image: number,
                        signal: 6,
                    };
                    count(entries, &death);
                }
            })
            .expect("written");
        assert_eq!(deaths.entries().len(), MOST);
        assert_eq!(deaths.entries()[0].image.get(), MOST as u64);
        let mut bytes = std::fs::read(&deaths.path).expect("read");
        bytes[8 + 64 + 20] ^= 1;
        bytes.truncate(8 + 64 * 3 + 5);
        std::fs::write(&deaths.path, &bytes).expect("written");
        deaths.read().expect("read");
        assert_eq!(deaths.entries().len(), 2);
    }
}
