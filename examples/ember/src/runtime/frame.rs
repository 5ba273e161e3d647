//! Entering and leaving frames, exceptions on their way through them.

use super::value;
use crate::context::Context;
use crate::error::{Raised, Site};
use crate::value::Value;

fn to_mark(length: usize) -> u64 {
    length as u64 + 1
}

fn to_length(mark: u64) -> usize {
    (mark as usize).saturating_sub(1)
}

/// At a function's entry: the mark, or 0 when the native stack is nearly used up.
pub(super) extern "C" fn ember_enter(cx: &Context) -> u64 {
    match cx.check_stack() {
        Ok(()) => to_mark(cx.scope_mark()),
        Err(Raised(())) => 0,
    }
}

/// A mark without the check.
pub(super) extern "C" fn ember_scope(cx: &Context) -> u64 {
    to_mark(cx.scope_mark())
}

/// At a function's exit: drops what the scope got after `mark`, except `result`; 0 stays 0.
///
/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_leave(cx: &Context, mark: u64, result: u64) -> u64 {
    // SAFETY: the contract.
    match unsafe { Value::borrow_word(&result) } {
        Some(value) => cx.scope_leave(to_length(mark), value),
        None => cx.scope_truncate(to_length(mark)),
    }
    result
}

/// At `recur`: drops what the scope got after `mark`, except the words at `argv`.
///
/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_loop(cx: &Context, mark: u64, argc: u64, argv: *const u64) {
    // SAFETY: the contract.
    cx.scope_retain(to_length(mark), unsafe { super::values(argc, argv) });
}

/// Makes a value the pending exception; gives 0.
///
/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_throw(cx: &Context, thrown: u64) -> u64 {
    // SAFETY: the contract.
    let Raised(()) = cx.throw(unsafe { value(&thrown) }.clone());
    0
}

/// In a handler: drops what the scope got after `mark` and takes the pending exception's value.
pub(super) extern "C" fn ember_catch(cx: &Context, mark: u64) -> u64 {
    cx.scope_truncate(to_length(mark));
    cx.keep(cx.catch())
}

/// On the way out of a frame with an exception: where it passed. `site` is the address of a [`Site`],
/// `position` the number of one of its positions, `name` is a symbol, a string, nil, or 0 for nil.
///
/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_trace(
    cx: &Context,
    site: *const Site,
    position: u64,
    name: u64,
) {
    // SAFETY: the slot `ember:site` holds the address of a site that lives as long as the code.
    let Some(site) = (unsafe { site.as_ref() }) else {
        return;
    };
    // SAFETY: the contract.
    let name = unsafe { value(&name) }.clone();
    cx.trace(site.origin(), site.position(position), name);
}
