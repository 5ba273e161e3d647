//! Heap objects: header, body, reference counts, and freeing without recursion.
//!
//! An object is a box that [`Value`](super::Value) words point to. Its count is not atomic: values
//! never leave their thread. Freeing an object frees what it holds; a nest of a million lists would
//! do that a million frames deep, so an object whose count reaches zero while another is being
//! freed waits in a queue of the thread instead.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use super::function::{Atom, Closure};
use super::{List, Map, Name, Set, Value, Vector};
use crate::error::Exception;
use crate::namespace::Var;
use crate::natives::Native;

/// What `Object::position` holds when the object has none.
pub(super) const NO_POSITION: u32 = u32::MAX;

/// A heap object. The address of a live one is at least 4096 and a multiple of 8.
#[repr(C, align(8))]
pub(super) struct Object {
    /// Number of owning words. A count that reached the maximum stays there: the object is
    /// leaked rather than freed too early.
    count: Cell<u32>,
    /// Packed position or `NO_POSITION`.
    pub(super) position: Cell<u32>,
    pub(super) body: Body,
}

/// The contents of a heap object, by kind.
pub(super) enum Body {
    Int(i64),
    Float(f64),
    String(Text),
    Symbol { name: Name, flags: u8 },
    Keyword(Name),
    List(List),
    Vector(Vector),
    Map(Map),
    Set(Set),
    Function(Closure),
    Native(&'static Native),
    Atom(Atom),
    Var(&'static Var),
    Exception(Box<Exception>),
    Reduced(Value),
}

impl Body {
    /// Whether freeing this body can free no other object.
    fn is_leaf(&self) -> bool {
        matches!(
            self,
            Body::Int(_)
                | Body::Float(_)
                | Body::String(_)
                | Body::Symbol { .. }
                | Body::Keyword(_)
                | Body::Native(_)
                | Body::Var(_)
        )
    }
}

/// The text of a string, with what makes indexing by characters quick in the usual case.
pub(super) struct Text {
    pub(super) text: Box<str>,
    pub(super) is_ascii: bool,
}

impl Object {
    /// Puts a new object with count 1 on the heap.
    pub(super) fn allocate(body: Body) -> NonNull<Object> {
        let object = Box::new(Object {
            count: Cell::new(1),
            position: Cell::new(NO_POSITION),
            body,
        });
        NonNull::from(Box::leak(object))
    }

    /// Whether there is exactly one owning word.
    pub(super) fn is_unique(&self) -> bool {
        self.count.get() == 1
    }

    /// Counts one more owning word.
    #[inline]
    pub(super) fn retain(&self) {
        self.count.set(self.count.get().saturating_add(1));
    }

    /// Counts one owning word less, and frees the object after the last.
    ///
    /// # Safety
    ///
    /// `object` is live, the caller owns one of its counted words, and does not use it afterwards.
    #[inline]
    pub(super) unsafe fn release(object: NonNull<Object>) {
        // SAFETY: the caller owns a word, so the object is live here.
        let count = unsafe { &object.as_ref().count };
        match count.get() {
            1 => free(object),
            u32::MAX => {}
            more => count.set(more - 1),
        }
    }
}

/// Objects of this thread whose count is zero and that are still to be freed.
struct Doomed {
    freeing: Cell<bool>,
    waiting: RefCell<Vec<NonNull<Object>>>,
}

thread_local! {
    static DOOMED: Doomed = const {
        Doomed { freeing: Cell::new(false), waiting: RefCell::new(Vec::new()) }
    };
}

/// Frees an object whose last owning word is gone; only `release` calls this.
#[cold]
fn free(object: NonNull<Object>) {
    // SAFETY: the count says that no other word points here, and `release` was given the last one.
    // The object came out of `Box::leak` in `allocate` and is turned back exactly once: it is in
    // the queue at most once, because only the count's last step leads here.
    let destroy = |object: NonNull<Object>| drop(unsafe { Box::from_raw(object.as_ptr()) });

    // SAFETY: not freed yet, as above.
    if unsafe { &object.as_ref().body }.is_leaf() {
        return destroy(object);
    }
    let queued = DOOMED.try_with(|doomed| {
        if doomed.freeing.replace(true) {
            doomed.waiting.borrow_mut().push(object);
            return;
        }
        destroy(object);
        loop {
            // The borrow ends before the object is destroyed: that pushes to the same queue.
            let next = doomed.waiting.borrow_mut().pop();
            match next {
                Some(next) => destroy(next),
                None => break,
            }
        }
        doomed.freeing.set(false);
    });
    if queued.is_err() {
        // The thread is ending and its queue is gone; what is left is freed as it comes.
        destroy(object);
    }
}
