//! Making values.

use std::marker::PhantomData;

use super::flonum::flonum_word;
use super::object::{Body, Text};
use super::{Atom, Closure, List, Map, Name, Set, SymbolFlags, Value, Vector};
use crate::error::Exception;
use crate::namespace::Var;
use crate::natives::Native;

impl Value {
    /// true or false
    pub fn boolean(value: bool) -> Self {
        if value { Self::TRUE } else { Self::FALSE }
    }

    /// A float. All NaNs are one.
    #[inline]
    pub fn float(value: f64) -> Self {
        let value = if value.is_nan() { f64::NAN } else { value };
        match flonum_word(value) {
            Some(word) => Value(word, PhantomData),
            None => Self::heap(Body::Float(value)),
        }
    }

    /// A string.
    pub fn string(text: impl Into<Box<str>>) -> Self {
        let text = text.into();
        let is_ascii = text.is_ascii();
        Self::heap(Body::String(Text { text, is_ascii }))
    }

    /// A symbol without position or flags.
    pub fn symbol(name: Name) -> Self {
        Self::heap(Body::Symbol { name, flags: 0 })
    }

    /// A symbol that carries flags.
    pub fn symbol_with_flags(name: Name, flags: SymbolFlags) -> Self {
        Self::heap(Body::Symbol {
            name,
            flags: flags.bits(),
        })
    }

    /// A keyword; `name` without the colon.
    pub fn keyword(name: Name) -> Self {
        Self::heap(Body::Keyword(name))
    }

    /// A list of the items in their order.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Self {
        // Collected first: `rpds` would trust an iterator's upper size hint and allocate for it.
        let items: Vec<Value> = items.into_iter().collect();
        let mut list = List::new();
        for item in items.into_iter().rev() {
            list.push_front_mut(item);
        }
        Self::from_list(list)
    }

    /// A vector of the items.
    pub fn vector(items: impl IntoIterator<Item = Value>) -> Self {
        let mut vector = Vector::new();
        for item in items {
            vector.push_back_mut(item);
        }
        Self::from_vector(vector)
    }

    /// A map of the entries; of equal keys the first is kept, with the last value.
    pub fn map(entries: impl IntoIterator<Item = (Value, Value)>) -> Self {
        let mut map = Map::new();
        for (key, value) in entries {
            map.insert_mut(key, value);
        }
        Self::from_map(map)
    }

    /// A set of the items.
    pub fn set(items: impl IntoIterator<Item = Value>) -> Self {
        let mut set = Set::new();
        for item in items {
            set.insert_mut(item);
        }
        Self::from_set(set)
    }

    /// A list.
    pub fn from_list(list: List) -> Self {
        Self::heap(Body::List(list))
    }

    /// A vector.
    pub fn from_vector(vector: Vector) -> Self {
        Self::heap(Body::Vector(vector))
    }

    /// A map.
    pub fn from_map(map: Map) -> Self {
        Self::heap(Body::Map(map))
    }

    /// A set.
    pub fn from_set(set: Set) -> Self {
        Self::heap(Body::Set(set))
    }

    /// A compiled function.
    pub fn function(closure: Closure) -> Self {
        Self::heap(Body::Function(closure))
    }

    /// A function written in Rust.
    pub fn native(native: &'static Native) -> Self {
        Self::heap(Body::Native(native))
    }

    /// A new atom that holds `value`.
    pub fn atom(value: Value) -> Self {
        Self::heap(Body::Atom(Atom::new(value)))
    }

    /// A var itself, not what it holds.
    pub fn var(var: &'static Var) -> Self {
        Self::heap(Body::Var(var))
    }

    /// An exception object.
    pub fn exception(exception: Exception) -> Self {
        Self::heap(Body::Exception(Box::new(exception)))
    }

    /// `value`, marked as the early result of a `reduce`.
    pub fn reduced(value: Value) -> Self {
        Self::heap(Body::Reduced(value))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::boolean(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}
