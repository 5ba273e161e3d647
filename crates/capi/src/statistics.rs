//! Figures: what came of a session's definitions, and how the memory of code is used.

use crate::backend::loader;
use crate::boundary::fallible;
use crate::error::{Error, Failure};
use rekindle_runtime_hooks as hooks;
use std::time::Duration;

/// What came of the definitions that a session evaluated: `definitions` is the sum of `hits`, `misses`,
/// `bypasses` and `rejected`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Statistics {
    /// Definitions evaluated.
    pub definitions: u64,
    /// Loaded from the cache.
    pub hits: u64,
    /// Those of them that were found by their analysed form and not by their text.
    pub second_hits: u64,
    /// Not found, compiled.
    pub misses: u64,
    /// Compiled, and not to be kept.
    pub bypasses: u64,
    /// Found, refused, and compiled.
    pub rejected: u64,
    /// Time spent evaluating, without the factories' own, in nanoseconds.
    pub eval_ns: u64,
    /// What compiling the hits took when they were compiled, in nanoseconds.
    pub saved_ns: u64,
    /// Bytes of code and data loaded.
    pub loaded_bytes: u64,
}

/// How the memory of loaded code is used, of all caches of this process together. Sizes are in bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryStatistics {
    /// Windows that are mapped.
    pub windows: u64,
    /// What code takes up, with what was unloaded and waits.
    pub used: u64,
    /// Images that were loaded.
    pub loaded: u64,
    /// Images that were unloaded.
    pub unloaded: u64,
    /// Memory of unloaded images that waits until it can be used again.
    pub waiting: u64,
    /// Memory of unloaded images that can be used again.
    pub free: u64,
}

impl From<hooks::Statistics> for Statistics {
    fn from(statistics: hooks::Statistics) -> Self {
        let nanoseconds =
            |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            definitions: statistics.definitions,
            hits: statistics.hits,
            second_hits: statistics.second_hits,
            misses: statistics.misses,
            bypasses: statistics.bypasses,
            rejected: statistics.rejected,
            eval_ns: nanoseconds(statistics.eval_time),
            saved_ns: nanoseconds(statistics.saved),
            loaded_bytes: statistics.loaded_bytes,
        }
    }
}

/// Gives as much of `known` as the caller has room for: fields are only ever added.
///
/// # Safety
/// `place` is null or has room for `size` bytes, and `T` holds nothing but numbers of 64 bits.
pub(crate) unsafe fn give<T: Copy>(known: &T, place: *mut T, size: usize) -> Result<(), Failure> {
    if place.is_null() || !size.is_multiple_of(size_of::<u64>()) {
        return Err(Failure::argument(
            "the place of the figures is null, or its size is none that any version has",
        ));
    }
    let known_size = size.min(size_of::<T>());
    // SAFETY: the place has room for `size` bytes. What this version does not know is zero.
    unsafe {
        place.cast::<u8>().write_bytes(0, size);
        std::ptr::copy_nonoverlapping((&raw const *known).cast::<u8>(), place.cast(), known_size);
    }
    Ok(())
}

/// Puts how the memory of loaded code is used into `statistics`, of which `size` bytes are there:
/// `sizeof(rekindle_memory_statistics)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_memory_statistics(
    statistics: *mut MemoryStatistics,
    size: usize,
) -> *mut Error {
    fallible(|| {
        let memory = loader().memory_statistics();
        let known = MemoryStatistics {
            windows: memory.windows as u64,
            used: memory.used as u64,
            loaded: memory.loaded,
            unloaded: memory.unloaded,
            waiting: memory.waiting as u64,
            free: memory.free as u64,
        };
        // SAFETY: the caller has so many bytes at this place.
        unsafe { give(&known, statistics, size) }
    })
}
