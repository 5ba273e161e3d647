//! A look-up that finds its record in a pack or in memory allocates nothing, once its thread is warm.

use rekindle_cache_core::artifact::ImageRef;
use rekindle_cache_core::key::FormKey;
use rekindle_cache_core::metadata::{Entry, Manifest, Metadata};
use rekindle_cache_core::store::{FolderStore, NewRecord, Provenance, Store};
use rekindle_cache_core::{Digest, checksum};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::ControlFlow;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: Everything is passed on to the system's allocator as it came; counting touches a number of
// this thread that needs no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: The caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: The caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn put(store: &dyn Store, key: FormKey) {
    let image = [7; 2000];
    let metadata = Metadata {
        manifest: Manifest {
            dependencies: Vec::new(),
            object_key: [1; 32],
        },
        entry: Entry {
            name: "user/name".to_owned(),
            factory: "make".to_owned(),
            environment: [8; 32],
            object_digest: [2; 32],
            compile_ns: 1,
            created: 1,
            image_checksum: checksum(&image),
            ..Entry::default()
        },
    };
    let image = ImageRef {
        bytes: &image,
        checksum: checksum(&image),
    };
    store
        .put(NewRecord {
            key,
            metadata: &metadata,
            image,
            provenance: Provenance::OWN,
        })
        .expect("put");
}

#[test]
fn look_ups_allocate_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).expect("opens");
    let keys: Vec<_> = (0u32..100)
        .map(|number| FormKey(Digest::of("test", &number.to_le_bytes())))
        .collect();
    let (in_packs, in_memory) = keys.split_at(90);
    for part in in_packs.chunks(30) {
        part.iter().for_each(|key| put(&store, *key));
        store.flush().expect("flushed");
    }
    in_memory.iter().for_each(|key| put(&store, *key));

    let found = Cell::new(0);
    let look_up = |key: &FormKey| {
        store.get(key, &mut |_| {
            found.set(found.get() + 1);
            ControlFlow::Break(())
        });
    };
    look_up(&keys[0]);
    let before = ALLOCATIONS.get();
    keys.iter().for_each(look_up);
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(found.get(), 101);
}
