//! A fault at every step of an import: nothing that was there before is lost, nothing comes in half, and an
//! import that reported success is on the disk.

use crate::fault_layer::{Fault, FaultyIo};
use crate::records::{Sample, Seen, key};
use rekindle_cache_core::bundle::{
    self, Acceptance, Bundle, BundleStore, Export, SigningKey, TrustedKeys,
};
use rekindle_cache_core::store::{
    FolderStore, Found, Limits, MemoryStore, Options, Provenance, Store,
};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// One that is larger than a batch, so that it is written before the flush.
const SIZES: [usize; 5] = [40, 3_000, 270_000, 60, 50];

fn imported_samples() -> Vec<Sample> {
    let numbered = (0..).zip(SIZES);
    numbered
        .map(|(version, size)| Sample::new(&format!("imported {version}"), version, size))
        .collect()
}

fn own_sample() -> Sample {
    Sample::new("own", 77, 500)
}

/// A signed bundle of the samples, accepted.
fn bundle(folder: &Path) -> BundleStore {
    let source = MemoryStore::new();
    for sample in imported_samples() {
        sample.put(&source).expect("put");
    }
    let signing = SigningKey::generate().expect("random");
    let path = folder.join("samples.rekindle");
    let export = Export {
        key: Some(&signing),
    };
    bundle::export(&source, &path, export, &mut |_| true).expect("exported");
    let mut trusted = TrustedKeys::none();
    trusted.trust(signing.public_key());
    let opened = Bundle::open(&path).expect("opens");
    opened.accept(&Acceptance::of(&trusted)).expect("accepted")
}

fn open(folder: &Path, io: Arc<FaultyIo>) -> Option<FolderStore> {
    let options = Options {
        limits: Limits::NONE,
        io,
        ..Options::default()
    };
    FolderStore::open_with(folder, options).ok()
}

/// Imports with `fault` at step `at`; says whether that was reported to have gone well.
fn import_with(
    folder: &Path,
    bundle: &BundleStore,
    at: u64,
    fault: Fault,
) -> (bool, Arc<FaultyIo>) {
    let store = open(folder, Arc::new(FaultyIo::sound(folder))).expect("opens");
    own_sample().put(&store).expect("put");
    store.flush().expect("flushed");
    drop(store);
    let io = Arc::new(FaultyIo::new(folder, at, fault));
    let store = open(folder, io.clone());
    let done = store.is_some_and(|store| bundle.import_into(&store, &mut |_| {}).is_ok());
    (done, io)
}

fn check(folder: &Path, bundle: &BundleStore, done: bool, what: &str) {
    let store = open(folder, Arc::new(FaultyIo::sound(folder))).expect("opens");
    let own = Seen::of(&store, "own");
    assert_eq!(own.versions(), [77], "{what}: what was there is lost");
    for (version, sample) in (0..).zip(imported_samples()) {
        let name = format!("imported {version}");
        let seen = Seen::of(&store, &name);
        assert!(seen.damage.is_empty(), "{what}: {:?}", seen.damage);
        for record in &seen.records {
            assert!(
                record.image == sample.image && record.metadata == sample.metadata,
                "{what}"
            );
        }
        assert!(
            !done || seen.records.len() == 1,
            "{what}: {name} was reported as imported"
        );
        store.get(&key(&name), &mut |found| {
            if let Found::Record(record) = found {
                assert_eq!(record.provenance, bundle.provenance(), "{what}");
                assert_ne!(record.provenance, Provenance::OWN);
            }
            ControlFlow::Continue(())
        });
    }
    // And it can be done again.
    let again = bundle.import_into(&store, &mut |_| {}).expect("imported");
    assert_eq!(again.records + again.present, SIZES.len() as u64, "{what}");
    for version in 0..SIZES.len() {
        let seen = Seen::of(&store, &format!("imported {version}"));
        assert_eq!(seen.records.len(), 1, "{what}");
    }
}

fn every_step(fault: Fault, power: bool) {
    let parent = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder");
    let bundle = bundle(parent.path());
    let folder = parent.path().join("sound");
    let (done, io) = import_with(&folder, &bundle, u64::MAX, fault);
    assert!(done);
    check(&folder, &bundle, done, "no fault");
    let steps = io.steps();
    assert!(steps > 10, "{steps} steps");
    for at in 0..steps {
        let folder = parent.path().join(at.to_string());
        let (done, io) = import_with(&folder, &bundle, at, fault);
        if power {
            io.lose_power(&folder.join("v3"), at);
        }
        check(
            &folder,
            &bundle,
            done,
            &format!("{fault:?} at step {at} of {steps}"),
        );
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

#[test]
fn an_error_at_every_step_of_an_import() {
    every_step(Fault::Error(libc::ENOSPC), false);
}

#[test]
fn a_short_write_at_every_step_of_an_import() {
    every_step(Fault::Short, false);
}

#[test]
fn a_stop_at_every_step_of_an_import() {
    every_step(Fault::Stop, false);
}

#[test]
fn a_loss_of_power_at_every_step_of_an_import() {
    every_step(Fault::Stop, true);
}
