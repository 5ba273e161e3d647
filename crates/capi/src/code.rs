//! Code that is in the process: where it and its data lie, its tables, and taking it out again.

use crate::backend::loader;
use crate::boundary::{Bytes, Range, Text, fallible, or};
use crate::error::{Error, ErrorCode, Failure};
use rekindle_cache_core::artifact::Code as _;
use std::ffi::c_void;
use std::ptr::null_mut;

/// A handle of loaded code. Any number of threads may ask it at once. Freeing it frees the handle alone: code
/// stays for the life of the process unless it is unloaded.
pub struct Code {
    _opaque: (),
}

impl Code {
    /// The handle of code that somebody else has.
    pub(crate) fn handle(code: &rekindle_loader::Code) -> *const Self {
        (&raw const *code).cast()
    }

    /// A handle of its own.
    pub(crate) fn boxed(code: rekindle_loader::Code) -> *mut Self {
        Box::into_raw(Box::new(code)).cast()
    }
}

/// Asks a handle.
///
/// # Safety
/// `code` is null or a handle that is not freed yet.
unsafe fn ask<T>(code: *const Code, none: T, ask: impl FnOnce(&rekindle_loader::Code) -> T) -> T {
    let code: *const rekindle_loader::Code = code.cast();
    // SAFETY: the caller's promise is the same.
    match unsafe { code.as_ref() } {
        None => none,
        // Ranges and pointers, which a fault leaves as they are.
        Some(code) => or(None, || Some(ask(code))).unwrap_or(none),
    }
}

/// Frees a handle, which may be null. The code stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_code_free(code: *mut Code) {
    // SAFETY: the caller gives back a handle of its own, or null.
    unsafe { crate::boundary::free(code.cast::<rekindle_loader::Code>()) };
}

/// Takes code out of the process, and frees its handle in any case: its finalisers run, its unwind table
/// goes, its memory is used again. An error says that it stays.
///
/// The host vouches that nothing of it remains: no frame on any stack, no pointer to its functions or data that
/// is followed again (in tables of virtual functions, of exceptions in flight, in the host's variables), no
/// destructor of a thread-local that is yet to run. A collector has to forget its data beforehand. Any
/// thread; finalisers run on it, and must not let an exception out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_code_unload(code: *mut Code) -> *mut Error {
    fallible(|| {
        if code.is_null() {
            return Err(Failure::argument("the code is null"));
        }
        // SAFETY: the caller gives back a handle of its own.
        let code = *unsafe { Box::from_raw(code.cast::<rekindle_loader::Code>()) };
        // SAFETY: the caller vouches for it, as the header asks.
        let unloaded = unsafe { loader().unload(code) };
        unloaded.map_err(|error| Failure::new(ErrorCode::Unload, error.to_string()))
    })
}

/// The address of an exported symbol of the code: of the factory, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_code_symbol(code: *const Code, name: Text) -> *mut c_void {
    // SAFETY: the caller has the handle and the name for the duration of the call.
    unsafe {
        ask(code, null_mut(), |code| {
            let found = name.text("").ok().and_then(|name| code.symbol(name));
            found.map_or(null_mut(), |address| address.cast_mut().cast())
        })
    }
}

/// The machine code: for profilers and stack walkers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_code_text(code: *const Code) -> Range {
    // SAFETY: the caller has the handle for the duration of the call.
    unsafe { ask(code, Range::EMPTY, |code| code.text().into()) }
}

/// Everything that is read-only: the machine code, then slots, constants and unwind tables.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_code_payload(code: *const Code) -> Range {
    // SAFETY: the caller has the handle for the duration of the call.
    unsafe { ask(code, Range::EMPTY, |code| code.payload().into()) }
}

/// The writable data, which a collector has to scan: the same that the host's `placed` was told.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_code_data(code: *const Code) -> Range {
    // SAFETY: the caller has the handle for the duration of the call.
    unsafe { ask(code, Range::EMPTY, |code| code.data().into()) }
}

/// What the calling thread has of the code's thread-locals; empty if there are none, or the thread has not
/// used them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_code_thread_data(code: *const Code) -> Range {
    // SAFETY: the caller has the handle for the duration of the call.
    unsafe {
        ask(code, Range::EMPTY, |code| {
            code.thread_data().map_or(Range::EMPTY, Range::from)
        })
    }
}

/// The words that stand for objects of the host's: what the object had in sections `.rekindle.constants`, eight
/// bytes each, one after the other. A collector that moves objects may write new addresses there while the
/// code does not run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_code_constants(code: *const Code) -> Range {
    // SAFETY: the caller has the handle for the duration of the call.
    unsafe {
        ask(code, Range::EMPTY, |code| {
            let mut slots = code.constant_slots();
            let count = slots.len();
            slots.next().map_or(Range::EMPTY, |first| Range {
                data: first.cast(),
                size: count * size_of::<u64>(),
            })
        })
    }
}

/// How many tables came with the code in sections of its object: `.rekindle.side.NAME`, `.llvm_stackmaps` and
/// `.llvm_faultmaps`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_code_side_table_count(code: *const Code) -> usize {
    // SAFETY: the caller has the handle for the duration of the call.
    unsafe { ask(code, 0, |code| code.side_tables().len()) }
}

/// Puts the table of number `index` into `name` and `table`, which stay as long as the code; `false` if there is
/// none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_code_side_table(
    code: *const Code,
    index: usize,
    name: *mut Text,
    table: *mut Bytes,
) -> bool {
    // SAFETY: the caller has the handle and both places for the duration of the call.
    unsafe {
        ask(code, false, |code| {
            let (Some((found_name, found)), Some(name), Some(table)) =
                (code.side_tables().nth(index), name.as_mut(), table.as_mut())
            else {
                return false;
            };
            *name = Text::new(found_name);
            *table = Bytes::new(found);
            true
        })
    }
}
