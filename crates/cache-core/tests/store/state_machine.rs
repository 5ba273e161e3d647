//! Random sequences of everything that processes do with a store, against a model.
//!
//! Two stores on one folder stand for two processes. The model knows which records must be found in each,
//! and which may not be found any more; between the two lies what an unflushed process that crashed may
//! have left behind, and what pruning was free to take.

use crate::fault_layer::FaultyIo;
use crate::records::{Sample, Seen, key};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use rekindle_cache_core::store::{FolderStore, Limits, Merge, Options, Store};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const PROCESSES: usize = 2;

type Versions = BTreeSet<u64>;

#[derive(Debug, Clone)]
enum Transition {
    Put {
        who: usize,
        name: usize,
        size: usize,
    },
    Remove {
        who: usize,
        name: usize,
    },
    Report {
        who: usize,
        name: usize,
    },
    Flush(usize),
    Refresh(usize),
    Reopen(usize),
    /// Ends without sealing, and is started again.
    Crash(usize),
    MergeAll(usize),
    Maintain(usize),
    /// Down to so many records.
    Prune(usize, u64),
    /// Drops this name from the packs.
    Retain(usize, usize),
}

#[derive(Debug, Clone, Default)]
struct Process {
    /// What it put and has not flushed.
    unsealed: Versions,
    /// What it removed and has not flushed.
    removing: Versions,
    /// What it must find.
    must: Versions,
    /// What it must not find, though it was put.
    never: Versions,
}

#[derive(Debug, Clone, Default)]
struct Model {
    /// The name of each version that was put.
    names: Vec<usize>,
    /// On the disk for certain.
    sealed: Versions,
    /// Gone from the disk for certain.
    gone: Versions,
    processes: [Process; PROCESSES],
}

impl Model {
    fn of_name(&self, name: usize) -> Versions {
        let named = (0..).zip(&self.names).filter(|(_, other)| **other == name);
        named.map(|(version, _)| version).collect()
    }

    /// What process `who` finds when it looks at the folder again.
    fn look(&mut self, who: usize) {
        let process = &mut self.processes[who];
        process.must = &self.sealed | &process.unsealed;
        process.must = &process.must - &process.removing;
        // What it removed itself it does not find again, whatever others have seen of that.
        process.never = &process.never | &self.gone;
    }

    /// Process `who` may write packs anew, and leaves out what it removed, flushed or not.
    fn rewrite(&mut self, who: usize) {
        self.look(who);
        self.sealed = &self.sealed - &self.processes[who].removing;
    }

    fn flush(&mut self, who: usize) {
        let process = &mut self.processes[who];
        let unsealed = std::mem::take(&mut process.unsealed);
        let removed = std::mem::take(&mut process.removing);
        self.sealed.extend(unsealed);
        self.sealed = &self.sealed - &removed;
        self.gone.extend(removed);
    }

    fn remove(&mut self, who: usize, name: usize) {
        let named = self.of_name(name);
        let process = &mut self.processes[who];
        // What was there for certain is gone now; what may have been there may have been found or not. What
        // others have sealed since this process looked stays.
        let removed = &process.must & &named;
        process.unsealed = &process.unsealed - &named;
        process.must = &process.must - &named;
        process.never.extend(removed.iter().copied());
        process.removing.extend(removed);
    }

    /// Nothing that is on the disk has to be there any more.
    fn doubt(&mut self, versions: &Versions) {
        self.sealed = &self.sealed - versions;
        for process in &mut self.processes {
            let doubted = versions - &process.unsealed;
            process.must = &process.must - &doubted;
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Transition> {
        let who = 0..PROCESSES;
        let name = 0..NAMES.len();
        let size = prop_oneof![6 => 0usize..300, 1 => 100_000usize..150_000];
        prop_oneof![
            12 => (who.clone(), name.clone(), size)
                .prop_map(|(who, name, size)| Transition::Put { who, name, size }),
            2 => (who.clone(), name.clone()).prop_map(|(who, name)| Transition::Remove { who, name }),
            1 => (who.clone(), name.clone()).prop_map(|(who, name)| Transition::Report { who, name }),
            6 => who.clone().prop_map(Transition::Flush),
            3 => who.clone().prop_map(Transition::Refresh),
            2 => who.clone().prop_map(Transition::Reopen),
            2 => who.clone().prop_map(Transition::Crash),
            3 => who.clone().prop_map(Transition::MergeAll),
            2 => who.clone().prop_map(Transition::Maintain),
            1 => (who.clone(), 0u64..6).prop_map(|(who, stay)| Transition::Prune(who, stay)),
            1 => (who, name).prop_map(|(who, name)| Transition::Retain(who, name)),
        ]
        .boxed()
    }

    fn apply(mut state: Self, transition: &Transition) -> Self {
        match *transition {
            Transition::Put { who, name, .. } => {
                let version = state.names.len() as u64;
                state.names.push(name);
                let process = &mut state.processes[who];
                process.unsealed.insert(version);
                process.must.insert(version);
            }
            Transition::Remove { who, name } | Transition::Report { who, name } => {
                state.remove(who, name);
            }
            Transition::Flush(who) => {
                state.flush(who);
                state.look(who);
            }
            Transition::Refresh(who) => state.look(who),
            Transition::Reopen(who) => {
                state.flush(who);
                state.processes[who] = Process::default();
                state.look(who);
            }
            Transition::Crash(who) => {
                // Removals may have been written, or not.
                state.sealed = &state.sealed - &state.processes[who].removing;
                state.processes[who] = Process::default();
                state.look(who);
            }
            Transition::MergeAll(who) | Transition::Maintain(who) => state.rewrite(who),
            Transition::Prune(who, _) => {
                state.rewrite(who);
                let all = state.sealed.clone();
                state.doubt(&all);
            }
            Transition::Retain(who, name) => {
                state.rewrite(who);
                let named = state.of_name(name);
                state.doubt(&named);
            }
        }
        state
    }
}

struct Processes {
    folder: tempfile::TempDir,
    stores: Vec<Option<(FolderStore, Arc<FaultyIo>)>>,
    puts: u64,
}

impl Processes {
    fn start(&mut self, who: usize) {
        let folder = self.folder.path().join("store");
        let io = Arc::new(FaultyIo::sound(&folder));
        let store = open(&folder, io.clone());
        self.stores[who] = Some((store, io));
    }

    fn store(&self, who: usize) -> &FolderStore {
        &self.stores[who].as_ref().expect("is open").0
    }
}

fn open(folder: &Path, io: Arc<FaultyIo>) -> FolderStore {
    let options = Options {
        limits: Limits::NONE,
        io,
        read_only: false,
        ..Options::default()
    };
    FolderStore::open_with(folder, options).expect("opens")
}

struct Machine;

impl StateMachineTest for Machine {
    type SystemUnderTest = Processes;
    type Reference = Model;

    fn init_test(_: &Model) -> Processes {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let mut processes = Processes {
            folder: folder.expect("a folder"),
            stores: (0..PROCESSES).map(|_| None).collect(),
            puts: 0,
        };
        (0..PROCESSES).for_each(|who| processes.start(who));
        processes
    }

    fn apply(mut processes: Processes, _: &Model, transition: Transition) -> Processes {
        match transition {
            Transition::Put { who, name, size } => {
                let sample = Sample::new(NAMES[name], processes.puts, size);
                processes.puts += 1;
                sample.put(processes.store(who)).expect("put");
            }
            Transition::Remove { who, name } => processes.store(who).remove(&key(NAMES[name])),
            Transition::Report { who, name } => {
                processes
                    .store(who)
                    .report_damage(&key(NAMES[name]), "the model says so");
            }
            Transition::Flush(who) => processes.store(who).flush().expect("flushed"),
            Transition::Refresh(who) => {
                processes.store(who).refresh().expect("refreshed");
            }
            Transition::Reopen(who) => {
                processes.stores[who] = None;
                processes.start(who);
            }
            Transition::Crash(who) => {
                if let Some((store, io)) = processes.stores[who].take() {
                    io.stop();
                    drop(store);
                }
                processes.start(who);
            }
            Transition::MergeAll(who) => {
                let merged = processes.store(who).merge(Merge::All).expect("merged");
                assert!(!merged.busy);
            }
            Transition::Maintain(who) => processes.store(who).maintain().expect("maintained"),
            Transition::Prune(who, stay) => {
                let limits = Limits {
                    max_entries: stay * 8 / 5,
                    max_bytes: u64::MAX,
                };
                processes.store(who).prune(&limits).expect("pruned");
            }
            Transition::Retain(who, name) => {
                let unwanted = key(NAMES[name]);
                let mut keep =
                    |record: &rekindle_cache_core::store::Record<'_>| record.key != unwanted;
                processes.store(who).retain(&mut keep).expect("retained");
            }
        }
        processes
    }

    fn check_invariants(processes: &Processes, model: &Model) {
        for (who, known) in model.processes.iter().enumerate() {
            let store = processes.store(who);
            let mut shown = Versions::new();
            for (number, name) in NAMES.iter().enumerate() {
                let seen = Seen::of(store, name);
                assert!(seen.damage.is_empty(), "{:?}", seen.damage);
                for record in &seen.records {
                    let version = record.metadata.entry.compile_ns;
                    let put = Sample::new(name, version, record.image.len());
                    assert!(record.metadata == put.metadata && record.image == put.image);
                    assert_eq!(model.names[version as usize], number);
                    assert!(shown.insert(version), "{version} is shown twice");
                }
            }
            let missing = &known.must - &shown;
            assert!(
                missing.is_empty(),
                "process {who} does not find {missing:?}"
            );
            let wrong = &known.never & &shown;
            assert!(wrong.is_empty(), "process {who} still finds {wrong:?}");
            let all = Seen::all(store);
            let all: Versions = all
                .records
                .iter()
                .map(|record| record.metadata.entry.compile_ns)
                .collect();
            assert_eq!(all, shown, "of process {who}");
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("REKINDLE_SOAK").is_some() { 2000 } else { 96 },
        // Regressions are kept beside the tests, in `proptest-regressions`.
        ..ProptestConfig::default()
    })]

    #[test]
    fn processes_agree_with_the_model(sequential 1..60 => Machine);
}
