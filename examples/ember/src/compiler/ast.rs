//! What the analyser makes of a form: names are resolved, macros are gone, and every node knows
//! where it stands.

use super::intrinsic::Intrinsic;

/// A packed position: line and column relative to the start of the definition, as `Position` packs
/// them.
pub type PackedPosition = u32;

/// A local of one function: numbered in the order in which the function binds them, its parameters
/// included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalId(pub u32);

/// A local and what it is bound to.
pub type Binding = (LocalId, Node);

/// An expression with the position at which errors in it are reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it computes.
    pub kind: Kind,
    /// Where it stands.
    pub position: PackedPosition,
}

/// What an expression computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A value that is a word by itself: nil, a boolean, a fixnum, a flonum.
    Immediate(u64),
    /// A value that the host makes from its readable text when the code is loaded; it is never nil
    /// or false.
    Constant(String),
    /// A local of the function.
    Local(LocalId),
    /// What the function's closure captured, by index.
    Capture(u32),
    /// The function's own closure.
    Itself,
    /// The value of a var, by qualified name.
    Global(String),
    /// A var as such, by qualified name.
    Var(String),
    /// Sets a var; without a value, only makes it exist.
    Def {
        /// The var's qualified name.
        name: String,
        /// What it is set to.
        value: Option<Box<Node>>,
        /// The bits that `ember_def` takes.
        flags: u64,
    },
    /// One of two.
    If {
        /// What decides.
        test: Box<Node>,
        /// The way if it is neither nil nor false.
        then: Box<Node>,
        /// The other way.
        otherwise: Box<Node>,
    },
    /// All in order; the last gives the value. Never empty.
    Do(Vec<Node>),
    /// Locals and the expression that sees them.
    Let {
        /// In order; each sees those before it.
        bindings: Vec<Binding>,
        /// What sees all of them.
        body: Box<Node>,
    },
    /// Like `Let`, but a `Recur` inside goes back to the start of the body with new values.
    Loop {
        /// In order; each sees those before it.
        bindings: Vec<Binding>,
        /// What is repeated.
        body: Box<Node>,
    },
    /// Goes back to the innermost loop or method; only in tail position, with as many values as it
    /// has locals.
    Recur(Vec<Node>),
    /// A closure.
    Function(Box<Function>),
    /// A call of the value of a var, by qualified name.
    CallVar(String, Vec<Node>),
    /// A call of any value.
    Call(Box<Node>, Vec<Node>),
    /// A call of a C++ function, by its name there.
    Cpp(String, Vec<Node>),
    /// A call of a function of `ember.core` that is compiled in place.
    Intrinsic(Intrinsic, Vec<Node>),
    /// A vector of computed items.
    Vector(Vec<Node>),
    /// A map of computed keys and values, alternating.
    Map(Vec<Node>),
    /// A set of computed items.
    Set(Vec<Node>),
    /// Throws the value.
    Throw(Box<Node>),
    /// An expression whose exceptions are caught, or that is followed by something in any case.
    Try {
        /// What is tried.
        body: Box<Node>,
        /// The local that is bound to what was thrown, and what is done then.
        catch: Option<(LocalId, Box<Node>)>,
        /// What is done at the end, whichever way it is reached; its value is dropped.
        finally: Option<Box<Node>>,
    },
}

/// A `fn*`: its code and what its closure captures.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// The name in error messages, if it has one.
    pub name: Option<String>,
    /// One for each number of arguments; the variadic one, if any, is the last.
    pub methods: Vec<Method>,
    /// Where the enclosing function finds what the closure captures, in order.
    pub captures: Vec<Capture>,
    /// Where it stands.
    pub position: PackedPosition,
}

/// One parameter list and body of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// The parameters that each take one argument.
    pub parameters: Vec<LocalId>,
    /// The parameter that takes the rest as a list, or nil.
    pub rest: Option<LocalId>,
    /// What is computed.
    pub body: Node,
}

/// Where the enclosing function finds a captured value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// In one of its locals.
    Local(LocalId),
    /// In its own closure's captures.
    Capture(u32),
    /// It is the enclosing function's closure.
    Itself,
}
