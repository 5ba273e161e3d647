//! Figures: what came of a session's definitions, and how the memory of code is used.

use crate::backend::loader;
use crate::boundary::{Text, fallible, shared};
use crate::cache::{Cache, Session};
use crate::error::{Error, ErrorCode, Failure};
use rekindle_runtime_hooks as hooks;
use std::ffi::c_void;
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
    /// Hits that were compiled again and compared, so far.
    pub verified: u64,
    /// Those of them that were wrong.
    pub wrong: u64,
    /// Definitions that took the place of others of the same name.
    pub redefined: u64,
    /// Bytes of code and data that they left behind, which stay loaded.
    pub superseded_bytes: u64,
    /// Hits whose code was the better one.
    pub better_hits: u64,
    /// Definitions that better code was made of, so far.
    pub improved: u64,
    /// Definitions that were put off while warming, and could not run any more when they were to.
    pub not_run: u64,
}

/// Takes a count. The name is there until it returns. Must not let an exception out, nor call Rekindle.
pub type CountCallback =
    Option<unsafe extern "C-unwind" fn(data: *mut c_void, name: Text, count: u64)>;

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
            verified: statistics.verified,
            wrong: statistics.wrong,
            redefined: statistics.redefined,
            superseded_bytes: statistics.superseded_bytes,
            better_hits: statistics.better_hits,
            improved: statistics.improved,
            not_run: statistics.not_run,
        }
    }
}

/// Gives as much of `known` as the caller has room for.
///
/// # Safety
/// `place` is null or has room for `size` bytes, and `T` holds nothing but numbers of 64 bits.
pub(crate) unsafe fn give<T: Copy>(known: &T, place: *mut T, size: usize) -> Result<(), Failure> {
    let room = Room::new(place, size)?;
    // SAFETY: the caller's promise is the same.
    unsafe { room.give(known) };
    Ok(())
}

/// The room that a caller has for figures. Fields are only ever added.
pub(crate) struct Room<T> {
    place: *mut T,
    size: usize,
}

impl<T: Copy> Room<T> {
    fn new(place: *mut T, size: usize) -> Result<Self, Failure> {
        if place.is_null() || !size.is_multiple_of(size_of::<u64>()) {
            return Err(Failure::argument(
                "the place of the figures is null, or its size is none that any version has",
            ));
        }
        Ok(Self { place, size })
    }

    /// None for null: looked at before the figures are made, as an error says that nothing was done.
    pub(crate) fn optional(place: *mut T, size: usize) -> Result<Option<Self>, Failure> {
        match place.is_null() {
            true => Ok(None),
            false => Self::new(place, size).map(Some),
        }
    }

    /// Gives as much of `known` as there is room for.
    ///
    /// # Safety
    /// The place has room for as many bytes as it was made with, and `T` holds nothing but numbers of 64 bits.
    pub(crate) unsafe fn give(self, known: &T) {
        let known_size = self.size.min(size_of::<T>());
        let place = self.place.cast::<u8>();
        // SAFETY: the caller's promise is the same. What this version does not know is zero.
        unsafe {
            place.write_bytes(0, self.size);
            std::ptr::copy_nonoverlapping((&raw const *known).cast(), place, known_size);
        }
    }
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

/// Gives `take`, with `data`, why definitions of a session were no hits by their text, and how often: names such as
/// `miss: behaviour`, `bypass: volatile` and `rejected: deaths`. Those are left out that did not come up. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_session_reasons(
    session: *const Session,
    take: CountCallback,
    data: *mut c_void,
) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller has the session for the duration of the call.
        let session = unsafe { shared(session, "the session") }?;
        let reasons = session.session.statistics().reasons;
        let counts = reasons.iter().map(|(name, count)| (name.as_str(), *count));
        // SAFETY: the host vouches for its callback and its data.
        unsafe { tell(counts, take, data) }
    })
}

/// Gives `take`, with `data`, what all processes have counted that used the folder of a cache, as far as they have
/// written it: `processes`, and the second since 1970 `since` which they count; `definitions`, `hits` and the
/// others of `rekindle_statistics` by those names; and reasons as `miss behaviour` and `rejected deaths`. What is 0
/// may be left out. Of a cache without a folder to write to, nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_cache_lifetime(
    cache: *const Cache,
    take: CountCallback,
    data: *mut c_void,
) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller has the cache for the duration of the call.
        let cache = unsafe { shared(cache, "the cache") }?;
        let lifetime = cache.cache.lifetime();
        let lifetime =
            lifetime.map_err(|error| Failure::new(ErrorCode::Store, error.to_string()))?;
        let Some(lifetime) = lifetime else {
            return Ok(());
        };
        let own = [
            ("since", lifetime.since),
            ("processes", Some(lifetime.processes)),
        ];
        let own = own
            .into_iter()
            .filter_map(|(name, count)| Some((name, count?)));
        let counts = (lifetime.counts.iter()).map(|(name, count)| (name.as_str(), *count));
        // SAFETY: the host vouches for its callback and its data.
        unsafe { tell(own.chain(counts), take, data) }
    })
}

/// Gives all counts to a callback.
///
/// # Safety
/// The host vouches for both.
unsafe fn tell<'n>(
    counts: impl Iterator<Item = (&'n str, u64)>,
    take: CountCallback,
    data: *mut c_void,
) -> Result<(), Failure> {
    let missing = || Failure::argument("there is no callback for the counts");
    let take = take.ok_or_else(missing)?;
    for (name, count) in counts {
        // SAFETY: the caller's promise.
        unsafe { take(data, Text::new(name), count) };
    }
    Ok(())
}
