//! Bundles: records in one signed file, to be taken to another machine.
//!
//! Whoever can make a record can have code run, so a bundle is not used on the strength of its format.
//! Its table, from form key to manifest to image, is signed; [`Bundle::open`] checks format and
//! signature, and [`Bundle::accept`] asks whether the signer is trusted. Only then there is a
//! [`BundleStore`], which is a read-only [`Store`](crate::store::Store) to be mounted as a layer, and
//! can be imported into another store. Its records keep the signer's key as their provenance.
//!
//! A bundle is read, never mapped: what a look-up shows is a copy that has the digests which were signed.
//! The format is described byte by byte in `docs/bundle-format.md` and in [`mod@format`].
//!
//! ```
//! use rekindle_cache_core::bundle::{self, Acceptance, Bundle, Export, SigningKey, TrustedKeys};
//! use rekindle_cache_core::store::{MemoryStore, Store};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("one.rekindle");
//! # let (from, to) = (MemoryStore::new(), MemoryStore::new());
//! let key = SigningKey::generate()?;
//! let export = Export { key: Some(&key), ..Export::default() };
//! bundle::export(&from, &path, export, &mut |_| true)?;
//!
//! let bundle = Bundle::open(&path)?;
//! let mut trusted = TrustedKeys::none();
//! assert!(bundle.accept(&Acceptance::of(&trusted)).is_err());
//! trusted.trust(key.public_key());
//! let mounted = Bundle::open(&path)?.accept(&Acceptance::of(&trusted))?;
//! mounted.import_into(&to, &mut |_| {})?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod export;
pub mod format;
mod import;
mod key;
mod mount;
mod trust;

pub use export::{Export, Exported, export};
pub use import::Imported;
pub use key::{PublicKey, SigningKey};
pub use mount::{Acceptance, Bundle, BundleStore};
pub use trust::{KEYS_VARIABLE, KeyFiles, TrustedKeys};

use crate::store::StoreError;
use std::io;
use std::path::{Path, PathBuf};

/// How far an export or import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps that are done.
    pub done: u64,
    /// Steps in all.
    pub total: u64,
}

/// Why a bundle could not be made, read or accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is no bundle, or was cut off or altered.
    #[error("{} is damaged at offset {offset}: {what}; get it again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file was made by another version.
    #[error(
        "{} is a bundle of version {found}, and this is version {}: export it again with this one",
        path.display(),
        format::VERSION
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The signature is not the signer's, or not of this table.
    #[error("the signature of {} is wrong: it was altered, or never signed by {key}", path.display())]
    Signature {
        /// The file.
        path: PathBuf,
        /// Who is said to have signed.
        key: PublicKey,
    },
    /// Nobody vouches for it.
    #[error(
        "{} is not signed, and whoever made it can have any code run; have it exported with a key, or \
         pass `--allow-unsigned` if you know where it comes from",
        path.display()
    )]
    Unsigned {
        /// The file.
        path: PathBuf,
    },
    /// Somebody vouches for it who is not trusted.
    #[error(
        "{} is signed by {key}, which is not trusted; if you know whose key it is, run `rekindle key \
         trust {key}`",
        path.display()
    )]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Who signed.
        key: PublicKey,
    },
    /// Somebody vouches for it who is trusted no more.
    #[error("{} is signed by {key}, which was revoked", path.display())]
    Revoked {
        /// The file.
        path: PathBuf,
        /// Who signed.
        key: PublicKey,
    },
    /// A text or file is no key.
    #[error("{place} is no {wanted}: {what}")]
    Key {
        /// Where the text stands.
        place: String,
        /// What it should be.
        wanted: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The store that was read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes errors of one operation on one path.
fn fault<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> BundleError + use<'a> {
    move |source| BundleError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
