//! Records that are still to be made: what was compiled, put aside in the midst of an evaluation.
//!
//! A record is made of what is known when the code has been loaded, and nothing of that changes later. So the
//! evaluating thread leaves it to the worker, in a store before the store. Whoever asks for a key of which
//! something waits makes the records first, and so does whatever looks at all records or writes them: nobody
//! can tell a record that waits from one that is there. Making is done in memory: should so much wait to be
//! written that it is time, that comes after it, so that a disk that hangs holds up nobody who asks. At most [`MAX_WAITING`] records of [`MAX_BYTES`] in all
//! wait; with one more, the thread that brings it makes them.

use crate::keep::Unmade;
use rekindle_cache_core::key::FormKey;
use rekindle_cache_core::store::{Found, NewRecord, Store, StoreError, StoreStatistics, Wake};
use rustc_hash::FxHashSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How many records may wait.
const MAX_WAITING: usize = 1024;

/// How many bytes of code and text may wait.
const MAX_BYTES: usize = 4 << 20;

/// A store, with records that are not made yet.
pub(crate) struct Deferring {
    inner: Arc<dyn Store>,
    /// How many wait, to be looked at without a lock.
    count: AtomicUsize,
    waiting: Mutex<Waiting>,
    /// Held by who makes records, so that they are put in the order in which they came.
    making: Mutex<()>,
    warned: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    records: Vec<Unmade>,
    bytes: usize,
    /// The keys of `records`.
    keys: FxHashSet<FormKey>,
    /// The keys of those that somebody makes at this moment.
    in_the_making: FxHashSet<FormKey>,
}

impl Deferring {
    /// Before `inner`.
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            count: AtomicUsize::new(0),
            waiting: Mutex::default(),
            making: Mutex::new(()),
            warned: AtomicBool::new(false),
        }
    }

    /// Puts a record that is to be made. It can be found at once.
    pub(crate) fn defer(&self, record: Unmade) {
        let is_full = {
            let mut waiting = crate::lock(&self.waiting);
            waiting.bytes += record.bytes();
            waiting.keys.extend(record.keys());
            waiting.records.push(record);
            self.count.fetch_add(1, Ordering::Release);
            waiting.records.len() > MAX_WAITING || waiting.bytes > MAX_BYTES
        };
        if is_full {
            self.make_all();
        }
    }

    /// Makes what waits. When this returns, all that waited when it was called is in the store.
    fn make_all(&self) {
        if self.make_in_memory()
            && let Err(error) = self.inner.write_if_due()
        {
            self.warn_once(&error);
        }
    }

    /// Makes what waits, and writes nothing. Returns whether anything waited.
    pub(crate) fn make_in_memory(&self) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let making = crate::lock(&self.making);
        let records = {
            let mut waiting = crate::lock(&self.waiting);
            waiting.bytes = 0;
            waiting.in_the_making = std::mem::take(&mut waiting.keys);
            std::mem::take(&mut waiting.records)
        };
        let count = records.len();
        for record in records {
            // A record that cannot be made, by a store of the host's, is no reason to lose the others.
            let put = AssertUnwindSafe(|| record.put_into(&*self.inner));
            match catch_unwind(put) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.warn_once(&error),
                Err(_) => tracing::warn!("a record is not kept: making it panicked"),
            }
        }
        crate::lock(&self.waiting).in_the_making.clear();
        self.count.fetch_sub(count, Ordering::Release);
        drop(making);
        true
    }

    /// Makes what waits if something of `key` does.
    #[inline]
    fn make(&self, key: &FormKey) {
        if self.count.load(Ordering::Acquire) > 0 && self.waits(key) {
            // The worker, which knows of what waits, writes it.
            self.make_in_memory();
        }
    }

    #[cold]
    fn waits(&self, key: &FormKey) -> bool {
        let waiting = crate::lock(&self.waiting);
        waiting.keys.contains(key) || waiting.in_the_making.contains(key)
    }

    /// Tells of the first fault; the others say the same again.
    pub(crate) fn warn_once(&self, error: &StoreError) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("what this process compiles may not be kept: {error}");
        }
    }
}

impl Store for Deferring {
    fn get(&self, key: &FormKey, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        self.make(key);
        self.inner.get(key, visit);
    }

    fn put(&self, record: NewRecord<'_>) -> Result<(), StoreError> {
        self.make(&record.key);
        self.inner.put(record)
    }

    fn remove(&self, key: &FormKey) {
        self.make(key);
        self.inner.remove(key);
    }

    fn for_each(&self, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        self.make_all();
        self.inner.for_each(visit);
    }

    fn write(&self) -> Result<(), StoreError> {
        self.make_all();
        self.inner.write()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.make_all();
        self.inner.flush()
    }

    fn statistics(&self) -> StoreStatistics {
        self.make_all();
        self.inner.statistics()
    }

    fn report_damage(&self, key: &FormKey, what: &str) {
        self.make(key);
        self.inner.report_damage(key, what);
    }

    fn refresh(&self) -> Result<bool, StoreError> {
        self.inner.refresh()
    }

    fn maintain(&self) -> Result<(), StoreError> {
        self.inner.maintain()
    }

    fn tended_by(&self, wake: Wake) {
        self.inner.tended_by(wake);
    }

    fn tend(&self) {
        self.inner.tend();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keep::tests::unmade;
    use rekindle_cache_core::store::MemoryStore;

    fn deferring() -> (Arc<MemoryStore>, Deferring) {
        let inner = Arc::new(MemoryStore::new());
        (Arc::clone(&inner), Deferring::new(inner))
    }

    fn images(store: &dyn Store, key: &FormKey) -> Vec<Vec<u8>> {
        let mut images = Vec::new();
        store.get(key, &mut |found| {
            if let Found::Record(record) = found {
                images.push(record.image.bytes.to_vec());
            }
            ControlFlow::Continue(())
        });
        images
    }

    #[test]
    fn who_asks_for_what_waits_finds_it() {
        let (inner, store) = deferring();
        let (a, b) = (unmade("a", b"a1"), unmade("b", b"b1"));
        let [of_a, form_of_b]: [FormKey; 2] = [
            a.keys().next().expect("its own"),
            b.keys().last().expect("that of its form"),
        ];
        store.defer(a);
        store.defer(unmade("a", b"a2"));
        let absent = unmade("c", b"").keys().next().expect("its own");
        assert!(images(&store, &absent).is_empty());
        assert_eq!(inner.statistics().records, 0, "nobody has asked for them");
        assert_eq!(images(&store, &of_a), [b"a2", b"a1"], "the newest first");
        store.defer(b);
        assert_eq!(images(&store, &form_of_b).len(), 1);
        // Each with the one that leads to it.
        assert_eq!(inner.statistics().records, 6);
    }

    #[test]
    fn whatever_is_for_all_records_makes_them() {
        let actions: [fn(&Deferring); 5] = [
            |store| store.write().expect("it is memory"),
            |store| store.flush().expect("it is memory"),
            |store| store.for_each(&mut |_| ControlFlow::Break(())),
            |store| assert_eq!(store.statistics().records, 2),
            |store| {
                for _ in 0..MAX_WAITING {
                    store.defer(unmade("b", b"b"));
                }
            },
        ];
        for act in actions {
            let (inner, store) = deferring();
            let a = unmade("a", b"a");
            let key = a.keys().next().expect("its own");
            store.defer(a);
            act(&store);
            assert_eq!(images(&*inner, &key), [b"a"]);
        }
        let (inner, store) = deferring();
        store.defer(unmade("large", &vec![0; MAX_BYTES]));
        assert_eq!(inner.statistics().records, 2);
    }

    #[test]
    fn what_is_removed_or_damaged_does_not_come_back() {
        let actions: [fn(&Deferring, &FormKey); 2] = [
            |store, key| store.remove(key),
            |store, key| store.report_damage(key, "it was wrong"),
        ];
        for act in actions {
            let (_, store) = deferring();
            let a = unmade("a", b"a");
            let key = a.keys().next().expect("its own");
            store.defer(a);
            act(&store, &key);
            store.flush().expect("it is memory");
            assert!(images(&store, &key).is_empty());
        }
    }

    /// A store of a host's, which panics at its first record.
    struct Panicking {
        inner: MemoryStore,
        has_panicked: AtomicBool,
    }

    impl Store for Panicking {
        fn get(&self, key: &FormKey, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
            self.inner.get(key, visit);
        }

        fn put(&self, record: NewRecord<'_>) -> Result<(), StoreError> {
            assert!(self.has_panicked.swap(true, Ordering::Relaxed), "the first");
            self.inner.put(record)
        }

        fn remove(&self, key: &FormKey) {
            self.inner.remove(key);
        }

        fn for_each(&self, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
            self.inner.for_each(visit);
        }

        fn flush(&self) -> Result<(), StoreError> {
            self.inner.flush()
        }

        fn statistics(&self) -> StoreStatistics {
            self.inner.statistics()
        }
    }

    #[test]
    fn a_record_that_cannot_be_made_takes_no_other_with_it() {
        let store = Deferring::new(Arc::new(Panicking {
            inner: MemoryStore::new(),
            has_panicked: AtomicBool::new(false),
        }));
        let (a, b) = (unmade("a", b"a"), unmade("b", b"b"));
        let keys = [&a, &b].map(|one| one.keys().next().expect("its own"));
        store.defer(a);
        store.defer(b);
        assert!(images(&store, &keys[0]).is_empty());
        assert_eq!(images(&store, &keys[1]), [b"b"]);
        assert_eq!(store.count.load(Ordering::Relaxed), 0, "nothing waits");
    }

    #[test]
    fn threads_find_what_any_of_them_has_put() {
        const ROUNDS: usize = 200;
        let (inner, store) = deferring();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (0..ROUNDS).for_each(|_| store.make_all()));
            for thread in 0..3 {
                let store = &store;
                scope.spawn(move || {
                    for number in 0..ROUNDS {
                        let record = unmade(&format!("{thread}-{number}"), b"code");
                        let key = record.keys().next().expect("its own");
                        store.defer(record);
                        assert_eq!(images(store, &key), [b"code"]);
                    }
                });
            }
            writer.join().expect("it ends");
        });
        assert_eq!(inner.statistics().records, 2 * 3 * ROUNDS as u64);
    }
}
