//! Room for images: taken from a window, written, kept or given back, and used again after unloading.
//!
//! A lock is held while room is taken or given back, and at no other time: the host may load other
//! images while it is asked for the symbols of this one.
//!
//! Room of unloaded images waits until there is enough of it, since the way to its next use is long:
//! unwind tables are removed, and every core has to forget the instructions that were there (see
//! [`barrier`](super::barrier)). Such room is just as large as an image's payload; an image that is
//! to lie in it is checked and bound in memory of its own and then copied.

use super::ahead::Ahead;
use super::barrier::Barrier;
use super::finalise;
use super::free::FreeRanges;
use super::profile::Profile;
use super::sets;
pub(crate) use super::span::Place;
use super::span::{Aside, Source, Span};
use super::system::WRITES_ASIDE;
use super::tables::{Table, UnwindTables};
use super::window::{WINDOW_SIZE, Window, memory};
use crate::error::LoadError;
use crate::image::outline::Shape;
use rekindle_cache_core::fork::Sentinel;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Room of unloaded images is used again once there is this much of it, in bytes or in parts of all
/// that is taken, or so many images.
const WORTH_A_BARRIER: usize = 256 << 10;
const PART_WORTH_A_BARRIER: usize = 16;
const IMAGES_WORTH_A_BARRIER: usize = 4096;

/// Images from this size on begin with a page: their data is then on as few pages as can be, each of which
/// the load has to wait for, and no part of the copy is written to two cache lines.
const LARGE_IMAGE: usize = 64 << 10;

/// An image of so many bytes or more uses up what is ready before a thread that looks by itself does so again.
const URGENT: usize = 16 << 10;

/// All windows of a loader in this process.
pub(crate) struct Windows {
    state: Mutex<State>,
    anonymous: bool,
    /// All of them lie in the low 2 GiB.
    are_low: bool,
    /// Tells room of this loader, in this process, from any other.
    pub(super) number: u64,
    pub(crate) tables: UnwindTables,
    pub(crate) profile: Arc<Profile>,
    barrier: Barrier,
    ahead: Arc<Ahead>,
    /// Others count what the thread that looks ahead has done.
    are_beside: bool,
    /// For a host that forks while it is asked for a symbol, and then panics in the child.
    pub(super) home: Sentinel,
}

#[derive(Default)]
pub(super) struct State {
    /// Windows never move in it: room names them by index.
    pub(super) list: Vec<Window>,
    pub(super) free: FreeRanges,
    waiting: Waiting,
    pub(super) counts: Counts,
}

/// Room of unloaded images that cannot be used yet.
#[derive(Default)]
struct Waiting {
    places: Vec<Place>,
    tables: Vec<Table>,
    bytes: usize,
}

/// How the windows are used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) windows: usize,
    pub(crate) used: usize,
    pub(crate) loaded: u64,
    pub(crate) unloaded: u64,
    pub(crate) loaded_again: u64,
    pub(crate) waiting: usize,
    pub(crate) free: usize,
    pub(crate) lost: usize,
    pub(crate) barriers: usize,
    pub(crate) ahead: usize,
    pub(crate) ahead_cpu: std::time::Duration,
}

impl Windows {
    /// No window yet; `anonymous` keeps to anonymous memory, which profilers see better. Images that
    /// are loaded are to be noted in `profile`.
    pub(crate) fn new(anonymous: bool, profile: Profile) -> Self {
        Self::with(anonymous, false, Arc::new(profile), Arc::default())
    }

    /// Windows of their own for low images, otherwise like these.
    pub(crate) fn low(&self) -> Self {
        let profile = Arc::clone(&self.profile);
        Self::with(self.anonymous, true, profile, Arc::default())
    }

    /// Windows like these, for threads that find others here. One thread looks ahead for all, and ends with the
    /// first of them: they end together.
    pub(super) fn beside(&self) -> Self {
        let (profile, ahead) = (Arc::clone(&self.profile), Arc::clone(&self.ahead));
        let mut windows = Self::with(self.anonymous, self.are_low, profile, ahead);
        windows.are_beside = true;
        windows
    }

    fn with(anonymous: bool, are_low: bool, profile: Arc<Profile>, ahead: Arc<Ahead>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        finalise::get_ready();
        Self {
            state: Mutex::default(),
            anonymous: anonymous || WRITES_ASIDE,
            are_low,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            tables: UnwindTables::default(),
            profile,
            barrier: Barrier::default(),
            ahead,
            are_beside: false,
            home: Sentinel::new(),
        }
    }

    /// Opens the first window, and has its beginning made present while nobody waits for it yet. What memory
    /// cannot be had is told to who takes room.
    pub(crate) fn expect_images(&self) {
        let mut state = self.lock();
        // Anonymous memory is made ready image by image.
        if self.anonymous || !state.list.is_empty() {
            return;
        }
        let Ok((mut window, outlines)) = Window::new(0, 1, false, self.anonymous, self.are_low)
        else {
            return;
        };
        let jobs = window.make_ready(&(0..0), 0, 0);
        state.list.push(window);
        drop(state);
        outlines.tell();
        for job in jobs.into_iter().flatten().flatten() {
            self.ahead.ask(job, false);
        }
    }

    /// Takes room for an image of `image_size` bytes and its data.
    pub(crate) fn take(&self, image_size: usize, shape: Shape) -> Result<Span<'_>, LoadError> {
        let needed = image_size.max(shape.data_memory_size);
        let alignment = match image_size {
            LARGE_IMAGE.. => shape.alignment.max(region::page::size()),
            _ => shape.alignment,
        };
        let mut state = self.lock();
        if !state.free.is_empty()
            && let Some(span) = self.take_again(&mut state, image_size, shape)?
        {
            return Ok(span);
        }
        let mut opened = None;
        let list = &mut state.list;
        let fits = |window: &Window| Some(window.fit(needed, alignment)?.end <= window.size);
        let dedicated = needed > WINDOW_SIZE / 4;
        let last = list.iter().rposition(|window| !window.dedicated);
        // Of a large image whose load failed.
        let is_left = |window: &Window| window.dedicated && window.used == 0;
        let left = list
            .iter()
            .position(|window| dedicated && is_left(window) && fits(window) == Some(true));
        let window = match (last, left) {
            (Some(last), _) if list.get(last).and_then(fits) == Some(true) => last,
            (_, Some(left)) => left,
            _ => {
                let (anonymous, are_low) = (self.anonymous, self.are_low);
                let (window, outlines) =
                    Window::new(needed, alignment, dedicated, anonymous, are_low)?;
                opened = Some(outlines);
                list.push(window);
                list.len() - 1
            }
        };
        let no_room = || {
            memory(
                "finding room in a window",
                io::ErrorKind::OutOfMemory.into(),
            )
        };
        let chosen = list.get_mut(window).ok_or_else(no_room)?;
        let range = chosen.fit(needed, alignment).ok_or_else(no_room)?;
        if range.end > chosen.size {
            return Err(no_room());
        }
        let jobs = chosen.make_ready(&range, image_size, shape.data_memory_size)?;
        let before = std::mem::replace(&mut chosen.used, range.end);
        let write = chosen.write_pointer();
        let span = Span {
            windows: self,
            window,
            write: write.wrapping_add(range.start),
            run: chosen.run + range.start,
            is_anonymous: chosen.is_anonymous(),
            range,
            source: match WRITES_ASIDE {
                false => Source::End { before },
                true => Source::Aside(Box::new(Aside {
                    before,
                    scratch: vec![0; image_size],
                })),
            },
            image_size,
            shape,
        };
        drop(state);
        if let Some(opened) = opened {
            opened.tell();
        }
        for job in jobs.into_iter().flatten() {
            self.ahead.ask(job, needed >= URGENT);
        }
        Ok(span)
    }

    /// Room that an image was unloaded from, if there is some of that size.
    fn take_again(
        &self,
        state: &mut State,
        image_size: usize,
        shape: Shape,
    ) -> Result<Option<Span<'_>>, LoadError> {
        let mut needed = shape.payload_size.max(shape.data_memory_size).max(1);
        if self.anonymous || state.list.iter().any(Window::is_anonymous) {
            needed = needed.next_multiple_of(region::page::size());
        }
        let Some(found) = state.free.take(needed, shape.alignment) else {
            return Ok(None);
        };
        let holds = |window: &Window| (window.run..window.run + window.size).contains(&found.start);
        let Some(window) = state.list.iter().position(holds) else {
            return Ok(None);
        };
        let Some(chosen) = state.list.get_mut(window) else {
            return Ok(None);
        };
        let range = found.start - chosen.run..found.end - chosen.run;
        let ready = chosen.make_ready(&range, shape.payload_size, shape.data_memory_size);
        let jobs = match ready {
            Ok(jobs) => jobs,
            Err(error) => {
                state.free.insert(found);
                return Err(error);
            }
        };
        state.counts.loaded_again += 1;
        let write = chosen.write_pointer().wrapping_add(range.start);
        let is_anonymous = chosen.is_anonymous();
        for job in jobs.into_iter().flatten() {
            self.ahead.ask(job, false);
        }
        Ok(Some(Span {
            windows: self,
            window,
            write,
            run: found.start,
            is_anonymous,
            range,
            source: Source::Again {
                scratch: vec![0; image_size],
            },
            image_size,
            shape,
        }))
    }

    /// Gives back what lies from `used` on, if nothing was taken behind `range` since.
    pub(super) fn give_back(state: &mut State, window: usize, range: &Range<usize>, used: usize) {
        if let Some(window) = state.list.get_mut(window)
            && window.used == range.end
        {
            window.used = window.round(used).min(range.end);
        }
    }

    /// Whether `place` is this loader's, in this process.
    pub(crate) fn owns(&self, place: &Place) -> bool {
        place.owner == self.number
    }

    /// Takes back the room of an image, to be used again some time later, and its unwind table.
    ///
    /// # Safety
    /// `place` and `table` are of one image, and are given once; nobody is in its code, or comes there
    /// again, and nobody uses its memory.
    pub(crate) unsafe fn give_up(&self, place: Place, table: Option<Table>) {
        let mut state = self.lock();
        state.counts.unloaded += 1;
        state.waiting.bytes += place.range.len();
        state.waiting.places.push(place);
        state.waiting.tables.extend(table);
        let used: usize = state.list.iter().map(|window| window.used).sum();
        let waiting = &state.waiting;
        let enough = waiting.bytes >= WORTH_A_BARRIER.max(used / PART_WORTH_A_BARRIER)
            || waiting.places.len() >= IMAGES_WORTH_A_BARRIER;
        if !enough {
            return;
        }
        let mut waiting = std::mem::take(&mut state.waiting);
        drop(state);
        // SAFETY: the caller's promise, at each of the times that these were given up.
        unsafe { self.tables.remove(&mut waiting.tables) };
        let forgotten = self.barrier.wait();
        let mut state = self.lock();
        if forgotten {
            state.release(&waiting.places);
        } else {
            state.counts.lost += waiting.bytes;
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half-done by a panic in here.
        match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                sets::note_wait();
                self.state.lock().unwrap_or_else(PoisonError::into_inner)
            }
        }
    }

    /// Bytes of code windows that are taken: by images, by padding, and by data.
    pub(crate) fn used(&self) -> usize {
        let state = self.lock();
        let taken: usize = state.list.iter().map(|window| window.used).sum();
        taken - state.free.bytes()
    }

    /// How the windows are used.
    pub(crate) fn counts(&self) -> Counts {
        let used = self.used();
        let (ahead_cpu, ahead) = match self.are_beside {
            false => self.ahead.spent(),
            true => Default::default(),
        };
        let state = self.lock();
        Counts {
            windows: state.list.len(),
            used,
            waiting: state.waiting.bytes,
            free: state.free.bytes(),
            barriers: self.barrier.count(),
            ahead,
            ahead_cpu,
            ..state.counts
        }
    }
}

impl State {
    /// Makes room that nobody remembers usable.
    fn release(&mut self, places: &[Place]) {
        for place in places {
            if let Some(window) = self.list.get(place.window) {
                let range = window.run + place.range.start..window.run + place.range.end;
                self.free.insert(range);
            }
        }
        // What lies at the end of a window is filled from there again, without a second copy.
        for window in &mut self.list {
            if let Some(start) = self.free.take_before(window.run + window.used) {
                window.used = start - window.run;
            }
        }
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        // Before the write views go away.
        self.ahead.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::{DATA_STRIDE, DISTANCE};
    use super::*;
    use std::time::{Duration, Instant};

    fn shape(payload: usize, data: usize) -> Shape {
        Shape {
            machine: crate::image::format::MACHINE_HERE,
            payload_size: payload,
            data_memory_size: data,
            alignment: 16,
            is_low: false,
        }
    }

    #[test]
    fn the_description_is_given_back_and_the_payload_kept() -> Result<(), LoadError> {
        let windows = Windows::new(false, Profile::default());
        let mut span = windows.take(1000, shape(100, 0))?;
        span.bytes().fill(0xc3);
        let first = span.base();
        span.keep()?;
        assert_eq!(windows.used(), 100);
        let span = windows.take(1000, shape(100, 0))?;
        assert_eq!(span.base(), first + 112, "aligned behind the first payload");
        drop(span);
        assert_eq!(windows.used(), 100);
        Ok(())
    }

    #[test]
    fn room_is_made_ready_before_the_first_image() -> Result<(), LoadError> {
        let windows = Windows::new(false, Profile::default());
        windows.expect_images();
        windows.expect_images();
        let deadline = Instant::now() + Duration::from_secs(60);
        while windows.counts().ahead == 0 {
            assert!(Instant::now() < deadline, "no thread makes room ready");
            std::thread::yield_now();
        }
        windows.take(100, shape(100, 0))?.keep()?;
        assert_eq!((windows.counts().windows, windows.used()), (1, 100));
        // What is sealed image by image is not made ready.
        let anonymous = Windows::new(true, Profile::default());
        anonymous.expect_images();
        assert_eq!(anonymous.counts().windows, 0);
        Ok(())
    }

    #[test]
    fn both_views_show_the_same_bytes() -> Result<(), LoadError> {
        for anonymous in [false, true] {
            let windows = Windows::new(anonymous, Profile::default());
            let mut span = windows.take(4, shape(4, 0))?;
            span.bytes().copy_from_slice(&[1, 2, 3, 4]);
            let base = span.base() as *const [u8; 4];
            span.keep()?;
            // SAFETY: the run view is readable and is never unmapped.
            assert_eq!(unsafe { base.read() }, [1, 2, 3, 4]);
        }
        Ok(())
    }

    #[test]
    fn data_lies_at_its_distance_and_is_zero() -> Result<(), LoadError> {
        let windows = Windows::new(false, Profile::default());
        for _ in 0..3 {
            // More than a chunk, so that the second and third have to make more of it writable.
            let size = DATA_STRIDE + 5;
            let mut span = windows.take(300, shape(100, size))?;
            let base = span.base();
            let (_, data) = span.bytes_and_data();
            assert_eq!(data.as_ptr() as usize, base + DISTANCE);
            assert!(data.iter().all(|byte| *byte == 0));
            data.fill(7);
            span.keep()?;
        }
        Ok(())
    }

    #[test]
    fn rooms_that_overlap_in_time_do_not_overlap_in_space() -> Result<(), LoadError> {
        let windows = Windows::new(false, Profile::default());
        let first = windows.take(500, shape(400, 0))?;
        let second = windows.take(500, shape(400, 0))?;
        assert!(second.base() >= first.base() + 500);
        // The first cannot give anything back, since the second lies behind it.
        first.keep()?;
        let used = windows.used();
        second.keep()?;
        assert_eq!(windows.used(), used - 100);
        Ok(())
    }

    #[test]
    fn large_images_have_windows_of_their_own() -> Result<(), LoadError> {
        let windows = Windows::new(false, Profile::default());
        let small = windows.take(100, shape(100, 0))?;
        let base = small.base();
        small.keep()?;
        let large = WINDOW_SIZE + 1;
        let mut span = windows.take(large, shape(large, 0))?;
        *span.bytes().last_mut().expect("it is not empty") = 1;
        span.keep()?;
        let small = windows.take(100, shape(100, 0))?;
        assert_eq!(
            small.base(),
            base + 112,
            "the first window goes on being filled"
        );
        Ok(())
    }

    #[test]
    fn a_large_image_that_fails_leaves_its_window_to_the_next() -> Result<(), LoadError> {
        let windows = Windows::new(false, Profile::default());
        for _ in 0..3 {
            windows.take(WINDOW_SIZE + 1, shape(100, 0))?;
        }
        assert_eq!(windows.counts().windows, 1);
        Ok(())
    }

    #[test]
    fn what_no_window_holds_is_an_error() {
        let windows = Windows::new(false, Profile::default());
        let size = DISTANCE + 1;
        let refused = windows.take(size, shape(size, 0));
        assert!(matches!(refused, Err(LoadError::Memory { .. })));
    }
}
