//! Taking over what a bundle holds: code that was compiled elsewhere, by somebody who is trusted.

use crate::boundary::{Text, fallible, shared, slice};
use crate::cache::Cache;
use crate::error::{Error, ErrorCode, Failure};
use crate::statistics::Room;
use rekindle_cache_core::bundle::{Acceptance, Bundle, BundleError, PublicKey, TrustedKeys};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What was taken over from a bundle.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Imported {
    /// Records that were taken over.
    pub records: u64,
    /// Records that were there already.
    pub present: u64,
    /// Records that another version wrote, which were passed over.
    pub other_version: u64,
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        Self::new(ErrorCode::Bundle, error.to_string())
    }
}

/// Takes over what the bundle at `path` (any bytes but zero) holds, so that its definitions are hits here: all of it, or
/// nothing if it is damaged. It has to be signed by who is trusted: by one of the `count` texts `keys`, such as
/// `ed25519:0123...`, which may be null, or by a key that the user trusts (`rekindle key trust`, `REKINDLE_TRUSTED_KEYS`).
/// What came of it is put into `imported`, of which `size` bytes are there; it may be null. `rekindle_warm` compiles what
/// it did not hold. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_import(
    cache: *const Cache,
    path: Text,
    keys: *const Text,
    count: usize,
    imported: *mut Imported,
    size: usize,
) -> *mut Error {
    fallible(|| {
        let room = Room::optional(imported, size)?;
        // SAFETY: the caller has all of it for the duration of the call.
        let (cache, path, keys) = unsafe {
            let path = Path::new(OsStr::from_bytes(path.bytes("the bundle's path")?));
            (
                shared(cache, "the cache")?,
                path,
                slice(keys, count, "the list of keys")?,
            )
        };
        let mut trusted = TrustedKeys::of_user()?;
        for key in keys {
            // SAFETY: as above.
            let key: PublicKey = unsafe { key.text("a key") }?.parse()?;
            trusted.trust(key);
        }
        let bundle = Bundle::open(path)?.accept(&Acceptance::of(&trusted))?;
        let taken = cache.cache.import(&bundle)?.ok_or_else(|| {
            let what = "the cache is off or read-only: nothing can be taken over";
            Failure::new(ErrorCode::State, what)
        })?;
        let taken = Imported {
            records: taken.records,
            present: taken.present,
            other_version: taken.other_version,
        };
        if let Some(room) = room {
            // SAFETY: the caller has so many bytes at this place.
            unsafe { room.give(&taken) };
        }
        Ok(())
    })
}
