//! What goes wrong beside the cache: a host that panics, a disk that hangs, a process that forks or is stopped in
//! the middle of an evaluation. Nobody else is held up, and nothing that is half done is kept.

use crate::children::{DEADLINE, Process, until};
use crate::sums::{NEW, Sums, in_memory, on_folder};
use rekindle_cache_core::store::io::{Disk, Io};
use rekindle_cache_core::store::{FolderStore, Limits, Options, Store};
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache, CraneliftSession};
use rekindle_runtime_hooks::{Definition, Digest, Host, MissReason, Outcome, Ran, SymbolTable};
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Evaluates `name = text`; `before` is done by the front end before anything else.
fn eval_with(
    host: &dyn Host,
    sums: &Sums,
    session: &CraneliftSession,
    (name, text): (&str, &str),
    before: impl FnOnce(),
) -> (i64, Outcome) {
    let definition = Definition {
        name,
        text,
        context: "sums",
    };
    let evaluated = session
        .eval_def(&definition, host, |recorder| {
            before();
            sums.compile(text, recorder)
        })
        .expect("the sum is well-formed");
    // SAFETY: `compile` makes factories of this type.
    let factory: extern "C" fn() -> i64 = unsafe { std::mem::transmute(evaluated.factory()) };
    (factory(), evaluated.finish(Ran::Pure))
}

/// A host that panics when it is asked for one thing.
struct Panicking<'a> {
    sums: &'a Sums,
    at: Cell<&'static str>,
}

impl Panicking<'_> {
    fn panic_at(&self, place: &str) {
        assert_ne!(self.at.get(), place, "as it was told to");
    }
}

impl Host for Panicking<'_> {
    fn resolution(&self, namespace: &str, symbol: &str) -> Option<Digest> {
        self.panic_at("resolution");
        self.sums.resolution(namespace, symbol)
    }

    fn replay(&self, kind: &str, payload: &[u8]) -> bool {
        self.panic_at("replay");
        self.sums.replay(kind, payload)
    }

    fn symbol(&self, hash: u64, name: &str) -> Option<u64> {
        self.panic_at("symbol");
        self.sums.symbol(hash, name)
    }
}

/// A panic of the host goes through to whoever evaluates, and the next evaluation is as if it had not been.
#[test]
fn a_panic_of_the_host_goes_through_and_leaves_nothing_behind() {
    let sums = Sums::default();
    sums.words.borrow_mut().insert("x".to_owned(), 40);
    let host = Panicking {
        sums: &sums,
        at: Cell::new(""),
    };
    let cache = in_memory();
    let session = cache.session();
    let mut expected = NEW;
    let eval = |place: &'static str| {
        host.at.set(place);
        let what = ("a", "2+x+intern i");
        let done = catch_unwind(AssertUnwindSafe(|| {
            eval_with(&host, &sums, &session, what, || host.panic_at("compile"))
        }));
        host.at.set("");
        done
    };
    for round in 0..3 {
        // Where nothing is kept yet, nothing is repeated; and on a hit no front end runs.
        let places = match round {
            0 => ["compile", "resolution", "symbol"],
            _ => ["replay", "resolution", "symbol"],
        };
        for place in places {
            eval(place).expect_err(place);
        }
        assert_eq!(eval("").expect("nobody panics"), (42, expected), "{round}");
        expected = Outcome::Hit;
    }
    assert_eq!(
        session.statistics().definitions,
        3,
        "those that came to an end"
    );
}

/// Whoever waits for a definition whose front end panics elsewhere compiles it.
#[test]
fn who_waits_for_a_thread_that_panics_goes_on() {
    let cache = in_memory();
    let (started, has_started) = mpsc::channel();
    let (go, goes) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let cache = &cache;
        let first = scope.spawn(move || {
            let sums = Sums::default();
            eval_with(&sums, &sums, &cache.session(), ("a", "1"), || {
                started.send(()).expect("somebody listens");
                goes.recv_timeout(DEADLINE).expect("it is told");
                panic!("as it was told to");
            })
        });
        has_started.recv_timeout(DEADLINE).expect("it starts");
        let second = scope.spawn(move || {
            let sums = Sums::default();
            let evaluated = sums.eval(&cache.session(), "a", "1");
            (evaluated, sums.compiled.get())
        });
        go.send(()).expect("it listens");
        first.join().expect_err("it panics");
        assert_eq!(second.join().expect("it ends"), ((1, NEW), 1));
    });
    let sums = Sums::default();
    assert_eq!(sums.eval(&cache.session(), "a", "1"), (1, Outcome::Hit));
}

/// A disk on which writing hangs until it is let go.
#[derive(Debug, Default)]
struct Hanging {
    hangs: Mutex<bool>,
    changed: Condvar,
    is_met: AtomicBool,
}

impl Hanging {
    fn let_go(&self) {
        *self.hangs.lock().expect("nobody panics") = false;
        self.changed.notify_all();
    }
}

impl Io for Hanging {
    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let hangs = self.hangs.lock().expect("nobody panics");
        if *hangs {
            self.is_met.store(true, Ordering::Release);
        }
        let waited = self
            .changed
            .wait_timeout_while(hangs, DEADLINE, |hangs| *hangs);
        drop(waited);
        Disk.write_at(file, path, bytes, offset)
    }
}

/// While the worker hangs in a write nobody waits for it. What there is no room for is not kept, and counted.
#[test]
fn a_full_queue_holds_up_nobody() {
    const DEFINITIONS: usize = 100;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let disk = Arc::new(Hanging::default());
    *disk.hangs.lock().expect("nobody panics") = true;
    let options = Options {
        io: Arc::clone(&disk) as Arc<dyn Io>,
        // An eighth of it may wait.
        limits: Limits {
            max_bytes: 256 << 10,
            ..Limits::default()
        },
        ..Options::default()
    };
    let store = Arc::new(FolderStore::open_with(&path, options).expect("it opens"));
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let builder = CraneliftCache::builder(backend).store(shared);
    let cache = Arc::new(builder.open().expect("it opens"));
    let sums = Sums::default();
    let session = cache.session();
    let eval = |session: &CraneliftSession, number: usize| {
        sums.eval(session, &format!("d{number}"), &format!("{number}+1"))
    };
    assert_eq!(eval(&session, 0), (1, NEW));
    until(|| disk.is_met.load(Ordering::Acquire));
    for number in 1..DEFINITIONS {
        assert_eq!(eval(&session, number), (number as i64 + 1, NEW));
    }
    // Records that nobody has asked for may not even be made; who asks for one has them made.
    assert_eq!(eval(&cache.session(), 1), (2, Outcome::Hit));
    let dropped = store.statistics().dropped;
    assert!(dropped > 0 && dropped < DEFINITIONS as u64, "{dropped}");
    disk.let_go();
    drop((session, cache));
    drop(store);
    let cache = on_folder(&path, SymbolTable::new());
    let session = cache.session();
    for number in 0..DEFINITIONS {
        assert_eq!(eval(&session, number).0, number as i64 + 1);
    }
    let statistics = session.statistics();
    assert_eq!(
        (statistics.hits, statistics.misses),
        (DEFINITIONS as u64 - dropped, dropped)
    );
}

/// A write that hangs holds up nobody who asks for what is in it, although it was due at once.
#[test]
fn who_asks_for_what_is_being_written_is_not_held_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(Hanging::default());
    *disk.hangs.lock().expect("nobody panics") = true;
    let options = Options {
        io: Arc::clone(&disk) as Arc<dyn Io>,
        batch: 1,
        ..Options::default()
    };
    let path = folder.path().join("cache");
    let store = Arc::new(FolderStore::open_with(&path, options).expect("it opens"));
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    let builder = CraneliftCache::builder(backend).store(store);
    let cache = Arc::new(builder.open().expect("it opens"));
    assert_eq!(Sums::default().eval(&cache.session(), "a", "1"), (1, NEW));
    until(|| disk.is_met.load(Ordering::Acquire));
    let (tell, told) = std::sync::mpsc::channel();
    let evaluated = std::thread::scope(|scope| {
        scope.spawn(|| {
            let evaluated = Sums::default().eval(&cache.session(), "a", "1");
            tell.send(evaluated).expect("it is waited for");
        });
        let evaluated = told.recv_timeout(DEADLINE / 4);
        disk.let_go();
        evaluated
    });
    assert_eq!(evaluated, Ok((1, Outcome::Hit)));
}

/// A process that forks while a definition is compiled, with other threads at work on the same cache: both
/// sides finish it, and both go on.
#[test]
fn a_fork_in_the_middle_of_an_evaluation() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    for _ in 0..5 {
        Process::start("faults::forker", &path, &[])
            .wait()
            .succeeded();
    }
    let cache = on_folder(&path, SymbolTable::new());
    let sums = Sums::default();
    let session = cache.session();
    for (name, sum) in [("middle", 1), ("child", 2), ("parent", 3)] {
        let evaluated = sums.eval(&session, name, &sum.to_string());
        assert_eq!(evaluated, (sum, Outcome::Hit), "{name}");
    }
}

#[test]
#[ignore = "is no test: another starts it as a process of its own"]
fn forker() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_FOLDER") else {
        return;
    };
    let cache = on_folder(folder.as_ref(), SymbolTable::new());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (cache, stop) = (&cache, &stop);
            scope.spawn(move || {
                let sums = Sums::default();
                let session = cache.session();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("thread{thread}-{}", number % 100);
                    assert_eq!(sums.eval(&session, &name, "5").0, 5);
                }
            });
        }
        let sums = Sums::default();
        let session = cache.session();
        let child = Cell::new(0);
        // In the first process it is compiled, and in the others it is a hit, forked in the factory's place.
        let fork = || {
            // SAFETY: the child goes on with this thread alone, which is what is tested, and ends by `_exit`.
            child.set(unsafe { libc::fork() });
            assert!(child.get() >= 0);
        };
        let (sum, outcome) = eval_with(&sums, &sums, &session, ("middle", "1"), fork);
        assert_eq!(sum, 1);
        if outcome == Outcome::Hit {
            fork();
        }
        let (name, text) = match child.get() {
            0 => ("child", "2"),
            _ => ("parent", "3"),
        };
        let evaluated = sums.eval(&session, name, text);
        assert_eq!(evaluated.0.to_string(), text);
        assert_eq!(sums.eval(&session, "middle", "1").0, 1);
        if child.get() == 0 {
            let flushed = cache.flush();
            // SAFETY: ends the child without running what the test harness has registered.
            unsafe { libc::_exit(i32::from(flushed.is_err())) };
        }
        let mut status = 0;
        until(|| {
            // SAFETY: the process is this one's child, and `status` is written during the call.
            let ended = unsafe { libc::waitpid(child.get(), &raw mut status, libc::WNOHANG) };
            ended == child.get()
        });
        stop.store(true, Ordering::Relaxed);
        assert_eq!(status, 0);
    });
}

/// What takes long to compile is compiled by one process at a time; if that one is stopped, the others wait
/// for as long as it takes and do it themselves.
#[test]
fn a_process_that_is_stopped_while_it_leads_holds_nobody_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let start = |state: &str, deed: &str| {
        let variables = [("REKINDLE_TEST_STATE", state), ("REKINDLE_TEST_DEED", deed)];
        Process::start("faults::slow", &path, &variables)
    };
    start("1", "").wait().succeeded();
    let stopped = start("2", "stop");
    until(|| is_stopped(&stopped));
    assert!(is_flight_locked(&path), "it leads");
    let other = start("2", "").wait().succeeded();
    assert_eq!(other.told("outcome"), ["miss"]);
    assert!(is_stopped(&stopped) && is_flight_locked(&path));
    let next = start("2", "").wait().succeeded();
    assert_eq!(next.told("outcome"), ["hit"]);
    // SAFETY: a signal to this process's own child.
    unsafe { libc::kill(stopped.id(), libc::SIGCONT) };
    let went_on = stopped.wait().succeeded();
    assert_eq!(went_on.told("outcome"), ["miss"]);
    assert!(!is_flight_locked(&path));
}

fn is_stopped(process: &Process) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id()));
    let stat = stat.expect("it has not ended");
    let (_, rest) = stat.rsplit_once(") ").expect("the name is in brackets");
    rest.starts_with('T')
}

/// Whether any process has locked anything in the file of flights.
fn is_flight_locked(cache: &Path) -> bool {
    use std::os::fd::AsRawFd;
    let versions = std::fs::read_dir(cache).expect("it is there");
    let mut files = versions.filter_map(|version| {
        let path = version.expect("it can be read").path().join("flights");
        std::fs::File::options()
            .read(true)
            .write(true)
            .open(path)
            .ok()
    });
    files.any(|file| {
        // SAFETY: the structure is plain numbers; zeros ask for the whole file.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as libc::c_short;
        // SAFETY: the descriptor is open, and the structure is read and written during the call.
        let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
        assert_eq!(done, 0);
        i32::from(lock.l_type) != libc::F_UNLCK
    })
}

#[test]
#[ignore = "is no test: another starts it as a process of its own"]
fn slow() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_FOLDER") else {
        return;
    };
    let cache = on_folder(folder.as_ref(), SymbolTable::new());
    let sums = Sums::default();
    let state = std::env::var("REKINDLE_TEST_STATE").expect("it is told");
    sums.states.borrow_mut().insert("gate".to_owned(), state);
    let session = cache.session();
    let what = ("a", "1+state kind gate");
    let (sum, outcome) = eval_with(&sums, &sums, &session, what, || {
        if std::env::var("REKINDLE_TEST_DEED").as_deref() == Ok("stop") {
            // SAFETY: a signal of this process to itself.
            unsafe { libc::raise(libc::SIGSTOP) };
        }
        // Long enough for other processes to be asked, the next time.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
    });
    assert_eq!(sum, 1);
    if let Outcome::Miss(reason) = &outcome {
        let expected = std::env::var("REKINDLE_TEST_STATE").as_deref() == Ok("1");
        assert_eq!(*reason == MissReason::New, expected, "{reason}");
    }
    println!("\noutcome: {}", outcome.name());
}
