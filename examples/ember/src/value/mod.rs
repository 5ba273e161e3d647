//! Ember's values: one machine word each, counted without atomics.
//!
//! | low bits of the word | value |
//! | --- | --- |
//! | `...1` | fixnum: the integer is `word as i64 >> 1`, 63 bits |
//! | `...s10` | flonum: zero, or a float of a middling exponent, rotated; `s` is its sign |
//! | `0x04`, `0x0C`, `0x14` | nil, false, true |
//! | `...000`, at least 4096 | address of a heap object |
//!
//! The word 0 is no value. Everything is false but nil and false: `(word | 8) != 0x0C`.

mod construct;
mod equal;
mod flonum;
mod function;
mod name;
mod object;
mod position;
mod print;
mod view;

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::ptr::NonNull;
use std::rc::Rc;

pub(crate) use equal::take_order_by_age;
pub use equal::{compare_numbers, structural_hash};
pub use function::{Atom, Closure, Code};
pub(crate) use function::{next_serial, swap_serials};
pub use name::{Name, split_name};
pub use position::Position;
pub use print::{constant_text, print_plain, print_readable, write_plain, write_readable};
pub use view::View;

use object::{Body, NO_POSITION, Object};

/// A list: shared tails.
pub type List = rpds::List<Value>;
/// A vector.
pub type Vector = rpds::Vector<Value>;
/// A map, ordered by the total order of its keys.
pub type Map = rpds::RedBlackTreeMap<Value, Value>;
/// A set, ordered by the total order of its items.
pub type Set = rpds::RedBlackTreeSet<Value>;

/// A value of ember: an owning word.
///
/// It belongs to its thread: the reference counts of heap objects are not atomic.
#[repr(transparent)]
pub struct Value(NonZeroU64, PhantomData<Rc<()>>);

/// Flags that a symbol carries from the reader's `^:flag`; no part of its equality.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymbolFlags {
    /// `^:macro`
    pub is_macro: bool,
    /// `^:private`
    pub is_private: bool,
}

impl SymbolFlags {
    fn bits(self) -> u8 {
        u8::from(self.is_macro) | u8::from(self.is_private) << 1
    }

    fn from_bits(bits: u8) -> Self {
        Self {
            is_macro: bits & 1 != 0,
            is_private: bits & 2 != 0,
        }
    }

    /// These flags and the one named by a keyword's text; any other name changes nothing.
    #[must_use]
    pub fn with(mut self, flag: &str) -> Self {
        self.is_macro |= flag == "macro";
        self.is_private |= flag == "private";
        self
    }
}

const NIL_WORD: NonZeroU64 = NonZeroU64::new(0x04).unwrap();
const FALSE_WORD: NonZeroU64 = NonZeroU64::new(0x0C).unwrap();
const TRUE_WORD: NonZeroU64 = NonZeroU64::new(0x14).unwrap();
/// Words below this with the low three bits clear are no addresses.
const LOWEST_ADDRESS: u64 = 4096;

impl Value {
    /// nil
    pub const NIL: Value = Value(NIL_WORD, PhantomData);
    /// false
    pub const FALSE: Value = Value(FALSE_WORD, PhantomData);
    /// true
    pub const TRUE: Value = Value(TRUE_WORD, PhantomData);
    /// The smallest integer that is not boxed.
    pub const MIN_FIXNUM: i64 = -(1 << 62);
    /// The largest integer that is not boxed.
    pub const MAX_FIXNUM: i64 = (1 << 62) - 1;

    fn heap(body: Body) -> Self {
        let address = Object::allocate(body).as_ptr().expose_provenance() as u64;
        debug_assert!(address >= LOWEST_ADDRESS && address.trailing_zeros() >= 3);
        // SAFETY: the address of an allocation is not 0.
        Value(unsafe { NonZeroU64::new_unchecked(address) }, PhantomData)
    }

    /// An integer.
    #[inline]
    pub fn int(value: i64) -> Self {
        if (Self::MIN_FIXNUM..=Self::MAX_FIXNUM).contains(&value) {
            // SAFETY: the lowest bit is set.
            let word = unsafe { NonZeroU64::new_unchecked((value << 1 | 1) as u64) };
            Value(word, PhantomData)
        } else {
            Self::heap(Body::Int(value))
        }
    }

    #[inline]
    fn address(&self) -> Option<NonNull<Object>> {
        let word = self.0.get();
        if word & 7 != 0 || word < LOWEST_ADDRESS {
            return None;
        }
        NonNull::new(std::ptr::with_exposed_provenance_mut(word as usize))
    }

    #[inline]
    fn object(&self) -> Option<&Object> {
        // SAFETY: a word that is tagged as an address comes from `heap`, and this value owns one of
        // the counted words, so the object lives at least as long as `self`. Objects change in
        // their cells only.
        self.address().map(|object| unsafe { object.as_ref() })
    }

    /// What this value is, with its contents borrowed.
    #[inline]
    pub fn view(&self) -> View<'_> {
        let Some(object) = self.object() else {
            return view::of_immediate(self.0.get());
        };
        view::of_body(&object.body)
    }

    /// The integer, if it is one.
    #[inline]
    pub fn as_int(&self) -> Option<i64> {
        let word = self.0.get();
        if word & 1 != 0 {
            return Some(word as i64 >> 1);
        }
        match self.view() {
            View::Int(value) => Some(value),
            _ => None,
        }
    }

    /// Whether a condition takes this value as true: all but nil and false.
    #[inline]
    pub fn is_truthy(&self) -> bool {
        self.0.get() | 8 != 0x0C
    }

    /// Whether this is nil.
    #[inline]
    pub fn is_nil(&self) -> bool {
        self.0 == NIL_WORD
    }

    /// Whether this is a heap object, whose word is an address of this process.
    #[inline]
    pub fn is_heap(&self) -> bool {
        self.object().is_some()
    }

    /// Whether two values are the same word: the same immediate or the same object.
    #[inline]
    pub fn is_identical(&self, other: &Value) -> bool {
        self.0 == other.0
    }

    /// Whether this is the only word of its object.
    pub(crate) fn is_unique(&self) -> bool {
        self.object().is_some_and(Object::is_unique)
    }

    /// Where the reader found this value; `None` for what a program made.
    pub fn position(&self) -> Option<Position> {
        match self.object()?.position.get() {
            NO_POSITION => None,
            word => Some(Position::unpack(word)),
        }
    }

    /// This value at `position`, if it is of a kind that carries one: symbol, list, vector, map or
    /// set. An object that others hold too is copied (its items are not).
    #[must_use]
    pub fn with_position(self, position: Position) -> Self {
        let Some(object) = self.object() else {
            return self;
        };
        let copy = match &object.body {
            Body::Symbol { .. } | Body::List(_) | Body::Vector(_) | Body::Map(_) | Body::Set(_)
                if object.is_unique() =>
            {
                object.position.set(position.pack());
                return self;
            }
            Body::Symbol { name, flags } => Body::Symbol {
                name: name.clone(),
                flags: *flags,
            },
            Body::List(list) => Body::List(list.clone()),
            Body::Vector(vector) => Body::Vector(vector.clone()),
            Body::Map(map) => Body::Map(map.clone()),
            Body::Set(set) => Body::Set(set.clone()),
            _ => return self,
        };
        let copy = Self::heap(copy);
        if let Some(object) = copy.object() {
            object.position.set(position.pack());
        }
        copy
    }

    /// This value with the position of `other`, if that has one.
    #[must_use]
    pub fn with_position_of(self, other: &Value) -> Self {
        match other.position() {
            Some(position) => self.with_position(position),
            None => self,
        }
    }

    /// The flags of a symbol; none for other values.
    pub fn symbol_flags(&self) -> SymbolFlags {
        match self.object().map(|object| &object.body) {
            Some(Body::Symbol { flags, .. }) => SymbolFlags::from_bits(*flags),
            _ => SymbolFlags::default(),
        }
    }

    /// Whether this is a string of ASCII characters only, so that a character is a byte.
    pub(crate) fn is_ascii_string(&self) -> bool {
        matches!(self.object().map(|object| &object.body), Some(Body::String(text)) if text.is_ascii)
    }

    /// The word, borrowed: valid while this value (or another word of the same object) is kept.
    #[inline]
    pub fn word(&self) -> u64 {
        self.0.get()
    }

    /// The word with its ownership; given back by [`Value::from_word`], or leaked.
    #[inline]
    pub fn into_word(self) -> u64 {
        let word = self.0.get();
        std::mem::forget(self);
        word
    }

    /// Takes over a word's ownership; `None` for 0, which stands for a pending exception.
    ///
    /// # Safety
    ///
    /// `word` is 0, an immediate, or came from [`Value::into_word`] in this thread and is owned by
    /// nobody else.
    #[inline]
    pub unsafe fn from_word(word: u64) -> Option<Self> {
        Some(Value(NonZeroU64::new(word)?, PhantomData))
    }

    /// Looks at a word as a value without owning it; `None` for 0.
    ///
    /// # Safety
    ///
    /// `word` is 0, an immediate, or the word of an object of this thread that stays alive as long
    /// as the borrow.
    #[inline]
    pub unsafe fn borrow_word(word: &u64) -> Option<&Value> {
        if *word == 0 {
            return None;
        }
        // SAFETY: `Value` is `repr(transparent)` over a non-zero u64, and the word is not zero.
        Some(unsafe { &*std::ptr::from_ref(word).cast::<Value>() })
    }
}

impl Clone for Value {
    #[inline]
    fn clone(&self) -> Self {
        if let Some(object) = self.object() {
            object.retain();
        }
        Value(self.0, PhantomData)
    }
}

impl Drop for Value {
    #[inline]
    fn drop(&mut self) {
        if let Some(object) = self.address() {
            // SAFETY: this value owns one counted word of the object and ends here.
            unsafe { Object::release(object) };
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&print_readable(self))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&print_plain(self))
    }
}

#[cfg(test)]
mod tests;
