//! Digests as hosts see them: 32 bytes.

use crate::boundary::{Bytes, Text, exclusive, fallible};
use crate::error::Error;

/// 256 bits that tell whether two things are the same. All zeroes is a digest like others.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// The bits.
    pub bytes: [u8; 32],
}

impl From<Digest> for rekindle_cache_core::Digest {
    fn from(digest: Digest) -> Self {
        Self(digest.bytes)
    }
}

impl From<rekindle_cache_core::Digest> for Digest {
    fn from(digest: rekindle_cache_core::Digest) -> Self {
        Self { bytes: digest.0 }
    }
}

/// Puts the digest (BLAKE3) of `bytes` into `digest`. `domain` says what the bytes are: digests of different
/// domains never meet. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_digest_of(
    domain: Text,
    bytes: Bytes,
    digest: *mut Digest,
) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller keeps all three for the duration of the call.
        let (domain, bytes, digest) = unsafe {
            let domain = domain.text("the domain")?;
            (
                domain,
                bytes.bytes("what is digested")?,
                exclusive(digest, "the digest")?,
            )
        };
        *digest = rekindle_cache_core::Digest::of(domain, bytes).into();
        Ok(())
    })
}
