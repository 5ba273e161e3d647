//! What calls of C++ go through: ember's values as C++'s, and back.

use super::{give, value};
use crate::context::Context;
use crate::value::{Value, View};

/// A call of C++ begins: what it does follows from no code of ember's.
///
/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_cpp_enter(cx: &Context) {
    cx.note_impure("calling C++");
}

/// The integer in `word`, at `to`; 0 if an exception is pending because there is none.
///
/// # Safety
///
/// See the module's contract; `to` can be written.
pub(super) unsafe extern "C" fn ember_cpp_integer(cx: &Context, word: u64, to: *mut i64) -> u64 {
    // SAFETY: the contract.
    let View::Int(integer) = (unsafe { value(&word) }).view() else {
        return refuse(cx, word, "an integer");
    };
    // SAFETY: the contract.
    unsafe { to.write(integer) };
    1
}

/// The number in `word` as a float, at `to`; 0 if an exception is pending because there is none.
///
/// # Safety
///
/// See the module's contract; `to` can be written.
pub(super) unsafe extern "C" fn ember_cpp_float(cx: &Context, word: u64, to: *mut f64) -> u64 {
    // SAFETY: the contract.
    let float = match (unsafe { value(&word) }).view() {
        View::Float(float) => float,
        View::Int(integer) => integer as f64,
        _ => return refuse(cx, word, "a number"),
    };
    // SAFETY: the contract.
    unsafe { to.write(float) };
    1
}

/// The letters of the string in `word`, at `at` and `length`, for as long as the string lives; 0 if an
/// exception is pending because there is none.
///
/// # Safety
///
/// See the module's contract; `at` and `length` can be written.
pub(super) unsafe extern "C" fn ember_cpp_string(
    cx: &Context,
    word: u64,
    at: *mut *const u8,
    length: *mut u64,
) -> u64 {
    // SAFETY: the contract.
    let View::String(text) = (unsafe { value(&word) }).view() else {
        return refuse(cx, word, "a string");
    };
    // SAFETY: the contract.
    unsafe {
        at.write(text.as_ptr());
        length.write(text.len() as u64);
    }
    1
}

fn refuse(cx: &Context, word: u64, wanted: &str) -> u64 {
    // SAFETY: the caller's contract.
    let kind = (unsafe { value(&word) }).view().kind();
    let raised = cx.raise(format!("C++ wants {wanted}, not a {kind}"));
    give(cx, Err(raised))
}

/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_cpp_of_integer(cx: &Context, integer: i64) -> u64 {
    cx.keep(Value::int(integer))
}

/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_cpp_of_float(cx: &Context, float: f64) -> u64 {
    cx.keep(Value::float(float))
}

/// A string of letters, of which those that are no UTF-8 are replaced.
///
/// # Safety
///
/// See the module's contract; there are `length` letters at `at`.
pub(super) unsafe extern "C" fn ember_cpp_of_string(
    cx: &Context,
    at: *const u8,
    length: u64,
) -> u64 {
    // SAFETY: the contract.
    let text = unsafe { text(at, length) };
    cx.keep(Value::string(text))
}

/// Throws an exception with a message of C++'s.
///
/// # Safety
///
/// See the module's contract; there are `length` letters at `at`.
pub(super) unsafe extern "C" fn ember_cpp_throw(cx: &Context, at: *const u8, length: u64) -> u64 {
    // SAFETY: the contract.
    let message = unsafe { text(at, length) };
    let raised = cx.raise(message);
    give(cx, Err(raised))
}

/// # Safety
///
/// There are `length` letters at `at`.
unsafe fn text(at: *const u8, length: u64) -> String {
    if length == 0 {
        return String::new();
    }
    // SAFETY: the caller's contract.
    let bytes = unsafe { std::slice::from_raw_parts(at, length as usize) };
    String::from_utf8_lossy(bytes).into_owned()
}
