//! Room for images: taken from a window, written, and kept or given back.
//!
//! A lock is held while room is taken or given back, and at no other time: the host may load other
//! images while it is asked for the symbols of this one.

use super::window::{DISTANCE, WINDOW_SIZE, Window, from_region, memory};
use crate::error::LoadError;
use crate::image::read::Shape;
use region::Protection;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// All windows of a loader in this process.
pub(crate) struct Windows {
    /// Windows never move in it: spans name them by index.
    list: Mutex<Vec<Window>>,
    anonymous: bool,
}

/// Room for one image, to be written by whoever holds this; given back when dropped.
pub(crate) struct Span<'w> {
    windows: &'w Windows,
    window: usize,
    /// In the window, for what it was asked for.
    range: Range<usize>,
    /// Where the window was filled up to before, without padding.
    before: usize,
    write: *mut u8,
    run: usize,
    is_anonymous: bool,
    image_size: usize,
    shape: Shape,
}

impl Windows {
    /// No window yet; `anonymous` keeps to anonymous memory, which profilers see better.
    pub(crate) fn new(anonymous: bool) -> Self {
        Self {
            list: Mutex::new(Vec::new()),
            anonymous,
        }
    }

    /// Takes room for an image of `image_size` bytes and its data.
    pub(crate) fn take(&self, image_size: usize, shape: Shape) -> Result<Span<'_>, LoadError> {
        let needed = image_size.max(shape.data_memory_size);
        let mut list = self.lock();
        let fits = |window: &Window| Some(window.fit(needed, shape.alignment)?.end <= window.size);
        let last = list.iter().rposition(|window| !window.dedicated);
        let window = match last {
            Some(last) if list.get(last).and_then(fits) == Some(true) => last,
            _ => {
                let dedicated = needed > WINDOW_SIZE / 4;
                list.push(Window::new(
                    needed,
                    shape.alignment,
                    dedicated,
                    self.anonymous,
                )?);
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
        let range = chosen.fit(needed, shape.alignment).ok_or_else(no_room)?;
        if range.end > chosen.size {
            return Err(no_room());
        }
        chosen.make_ready(&range, shape.data_memory_size)?;
        let before = std::mem::replace(&mut chosen.used, range.end);
        let write = chosen.write_pointer();
        Ok(Span {
            windows: self,
            window,
            write: write.wrapping_add(range.start),
            run: chosen.run + range.start,
            is_anonymous: chosen.is_anonymous(),
            range,
            before,
            image_size,
            shape,
        })
    }

    /// Gives back what lies from `used` on, if nothing was taken behind `range` since.
    fn give_back(&self, window: usize, range: &Range<usize>, used: usize) {
        if let Some(window) = self.lock().get_mut(window)
            && window.used == range.end
        {
            window.used = window.round(used).min(range.end);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Window>> {
        // Nothing is left half-done by a panic in here.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of code windows that are taken: by images, by padding, and by data.
    pub(crate) fn used(&self) -> usize {
        self.lock().iter().map(|window| window.used).sum()
    }
}

impl Span<'_> {
    /// The room for the image, zero or left over from earlier.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `take` made these bytes writable, nobody else was given them, and they stay mapped
        // while `self.windows` lives. What runs from the other view is what `keep` handed out.
        unsafe { std::slice::from_raw_parts_mut(self.write, self.image_size) }
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
        // SAFETY: as in `bytes`.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.write, self.image_size) };
        (bytes, data)
    }

    /// Where the payload runs.
    pub(crate) fn base(&self) -> usize {
        self.run
    }

    /// Makes the payload executable and gives the rest back.
    pub(crate) fn keep(self) -> Result<(), LoadError> {
        if self.is_anonymous && self.shape.payload_size != 0 {
            // SAFETY: these pages are this image's alone, and nothing in them runs yet.
            let sealed = unsafe {
                region::protect(
                    self.run as *const u8,
                    self.shape.payload_size,
                    Protection::READ_EXECUTE,
                )
            };
            // On failure `self` is dropped, and the room given back.
            sealed.map_err(|error| memory("making code executable", from_region(error)))?;
        }
        let keep = self.shape.payload_size.max(self.shape.data_memory_size);
        self.windows
            .give_back(self.window, &self.range, self.range.start + keep);
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Span<'_> {
    fn drop(&mut self) {
        self.windows
            .give_back(self.window, &self.range, self.before);
    }
}

// SAFETY: the write pointer is used through the span alone, which owns the bytes that it points to.
unsafe impl Send for Span<'_> {}

#[cfg(test)]
mod tests {
    use super::super::window::DATA_CHUNK;
    use super::*;

    fn shape(payload: usize, data: usize) -> Shape {
        Shape {
            payload_size: payload,
            data_memory_size: data,
            alignment: 16,
        }
    }

    #[test]
    fn the_description_is_given_back_and_the_payload_kept() -> Result<(), LoadError> {
        let windows = Windows::new(false);
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
    fn both_views_show_the_same_bytes() -> Result<(), LoadError> {
        for anonymous in [false, true] {
            let windows = Windows::new(anonymous);
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
        let windows = Windows::new(false);
        for _ in 0..3 {
            // More than a chunk, so that the second and third have to make more of it writable.
            let size = DATA_CHUNK + 5;
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
        let windows = Windows::new(false);
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
        let windows = Windows::new(false);
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
    fn what_no_window_holds_is_an_error() {
        let windows = Windows::new(false);
        let size = DISTANCE + 1;
        let refused = windows.take(size, shape(size, 0));
        assert!(matches!(refused, Err(LoadError::Memory { .. })));
    }
}
