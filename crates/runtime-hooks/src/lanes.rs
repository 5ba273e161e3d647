//! What threads have of their own, so that no two of them write to one line of memory.
//!
//! Processors hand a line that both write to back and forth, which takes longer than most of what a hit does
//! with it. So what every evaluation writes is there several times: a thread has a *lane*, and whoever wants to know
//! the whole goes through all. The first threads that ask have lanes of their own, for good; those that come later share
//! the others.
//!
//! Nobody waits for anybody here: a forked child may have it in the middle of whatever its parent's threads did.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// How many lanes there are.
pub(crate) const LANES: usize = 32;

/// Of them the first ones have a thread each.
const OWN: usize = LANES / 2;

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
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let lane = match number {
        ..OWN => number,
        _ => OWN + number % (LANES - OWN),
    };
    LANE.set(lane);
    lane
}

/// Adds to a number of this thread's lane. Who has it alone need not have the processor see to it that nobody writes
/// in between, which takes as long as dozens of other instructions.
#[inline]
pub(crate) fn add(mine: &AtomicU64, number: u64) {
    if lane() < OWN {
        let before = mine.load(Ordering::Relaxed);
        mine.store(before.wrapping_add(number), Ordering::Relaxed);
    } else {
        mine.fetch_add(number, Ordering::Relaxed);
    }
}

/// One `T` for each lane that was used.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    /// Null, or from a box, which stays until the end.
    lanes: [AtomicPtr<Apart<T>>; LANES],
    /// May be sent and shared as what it has.
    owned: PhantomData<T>,
}

/// Shares no line of memory with anything else, nor a pair of lines, which some processors fetch at once.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            lanes: [const { AtomicPtr::new(std::ptr::null_mut()) }; LANES],
            owned: PhantomData,
        }
    }
}

impl<T> Drop for Lanes<T> {
    fn drop(&mut self) {
        for lane in &mut self.lanes {
            let lane = std::mem::replace(lane.get_mut(), std::ptr::null_mut());
            if !lane.is_null() {
                // SAFETY: it is from a box, is nowhere else, and nobody uses it any more.
                drop(unsafe { Box::from_raw(lane) });
            }
        }
    }
}

impl<T: Default + Send> Lanes<T> {
    /// That of this thread's lane, which threads beyond so many share.
    #[inline]
    pub(crate) fn mine(&self) -> &T {
        let lane = &self.lanes[lane()];
        // SAFETY: what is not null is from a box that stays until `self` is dropped, and was written before the
        // pointer was, which is read in that order.
        match unsafe { lane.load(Ordering::Acquire).as_ref() } {
            Some(mine) => &mine.0,
            None => begin(lane),
        }
    }

    /// That of the lane with this number, if it was used.
    #[inline]
    pub(crate) fn of(&self, lane: usize) -> Option<&T> {
        let lane = self.lanes.get(lane)?;
        // SAFETY: as above.
        let begun = unsafe { lane.load(Ordering::Acquire).as_ref() };
        begun.map(|lane| &lane.0)
    }

    /// Those of all lanes.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        let lanes = self.lanes.iter();
        // SAFETY: as above.
        let begun = lanes.filter_map(|lane| unsafe { lane.load(Ordering::Acquire).as_ref() });
        begun.map(|lane| &lane.0)
    }
}

/// What a lane has from now on, which is another thread's if one comes first.
#[cold]
fn begin<T: Default>(lane: &AtomicPtr<Apart<T>>) -> &T {
    let fresh = Box::into_raw(Box::<Apart<T>>::default());
    let begun = lane.compare_exchange(
        std::ptr::null_mut(),
        fresh,
        Ordering::AcqRel,
        Ordering::Acquire,
    );
    let begun = match begun {
        Ok(_) => fresh,
        Err(other) => {
            // SAFETY: it is the box of just now, and nobody else has seen it.
            drop(unsafe { Box::from_raw(fresh) });
            other
        }
    };
    // SAFETY: it is what the lane has, which is from a box and stays as long as the lane is borrowed.
    &unsafe { &*begun }.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn nothing_is_lost_of_what_many_threads_add() {
        let lanes = Lanes::<AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * LANES + 1 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        add(lanes.mine(), 1);
                    }
                });
            }
        });
        let sum: u64 = lanes.all().map(|one| one.load(Ordering::Relaxed)).sum();
        assert_eq!(sum, 1000 * (2 * LANES as u64 + 1));
    }

    /// Counts those that are there.
    #[derive(Default)]
    struct Alive(Option<Arc<()>>);

    #[test]
    fn what_many_begin_at_once_is_there_once_and_ends() {
        let (lanes, counted) = (Lanes::<Mutex<Alive>>::default(), Arc::new(()));
        std::thread::scope(|scope| {
            for _ in 0..4 * LANES {
                scope.spawn(|| {
                    lanes.mine().lock().expect("nobody panics").0 = Some(Arc::clone(&counted));
                });
            }
        });
        assert_eq!(Arc::strong_count(&counted), 1 + lanes.all().count());
        assert!(lanes.all().count() <= LANES);
        drop(lanes);
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn a_thread_keeps_its_lane() {
        let lanes = Lanes::<AtomicU64>::default();
        let (one, other) = (lanes.mine(), lanes.mine());
        assert!(std::ptr::eq(one, other));
        assert_eq!(lanes.all().count(), 1);
    }
}
