//! A value taken apart: what kind it is, with its contents borrowed.

use super::Value;
use super::flonum::flonum_value;
use super::object::Body;
use super::{Atom, Closure, FALSE_WORD, List, Map, Name, Set, TRUE_WORD, Vector};
use crate::error::Exception;
use crate::namespace::Var;
use crate::natives::Native;

/// All kinds of values.
#[derive(Clone, Copy)]
pub enum View<'a> {
    /// nil
    Nil,
    /// true or false
    Boolean(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    String(&'a str),
    /// A symbol; its flags are at [`Value::symbol_flags`].
    Symbol(&'a Name),
    /// A keyword, without its colon.
    Keyword(&'a Name),
    /// A list.
    List(&'a List),
    /// A vector.
    Vector(&'a Vector),
    /// A map.
    Map(&'a Map),
    /// A set.
    Set(&'a Set),
    /// A function compiled from ember.
    Function(&'a Closure),
    /// A function written in Rust.
    Native(&'static Native),
    /// A mutable cell.
    Atom(&'a Atom),
    /// A var itself.
    Var(&'static Var),
    /// An exception object.
    Exception(&'a Exception),
    /// The early result of a `reduce`.
    Reduced(&'a Value),
}

impl View<'_> {
    /// The word for this kind in messages and in `(type x)`.
    pub fn kind(&self) -> &'static str {
        match self {
            View::Nil => "nil",
            View::Boolean(_) => "boolean",
            View::Int(_) => "int",
            View::Float(_) => "float",
            View::String(_) => "string",
            View::Symbol(_) => "symbol",
            View::Keyword(_) => "keyword",
            View::List(_) => "list",
            View::Vector(_) => "vector",
            View::Map(_) => "map",
            View::Set(_) => "set",
            View::Function(_) | View::Native(_) => "function",
            View::Atom(_) => "atom",
            View::Var(_) => "var",
            View::Exception(_) => "exception",
            View::Reduced(_) => "reduced",
        }
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.kind())
    }
}

#[inline]
pub(super) fn of_immediate(word: u64) -> View<'static> {
    if word & 1 != 0 {
        View::Int(word as i64 >> 1)
    } else if word & 2 != 0 {
        View::Float(flonum_value(word))
    } else if word == TRUE_WORD.get() {
        View::Boolean(true)
    } else if word == FALSE_WORD.get() {
        View::Boolean(false)
    } else {
        View::Nil
    }
}

#[inline]
pub(super) fn of_body(body: &Body) -> View<'_> {
    match body {
        Body::Int(value) => View::Int(*value),
        Body::Float(value) => View::Float(*value),
        Body::String(text) => View::String(&text.text),
        Body::Symbol { name, .. } => View::Symbol(name),
        Body::Keyword(name) => View::Keyword(name),
        Body::List(list) => View::List(list),
        Body::Vector(vector) => View::Vector(vector),
        Body::Map(map) => View::Map(map),
        Body::Set(set) => View::Set(set),
        Body::Function(closure) => View::Function(closure),
        Body::Native(native) => View::Native(native),
        Body::Atom(atom) => View::Atom(atom),
        Body::Var(var) => View::Var(var),
        Body::Exception(exception) => View::Exception(exception),
        Body::Reduced(value) => View::Reduced(value),
    }
}
