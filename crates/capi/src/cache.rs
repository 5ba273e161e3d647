//! Caches and sessions as hosts hold them.

use crate::backend::HostBackend;
use crate::boundary::{Text, exclusive, fallible, free, or, shared};
use crate::digest::Digest;
use crate::error::{Error, ErrorCode, Failure};
use crate::statistics::Statistics;
use rekindle_runtime_hooks as hooks;
use std::ptr::null_mut;
use std::sync::Arc;

/// A cache that is open. Any number of threads may use it at once, and there may be several.
pub struct Cache {
    pub(crate) cache: Arc<hooks::Cache<HostBackend>>,
}

/// One runtime instance on a cache: its definitions, and what came of them. Any number of threads may use it
/// at once.
pub struct Session {
    pub(crate) session: Arc<hooks::Session<HostBackend>>,
}

// What the header promises of threads.
const _: () = {
    const fn is_for_all_threads<T: Send + Sync>() {}
    is_for_all_threads::<Cache>();
    is_for_all_threads::<Session>();
};

impl Cache {
    pub(crate) fn boxed(cache: Arc<hooks::Cache<HostBackend>>) -> *mut Self {
        Box::into_raw(Box::new(Self { cache }))
    }
}

/// Gives a cache back, which may be null. It is closed when its sessions, their evaluations and their warmings are freed as
/// well, by the call that frees the last of them: what was compiled is written then. Closing goes on with better code for as
/// long as `rekindle_options_improving` says, and then waits for what is under way in the background and for the disk, up
/// to the deadline of the options for both, and a quarter of it more for the disk. What takes longer goes on behind the back of who closed: callbacks that make
/// better code, and listeners, may be called until their `release` is. Code stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_cache_free(cache: *mut Cache) {
    // SAFETY: the caller gives back what it got, or null.
    unsafe { free(cache) };
}

/// Makes what was compiled durable, and visible to other processes. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_cache_flush(cache: *const Cache) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller has the cache for the duration of the call.
        let cache = unsafe { shared(cache, "the cache") }?;
        let flushed = cache.cache.flush();
        flushed.map_err(|error| Failure::new(ErrorCode::Store, error.to_string()))
    })
}

/// Puts the digest that every key of this cache holds into `digest`: of formats, compiler, target, features,
/// modules and inputs. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_cache_environment(
    cache: *const Cache,
    digest: *mut Digest,
) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller has both for the duration of the call.
        let (cache, digest) = unsafe {
            (
                shared(cache, "the cache")?,
                exclusive(digest, "the digest")?,
            )
        };
        *digest = (*cache.cache.environment().digest()).into();
        Ok(())
    })
}

/// Starts a session, to be freed with `rekindle_session_free`. It keeps its cache open. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_session_new(
    cache: *const Cache,
    session: *mut *mut Session,
) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller has both for the duration of the call.
        let (cache, place) = unsafe {
            let place = exclusive(session, "the place of the session")?;
            *place = null_mut();
            (shared(cache, "the cache")?, place)
        };
        let session = Arc::new(cache.cache.session());
        *place = Box::into_raw(Box::new(Session { session }));
        Ok(())
    })
}

/// Gives a session back, which may be null. Evaluations and warmings that came of it keep what they need.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_session_free(session: *mut Session) {
    // SAFETY: the caller gives back what it got, or null.
    unsafe { free(session) };
}

/// Begins a validation epoch: files and environment variables that code depends on are looked at again. To be
/// called before reading a file that was asked for, and at each input of an interactive session. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_session_begin_epoch(session: *const Session) {
    or((), || {
        // SAFETY: the caller has the session for the duration of the call, or it is null.
        if let Ok(session) = unsafe { shared(session, "") } {
            session.session.begin_epoch();
        }
    });
}

/// Says that the host gave `name` another value by itself, and not by evaluating a definition: what runs at
/// compile time and reaches it is not recorded from now on, until it is defined again. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_session_changed(
    session: *const Session,
    name: Text,
) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller has both for the duration of the call.
        let (session, name) = unsafe { (shared(session, "the session")?, name.text("the name")?) };
        session.session.changed(name);
        Ok(())
    })
}

/// Puts what came of the definitions of a session into `statistics`, of which `size` bytes are there:
/// `sizeof(rekindle_statistics)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_session_statistics(
    session: *const Session,
    statistics: *mut Statistics,
    size: usize,
) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller has the session for the duration of the call.
        let session = unsafe { shared(session, "the session") }?;
        let known = Statistics::from(session.session.statistics());
        // SAFETY: the caller has so many bytes at this place.
        unsafe { crate::statistics::give(&known, statistics, size) }
    })
}
