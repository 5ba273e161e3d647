//! What macros look at and do while a definition is compiled, for the record that is made of it.

use super::Context;
use crate::value::{split_name, swap_serials};
use std::cell::{Cell, RefCell};
use std::ffi::OsString;

/// Something outside of the program that a macro looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A file, and what it held; `None` if there was none.
    File(String, Option<Vec<u8>>),
    /// An environment variable, and its value.
    Variable(String, Option<OsString>),
    /// Where the program's file lies.
    ProgramFolder,
}

/// The state of the compilation under way.
#[derive(Debug, Default)]
pub(super) struct Compiling {
    is_under_way: Cell<bool>,
    seen: RefCell<Vec<Seen>>,
    interned: RefCell<Vec<String>>,
}

impl Context {
    /// Whether macros run.
    pub fn is_compiling(&self) -> bool {
        self.compiling.is_under_way.get()
    }

    /// Says whether macros run from here on; gives what was said before.
    pub fn set_compiling(&self, compiling: bool) -> bool {
        let before = self.compiling.is_under_way.replace(compiling);
        if before != compiling {
            swap_serials();
        }
        before
    }

    /// Notes that something outside of the program was looked at. A macro's definition is recorded with
    /// it; what a running program makes of it follows from no code.
    pub fn note_seen(&self, reason: &'static str, seen: impl FnOnce() -> Seen) {
        match self.is_compiling() {
            true => self.compiling.seen.borrow_mut().push(seen()),
            false => self.note_impure(reason),
        }
    }

    /// Takes what was noted since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        self.compiling.seen.take()
    }

    /// Makes `name` known in the current namespace, as `declare` does, and gives its qualified name. If a
    /// macro asked for it, that is an effect of compiling, to be repeated.
    pub fn intern_name(&self, name: &str) -> String {
        let qualified = format!("{}/{name}", self.current_namespace());
        self.declare(&qualified);
        match self.is_compiling() {
            true => self.compiling.interned.borrow_mut().push(qualified.clone()),
            false => self.note_impure("making a name known"),
        }
        qualified
    }

    /// Makes a qualified name known; `false` if it has no namespace.
    pub fn declare(&self, qualified: &str) -> bool {
        let (Some(namespace), name) = split_name(qualified) else {
            return false;
        };
        self.namespaces().intern(namespace, name).declare();
        true
    }

    /// Calls `visit` with the qualified names that macros made known since compiling began.
    pub fn interned(&self, visit: impl FnMut(&str)) {
        let interned = self.compiling.interned.borrow();
        interned.iter().map(String::as_str).for_each(visit);
    }

    /// Takes the qualified names that macros made known since the last call.
    pub fn take_interned(&self) -> Vec<String> {
        self.compiling.interned.take()
    }
}
