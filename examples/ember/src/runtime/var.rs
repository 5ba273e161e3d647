//! Reading and defining vars. Compiled code has a var's address, which stays good for ever.

use super::give;
use crate::context::Context;
use crate::namespace::Var;
use crate::value::Value;

/// The bits of `ember_def`'s flags.
mod flag {
    /// The value is a macro.
    pub(super) const MACRO: u64 = 1;
    /// Other namespaces do not see the var.
    pub(super) const PRIVATE: u64 = 2;
    /// The `def` stands inside other code: it is done each time that code runs.
    pub(super) const NESTED: u64 = 4;
}

/// What the var holds.
pub(super) extern "C" fn ember_var_get(cx: &Context, var: &'static Var) -> u64 {
    give(cx, var.get().ok_or_else(|| super::call::unbound(cx, var)))
}

/// The var itself.
pub(super) extern "C" fn ember_var(cx: &Context, var: &'static Var) -> u64 {
    cx.keep(Value::var(var))
}

/// Defines a var and gives it; a value of 0 only declares it.
///
/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_def(
    cx: &Context,
    var: &'static Var,
    value: u64,
    flags: u64,
) -> u64 {
    if flags & flag::NESTED != 0 {
        cx.note_impure("a def inside of other code");
    }
    var.set_kind(flags & flag::MACRO != 0, flags & flag::PRIVATE != 0);
    // SAFETY: the contract.
    match unsafe { Value::borrow_word(&value) } {
        Some(value) => var.set(value.clone()),
        None => var.declare(),
    }
    cx.keep(Value::var(var))
}
