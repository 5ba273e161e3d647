//! What loaded code wants to be called at its end: `__cxa_atexit`, `atexit` and `.fini_array`, by image.
//!
//! The C library keeps one list for the process, and each entry names the module that it belongs to by
//! the address of its `__dso_handle`. Loaded code gets these two functions from here. They pass every
//! entry on, under a handle of its own, and remember which image it is of: the process's end calls what
//! is left in the right order, and unloading an image calls its own, the last one first.

use rekindle_cache_core::fork::PerProcess;
use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

type Finaliser = unsafe extern "C-unwind" fn(*mut c_void);

unsafe extern "C-unwind" {
    fn __cxa_atexit(call: Finaliser, argument: *mut c_void, handle: *mut c_void) -> c_int;
    fn __cxa_finalize(handle: *mut c_void);
}

/// An entry that was passed on.
struct Entry {
    /// An address in the image that it is of.
    owner: usize,
    /// The handle that the C library knows it by: unlike any other in the process.
    handle: Box<u8>,
}

/// A child begins with none: the C library's list goes on with its parent's, but no code that was loaded
/// before can be unloaded there.
static ENTRIES: OnceLock<PerProcess<Mutex<Vec<Entry>>>> = OnceLock::new();

fn entries() -> MutexGuard<'static, Vec<Entry>> {
    let entries = ENTRIES
        .get_or_init(|| PerProcess::new(Mutex::default))
        .get();
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the list, so that no child inherits it half-made.
pub(super) fn get_ready() {
    drop(entries());
}

/// `__cxa_atexit` for loaded code.
///
/// # Safety
/// As the C++ ABI has it: `call` can be called with `argument` once, at the end of `owner`.
pub(super) unsafe extern "C" fn cxa_atexit(
    call: Finaliser,
    argument: *mut c_void,
    owner: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { register(call, argument, owner as usize) }
}

/// `atexit` for loaded code, which the C library links into each module as it does not know of whom
/// else it is called. The function's own address says what image it is of.
///
/// # Safety
/// `call` can be called once, at the end of its image.
pub(super) unsafe extern "C" fn atexit(call: unsafe extern "C-unwind" fn()) -> c_int {
    let owner = call as usize;
    // SAFETY: a function without arguments ignores one, as the ABI has it; the rest is the caller's
    // promise.
    unsafe {
        let call = std::mem::transmute::<usize, Finaliser>(owner);
        register(call, std::ptr::null_mut(), owner)
    }
}

/// # Safety
/// As for [`cxa_atexit`].
unsafe fn register(call: Finaliser, argument: *mut c_void, owner: usize) -> c_int {
    let handle = Box::new(0u8);
    let address = std::ptr::from_ref(&*handle).cast_mut().cast();
    // Both under the lock, so that the order is the same in both lists.
    let mut entries = entries();
    // SAFETY: the caller vouches for function and argument; the handle is only compared.
    let failed = unsafe { __cxa_atexit(call, argument, address) };
    if failed == 0 {
        entries.push(Entry { owner, handle });
    }
    failed
}

/// Has the finalisers that an image has from the start, its `.fini_array`, called at its end, after
/// all that is registered from now on; the last one first.
///
/// # Safety
/// `pointers` lie where they stay as long as the image, and are functions without arguments, 0 or -1.
pub(crate) unsafe fn at_end(pointers: &'static [[u8; 8]], owner: usize) {
    unsafe extern "C-unwind" fn call_all(pointers: *mut c_void) {
        // SAFETY: it was made below, and this runs once.
        let pointers = unsafe { Box::from_raw(pointers.cast::<&[[u8; 8]]>()) };
        for pointer in pointers.iter().rev() {
            let address = usize::from_le_bytes(*pointer);
            // Both are conventions for "none", from the days of .dtors.
            if address == 0 || address == usize::MAX {
                continue;
            }
            // SAFETY: whoever registered vouches for the functions.
            let call = unsafe { std::mem::transmute::<usize, extern "C-unwind" fn()>(address) };
            call();
        }
    }
    let argument = Box::into_raw(Box::new(pointers));
    // SAFETY: the argument is the function's own, and the caller vouches for the functions.
    if unsafe { register(call_all, argument.cast(), owner) } != 0 {
        // SAFETY: nobody else has it.
        drop(unsafe { Box::from_raw(argument) });
    }
}

/// Calls what the image with the payload at `image` has registered, the last one first, until nothing
/// is left: a finaliser may register another.
///
/// # Safety
/// The image is still in place, and may be used no more after it.
pub(crate) unsafe fn run(image: &Range<usize>) {
    loop {
        let entry = {
            let mut entries = entries();
            let last = entries
                .iter()
                .rposition(|entry| image.contains(&entry.owner));
            last.map(|last| entries.remove(last))
        };
        let Some(entry) = entry else { return };
        // SAFETY: calls this one entry, if the process is not at its end and has done so already.
        unsafe { __cxa_finalize(std::ptr::from_ref(&*entry.handle).cast_mut().cast()) };
    }
}
