//! What a host lends: data that its callbacks get until nobody needs it any more.

use std::ffi::c_void;

/// Gives back what other callbacks got: none of them is called with it any more. On any thread, once. Must not let an
/// exception out, nor call Rekindle.
pub type ReleaseCallback = Option<unsafe extern "C-unwind" fn(data: *mut c_void)>;

/// A host's data, which is given back when this goes.
pub(crate) struct Lent {
    data: *mut c_void,
    release: ReleaseCallback,
}

// SAFETY: wherever the header takes a `release`, it tells hosts that it and the callbacks beside it are called on any thread.
unsafe impl Send for Lent {}
// SAFETY: as above; it is looked at, and nothing else, until it goes.
unsafe impl Sync for Lent {}

impl Lent {
    pub(crate) fn new(data: *mut c_void, release: ReleaseCallback) -> Self {
        Self { data, release }
    }

    /// What the callbacks get.
    pub(crate) fn data(&self) -> *mut c_void {
        self.data
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: the host vouches for its callback and its data, which nobody uses any more.
            unsafe { release(self.data) };
        }
    }
}
