//! Single-flight: a definition that several evaluate at once is compiled by one of them.
//!
//! Among threads, who comes second waits for who came first and then looks again. Nobody waits who is
//! compiling something, so no two can wait for each other; and nobody waits for ever, because the first
//! may need what the second holds, such as a lock of the host.
//!
//! Among processes that is worth a system call only where compiling takes long. The first locks a byte of
//! a file in the cache folder, at a place that the key gives; the lock goes with its process, however that
//! ends. Who waits says so by a lock on the next byte, so that the first publishes what it made before it
//! lets go, and otherwise does not. The wait is bounded by what compiling is known to take, so a process
//! that was stopped holds nobody up for longer than doing the work again would.
//!
//! A child that is forked while a definition is compiled goes on compiling it, and leaves the lead, the locks
//! and whoever waits to its parent: open files, and so their locks, belong to both.

use rekindle_cache_core::fork::Sentinel;
use rekindle_cache_core::key::FormKey;
use rustc_hash::FxHashMap;
use rustix::fs::OFlags;
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long a thread waits for another.
const THREAD_PATIENCE: Duration = Duration::from_secs(1);

/// What compiling has to be expected to take for other processes to be asked.
pub(crate) const EXPENSIVE: Duration = Duration::from_millis(5);

/// How long a process waits for another where nothing is known of what compiling takes.
const PROCESS_PATIENCE: Duration = Duration::from_millis(100);

/// How often a process that waits looks.
const POLL: Duration = Duration::from_millis(1);

thread_local! {
    /// How many flights this thread leads.
    static LEADING: Cell<u32> = const { Cell::new(0) };
}

/// What is being compiled by the threads of this process.
pub(crate) struct Flights {
    under_way: Mutex<FxHashMap<FormKey, Arc<Flight>>>,
    /// The file whose bytes are locked, in the folder of the store's files, if there is one.
    path: Option<PathBuf>,
    /// How long a thread waits for another.
    patience: Duration,
    file: OnceLock<Option<File>>,
    /// Whether this still is the process that asks here.
    sentinel: Sentinel,
}

#[derive(Default)]
struct Flight {
    has_landed: Mutex<bool>,
    landed: Condvar,
}

/// What to do about a definition that was not found.
pub(crate) enum Turn<'a> {
    /// Compile it; others wait until this is dropped.
    Lead(Lead<'a>),
    /// Another thread has compiled it meanwhile: look again.
    LookAgain,
    /// Compile it; nobody waits.
    Alone,
}

/// The lead of a flight, which ends when this is dropped.
pub(crate) struct Lead<'a> {
    flights: &'a Flights,
    key: FormKey,
    flight: Arc<Flight>,
}

impl Flights {
    /// Nothing is under way. `folder` is that of the store's files, if it has one that can be written.
    pub(crate) fn new(folder: Option<&Path>) -> Self {
        Self {
            under_way: Mutex::default(),
            path: folder.map(|folder| folder.join("flights")),
            patience: THREAD_PATIENCE,
            file: OnceLock::new(),
            sentinel: Sentinel::new(),
        }
    }

    /// Takes the lead for `key`, or waits for who has it.
    pub(crate) fn turn(&self, key: &FormKey) -> Turn<'_> {
        let flight = {
            let mut under_way = crate::lock(&self.under_way);
            match under_way.get(key) {
                Some(flight) => Arc::clone(flight),
                None => {
                    let flight = Arc::<Flight>::default();
                    under_way.insert(*key, Arc::clone(&flight));
                    LEADING.set(LEADING.get() + 1);
                    return Turn::Lead(Lead {
                        flights: self,
                        key: *key,
                        flight,
                    });
                }
            }
        };
        if LEADING.get() > 0 {
            return Turn::Alone;
        }
        let landed = crate::lock(&flight.has_landed);
        let waited = (flight.landed).wait_timeout_while(landed, self.patience, |landed| !*landed);
        let has_landed = match waited {
            Ok((landed, _)) => *landed,
            Err(poisoned) => *poisoned.into_inner().0,
        };
        match has_landed {
            true => Turn::LookAgain,
            false => Turn::Alone,
        }
    }

    /// Takes the lead for `key` among processes, or waits for who has it: no longer than `known`, what
    /// compiling it took before. For a thread that leads in this process.
    pub(crate) fn ask_processes(&self, key: &FormKey, known: Option<Duration>) -> ProcessTurn<'_> {
        let Some(file) = self.file() else {
            return ProcessTurn::Alone;
        };
        // Two bytes for each key, below the largest offset that a file may have.
        let place = (key.0.prefix() >> 2) << 1;
        let lock = ProcessLock {
            flights: self,
            place,
        };
        match set_lock(file, libc::F_WRLCK, place) {
            Ok(true) => return ProcessTurn::Lead(lock),
            Ok(false) => {}
            Err(_) => return ProcessTurn::Alone,
        }
        if LEADING.get() > 1 {
            // This thread holds up others already.
            return ProcessTurn::Alone;
        }
        let patience = known.unwrap_or(PROCESS_PATIENCE);
        let began = Instant::now();
        let _ = set_lock(file, libc::F_RDLCK, place + 1);
        let mut turn = ProcessTurn::Alone;
        while began.elapsed() < patience {
            std::thread::sleep(POLL.min(patience));
            match set_lock(file, libc::F_WRLCK, place) {
                Ok(true) => {
                    turn = ProcessTurn::LookAgain(lock);
                    break;
                }
                Ok(false) => {}
                Err(_) => break,
            }
        }
        let _ = set_lock(file, libc::F_UNLCK, place + 1);
        turn
    }

    fn file(&self) -> Option<&File> {
        let open = || {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).mode(0o600);
            options.custom_flags(flags.bits().cast_signed());
            options.open(self.path.as_ref()?).ok()
        };
        self.file.get_or_init(open).as_ref()
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        LEADING.set(LEADING.get().saturating_sub(1));
        if !self.flights.sentinel.is_home() {
            // The table may have been locked when the process forked.
            return;
        }
        crate::lock(&self.flights.under_way).remove(&self.key);
        // Nobody else finds the flight from here on, so that the count cannot grow. Waking is a system call.
        if Arc::strong_count(&self.flight) > 1 {
            *crate::lock(&self.flight.has_landed) = true;
            self.flight.landed.notify_all();
        }
    }
}

/// What to do about something that other processes may be compiling.
pub(crate) enum ProcessTurn<'a> {
    /// Compile it; other processes wait until this is dropped.
    Lead(ProcessLock<'a>),
    /// Another process has let go of it: look again, and compile it if it is not there.
    LookAgain(ProcessLock<'a>),
    /// Compile it; nobody waits.
    Alone,
}

/// A byte that this process has locked.
pub(crate) struct ProcessLock<'a> {
    flights: &'a Flights,
    place: u64,
}

impl ProcessLock<'_> {
    /// Whether another process waits for this one.
    pub(crate) fn is_awaited(&self) -> bool {
        let Some(file) = self.file() else {
            return false;
        };
        let mut lock = range(libc::F_WRLCK, self.place + 1);
        // SAFETY: the descriptor is open, and the structure is read and written during the call only.
        let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
        done == 0 && libc::c_int::from(lock.l_type) != libc::F_UNLCK
    }

    /// The file, unless the lock is the parent's.
    fn file(&self) -> Option<&File> {
        (self.flights.sentinel.is_home()).then(|| self.flights.file())?
    }
}

impl Drop for ProcessLock<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.file() {
            let _ = set_lock(file, libc::F_UNLCK, self.place);
        }
    }
}

/// Locks or unlocks one byte, for this open file. `false` if another has it.
fn set_lock(file: &File, kind: libc::c_int, place: u64) -> io::Result<bool> {
    let lock = range(kind, place);
    // SAFETY: the descriptor is open, and the structure is read during the call only.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if done == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

fn range(kind: libc::c_int, place: u64) -> libc::flock {
    // SAFETY: the structure is plain numbers, for which zeros are values; open-file locks ask for a
    // process number of 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = place.cast_signed();
    lock.l_len = 1;
    lock
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_cache_core::Digest;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn key(name: &str) -> FormKey {
        FormKey(Digest::of("test", name.as_bytes()))
    }

    #[test]
    fn one_thread_leads_and_the_others_look_again() {
        let mut flights = Flights::new(None);
        flights.patience = Duration::from_secs(60);
        let (leads, looks) = (AtomicU32::new(0), AtomicU32::new(0));
        let barrier = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let turn = flights.turn(&key("a"));
                    if matches!(turn, Turn::Lead(_)) {
                        leads.fetch_add(1, Ordering::Relaxed);
                        // The others come meanwhile; each waits for the lead to land.
                        while crate::lock(&flights.under_way)
                            .get(&key("a"))
                            .is_some_and(|flight| Arc::strong_count(flight) < 9)
                        {
                            std::thread::yield_now();
                        }
                        drop(turn);
                    } else {
                        assert!(matches!(turn, Turn::LookAgain));
                        looks.fetch_add(1, Ordering::Relaxed);
                    }
                    barrier.wait();
                });
            }
        });
        assert_eq!((leads.into_inner(), looks.into_inner()), (1, 7));
    }

    #[test]
    fn who_leads_does_not_wait() {
        let flights = Flights::new(None);
        let _outer = flights.turn(&key("a"));
        assert!(matches!(flights.turn(&key("a")), Turn::Alone));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _own = flights.turn(&key("b"));
                // The other thread leads `a`, and may be waiting for `b`.
                assert!(matches!(flights.turn(&key("a")), Turn::Alone));
            });
        });
        assert!(matches!(flights.turn(&key("b")), Turn::Lead(_)));
    }

    /// Two open files stand for two processes: that is what these locks go by.
    #[test]
    fn a_process_waits_no_longer_than_the_work_takes() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (
            Flights::new(Some(folder.path())),
            Flights::new(Some(folder.path())),
        );
        let Turn::Lead(_first) = one.turn(&key("a")) else {
            panic!("nobody else leads");
        };
        let ProcessTurn::Lead(held) = one.ask_processes(&key("a"), None) else {
            panic!("nobody else has it");
        };
        assert!(!held.is_awaited());
        let (given_up, has_given_up) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let other = &other;
            let waits = scope.spawn(move || {
                let Turn::Lead(_second) = other.turn(&key("a")) else {
                    panic!("nobody leads in that process");
                };
                let patience = Some(Duration::from_millis(50));
                let turn = other.ask_processes(&key("a"), patience);
                assert!(matches!(turn, ProcessTurn::Alone));
                given_up.send(()).expect("somebody listens");
                let turn = other.ask_processes(&key("a"), Some(Duration::from_secs(60)));
                assert!(matches!(turn, ProcessTurn::LookAgain(_)));
            });
            // It comes back, for longer.
            has_given_up.recv().expect("it gives up");
            while !held.is_awaited() {
                std::thread::yield_now();
            }
            drop(held);
            waits.join().expect("it ends");
        });
        let again = one.ask_processes(&key("a"), None);
        assert!(
            matches!(again, ProcessTurn::Lead(_)),
            "the other has let go"
        );
    }
}
