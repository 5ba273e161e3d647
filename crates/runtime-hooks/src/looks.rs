//! When it is looked for what other processes have published.
//!
//! A look is a handful of system calls, and where compiling takes less than a tenth of a millisecond that is
//! noticed. So looks take half a hundredth of the time at most; what is published in between is seen five
//! milliseconds later at the latest.

use rekindle_cache_core::store::Store;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many times as long as a look took there is none.
const PAUSE: u32 = 200;

/// There is never none for longer.
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Looks {
    began: Instant,
    /// When it may be looked again, in nanoseconds from the beginning.
    next: AtomicU64,
}

impl Looks {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            next: AtomicU64::new(0),
        }
    }

    /// Whether other processes have published anything since the last look, as far as it is time for one.
    pub(crate) fn has_grown(&self, store: &dyn Store) -> bool {
        let before = self.began.elapsed();
        before >= Duration::from_nanos(self.next.load(Ordering::Relaxed))
            && self.look(store, before)
    }

    /// Whether other processes have published anything since the last look, for whoever waited for them.
    pub(crate) fn has_grown_now(&self, store: &dyn Store) -> bool {
        self.look(store, self.began.elapsed())
    }

    fn look(&self, store: &dyn Store, before: Duration) -> bool {
        let grown = store.refresh().unwrap_or_else(|error| {
            tracing::debug!(%error, "the cache cannot be looked at again");
            false
        });
        let after = self.began.elapsed();
        let pause = (after.saturating_sub(before) * PAUSE).min(LONGEST_PAUSE);
        let next = u64::try_from((after + pause).as_nanos()).unwrap_or(u64::MAX);
        self.next.store(next, Ordering::Relaxed);
        grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_cache_core::store::MemoryStore;

    #[test]
    fn a_look_is_followed_by_a_pause_that_waiting_overrules() {
        let store = MemoryStore::new();
        let looks = Looks::new();
        assert_eq!(looks.next.load(Ordering::Relaxed), 0, "the first is due");
        assert!(!looks.has_grown(&store));
        let after = looks.next.load(Ordering::Relaxed);
        let longest = (looks.began.elapsed() + LONGEST_PAUSE).as_nanos();
        assert!(after > 0 && u128::from(after) <= longest);
        looks.next.store(u64::MAX, Ordering::Relaxed);
        looks.has_grown(&store);
        assert_eq!(looks.next.load(Ordering::Relaxed), u64::MAX, "not due");
        looks.has_grown_now(&store);
        assert_ne!(looks.next.load(Ordering::Relaxed), u64::MAX);
    }
}
