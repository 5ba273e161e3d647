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
//! handle. The write view goes away with the loader.

use crate::error::LoadError;
use crate::image::DATA_DISTANCE;
use memmap2::{MmapOptions, MmapRaw};
use region::Protection;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use rustix::process::{Resource, getrlimit};
use std::io;
use std::ops::Range;
use std::ptr;

/// Bytes between run view and data.
pub(super) const DISTANCE: usize = DATA_DISTANCE as usize;

/// Bytes of a window, if its first image does not need more.
pub(super) const WINDOW_SIZE: usize = 64 << 20;

/// A window smaller than this is not worth having where memory is limited.
const SMALLEST_WINDOW: usize = 1 << 20;

/// Bytes that are made present at a time, so that loading small images meets no page fault.
const PREFAULT_SIZE: usize = 256 << 10;

/// Bytes of data that become writable at a time.
pub(super) const DATA_CHUNK: usize = 256 << 10;

/// One reservation: a run view, its data, and a write view.
pub(super) struct Window {
    pub(super) run: usize,
    pub(super) size: usize,
    /// `None` for anonymous memory, which is written where it runs.
    write: Option<MmapRaw>,
    /// Bytes that images take up.
    pub(super) used: usize,
    prefaulted: usize,
    data_committed: usize,
    /// Made for one large image; small ones go on filling the window before it.
    pub(super) dedicated: bool,
}

impl Window {
    /// A window for an image of `needed` bytes and more; with less memory, a smaller one.
    pub(super) fn new(
        needed: usize,
        alignment: usize,
        dedicated: bool,
        anonymous: bool,
    ) -> Result<Self, LoadError> {
        // The mapping is aligned to pages only.
        let page = region::page::size();
        let least = (needed + alignment)
            .next_multiple_of(page)
            .max(SMALLEST_WINDOW);
        let mut size = if dedicated {
            least
        } else {
            least.max(WINDOW_SIZE)
        };
        loop {
            let made = match anonymous {
                true => Self::anonymous(size),
                false => Self::memfd(size).or_else(|error| {
                    tracing::warn!(%error, "no memfd for code, going on with anonymous memory");
                    Self::anonymous(size)
                }),
            };
            match made {
                Ok(window) => {
                    tracing::debug!(
                        size,
                        dedicated,
                        anonymous = window.write.is_none(),
                        "window"
                    );
                    return Ok(Self {
                        dedicated,
                        ..window
                    });
                }
                Err(error) if size == least => {
                    return Err(memory("mapping a window for code", error));
                }
                Err(_) => size = (size / 2).next_multiple_of(page).max(least),
            }
        }
    }

    fn memfd(size: usize) -> io::Result<Self> {
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
        let run = reserve(size)?;
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

    fn anonymous(size: usize) -> io::Result<Self> {
        Ok(Self::empty(reserve(size)?, size, None))
    }

    fn empty(run: usize, size: usize, write: Option<MmapRaw>) -> Self {
        Self {
            run,
            size,
            write,
            used: 0,
            prefaulted: 0,
            data_committed: 0,
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

    /// Makes `range` writable, and `data` bytes of data at its distance.
    pub(super) fn make_ready(
        &mut self,
        range: &Range<usize>,
        data: usize,
    ) -> Result<(), LoadError> {
        if self.write.is_none() {
            let start = (self.run + range.start) as *const u8;
            // SAFETY: these pages were reserved for this window and belong to no image.
            let opened = unsafe { region::protect(start, range.len(), Protection::READ_WRITE) };
            opened.map_err(|error| memory("making room for code", from_region(error)))?;
        } else if range.end > self.prefaulted {
            self.prefault(range.start);
        }
        let data_end = range.start + data;
        if data != 0 && data_end > self.data_committed {
            let end = data_end.next_multiple_of(DATA_CHUNK).min(self.size);
            let start = (self.run + DISTANCE + self.data_committed) as *const u8;
            let size = end - self.data_committed;
            // SAFETY: these pages were reserved for this window's data, and nobody has used them.
            let opened = unsafe { region::protect(start, size, Protection::READ_WRITE) };
            opened.map_err(|error| memory("making room for data", from_region(error)))?;
            self.data_committed = end;
        }
        Ok(())
    }

    /// Makes pages present in both views. Only a saving: before Linux 5.14, or without memory, the
    /// pages come with their first use.
    fn prefault(&mut self, from: usize) {
        let page = region::page::size();
        let start = (from / page * page).max(self.prefaulted);
        let end = (start + PREFAULT_SIZE)
            .next_multiple_of(page)
            .min(self.size);
        let size = end.saturating_sub(start);
        let views = [
            (self.write_pointer(), Advice::LinuxPopulateWrite),
            (self.run as *mut u8, Advice::LinuxPopulateRead),
        ];
        for (view, advice) in views {
            // SAFETY: the range lies in the view, whose pages this neither changes nor drops.
            let _ = unsafe { madvise(view.wrapping_add(start).cast(), size, advice) };
        }
        self.prefaulted = end;
    }
}

/// Reserves `size` bytes and, [`DISTANCE`] above, `size` bytes for data: addresses without memory.
fn reserve(size: usize) -> io::Result<usize> {
    if size > DISTANCE {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let start =
        unsafe { mmap_anonymous(ptr::null_mut(), DISTANCE + size, ProtFlags::empty(), flags) }?;
    let gap = start.wrapping_byte_add(size);
    // SAFETY: this part of the fresh mapping lies between the two that are kept.
    unsafe { munmap(gap, DISTANCE - size) }.or_else(|error| match size == DISTANCE {
        true => Ok(()),
        false => Err(error),
    })?;
    Ok(start as usize)
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
