//! Stacks of stores.

use crate::records::{Sample, Seen, key};
use rekindle_cache_core::store::{
    FolderStore, Found, Layer, Layers, MemoryStore, Provenance, Store, StoreError,
};
use std::ops::ControlFlow;
use std::sync::Arc;

fn put(store: &dyn Store, name: &str, version: u64) {
    Sample::new(name, version, 50).put(store).expect("put");
}

/// Takes the first record of `name`, as a hit does.
fn hit(store: &dyn Store, name: &str) -> Option<(u64, Provenance)> {
    let mut hit = None;
    store.get(&key(name), &mut |found| {
        let Found::Record(record) = found else {
            return ControlFlow::Continue(());
        };
        hit = Some((
            record.metadata.entry.compile_ns.to_native(),
            record.provenance,
        ));
        ControlFlow::Break(())
    });
    hit
}

#[test]
fn the_first_hit_wins_and_writes_go_to_the_top() {
    let (own, project, system) = (
        Arc::new(MemoryStore::new()),
        Arc::new(MemoryStore::new()),
        Arc::new(MemoryStore::new()),
    );
    put(&*own, "both", 1);
    put(&*project, "both", 2);
    put(&*system, "below", 3);
    let stack = Layers::new(vec![
        Layer::read_only(Arc::new(MemoryStore::new())),
        Layer::read_write(own.clone()),
        Layer::read_write(project.clone()),
        Layer::read_only(system.clone()),
    ]);
    assert_eq!(hit(&stack, "both"), Some((1, Provenance::OWN)));
    assert_eq!(Seen::of(&stack, "both").versions(), [1, 2]);
    assert_eq!(hit(&stack, "below").map(|hit| hit.0), Some(3));
    assert_eq!(hit(&stack, "nowhere"), None);
    put(&stack, "new", 4);
    assert_eq!(Seen::of(&*own, "new").versions(), [4]);
    assert_eq!(Seen::all(&*project).records.len(), 1);
    assert_eq!(Seen::all(&stack).records.len(), 4);
    assert_eq!(stack.statistics().records, 4);
}

#[test]
fn promotion_keeps_who_vouched() {
    let (own, bundle) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    let signer = Provenance::signed_by([7; 32]);
    let sample = Sample::new("a", 1, 50);
    sample.put_from(&*bundle, signer).expect("put");
    sample_beside(&bundle);
    let stack = Layers::new(vec![
        Layer::read_write(own.clone()),
        Layer::read_only(bundle.clone()).promoted(),
    ]);
    // Looked at and not taken.
    assert_eq!(Seen::of(&stack, "a").versions(), [1]);
    assert!(Seen::all(&*own).records.is_empty());
    assert_eq!(hit(&stack, "a"), Some((1, signer)));
    assert_eq!(hit(&*own, "a"), Some((1, signer)));
    assert_eq!(
        Seen::all(&*own).records.len(),
        1,
        "what was not used stays below"
    );
    assert_eq!(Seen::of(&*own, "a").records[0].image, sample.image);
    // Now it is found above, and not promoted again.
    assert_eq!(hit(&stack, "a"), Some((1, signer)));
    assert_eq!(Seen::all(&*own).records.len(), 1);
}

fn sample_beside(store: &Arc<MemoryStore>) {
    put(&**store, "beside", 9);
}

#[test]
fn what_is_removed_is_hidden_below() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = Arc::new(FolderStore::open(folder.path()).expect("opens"));
    let below = Arc::new(MemoryStore::new());
    for store in [&*own as &dyn Store, &*below] {
        put(store, "removed", 1);
        put(store, "damaged", 2);
    }
    let stack = Layers::new(vec![
        Layer::read_write(own.clone()),
        Layer::read_only(below.clone()),
    ]);
    stack.remove(&key("removed"));
    stack.report_damage(&key("damaged"), "for the test");
    for name in ["removed", "damaged"] {
        assert_eq!(hit(&stack, name), None);
        assert!(Seen::of(&*below, name).records.len() == 1, "not written to");
    }
    assert!(Seen::all(&stack).records.is_empty());
    put(&stack, "damaged", 3);
    assert_eq!(hit(&stack, "damaged").map(|hit| hit.0), Some(3));
    stack.flush().expect("flushed");
    assert_eq!(hit(&stack, "damaged").map(|hit| hit.0), Some(3));
    assert_eq!(stack.statistics().damaged, 1);
}

#[test]
fn a_stack_of_folders_flushes_and_refreshes_all() {
    let parent = tempfile::tempdir().expect("a folder");
    let open = |name: &str| FolderStore::open(parent.path().join(name)).expect("opens");
    let elsewhere = open("shared");
    let stack = Layers::new(vec![
        Layer::read_write(Arc::new(open("own"))),
        Layer::read_only(Arc::new(
            FolderStore::open_read_only(parent.path().join("shared")).expect("opens"),
        )),
    ]);
    put(&elsewhere, "new", 1);
    elsewhere.flush().expect("flushed");
    assert_eq!(hit(&stack, "new"), None);
    assert!(stack.refresh().expect("refreshed"));
    assert_eq!(hit(&stack, "new").map(|hit| hit.0), Some(1));
    put(&stack, "mine", 2);
    stack.flush().expect("flushed");
    stack.maintain().expect("maintained");
    assert_eq!(hit(&open("own"), "mine").map(|hit| hit.0), Some(2));
}

#[test]
fn a_stack_that_cannot_be_written_says_so() {
    let stack = Layers::new(vec![Layer::read_only(Arc::new(MemoryStore::new()))]);
    let put = Sample::new("a", 1, 10).put(&stack);
    assert!(matches!(put, Err(StoreError::Record { .. })), "{put:?}");
    stack.flush().expect("nothing to flush");
}
