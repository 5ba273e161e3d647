//! Takes code out of the process again, for a host that can vouch that nothing of it remains.

use crate::code::{Code, Loaded};
use crate::load::Runtime;
use crate::memory::finalise;
use std::mem::ManuallyDrop;
use thiserror::Error;

/// Why code was not unloaded. It goes on running as before.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UnloadError {
    /// The code is another loader's, or was loaded before this process was forked off.
    #[error(
        "the code was not loaded by this loader in this process; unload it where it was loaded, or leave it"
    )]
    Elsewhere,
    /// Other images refer to something in it that is one per process.
    #[error(
        "the image provides what other images share (an inline variable, a static of a header), so it stays for the life of the process"
    )]
    Shared,
}

/// Runs the finalisers of `code`, removes its unwind table, and gives its memory back.
///
/// # Safety
/// As for [`NativeLoader::unload`](crate::NativeLoader::unload).
pub(crate) unsafe fn unload(runtime: &Runtime, code: Code) -> Result<(), UnloadError> {
    let owner = |loaded: &Loaded| {
        let mut all = runtime.windows.all();
        all.find(|windows| windows.owns(&loaded.place))
    };
    let Some(windows) = code.loaded.as_ref().and_then(owner) else {
        return Err(UnloadError::Elsewhere);
    };
    if code.stays {
        return Err(UnloadError::Shared);
    }
    // SAFETY: the caller vouches that the code is in place and trusted.
    unsafe { finalise::run(&code.payload()) };
    if let Some(debugger) = &runtime.debugger {
        debugger.unloaded(code.base);
    }
    if let Some(module) = code.thread_module {
        // Blocks that threads have of it are freed with the threads, or when its number is used again.
        drop(ManuallyDrop::into_inner(module));
    }
    if let Some(Loaded { place, table }) = code.loaded {
        // SAFETY: the caller vouches that nothing of the code remains; its own end was just run.
        unsafe { windows.give_up(place, table) };
    }
    Ok(())
}
