//! The functions of the runtime that compiled code calls, as the lowering sees them.
//!
//! All of them take words. Their meaning is that of the `ember_*` functions of the same name in the
//! runtime.

/// A function of the runtime.
#[derive(Clone, Copy, Debug)]
pub(super) struct RuntimeFunction {
    /// The symbol.
    pub(super) name: &'static str,
    /// How many words it takes.
    pub(super) parameters: u32,
    /// Whether it returns a word.
    pub(super) returns: bool,
    /// Whether it may put a value on the handle scope, which a loop then has to take off again.
    pub(super) pushes: bool,
}

const fn gives_value(name: &'static str, parameters: u32) -> RuntimeFunction {
    RuntimeFunction {
        name,
        parameters,
        returns: true,
        pushes: true,
    }
}

const fn gives_word(name: &'static str, parameters: u32) -> RuntimeFunction {
    RuntimeFunction {
        name,
        parameters,
        returns: true,
        pushes: false,
    }
}

const fn gives_nothing(name: &'static str, parameters: u32) -> RuntimeFunction {
    RuntimeFunction {
        name,
        parameters,
        returns: false,
        pushes: false,
    }
}

pub(super) const ENTER: RuntimeFunction = gives_word("ember_enter", 1);
pub(super) const LEAVE: RuntimeFunction = gives_word("ember_leave", 3);
pub(super) const LOOP: RuntimeFunction = gives_nothing("ember_loop", 4);
pub(super) const SCOPE: RuntimeFunction = gives_word("ember_scope", 1);
pub(super) const CALL: RuntimeFunction = gives_value("ember_call", 4);
pub(super) const CALL_VAR: RuntimeFunction = gives_value("ember_call_var", 4);
pub(super) const VAR: RuntimeFunction = gives_value("ember_var", 2);
pub(super) const VAR_GET: RuntimeFunction = gives_value("ember_var_get", 2);
pub(super) const DEF: RuntimeFunction = gives_value("ember_def", 4);
pub(super) const CLOSURE: RuntimeFunction = gives_value("ember_closure", 5);
pub(super) const CAPTURES: RuntimeFunction = gives_word("ember_captures", 1);
pub(super) const ARITY: RuntimeFunction = gives_word("ember_arity", 3);
pub(super) const REST: RuntimeFunction = gives_value("ember_rest", 4);
pub(super) const VECTOR: RuntimeFunction = gives_value("ember_vector", 3);
pub(super) const MAP: RuntimeFunction = gives_value("ember_map", 3);
pub(super) const SET: RuntimeFunction = gives_value("ember_set", 3);
pub(super) const ADD: RuntimeFunction = gives_value("ember_add", 3);
pub(super) const SUBTRACT: RuntimeFunction = gives_value("ember_sub", 3);
pub(super) const MULTIPLY: RuntimeFunction = gives_value("ember_mul", 3);
pub(super) const DIVIDE: RuntimeFunction = gives_value("ember_div", 3);
pub(super) const QUOTIENT: RuntimeFunction = gives_value("ember_quot", 3);
pub(super) const REMAINDER: RuntimeFunction = gives_value("ember_rem", 3);
pub(super) const MODULUS: RuntimeFunction = gives_value("ember_mod", 3);
pub(super) const LESS: RuntimeFunction = gives_word("ember_lt", 3);
pub(super) const LESS_OR_EQUAL: RuntimeFunction = gives_word("ember_le", 3);
pub(super) const GREATER: RuntimeFunction = gives_word("ember_gt", 3);
pub(super) const GREATER_OR_EQUAL: RuntimeFunction = gives_word("ember_ge", 3);
pub(super) const NUMERICALLY_EQUAL: RuntimeFunction = gives_word("ember_num_eq", 3);
pub(super) const EQUAL: RuntimeFunction = gives_word("ember_eq", 3);
pub(super) const THROW: RuntimeFunction = gives_word("ember_throw", 2);
pub(super) const CATCH: RuntimeFunction = gives_value("ember_catch", 2);
pub(super) const TRACE: RuntimeFunction = gives_nothing("ember_trace", 4);

/// The symbol whose word is the address of where the definition starts.
pub(super) const SITE: &str = "ember:site";
