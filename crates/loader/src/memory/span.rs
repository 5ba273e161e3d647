//! Room for one image, from when it is taken until it is kept or given back.

use super::room::Windows;
use super::system::{self, WRITES_ASIDE};
use super::window::{DISTANCE, from_region, memory};
use crate::error::LoadError;
use crate::image::outline::Shape;
use region::Protection;
use std::ops::Range;

/// Where an image lies for good, or until it is unloaded.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Of the [`Windows`].
    pub(super) owner: u64,
    pub(crate) window: usize,
    /// In the window.
    pub(super) range: Range<usize>,
}

/// Room for one image, to be written by whoever holds this; given back when dropped.
pub(crate) struct Span<'w> {
    pub(super) windows: &'w Windows,
    pub(super) window: usize,
    /// In the window, for what it was asked for.
    pub(super) range: Range<usize>,
    pub(super) source: Source,
    pub(super) write: *mut u8,
    pub(super) run: usize,
    pub(super) is_anonymous: bool,
    pub(super) image_size: usize,
    pub(super) shape: Shape,
}

/// Where a span's room comes from.
pub(super) enum Source {
    /// The end of the window, which was filled up to `before`, without padding.
    End { before: usize },
    /// The same, where the image is prepared elsewhere all the same.
    Aside(Box<Aside>),
    /// Room of an unloaded image; the new one is prepared here.
    Again { scratch: Vec<u8> },
}

/// Room at the end of a window, and where its image is prepared. In a box, as a span is moved by every load
/// and only some systems have this.
pub(super) struct Aside {
    pub(super) before: usize,
    pub(super) scratch: Vec<u8>,
}

impl Source {
    /// The image, if it is prepared elsewhere than where it will lie.
    fn scratch(&self) -> Option<&[u8]> {
        match self {
            Self::End { .. } => None,
            Self::Aside(aside) => Some(&aside.scratch),
            Self::Again { scratch } => Some(scratch),
        }
    }

    /// Up to where the window was filled, if the room is at its end.
    fn before(&self) -> Option<usize> {
        match self {
            Self::End { before } => Some(*before),
            Self::Aside(aside) => Some(aside.before),
            Self::Again { .. } => None,
        }
    }
}

impl<'w> Span<'w> {
    /// Whose room it is.
    pub(crate) fn windows(&self) -> &'w Windows {
        self.windows
    }

    /// The room for the image, zero or left over from earlier.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        self.bytes_and_data().0
    }

    /// The room for the image, and the room for its data, which is zero.
    pub(crate) fn bytes_and_data(&mut self) -> (&mut [u8], &mut [u8]) {
        let data = (self.run + DISTANCE) as *mut u8;
        let data = match self.shape.data_memory_size {
            0 => &mut [][..],
            // SAFETY: `take` made these bytes writable; like the room itself they are only ours, and
            // they lie apart from it. They are never unmapped.
            size => unsafe { std::slice::from_raw_parts_mut(data, size) },
        };
        let bytes = match &mut self.source {
            Source::Again { scratch } => scratch.as_mut_slice(),
            Source::Aside(aside) => aside.scratch.as_mut_slice(),
            // SAFETY: `take` made these bytes writable, nobody else was given them, and they stay
            // mapped while `self.windows` lives. What runs from the other view is what `keep` handed
            // out.
            Source::End { .. } => unsafe {
                std::slice::from_raw_parts_mut(self.write, self.image_size)
            },
        };
        (bytes, data)
    }

    /// Where the payload runs.
    pub(crate) fn base(&self) -> usize {
        self.run
    }

    /// Makes the payload executable and gives the rest back.
    pub(crate) fn keep(self) -> Result<Place, LoadError> {
        let payload = self.shape.payload_size;
        if let Some(scratch) = self.source.scratch() {
            let bytes = scratch.get(..payload).unwrap_or_default();
            // SAFETY: the room has as many bytes, which `take` made writable, and is only ours.
            unsafe { system::write(self.write, bytes) };
        }
        if self.is_anonymous && payload != 0 && !WRITES_ASIDE {
            // SAFETY: these pages are this image's alone, and nothing in them runs yet.
            let sealed = unsafe {
                region::protect(self.run as *const u8, payload, Protection::READ_EXECUTE)
            };
            // On failure `self` is dropped, and the room given back as it is: the next image overwrites all
            // that it uses of it, and its data is made zero where it may not be.
            sealed.map_err(|error| memory("making code executable", from_region(error)))?;
        }
        system::publish(self.run, payload);
        let mut place = Place {
            owner: self.windows.number,
            window: self.window,
            range: self.range.clone(),
        };
        let mut state = self.windows.lock();
        state.counts.loaded += 1;
        if let Some(before) = self.source.before() {
            // With the padding before it, so that neighbours are joined once both are gone.
            place.range.start = before;
            let keep = self.range.start + payload.max(self.shape.data_memory_size);
            Windows::give_back(&mut state, self.window, &self.range, keep);
            if let Some(window) = state.list.get(self.window) {
                place.range.end = window.used.min(self.range.end);
            }
        }
        drop(state);
        let mut this = std::mem::ManuallyDrop::new(self);
        this.source = Source::End { before: 0 };
        Ok(place)
    }
}

impl Drop for Span<'_> {
    fn drop(&mut self) {
        if !self.windows.home.is_home() {
            // The room is the parent's, who goes on, and its lock may be held for ever here.
            return;
        }
        let mut state = self.windows.lock();
        match self.source.before() {
            Some(before) => Windows::give_back(&mut state, self.window, &self.range, before),
            None => state.free.insert(self.run..self.run + self.range.len()),
        }
    }
}

// SAFETY: the write pointer is used through the span alone, which owns the bytes that it points to.
unsafe impl Send for Span<'_> {}
