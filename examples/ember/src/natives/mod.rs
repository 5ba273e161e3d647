//! The functions of `ember.core` that are written in Rust, in tables by subject.

mod arguments;
mod collections;
mod format;
mod io;
mod names;
mod numbers;
mod predicates;
mod sequences;
mod sorting;
mod state;
mod strings;

use crate::context::Context;
use crate::error::Raised;
use crate::namespace::Namespaces;
use crate::value::Value;

/// A function written in Rust.
pub struct Native {
    /// Its name in `ember.core`.
    pub name: &'static str,
    /// The fewest arguments that it takes.
    pub min_args: usize,
    /// The most arguments that it takes; `None` for any number.
    pub max_args: Option<usize>,
    /// Why a definition whose compilation called this cannot be cached; `None` if it can.
    pub impure: Option<&'static str>,
    /// What it does; the number of arguments has been checked.
    pub function: NativeFunction,
}

/// The Rust side of a native.
pub type NativeFunction = fn(&Context, &[Value]) -> Result<Value, Raised>;

impl Native {
    /// A function of `count` arguments.
    pub const fn exactly(name: &'static str, count: usize, function: NativeFunction) -> Self {
        Self::between(name, count, count, function)
    }

    /// A function of `min` to `max` arguments.
    pub const fn between(
        name: &'static str,
        min: usize,
        max: usize,
        function: NativeFunction,
    ) -> Self {
        Self {
            name,
            min_args: min,
            max_args: Some(max),
            impure: None,
            function,
        }
    }

    /// A function of `min` or more arguments.
    pub const fn at_least(name: &'static str, min: usize, function: NativeFunction) -> Self {
        Self {
            name,
            min_args: min,
            max_args: None,
            impure: None,
            function,
        }
    }

    /// The same, with the reason why calls at compile time cannot be cached.
    #[must_use]
    pub const fn impure(mut self, reason: &'static str) -> Self {
        self.impure = Some(reason);
        self
    }
}

/// All natives.
const TABLES: &[&[Native]] = &[
    collections::NATIVES,
    format::NATIVES,
    io::NATIVES,
    names::NATIVES,
    numbers::NATIVES,
    predicates::NATIVES,
    sequences::NATIVES,
    sorting::NATIVES,
    state::NATIVES,
    strings::NATIVES,
];

/// Defines all natives in `ember.core`.
pub fn install(namespaces: &Namespaces) {
    for native in TABLES.iter().copied().flatten() {
        define(namespaces, native);
    }
}

/// Defines one native in `ember.core`; for hosts that add their own.
pub fn define(namespaces: &Namespaces, native: &'static Native) {
    let var = namespaces.core().intern(native.name);
    var.set(Value::native(native));
}

#[cfg(test)]
mod tests;
