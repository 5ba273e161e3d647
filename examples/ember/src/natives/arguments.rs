//! Taking arguments: what natives expect, and what they say when they get something else.

use crate::context::Context;
use crate::error::Raised;
use crate::runtime::call::brief;
use crate::value::{Value, View};

/// The most items that one call makes.
pub(super) const MOST_ITEMS: usize = 10_000_000;

/// The exception for an argument of the wrong kind.
#[cold]
pub(super) fn expected(cx: &Context, who: &str, what: &str, got: &Value) -> Raised {
    cx.raise(format!("{who}: expected {what}, got {}", brief(got)))
}

/// The exception for an index that is not there.
#[cold]
pub(super) fn out_of_bounds(cx: &Context, who: &str, index: &Value) -> Raised {
    cx.raise(format!("{who}: index {} is out of bounds", brief(index)))
}

/// The exception for a result that would not fit into memory.
#[cold]
pub(super) fn too_large(cx: &Context, who: &str) -> Raised {
    cx.raise(format!("{who}: the result is too large"))
}

pub(super) fn int(cx: &Context, who: &str, value: &Value) -> Result<i64, Raised> {
    value
        .as_int()
        .ok_or_else(|| expected(cx, who, "an integer", value))
}

pub(super) fn float(cx: &Context, who: &str, value: &Value) -> Result<f64, Raised> {
    match value.view() {
        View::Int(value) => Ok(value as f64),
        View::Float(value) => Ok(value),
        _ => Err(expected(cx, who, "a number", value)),
    }
}

/// A count or index: an integer that is not negative.
pub(super) fn size(cx: &Context, who: &str, value: &Value) -> Result<usize, Raised> {
    usize::try_from(int(cx, who, value)?)
        .map_err(|_| expected(cx, who, "a non-negative integer", value))
}

pub(super) fn text<'a>(cx: &Context, who: &str, value: &'a Value) -> Result<&'a str, Raised> {
    match value.view() {
        View::String(text) => Ok(text),
        _ => Err(expected(cx, who, "a string", value)),
    }
}

/// One character as a string.
pub(super) fn character(character: char) -> Value {
    Value::string(&*character.encode_utf8(&mut [0; 4]))
}

/// An entry of a map as an item: `[key value]`.
pub(super) fn entry(key: &Value, value: &Value) -> Value {
    Value::vector([key.clone(), value.clone()])
}

/// The items of anything that has some.
pub(super) type Items<'a> = Box<dyn Iterator<Item = Value> + 'a>;

/// The items of a collection in order: entries of a map as vectors, characters of a string as
/// strings, none of nil.
pub(super) fn items<'a>(cx: &Context, who: &str, value: &'a Value) -> Result<Items<'a>, Raised> {
    Ok(match value.view() {
        View::Nil => Box::new(std::iter::empty()),
        View::List(list) => Box::new(list.iter().cloned()),
        View::Vector(vector) => Box::new(vector.iter().cloned()),
        View::Set(set) => Box::new(set.iter().cloned()),
        View::Map(map) => Box::new(map.iter().map(|(key, value)| entry(key, value))),
        View::String(text) => Box::new(text.chars().map(character)),
        _ => return Err(expected(cx, who, "a collection", value)),
    })
}
