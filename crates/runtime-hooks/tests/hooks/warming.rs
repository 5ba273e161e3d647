//! Definitions that are compiled and not run, and what a run then finds.

use crate::children::{DEADLINE, Process, until};
use crate::sums::{NEW, Sums, in_memory, on_folder};
use rekindle_runtime_hooks::cranelift::backend::Unit;
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftSession};
use rekindle_runtime_hooks::{
    Compilation, Crew, Definition, Digest, Host, Ordinal, Outcome, PutOff, Ran, Recorder,
    SymbolTable, UnitSource,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, mpsc};
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Sums that are put off, and run when they are needed. The name of one that defines several has commas.
struct Rehearsal<'a> {
    sums: &'a Sums,
    session: &'a CraneliftSession,
    crew: Crew<Cranelift>,
    put_off: RefCell<HashMap<Ordinal, (String, PutOff<Cranelift>)>>,
    /// The names in the order in which their factories ran.
    ran: RefCell<Vec<String>>,
}

impl Host for Rehearsal<'_> {
    fn resolution(&self, namespace: &str, symbol: &str) -> Option<Digest> {
        self.sums.resolution(namespace, symbol)
    }

    fn symbol(&self, hash: u64, name: &str) -> Option<u64> {
        self.sums.symbol(hash, name)
    }

    fn catch_up(&self, needed: &[Ordinal]) {
        for ordinal in needed {
            let unrun = self.put_off.borrow_mut().remove(ordinal);
            if let Some((name, put_off)) = unrun {
                let resumed = self.session.resume(&self.crew, put_off, self);
                self.ran.borrow_mut().push(name);
                resumed.expect("it can be run").finish(Ran::Pure);
            }
        }
    }
}

impl<'a> Rehearsal<'a> {
    fn new(sums: &'a Sums, session: &'a CraneliftSession, threads: usize) -> Self {
        Self {
            sums,
            crew: Crew::new(session.cache(), threads),
            session,
            put_off: RefCell::default(),
            ran: RefCell::default(),
        }
    }

    fn compile(
        &self,
        name: &str,
        text: &str,
        recorder: &Recorder<'_>,
    ) -> Result<Compilation<Unit>, String> {
        let mut compilation = self.sums.compile(text, recorder)?;
        let names = name.split(',').map(str::to_owned);
        compilation.defines.extend(names);
        Ok(compilation)
    }

    fn warm(&self, name: &str, text: &str) -> Result<(), String> {
        let definition = Definition {
            name,
            text,
            context: "sums",
        };
        let put_off = self
            .session
            .warm_def(&self.crew, &definition, self, |recorder| {
                self.compile(name, text, recorder)
            })
            .map_err(|error| error.to_string())?;
        let ordinal = put_off.ordinal();
        let mut waiting = self.put_off.borrow_mut();
        waiting.insert(ordinal, (name.to_owned(), put_off));
        Ok(())
    }

    /// Settles all, and gives the outcomes by name.
    fn settle(self) -> HashMap<String, Outcome> {
        let waiting = self.put_off.take().into_values();
        waiting
            .map(|(name, mut put_off)| {
                let settled = self.session.settle(&self.crew, &mut put_off, &self);
                settled.expect("it is compiled");
                assert!(put_off.is_settled());
                (name, put_off.outcome().clone())
            })
            .collect()
    }
}

/// Keeps what is warned of on the thread that it is the default of.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut said = String::new();
        event.record(&mut |field: &Field, value: &dyn Debug| {
            said += &format!("{field}: {value:?}; ");
        });
        self.0.lock().expect("nobody panics").push(said);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn words() -> Sums {
    let sums = Sums::default();
    for name in ["a", "b", "helper", "macro"] {
        sums.words.borrow_mut().insert(name.to_owned(), 1);
    }
    sums
}

#[test]
fn a_run_finds_what_was_warmed_and_nothing_ran_but_what_was_needed() {
    for threads in [0, 1, 3] {
        let cache = in_memory();
        let sums = words();
        let session = cache.session();
        let rehearsal = Rehearsal::new(&sums, &session, threads);
        let program = [
            ("helper", "1+a"),
            ("macro", "2+helper"),
            ("idle", "3+b"),
            ("user", "4+ran macro"),
            ("clock", "clock+1"),
        ];
        for (name, text) in program {
            rehearsal.warm(name, text).expect("it compiles");
        }
        assert_eq!(*rehearsal.ran.borrow(), ["helper", "macro"]);
        let outcomes = rehearsal.settle();
        assert_eq!(outcomes["user"], NEW);
        assert!(matches!(outcomes["clock"], Outcome::Bypass(_)));
        let statistics = session.statistics();
        assert_eq!((statistics.definitions, statistics.misses), (5, 4));
        let session = cache.session();
        for (name, text) in &program[..4] {
            assert_eq!(sums.eval(&session, name, text).1, Outcome::Hit, "{name}");
        }
        // Code was made once for each.
        assert_eq!(sums.compiled.get(), 5);
    }
}

/// A record that says what ran needs that to be run for the look-up already.
#[test]
fn a_second_warming_finds_everything() {
    let cache = in_memory();
    let sums = words();
    for expected in [NEW, Outcome::Hit] {
        let session = cache.session();
        let rehearsal = Rehearsal::new(&sums, &session, 1);
        for (name, text) in [
            ("helper", "1"),
            ("macro", "2+helper"),
            ("user", "ran macro"),
        ] {
            rehearsal.warm(name, text).expect("it compiles");
        }
        assert_eq!(*rehearsal.ran.borrow(), ["helper", "macro"]);
        assert_eq!(rehearsal.settle()["user"], expected);
    }
    assert_eq!(sums.compiled.get(), 3);
}

#[test]
fn what_a_value_is_made_of_runs_before_that_is_defined_anew() {
    let cache = in_memory();
    let sums = words();
    let program = [
        ("a", "1"),
        ("b", "2+a"),
        ("a", "5"),
        ("helper", "3+b"),
        ("user", "ran helper"),
    ];
    let session = cache.session();
    let rehearsal = Rehearsal::new(&sums, &session, 1);
    for (name, text) in program {
        rehearsal.warm(name, text).expect("it compiles");
    }
    assert_eq!(*rehearsal.ran.borrow(), ["a", "b", "a", "helper"]);
    rehearsal.settle();
    let session = cache.session();
    for (name, text) in program {
        assert_eq!(sums.eval(&session, name, text).1, Outcome::Hit, "{name}");
    }
}

#[test]
fn what_does_not_compile_is_an_error_and_the_rest_goes_on() {
    let cache = in_memory();
    let sums = words();
    let session = cache.session();
    let rehearsal = Rehearsal::new(&sums, &session, 1);
    let error = rehearsal.warm("a", "1++2").expect_err("it is malformed");
    assert!(error.contains("nothing between two signs"), "{error}");
    rehearsal.warm("b", "1").expect("it compiles");
    // What is put off and dropped is not kept, and harms nobody.
    rehearsal.warm("c", "2").expect("it compiles");
    let mut waiting = rehearsal.put_off.borrow_mut();
    waiting.retain(|_, (name, _)| name == "b");
    drop(waiting);
    assert_eq!(rehearsal.settle().len(), 1);
    let session = cache.session();
    assert_eq!(sums.eval(&session, "b", "1").1, Outcome::Hit);
    assert_eq!(sums.eval(&session, "c", "2").1, NEW);
}

/// What comes later must not give way to what was before it, whoever runs when.
#[test]
fn what_is_defined_anew_runs_first_if_it_runs_at_all() {
    let cache = in_memory();
    let sums = words();
    for (program, order) in [
        (
            &[("a", "1"), ("a", "2"), ("user", "ran a")][..],
            &["a", "a"][..],
        ),
        (
            &[
                ("a,b", "1"),
                ("a", "2"),
                ("user", "ran a"),
                ("other", "ran b"),
            ],
            &["a,b", "a"],
        ),
    ] {
        let session = cache.session();
        let rehearsal = Rehearsal::new(&sums, &session, 1);
        for (name, text) in program {
            rehearsal.warm(name, text).expect("it compiles");
        }
        assert_eq!(*rehearsal.ran.borrow(), order);
        rehearsal.settle();
    }
}

#[test]
fn what_is_evaluated_comes_after_what_was_put_off() {
    let cache = in_memory();
    let sums = words();
    let session = cache.session();
    let rehearsal = Rehearsal::new(&sums, &session, 1);
    rehearsal.warm("a", "1").expect("it compiles");
    let definition = Definition {
        name: "a",
        text: "2",
        context: "sums",
    };
    let evaluated = session.eval_def(&definition, &rehearsal, |recorder| {
        rehearsal.compile("a", "2", recorder)
    });
    assert_eq!(
        *rehearsal.ran.borrow(),
        ["a"],
        "before the factory of the second"
    );
    evaluated.expect("it compiles").finish(Ran::Pure);
}

/// A host that cannot make up for what was put off when something else comes in its place does not get to do so later.
#[test]
fn what_has_lost_its_place_does_not_run() {
    let cache = in_memory();
    let sums = words();
    let session = cache.session();
    let rehearsal = Rehearsal::new(&sums, &session, 1);
    for name in ["a", "a,b", "helper"] {
        rehearsal.warm(name, "1").expect("it compiles");
    }
    assert_eq!(
        *rehearsal.ran.borrow(),
        ["a"],
        "before it was put off again"
    );
    let evaluated = session.eval_def(
        &Definition {
            name: "a",
            text: "2",
            context: "sums",
        },
        // Which has nothing to run.
        &sums,
        |recorder| rehearsal.compile("a", "2", recorder),
    );
    evaluated.expect("it compiles").finish(Ran::Pure);
    let mut waiting: Vec<_> = rehearsal.put_off.take().into_iter().collect();
    waiting.sort_by_key(|(ordinal, _)| *ordinal);
    let told = Warnings::default();
    let ran: Vec<_> = tracing::subscriber::with_default(told.clone(), || {
        let ran = waiting.into_iter().map(|(_, (name, put_off))| {
            let resumed = session.resume(&rehearsal.crew, put_off, &sums);
            (name, resumed.map(|it| it.finish(Ran::Pure)).is_ok())
        });
        ran.collect()
    });
    assert_eq!(
        ran,
        [("a,b".to_owned(), false), ("helper".to_owned(), true)]
    );
    assert_eq!(session.statistics().not_run, 1);
    let told = told.0.lock().expect("nobody panics");
    let [warning] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(
        warning.contains("a, b") && warning.contains("defined anew"),
        "{warning}"
    );
    // Nobody can say what `b` does.
    rehearsal.warm("user", "ran a").expect("it compiles");
    rehearsal.warm("other", "ran b").expect("it compiles");
    let outcomes = rehearsal.settle();
    assert_eq!(outcomes["user"], NEW);
    assert!(
        matches!(outcomes["other"], Outcome::Bypass(_)),
        "{outcomes:?}"
    );
}

/// A process that forks while a thread of the crew makes code: both sides come to an end.
#[test]
fn a_fork_in_the_middle_of_warming() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    Process::start("warming::forker", &path, &[])
        .wait()
        .succeeded();
}

#[test]
#[ignore = "is no test: another starts it as a process of its own"]
fn forker() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_FOLDER") else {
        return;
    };
    let cache = on_folder(folder.as_ref(), SymbolTable::new());
    let sums = words();
    let session = cache.session();
    let rehearsal = Rehearsal::new(&sums, &session, 1);
    let (begun, is_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let definition = Definition {
        name: "slow",
        text: "1",
        context: "sums",
    };
    let mut slow = session
        .warm_def(&rehearsal.crew, &definition, &rehearsal, |recorder| {
            let mut compilation = rehearsal.compile("slow", "1", recorder)?;
            let UnitSource::Ready(unit) = compilation.unit else {
                unreachable!("sums are units");
            };
            compilation.unit = UnitSource::Analysed {
                canonical: Digest::of("slow", b""),
                generate: Box::new(move || {
                    let _ = begun.send(());
                    let _ = may_go_on.recv_timeout(DEADLINE);
                    unit
                }),
            };
            Ok::<_, String>(compilation)
        })
        .expect("it compiles");
    is_begun.recv_timeout(DEADLINE).expect("a thread is at it");
    // SAFETY: the child goes on with this thread alone, which is what is tested, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let settled = session.settle(&rehearsal.crew, &mut slow, &rehearsal);
        let is_refused = settled.is_err();
        rehearsal.warm("quick", "2").expect("it compiles");
        let outcomes = rehearsal.settle();
        let is_made = outcomes["quick"] == NEW;
        drop(session);
        // SAFETY: ends the child without running what the test harness has registered.
        unsafe { libc::_exit(i32::from(!is_refused || !is_made)) };
    }
    let mut status = 0;
    until(|| {
        // SAFETY: the process is this one's child, and `status` is written during the call.
        let ended = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
        ended == child
    });
    assert_eq!(status, 0);
    go_on.send(()).expect("it is waited for");
    let settled = session.settle(&rehearsal.crew, &mut slow, &rehearsal);
    settled.expect("it is compiled");
}
