//! Windows for threads that load at the same time.
//!
//! Threads that load into one window meet at its end: at its lock, at the unwinder's list of its tables, at the
//! line of memory that one image ends in and the next begins in; and none can give back what its image does not
//! need when another has come behind it. So a thread that had to wait for another goes on in the next set of
//! windows, of which there are no more than processors. As long as nobody waits, all is in the first one.
//!
//! A set that gets no memory is no reason to refuse an image for which another set has room.
//!
//! The price is what each set keeps ready for the images to come: as much as lies in it, one MiB at least and two
//! at most.

use super::room::Windows;
use super::span::Span;
use crate::error::LoadError;
use crate::image::outline::Shape;
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

    /// Takes room for an image of `image_size` bytes and its data: where this thread loads to, or, where there is no
    /// memory for that, in another set.
    #[inline]
    pub(crate) fn take(&self, image_size: usize, shape: Shape) -> Result<Span<'_>, LoadError> {
        let own = match shape.is_low {
            false => self.of_this_thread(),
            true => self.low(),
        };
        match own.take(image_size, shape) {
            Ok(span) => Ok(span),
            Err(refusal) => self.take_beside(own, refusal, image_size, shape),
        }
    }

    /// Has room made ready for the first images of a process.
    pub(crate) fn expect_images(&self) {
        self.first.expect_images();
    }

    /// Takes room in another set than `own`, where that is refused.
    #[cold]
    fn take_beside(
        &self,
        own: &Windows,
        refusal: LoadError,
        image_size: usize,
        shape: Shape,
    ) -> Result<Span<'_>, LoadError> {
        let mut others = (self.not_low()).filter(|other| !std::ptr::eq(*other, own));
        let found = match shape.is_low {
            false => others.find_map(|other| other.take(image_size, shape).ok()),
            true => None,
        };
        found.ok_or(refusal)
    }

    /// Where this thread loads to.
    #[inline]
    fn of_this_thread(&self) -> &Windows {
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
    fn low(&self) -> &Windows {
        self.low.get_or_init(|| self.first.low())
    }

    /// The sets that there are.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Windows> {
        self.not_low().chain(self.low.get())
    }

    /// Those of them that are not for low images.
    fn not_low(&self) -> impl Iterator<Item = &Windows> {
        let others = self.others.iter().filter_map(OnceLock::get);
        std::iter::once(&self.first).chain(others)
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

    #[cfg(target_os = "linux")]
    fn shape(payload_size: usize) -> Shape {
        Shape {
            machine: crate::image::format::MACHINE_HERE,
            payload_size,
            data_memory_size: 0,
            alignment: 16,
            is_low: false,
        }
    }

    /// In a process of its own, as limits are a whole process's.
    #[cfg(target_os = "linux")]
    #[test]
    fn whose_own_set_gets_no_memory_loads_where_there_is_room()
    -> Result<(), Box<dyn std::error::Error>> {
        let this = std::env::current_exe()?;
        let mut child = std::process::Command::new(this);
        child.args(["--exact", "--ignored", "--nocapture"]);
        let child = child.arg("memory::sets::tests::loads_with_no_memory_for_a_set");
        let said = child.env("REKINDLE_TEST_LIMITED", "1").output()?;
        assert!(said.status.success(), "{said:?}");
        assert!(
            String::from_utf8_lossy(&said.stdout).contains("1 passed"),
            "{said:?}"
        );
        Ok(())
    }

    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "is no test: another starts it as a process of its own"]
    fn loads_with_no_memory_for_a_set() -> Result<(), LoadError> {
        if std::env::var_os("REKINDLE_TEST_LIMITED").is_none() {
            return Ok(());
        }
        let sets = WindowSets::new(Windows::new(false, Profile::default()));
        let first = sets.take(1000, shape(1000))?;
        let base = first.base();
        first.keep()?;
        note_wait();
        // Less than the smallest window, and enough for what tests do besides.
        let mapped = std::fs::read_to_string("/proc/self/statm").expect("it is Linux");
        let pages = mapped.split(' ').next().and_then(|word| word.parse().ok());
        let pages: u64 = pages.expect("a number");
        let limit = libc::rlimit {
            rlim_cur: pages * region::page::size() as u64 + (1 << 20),
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: the limit is read from there; it concerns mappings to come, of this process.
        let set = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
        assert_eq!(set, 0);
        let own = sets.of_this_thread();
        if processors() > 1 {
            assert!(!std::ptr::eq(own, &raw const sets.first));
            assert!(matches!(
                own.take(1000, shape(1000)),
                Err(LoadError::Memory { .. })
            ));
        }
        let mut span = sets.take(1000, shape(1000))?;
        assert_eq!(span.base(), base + 1008, "behind the first");
        span.bytes().fill(0xc3);
        let place = span.keep()?;
        assert!(sets.first.owns(&place));
        // What nobody has room for is refused as before.
        let large = super::super::window::WINDOW_SIZE + 1;
        let refused = sets.take(large, shape(large));
        assert!(matches!(refused, Err(LoadError::Memory { .. })));
        Ok(())
    }
}
