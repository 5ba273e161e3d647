//! The boundary: texts and bytes as C has them, pointers that may be null, and panics that stay here.

use crate::error::{Error, ErrorCode, Failure};
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

/// A text: UTF-8 that ends after `size` bytes and not with a zero. `data` may be null if `size` is 0.
/// Whoever passes one keeps its bytes; whoever gets one copies what is to last.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Text {
    /// Its first byte.
    pub data: *const c_char,
    /// How many bytes.
    pub size: usize,
}

/// Bytes, as `rekindle_text` is text.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    /// The first byte.
    pub data: *const c_void,
    /// How many.
    pub size: usize,
}

/// Memory of this process; empty if `size` is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Range {
    /// Its first byte.
    pub data: *mut c_void,
    /// How many bytes.
    pub size: usize,
}

impl Text {
    /// A text that lives as long as `text`.
    pub(crate) fn new(text: &str) -> Self {
        Self {
            data: text.as_ptr().cast(),
            size: text.len(),
        }
    }

    /// Its bytes, whatever they say: for paths.
    ///
    /// # Safety
    /// As the type has it, for as long as the result is used.
    pub(crate) unsafe fn bytes<'a>(self, what: &str) -> Result<&'a [u8], Failure> {
        // SAFETY: the caller's promise is the same.
        unsafe { slice(self.data.cast(), self.size, what) }
    }

    /// The text.
    ///
    /// # Safety
    /// As the type has it, for as long as the result is used.
    pub(crate) unsafe fn text<'a>(self, what: &str) -> Result<&'a str, Failure> {
        // SAFETY: the caller's promise is the same.
        let bytes = unsafe { self.bytes(what) }?;
        str::from_utf8(bytes)
            .map_err(|error| Failure::argument(format!("{what} is not UTF-8: {error}")))
    }
}

impl Bytes {
    /// Bytes that live as long as `bytes`.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self {
            data: bytes.as_ptr().cast(),
            size: bytes.len(),
        }
    }

    /// The bytes.
    ///
    /// # Safety
    /// As the type has it, for as long as the result is used.
    pub(crate) unsafe fn bytes<'a>(self, what: &str) -> Result<&'a [u8], Failure> {
        // SAFETY: the caller's promise is the same.
        unsafe { slice(self.data.cast(), self.size, what) }
    }
}

impl From<std::ops::Range<usize>> for Range {
    fn from(range: std::ops::Range<usize>) -> Self {
        Self {
            data: range.start as *mut c_void,
            size: range.len(),
        }
    }
}

impl Range {
    pub(crate) const EMPTY: Self = Self {
        data: null_mut(),
        size: 0,
    };
}

/// `count` things from `data` on.
///
/// # Safety
/// They are there for as long as the result is used, unless `data` is null.
pub(crate) unsafe fn slice<'a, T>(
    data: *const T,
    count: usize,
    what: &str,
) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() || count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::argument(format!(
            "{what} has {count} parts and no place that holds them"
        )));
    }
    // SAFETY: it is not null and no larger than memory; the caller vouches for the rest.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// What `pointer` points at.
///
/// # Safety
/// If it is not null it points at a `T` for as long as the result is used, which nobody changes meanwhile.
pub(crate) unsafe fn shared<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Failure> {
    // SAFETY: the caller's promise is the same.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::argument(format!("{what} is null")))
}

/// What `pointer` points at, to be changed.
///
/// # Safety
/// If it is not null it points at a `T` for as long as the result is used, which nobody else uses meanwhile.
pub(crate) unsafe fn exclusive<'a, T>(pointer: *mut T, what: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: the caller's promise is the same.
    unsafe { pointer.as_mut() }.ok_or_else(|| Failure::argument(format!("{what} is null")))
}

/// Frees what an earlier call boxed, unless `pointer` is null. A panic ends here.
///
/// # Safety
/// It comes from `Box::into_raw` and is not used any more.
pub(crate) unsafe fn free<T>(pointer: *mut T) {
    if pointer.is_null() {
        return;
    }
    // SAFETY: the caller's promise is the same.
    or((), || drop(unsafe { Box::from_raw(pointer) }));
}

/// Runs what can fail, and gives the error as C has it: null if there is none. A panic is an error.
///
/// An exception that a callback lets out ends here as well: the language cannot catch it, and ends the
/// process with a message.
pub(crate) fn fallible(call: impl FnOnce() -> Result<(), Failure>) -> *mut Error {
    let failure = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => return null_mut(),
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let what = panic.downcast_ref::<&str>().copied();
            let what = what.or(panic.downcast_ref::<String>().map(String::as_str));
            let what = what.unwrap_or("it left no message");
            let text = format!("a fault of Rekindle, please report it: {what}");
            // What a panic carries may panic once more when it is dropped.
            std::mem::forget(panic);
            Failure::new(ErrorCode::Panic, text)
        }
    };
    Error::boxed(failure)
}

/// Runs what cannot fail but by a fault of this library, and gives `otherwise` then.
pub(crate) fn or<T>(otherwise: T, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        std::mem::forget(panic);
        otherwise
    })
}

/// The text of a string that ends with a zero, which has to outlive it. Null gives an empty text. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_text_of(string: *const c_char) -> Text {
    if string.is_null() {
        return Text::new("");
    }
    // SAFETY: the caller passes a string that ends with a zero.
    let size = unsafe { CStr::from_ptr(string) }.count_bytes();
    Text { data: string, size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        for panic in [(|| panic!("plain")) as fn() -> Result<(), Failure>, || {
            panic!("{}", "formatted".len())
        }] {
            let error = fallible(panic);
            assert!(!error.is_null());
            // SAFETY: `fallible` boxed it just now.
            let error = unsafe { Box::from_raw(error) };
            assert_eq!(error.failure.code, ErrorCode::Panic);
            assert!(error.failure.text.contains("plain") || error.failure.text.ends_with('9'));
        }
        assert_eq!(or(7, || panic!("nothing to tell it by")), 7);
        assert!(fallible(|| Ok(())).is_null());
    }

    #[test]
    fn null_and_nonsense_are_refused_and_empty_is_not() {
        let none: *const u64 = std::ptr::null();
        // SAFETY: null is refused before anything is read, and so are sizes that nothing has.
        unsafe {
            assert!(slice(none, 1, "it").is_err());
            assert!(slice(none, 0, "it").is_ok_and(<[u64]>::is_empty));
            assert!(slice(&raw const *Box::leak(Box::new(1u64)), usize::MAX, "it").is_err());
            assert!(shared(none, "it").is_err());
            let invalid = Text {
                data: c"\xff".as_ptr(),
                size: 1,
            };
            assert!(invalid.text("it").is_err());
            assert!(invalid.bytes("it").is_ok());
            let empty = Text {
                data: std::ptr::null(),
                size: 0,
            };
            assert_eq!(empty.text("it").ok(), Some(""));
        }
    }
}
