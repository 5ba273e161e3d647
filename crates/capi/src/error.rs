//! Errors: an object with a code, by which a host decides, and a text, which its user reads.

use crate::boundary::{Text, free};

/// What went wrong, by kind.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// Nothing: what `rekindle_error_code_of` says of null.
    None = 0,
    /// An argument cannot be used: null, not UTF-8, or not of the values that are listed.
    Argument = 1,
    /// The library has another version of the interface than the header that the host was compiled with.
    Abi = 2,
    /// A module that provides symbols cannot be told from other builds of it.
    Module = 3,
    /// A callback of the host failed; the text is the callback's.
    Host = 4,
    /// The unit cannot be compiled.
    Compile = 5,
    /// The compiled code cannot be brought into this process.
    Run = 6,
    /// The code has no factory of the name that the host gave.
    Factory = 7,
    /// The folder of the cache cannot be written.
    Store = 8,
    /// The code cannot be taken out of the process, and goes on as before.
    Unload = 9,
    /// What was asked for cannot be done now.
    State = 10,
    /// A fault of this library.
    Panic = 11,
    /// There is no clang that can be used, or its prelude cannot be compiled.
    Compiler = 12,
    /// A bundle is damaged, or nobody who is trusted signed it.
    Bundle = 13,
}

/// An error: belongs to who gets it, and is freed with `rekindle_error_free`. May be used by any one thread
/// at a time.
pub struct Error {
    pub(crate) failure: Failure,
}

/// An error on its way to the boundary.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::Argument, text)
    }
}

impl Error {
    pub(crate) fn boxed(failure: Failure) -> *mut Self {
        Box::into_raw(Box::new(Self { failure }))
    }
}

/// The kind of `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_error_code_of(error: *const Error) -> ErrorCode {
    // SAFETY: the caller passes an error that it has, or null.
    unsafe { error.as_ref() }.map_or(ErrorCode::None, |error| error.failure.code)
}

/// What `error` says: what, where, what to do. The text belongs to the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_error_text(error: *const Error) -> Text {
    // SAFETY: the caller passes an error that it has, or null.
    let error = unsafe { error.as_ref() };
    Text::new(error.map_or("", |error| &error.failure.text))
}

/// Frees `error`, which may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_error_free(error: *mut Error) {
    // SAFETY: the caller gives an error back that it has, or null.
    unsafe { free(error) };
}
