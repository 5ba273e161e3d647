//! The functions that compiled code calls, by subject.
//!
//! # Contract
//!
//! Each is called by compiled code of this thread with a live context. Words of values are borrowed:
//! the handle scope, the caller's caller, or a closure that is being called keeps them alive during
//! the call. `argv` points to `argc` such words. A word of 0 stands for no value where that is said.
//! Results are words that the handle scope keeps, or 0 when an exception is pending.
//!
//! A mark is the length of the handle scope plus 1, so that 0 is free for "raised".

mod arithmetic;
pub(crate) mod call;
mod construct;
mod cpp;
mod frame;
pub(crate) mod stack;
mod var;

use crate::context::Context;
use crate::error::Raised;
use crate::value::Value;

/// The runtime's functions by the names under which objects import them.
pub const RUNTIME: &[(&str, *const ())] = &[
    ("ember_enter", frame::ember_enter as *const ()),
    ("ember_leave", frame::ember_leave as *const ()),
    ("ember_loop", frame::ember_loop as *const ()),
    ("ember_scope", frame::ember_scope as *const ()),
    ("ember_throw", frame::ember_throw as *const ()),
    ("ember_catch", frame::ember_catch as *const ()),
    ("ember_trace", frame::ember_trace as *const ()),
    ("ember_call", call::ember_call as *const ()),
    ("ember_call_var", call::ember_call_var as *const ()),
    ("ember_arity", call::ember_arity as *const ()),
    ("ember_closure", call::ember_closure as *const ()),
    ("ember_captures", call::ember_captures as *const ()),
    ("ember_var", var::ember_var as *const ()),
    ("ember_var_get", var::ember_var_get as *const ()),
    ("ember_def", var::ember_def as *const ()),
    ("ember_rest", construct::ember_rest as *const ()),
    ("ember_list", construct::ember_list as *const ()),
    ("ember_vector", construct::ember_vector as *const ()),
    ("ember_map", construct::ember_map as *const ()),
    ("ember_set", construct::ember_set as *const ()),
    ("ember_add", arithmetic::ember_add as *const ()),
    ("ember_sub", arithmetic::ember_sub as *const ()),
    ("ember_mul", arithmetic::ember_mul as *const ()),
    ("ember_div", arithmetic::ember_div as *const ()),
    ("ember_quot", arithmetic::ember_quot as *const ()),
    ("ember_rem", arithmetic::ember_rem as *const ()),
    ("ember_mod", arithmetic::ember_mod as *const ()),
    ("ember_lt", arithmetic::ember_lt as *const ()),
    ("ember_le", arithmetic::ember_le as *const ()),
    ("ember_gt", arithmetic::ember_gt as *const ()),
    ("ember_ge", arithmetic::ember_ge as *const ()),
    ("ember_num_eq", arithmetic::ember_num_eq as *const ()),
    ("ember_eq", arithmetic::ember_eq as *const ()),
    ("ember_cpp_enter", cpp::ember_cpp_enter as *const ()),
    ("ember_cpp_integer", cpp::ember_cpp_integer as *const ()),
    ("ember_cpp_float", cpp::ember_cpp_float as *const ()),
    ("ember_cpp_string", cpp::ember_cpp_string as *const ()),
    (
        "ember_cpp_of_integer",
        cpp::ember_cpp_of_integer as *const (),
    ),
    ("ember_cpp_of_float", cpp::ember_cpp_of_float as *const ()),
    ("ember_cpp_of_string", cpp::ember_cpp_of_string as *const ()),
    ("ember_cpp_throw", cpp::ember_cpp_throw as *const ()),
];

/// The word of a result: the scope keeps the value; 0 says that an exception is pending.
#[inline]
fn give(cx: &Context, result: Result<Value, Raised>) -> u64 {
    match result {
        Ok(value) => cx.keep(value),
        Err(Raised(())) => 0,
    }
}

/// A borrowed word as a value. Compiled code does not pass 0 here; if it did, that would be nil.
///
/// # Safety
///
/// The module's contract.
#[inline]
unsafe fn value(word: &u64) -> &Value {
    static NIL: u64 = 0x04;
    let word = if *word == 0 { &NIL } else { word };
    // SAFETY: the contract keeps the object alive; the word is not 0, and a `Value` is its word.
    unsafe { &*std::ptr::from_ref(word).cast::<Value>() }
}

/// Borrowed words as values.
///
/// # Safety
///
/// The module's contract; none of the words is 0.
#[inline]
unsafe fn values<'a>(count: u64, words: *const u64) -> &'a [Value] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the contract gives `count` words that live during the call, and a `Value` is its word.
    unsafe { std::slice::from_raw_parts(words.cast::<Value>(), count as usize) }
}

#[cfg(test)]
mod tests;
