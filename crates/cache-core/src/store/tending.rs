//! Who does for a store what look-ups would have to wait for.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Says that there is something to [tend](super::Store::tend). It is called in the middle of a look-up.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The one who is to be told, if anybody is.
#[derive(Default)]
pub(super) struct Tending {
    is_there: AtomicBool,
    wake: Mutex<Option<Wake>>,
}

impl Tending {
    /// From now on `wake` is called, and nobody else.
    pub(super) fn set(&self, wake: Wake) {
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = Some(wake);
        self.is_there.store(true, Ordering::Release);
    }

    /// Whether anybody would come.
    pub(super) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    /// Says that there is something to do. Whoever sets another at this moment is not waited for.
    pub(super) fn wake(&self) {
        let wake = self.wake.try_lock().ok().and_then(|wake| wake.clone());
        if let Some(wake) = wake {
            wake();
        }
    }
}

impl fmt::Debug for Tending {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tending").finish_non_exhaustive()
    }
}
