//! Windows for threads that load at the same time.
//!
//! Threads that load into one window meet at its end: at its lock, at the unwinder's list of its tables, at the
//! line of memory that one image ends in and the next begins in; and none can give back what its image does not
//! need when another has come behind it. So a thread that had to wait for another goes on in the next set of
//! windows, of which there are no more than processors. As long as nobody waits, all is in the first one.
//!
//! The price is what each set keeps ready for the images to come: as much as lies in it, one MiB at least and two
//! at most.

use super::room::Windows;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most sets of a loader.
const MOST: usize = 8;

thread_local! {
    /// The number of this thread among those that had to wait, from 1; 0 as long as it had not.
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// Notes that this thread found somebody else where it loads.
#[cold]
pub(super) fn note_wait() {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    // A second time says that there are more threads than sets: wherever it went, it would meet somebody.
    if NUMBER.get() == 0 {
        NUMBER.set(LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
    }
}

/// The windows of a loader in one process.
pub(crate) struct WindowSets {
    first: Windows,
    others: [OnceLock<Windows>; MOST - 1],
    /// Those of low images, once there is one: low addresses are few.
    low: OnceLock<Windows>,
    /// How many sets there may be.
    most: OnceLock<usize>,
}

impl WindowSets {
    /// With the first set.
    pub(crate) fn new(first: Windows) -> Self {
        Self {
            first,
            others: [const { OnceLock::new() }; MOST - 1],
            low: OnceLock::new(),
            most: OnceLock::new(),
        }
    }

    /// Where this thread loads to.
    #[inline]
    pub(crate) fn of_this_thread(&self) -> &Windows {
        match NUMBER.get() {
            0 => &self.first,
            number => self.of(number),
        }
    }

    fn of(&self, number: usize) -> &Windows {
        let most = *self.most.get_or_init(processors);
        let other = (number % most).checked_sub(1);
        let other = other.and_then(|other| self.others.get(other));
        other.map_or(&self.first, |other| {
            other.get_or_init(|| self.first.beside())
        })
    }

    /// Where low images are loaded to.
    pub(crate) fn low(&self) -> &Windows {
        self.low.get_or_init(|| self.first.low())
    }

    /// The sets that there are.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Windows> {
        let others = self.others.iter().filter_map(OnceLock::get);
        std::iter::once(&self.first)
            .chain(others)
            .chain(self.low.get())
    }
}

/// As many sets as are of use. A host may keep each of its threads on one processor, so that what this thread may
/// use does not tell.
fn processors() -> usize {
    // SAFETY: it asks for a number.
    let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(processors).map_or(1, |processors| processors.clamp(1, MOST))
}

#[cfg(test)]
mod tests {
    use super::super::profile::Profile;
    use super::*;

    #[test]
    fn who_waits_goes_on_elsewhere_and_others_stay() {
        let sets = WindowSets::new(Windows::new(false, Profile::default()));
        let first = std::ptr::from_ref(sets.of_this_thread());
        let most = processors();
        std::thread::scope(|scope| {
            for _ in 0..2 * MOST {
                scope.spawn(|| {
                    assert!(std::ptr::eq(sets.of_this_thread(), &raw const sets.first));
                    note_wait();
                    let set = std::ptr::from_ref(sets.of_this_thread());
                    note_wait();
                    assert!(std::ptr::eq(sets.of_this_thread(), set), "it has its place");
                });
            }
        });
        assert_eq!(sets.all().count(), most);
        assert!(std::ptr::eq(sets.of_this_thread(), first));
    }
}
