//! Collections from words.

use super::values;
use crate::context::Context;
use crate::value::{Map, Value};

/// The list of the arguments from `from` on; nil if there are none.
///
/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_rest(
    cx: &Context,
    argc: u64,
    argv: *const u64,
    from: u64,
) -> u64 {
    // SAFETY: the contract.
    let arguments = unsafe { values(argc, argv) };
    match arguments.get(from as usize..) {
        None | Some([]) => Value::NIL.word(),
        Some(rest) => cx.keep(Value::list(rest.iter().cloned())),
    }
}

/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_list(cx: &Context, count: u64, words: *const u64) -> u64 {
    // SAFETY: the contract.
    cx.keep(Value::list(unsafe { values(count, words) }.iter().cloned()))
}

/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_vector(cx: &Context, count: u64, words: *const u64) -> u64 {
    // SAFETY: the contract.
    cx.keep(Value::vector(
        unsafe { values(count, words) }.iter().cloned(),
    ))
}

/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_set(cx: &Context, count: u64, words: *const u64) -> u64 {
    // SAFETY: the contract.
    cx.keep(Value::set(unsafe { values(count, words) }.iter().cloned()))
}

/// Keys and values in turn; raises when two keys are equal.
///
/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_map(cx: &Context, count: u64, words: *const u64) -> u64 {
    // SAFETY: the contract.
    let words = unsafe { values(count, words) };
    let mut map = Map::new();
    for entry in words.chunks_exact(2) {
        if let [key, value] = entry {
            map.insert_mut(key.clone(), value.clone());
        }
    }
    if map.size() < words.len() / 2 {
        let mut seen = Map::new();
        for key in words.iter().step_by(2) {
            if seen.contains_key(key) {
                let key = super::call::brief(key);
                let raised = cx.raise(format!("duplicate key in a map: {key}"));
                return super::give(cx, Err(raised));
            }
            seen.insert_mut(key.clone(), Value::NIL);
        }
    }
    cx.keep(Value::from_map(map))
}
