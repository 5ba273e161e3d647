//! Windows: address space that images are loaded into, one behind the other.
//!
//! ```text
//! run view    [ image | image | image | ...        ]  read + execute, shared with the write view
//!                                                     (nothing, or somebody else's)
//! data        [ data  |       | data  | ...        ]  read + write, at run view + DATA_DISTANCE
//!
//! write view  [ image | image | image | ...        ]  read + write, anywhere else
//! ```
//!
//! Run view and write view are two mappings of one memfd, so that no page is ever writable and
//! executable at one address, and loading makes no system call. An image's data lies at a fixed
//! distance from its payload (see the image's format), so payload and data advance together; address
//! space that only one of them needs is left empty and costs no memory.
//!
//! Where a memfd is refused, a window has anonymous memory instead: each image has pages of its own
//! there, which are writable until they become executable.
//!
//! Run view and data are never unmapped: frames, copied pointers and exceptions in flight outlive any
//! handle. Code runs without a serialising instruction after it was written: no core has fetched
//! anything from these addresses before, neither instructions nor, as the run view was never handed
//! out, a guess at them. Addresses that had code before are another matter (see
//! [`barrier`](super::barrier)). The write view goes away with the loader. Pages are made present by a thread that works
//! ahead (see [`ahead`](super::ahead)).

use super::ahead::{Job, Present};
use super::{low, system};
use crate::error::LoadError;
use crate::image::DATA_DISTANCE;
use memmap2::{MmapOptions, MmapRaw};
use region::Protection;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::process::{Resource, getrlimit};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes between run view and data.
pub(super) const DISTANCE: usize = DATA_DISTANCE as usize;

/// Bytes of a window, if its first image does not need more.
pub(super) const WINDOW_SIZE: usize = 64 << 20;

/// The same in the low 2 GiB, where addresses are few and loaders may be many.
const LOW_WINDOW_SIZE: usize = 8 << 20;

/// A window smaller than this is not worth having where memory is limited.
const SMALLEST_WINDOW: usize = 1 << 20;

/// The fewest bytes that are kept present ahead of the next image.
const LEAST_AHEAD: usize = 1 << 20;

/// The most bytes that are kept present ahead, once a window is filled fast.
const MOST_AHEAD: usize = 2 << 20;

/// Bytes that are made present while somebody waits, where the helper thread does not do it already.
const PREFAULT_SIZE: usize = 64 << 10;

/// Bytes of data that become writable at a time, where the system lets so many: a change of protection
/// waits for the helper thread. Not all of a window, as they count against a limit on data.
pub(super) const DATA_STRIDE: usize = 16 << 20;

/// Bytes of data that become writable at a time otherwise, and that are made present ahead.
const DATA_CHUNK: usize = 256 << 10;

/// Data of images that are closer to each other is made present ahead: little is wasted.
const CLOSE: usize = 16 << 10;

/// One reservation: a run view, its data, and a write view.
pub(super) struct Window {
    pub(super) run: usize,
    pub(super) size: usize,
    /// `None` for anonymous memory, which is written where it runs.
    write: Option<MmapRaw>,
    /// Bytes that images take up.
    pub(super) used: usize,
    present: Arc<Present>,
    /// Where the last part ends that was left out when what lies before and behind it was made present.
    gaps_end: usize,
    data_committed: usize,
    /// Where data ends that is made present.
    data_ahead: usize,
    /// Where the data that was ever handed out ends: below, it may not be zero.
    data_touched: usize,
    /// Made for one large image; small ones go on filling the window before it.
    pub(super) dedicated: bool,
}

/// A new window's outlines, to be told once no lock is held: whoever listens may load code.
#[derive(Debug)]
pub(super) struct Opened {
    size: usize,
    anonymous: bool,
    /// Why it has no memfd, if it was to have one.
    refused: Option<io::Error>,
}

impl Opened {
    /// Tells whoever listens to events.
    pub(super) fn tell(&self) {
        let Self {
            size, anonymous, ..
        } = self;
        if let Some(error) = &self.refused {
            tracing::warn!(%error, "no memfd for code, going on with anonymous memory");
        }
        tracing::debug!(size, anonymous, "window");
    }
}

impl Window {
    /// A window for an image of `needed` bytes and more; with less memory, a smaller one.
    pub(super) fn new(
        needed: usize,
        alignment: usize,
        dedicated: bool,
        anonymous: bool,
        is_low: bool,
    ) -> Result<(Self, Opened), LoadError> {
        // The mapping is aligned to pages only.
        let page = region::page::size();
        let least = (needed + alignment)
            .next_multiple_of(page)
            .max(SMALLEST_WINDOW);
        let mut size = match (dedicated, is_low) {
            (true, _) => least,
            (false, true) => least.max(LOW_WINDOW_SIZE),
            (false, false) => least.max(WINDOW_SIZE),
        };
        let mut refused = None;
        loop {
            let made = match anonymous {
                true => Self::anonymous(size, is_low),
                false => Self::memfd(size, is_low).or_else(|error| {
                    refused = Some(error);
                    Self::anonymous(size, is_low)
                }),
            };
            match made {
                Ok(window) => {
                    let opened = Opened {
                        size,
                        anonymous: window.write.is_none(),
                        // A smaller one than was refused may have been had.
                        refused: refused.filter(|_| window.write.is_none()),
                    };
                    let window = Self {
                        dedicated,
                        ..window
                    };
                    return Ok((window, opened));
                }
                Err(_) if size == least && is_low => {
                    return Err(LoadError::NoLowMemory { needed: size });
                }
                Err(error) if size == least => {
                    return Err(memory("mapping a window for code", error));
                }
                Err(_) => size = (size / 2).next_multiple_of(page).max(least),
            }
        }
    }

    fn memfd(size: usize, is_low: bool) -> io::Result<Self> {
        // Growing a file beyond this limit is a deadly signal, even for a file in memory.
        if getrlimit(Resource::Fsize)
            .current
            .is_some_and(|most| most < size as u64)
        {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let file = memfd_create("rekindle-code", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, size as u64)?;
        let write = MmapOptions::new().len(size).map_raw(&file)?;
        // A child has no business in its parent's code. Where the kernel cannot say so, the child's
        // fresh windows still keep it out.
        // SAFETY: the advice concerns children only.
        let _ = unsafe { madvise(write.as_mut_ptr().cast(), size, Advice::LinuxDontFork) };
        let run = reserve(size, is_low)?;
        let (protection, flags) = (ProtFlags::READ | ProtFlags::EXEC, MapFlags::SHARED);
        // SAFETY: the range was just reserved for this, and nothing points into it.
        let mapped = unsafe {
            mmap(
                run as *mut _,
                size,
                protection,
                flags | MapFlags::FIXED,
                &file,
                0,
            )
        };
        if let Err(error) = mapped {
            release(run, size);
            return Err(error.into());
        }
        Ok(Self::empty(run, size, Some(write)))
    }

    fn anonymous(size: usize, is_low: bool) -> io::Result<Self> {
        Ok(Self::empty(reserve(size, is_low)?, size, None))
    }

    fn empty(run: usize, size: usize, write: Option<MmapRaw>) -> Self {
        Self {
            run,
            size,
            write,
            used: 0,
            present: Arc::default(),
            gaps_end: 0,
            data_committed: 0,
            data_ahead: 0,
            data_touched: 0,
            dedicated: false,
        }
    }

    /// Where the window's first byte is written.
    pub(super) fn write_pointer(&self) -> *mut u8 {
        match &self.write {
            Some(view) => view.as_mut_ptr(),
            None => self.run as *mut u8,
        }
    }

    /// Whether images are written where they run, each on pages of its own.
    pub(super) fn is_anonymous(&self) -> bool {
        self.write.is_none()
    }

    /// Where the next `needed` bytes would lie, which may be beyond the window.
    pub(super) fn fit(&self, needed: usize, alignment: usize) -> Option<Range<usize>> {
        let at = self.run.checked_add(self.used)?;
        let start = at.checked_next_multiple_of(alignment)? - self.run;
        Some(start..self.round(start.checked_add(needed)?))
    }

    /// Anonymous images end with their page, so that sealing one leaves the next writable.
    pub(super) fn round(&self, end: usize) -> usize {
        match self.write {
            Some(_) => end,
            None => end.next_multiple_of(region::page::size()),
        }
    }

    /// Makes `range` writable, of which `code` bytes are going to be written, and `data` bytes of data at
    /// its distance, which are zero then. Returns what is to be made present before long.
    pub(super) fn make_ready(
        &mut self,
        range: &Range<usize>,
        code: usize,
        data: usize,
    ) -> Result<[Option<Job>; 2], LoadError> {
        let mut job = None;
        if system::WRITES_ASIDE {
            // It is writable already, for who may write to code.
        } else if self.write.is_none() {
            let start = (self.run + range.start) as *const u8;
            // SAFETY: these pages were reserved for this window and belong to no image.
            let opened = unsafe { region::protect(start, range.len(), Protection::READ_WRITE) };
            opened.map_err(|error| memory("making room for code", from_region(error)))?;
        } else {
            job = self.look_ahead(range, code)?;
        }
        if data == 0 {
            return Ok([job, None]);
        }
        let data_end = range.start + data;
        let data_start = self.run + DISTANCE;
        if data_end > self.data_committed {
            self.commit(data_start, data_end)?;
        }
        let mut data_job = None;
        if data_end + DATA_CHUNK / 2 > self.data_ahead && range.len() <= CLOSE {
            let page = region::page::size();
            let from = (range.start / page * page).max(self.data_ahead);
            // The next one begins where this ends, and none can begin inside a page.
            let to = (data_end + DATA_CHUNK).next_multiple_of(page);
            let to = to.min(self.data_committed);
            self.data_ahead = to;
            data_job = Some(Job {
                views: vec![(data_start, Advice::LinuxPopulateWrite)],
                from,
                to,
                present: None,
            });
        }
        let dirty = data_end.min(self.data_touched).saturating_sub(range.start);
        if dirty != 0 {
            let start = (data_start + range.start) as *mut u8;
            // SAFETY: these bytes were made writable, and whoever had them is gone.
            unsafe { start.write_bytes(0, dirty) };
        }
        self.data_touched = self.data_touched.max(data_end);
        Ok([job, data_job])
    }

    /// Makes data writable up to `data_end`, and as far beyond as the system lets it.
    fn commit(&mut self, data_start: usize, data_end: usize) -> Result<(), LoadError> {
        let start = (data_start + self.data_committed) as *const u8;
        let mut refused = None;
        for stride in [DATA_STRIDE, DATA_CHUNK] {
            let end = data_end.next_multiple_of(stride).min(self.size);
            let size = end - self.data_committed;
            // SAFETY: these pages were reserved for this window's data, and nobody has used them.
            match unsafe { region::protect(start, size, Protection::READ_WRITE) } {
                Ok(()) => {
                    self.data_committed = end;
                    return Ok(());
                }
                Err(error) => refused = Some(from_region(error)),
            }
        }
        let reason = refused.unwrap_or_else(|| io::ErrorKind::OutOfMemory.into());
        Err(memory("making room for data", reason))
    }

    /// Sees to it that the first `code` bytes of `range` are present, and that enough behind it will be.
    /// Between them nothing is ever written but by an image that lies there later: only the data beside it
    /// is used, which may be far larger than the code.
    ///
    /// Memory that cannot be had is an error here. It would be a deadly signal when it is written.
    fn look_ahead(&mut self, range: &Range<usize>, code: usize) -> Result<Option<Job>, LoadError> {
        let page = region::page::size();
        let code_end = (range.start + code).min(range.end);
        let has_gap = range.end - code_end > PREFAULT_SIZE;
        if range.start < self.gaps_end {
            let from = range.start / page * page;
            self.populate_views(from, code_end.next_multiple_of(page) - from)?;
        }
        if has_gap {
            self.gaps_end = self.gaps_end.max(range.end);
        }
        let present = self.present.up_to.load(Ordering::Relaxed);
        let ahead = self.used.clamp(LEAST_AHEAD, MOST_AHEAD);
        // The thread may be slow to come, where others have all processors.
        let wanted = (range.end + ahead / 4 * 3).min(self.size);
        if present >= wanted {
            return Ok(None);
        }
        let mut from = (range.start / page * page).max(present);
        if code_end > present {
            let mut end = code_end.next_multiple_of(page);
            if !self.present.asked.load(Ordering::Relaxed) {
                // Nobody is at it: more at once takes less time than one image's after the other.
                end = end.max(from + PREFAULT_SIZE);
            }
            let size = end.min(self.size) - from;
            self.populate_views(from, size)?;
            from += size;
            self.present.up_to.fetch_max(from, Ordering::Relaxed);
        }
        if has_gap {
            from = from.max(range.end / page * page);
        }
        if self.present.asked.swap(true, Ordering::Relaxed) {
            return Ok(None);
        }
        let end = range.end.saturating_add(ahead).next_multiple_of(page);
        Ok(Some(Job {
            views: self.views().to_vec(),
            from,
            to: end.min(self.size),
            present: Some(Arc::clone(&self.present)),
        }))
    }

    fn populate_views(&self, from: usize, size: usize) -> Result<(), LoadError> {
        for (view, advice) in self.views() {
            populate(view + from, size, advice)
                .map_err(|error| memory("making code windows present", error))?;
        }
        Ok(())
    }

    fn views(&self) -> [(usize, Advice); 2] {
        [
            (self.write_pointer() as usize, Advice::LinuxPopulateWrite),
            (self.run, Advice::LinuxPopulateRead),
        ]
    }
}

/// Makes pages present. Before Linux 5.14 they come with their first use. The range lies in a view of a
/// window.
///
/// # Errors
/// There is no memory for them.
pub(super) fn populate(start: usize, size: usize, advice: Advice) -> io::Result<()> {
    debug_assert!(matches!(
        advice,
        Advice::LinuxPopulateRead | Advice::LinuxPopulateWrite
    ));
    // The kernel refuses it then, in the words that it has for advice that it does not know.
    debug_assert!(start.is_multiple_of(region::page::size()));
    // SAFETY: these two change and drop no page, and fail where nothing is mapped.
    match unsafe { madvise(start as *mut _, size, advice) } {
        // Interrupted, or unknown to this kernel.
        Err(Errno::INVAL | Errno::INTR | Errno::AGAIN) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reserves `size` bytes and, [`DISTANCE`] above, `size` bytes for data: addresses without memory.
///
/// No address of code is a multiple of 4 GiB: libgcc takes a function whose table ends in 32 zero bits
/// for one that a linker removed, and exceptions would not pass it. The kernel likes such addresses.
fn reserve(size: usize, is_low: bool) -> io::Result<usize> {
    if is_low {
        return low::reserve(size);
    }
    let has_multiple = |start: usize| start.next_multiple_of(1 << 32) < start + size;
    let start = system::reserve(size)?;
    if !has_multiple(start) {
        return Ok(start);
    }
    // While the first is held, the next one is elsewhere.
    let other = system::reserve(size);
    release(start, size);
    other
}

fn release(run: usize, size: usize) {
    for start in [run, run + DISTANCE] {
        // SAFETY: both parts are from `reserve`, and nothing was loaded into them.
        let _ = unsafe { munmap(start as *mut _, size) };
    }
}

/// A refusal of the system, and what it was asked for.
pub(super) fn memory(doing: &'static str, reason: io::Error) -> LoadError {
    LoadError::Memory { doing, reason }
}

/// The system's own words, where `region` has them.
pub(super) fn from_region(error: region::Error) -> io::Error {
    match error {
        region::Error::SystemCall(code) => io::Error::from_raw_os_error(code),
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the write view that have memory.
    #[cfg(target_os = "linux")]
    fn present(window: &Window) -> usize {
        let page = region::page::size();
        let mut pages = vec![0u8; window.size / page];
        // SAFETY: the view is mapped, and `pages` has a byte for each of its pages.
        let asked = unsafe {
            libc::mincore(
                window.write_pointer().cast(),
                window.size,
                pages.as_mut_ptr(),
            )
        };
        assert_eq!(asked, 0);
        pages.iter().filter(|page| **page & 1 == 1).count() * page
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn data_alone_takes_no_memory_for_code() -> Result<(), LoadError> {
        let data = 100 << 20;
        let (mut window, _) = Window::new(2 * data, 16, true, false, false)?;
        if window.is_anonymous() {
            return Ok(());
        }
        let fill = |window: &mut Window| {
            let range = window.fit(data, 16).expect("it fits");
            let jobs = window.make_ready(&range, 1000, data)?;
            window.used = range.end;
            Ok::<_, LoadError>((range, jobs))
        };
        let (first, [job, _]) = fill(&mut window)?;
        assert!(job.is_none_or(|job| job.from + 4096 > first.end));
        let (second, _) = fill(&mut window)?;
        assert!(present(&window) <= 4 * PREFAULT_SIZE);
        // What is unloaded leaves its room to code, which is made present then.
        let before = present(&window);
        let range = first.start + (1 << 20)..second.start;
        window.make_ready(&range, 1 << 20, 0)?;
        assert!(present(&window) >= before + (1 << 20));
        Ok(())
    }
}
