//! Functions compiled from ember, and atoms: the objects that have an identity.

use std::cell::{Cell, RefCell};
use std::fmt;

use super::Value;
use crate::context::Context;

/// The signature of compiled code.
///
/// All words are borrowed: the caller keeps the callee and the arguments alive, and the context's
/// handle scope keeps the result alive. A result of 0 means that an exception is pending.
pub type Code =
    unsafe extern "C" fn(cx: *const Context, callee: u64, argc: u64, argv: *const u64) -> u64;

thread_local! {
    static NEXT_SERIAL: Cell<u64> = const { Cell::new(1) };
    static OTHER_SERIAL: Cell<u64> = const { Cell::new(MACROS) };
}

/// The first number of the objects that macros make: on a hit they are not made, which must not show in
/// the numbers of the program's own.
const MACROS: u64 = 1 << 63;

/// A number that no other object of this thread has: objects with an identity are ordered by it, in
/// the order of their making, which repeats from run to run as addresses would not.
pub(crate) fn next_serial() -> u64 {
    NEXT_SERIAL.with(|next| next.replace(next.get() + 1))
}

/// Says that macros begin or end to run on this thread, whose objects are numbered by themselves.
pub(crate) fn swap_serials() {
    NEXT_SERIAL.with(|next| OTHER_SERIAL.with(|other| next.swap(other)));
}

/// A function compiled from ember: code and captured values.
pub struct Closure {
    code: Code,
    name: Value,
    captures: Box<[Value]>,
    serial: u64,
}

impl Closure {
    /// A function that runs `code` with `captures`; `name` is a symbol or string, or nil.
    ///
    /// # Safety
    ///
    /// `code` stays valid and follows the contract of [`Code`] when it is called with a word of
    /// this closure and any number of arguments; it reads no more captures than are given here.
    pub unsafe fn new(code: Code, name: Value, captures: Box<[Value]>) -> Self {
        Self {
            code,
            name,
            captures,
            serial: next_serial(),
        }
    }

    /// The code's entry.
    pub fn code(&self) -> Code {
        self.code
    }

    /// A symbol or string, or nil for a function without a name.
    pub fn name(&self) -> &Value {
        &self.name
    }

    /// The captured values.
    pub fn captures(&self) -> &[Value] {
        &self.captures
    }

    /// This function's place in the order of identities.
    pub fn serial(&self) -> u64 {
        self.serial
    }
}

impl fmt::Debug for Closure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Closure({:?})", self.name)
    }
}

/// A mutable cell.
pub struct Atom {
    value: RefCell<Value>,
    serial: u64,
}

impl Atom {
    /// A cell that holds `value`.
    pub fn new(value: Value) -> Self {
        Self {
            value: RefCell::new(value),
            serial: next_serial(),
        }
    }

    /// The value that it holds now.
    pub fn get(&self) -> Value {
        self.value.borrow().clone()
    }

    /// Puts `value` in and gives back what was there.
    pub fn replace(&self, value: Value) -> Value {
        self.value.replace(value)
    }

    /// This atom's place in the order of identities.
    pub fn serial(&self) -> u64 {
        self.serial
    }
}
