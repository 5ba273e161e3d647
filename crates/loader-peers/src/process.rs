//! Libraries of the process.

use crate::error::PeerError;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::NonNull;

/// A shared library that stays open for the life of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Library(NonNull<c_void>);

// SAFETY: a handle of the dynamic linker may be used by any thread, several at once.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Library {
    /// Opens a library, everything bound at once.
    ///
    /// # Safety
    /// Its initialisers run; the caller vouches for them.
    pub(crate) unsafe fn open(path: &CStr, visibility: c_int) -> Result<Self, PeerError> {
        // SAFETY: the caller vouches for the library; the path ends in a zero.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | visibility) };
        NonNull::new(handle).map(Self).ok_or_else(last_error)
    }

    /// The address of a name.
    pub(crate) fn symbol(self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: the handle is open for good, and the name ends in a zero.
        NonNull::new(unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) })
    }
}

/// `name` for those who want a zero at its end.
pub(crate) fn terminated(name: &str) -> Result<CString, PeerError> {
    CString::new(name).map_err(|_| PeerError::Name(name.to_owned()))
}

/// The dynamic linker's last words.
fn last_error() -> PeerError {
    // SAFETY: the string is the dynamic linker's, valid until its next call, and copied at once.
    let message = unsafe {
        let message = libc::dlerror();
        (!message.is_null()).then(|| CStr::from_ptr(message).to_string_lossy().into_owned())
    };
    PeerError::DynamicLinker(message.unwrap_or_else(|| "no reason given".to_owned()))
}
