//! What threads have of their own, so that no two of them write to one line of memory.
//!
//! Processors hand a line that both write to back and forth, which takes longer than most of what a hit does
//! with it. So what every evaluation writes is there several times: a thread has a *lane*, which it shares with
//! others only where there are more threads than lanes, and whoever wants to know the whole goes through all.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many lanes there are.
const LANES: usize = 16;

thread_local! {
    /// The lane of this thread, once it has one.
    static LANE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The number of this thread's lane, below [`LANES`].
#[inline]
pub(crate) fn lane() -> usize {
    match LANE.get() {
        usize::MAX => choose(),
        lane => lane,
    }
}

#[cold]
fn choose() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let lane = NEXT.fetch_add(1, Ordering::Relaxed) % LANES;
    LANE.set(lane);
    lane
}

/// One `T` for each lane that was used.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    lanes: [OnceLock<Box<Apart<T>>>; LANES],
}

/// Shares no line of memory with anything else, nor a pair of lines, which some processors fetch at once.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            lanes: [const { OnceLock::new() }; LANES],
        }
    }
}

impl<T: Default> Lanes<T> {
    /// That of this thread's lane, which threads beyond so many share.
    #[inline]
    pub(crate) fn mine(&self) -> &T {
        &self.lanes[lane()].get_or_init(Box::default).0
    }

    /// Those of all lanes.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.lanes.iter().filter_map(|lane| Some(&lane.get()?.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn nothing_is_lost_of_what_many_threads_add() {
        let lanes = Lanes::<AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * LANES + 1 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        lanes.mine().fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let sum: u64 = lanes.all().map(|one| one.load(Ordering::Relaxed)).sum();
        assert_eq!(sum, 1000 * (2 * LANES as u64 + 1));
    }

    #[test]
    fn a_thread_keeps_its_lane() {
        let lanes = Lanes::<AtomicU64>::default();
        let (one, other) = (lanes.mine(), lanes.mine());
        assert!(std::ptr::eq(one, other));
        assert_eq!(lanes.all().count(), 1);
    }
}
