//! Registering with libgcc before 13, in memory of our own.
//!
//! libgcc keeps an object for each registration. Its `_Unwind_Find_FDE` finds the object under a lock,
//! gives the lock back, and reads the object once more; `__deregister_frame` frees the object. So
//! whoever merges tables that other threads are throwing through cannot leave the objects to
//! libgcc: a throw would read what was freed (and did, ending the process). Here an object that was
//! removed stays as it was for a long time, until tens of thousands of others were removed after it and
//! [`REST`] has passed: far longer than the few instructions that another thread has left to go. A thread
//! that is held between them for even longer is the risk that remains; the memory that rests is
//! the price.

use super::unwind::{Object, Registrar, TableCalls};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Objects are allocated, and laid to rest, by so many.
const BLOCK: usize = 1024;

/// So many blocks rest before the oldest is used again.
const RESTING_BLOCKS: usize = 32;

/// How long a block rests at least.
const REST: Duration = Duration::from_millis(100);

/// libgcc with a list, and the objects that it is lent.
pub(super) struct ListUnwinder {
    calls: TableCalls,
    objects: RefCell<Objects>,
}

#[derive(Default)]
struct Objects {
    ready: Vec<*mut Object>,
    removed: Vec<*mut Object>,
    resting: VecDeque<(Instant, Vec<*mut Object>)>,
}

// SAFETY: the objects are nobody else's, or libgcc's, which guards them by a lock of its own.
unsafe impl Send for Objects {}

impl ListUnwinder {
    pub(super) fn new(calls: TableCalls) -> Self {
        Self {
            calls,
            objects: RefCell::default(),
        }
    }

    /// # Safety
    /// As for [`TableCalls::deregister`].
    unsafe fn deregister(&self, begin: usize) {
        // SAFETY: the caller's promise is the same.
        let object = unsafe { self.calls.deregister(begin) };
        self.objects.borrow_mut().retire(object);
    }
}

// SAFETY: libgcc forgets an array when it is deregistered, and what it may still read is kept.
unsafe impl Registrar for ListUnwinder {
    unsafe fn add(&self, table: usize) {
        let object = self.objects.borrow_mut().take();
        // SAFETY: the caller vouches for the table; the object is nobody else's.
        unsafe { self.calls.register(table, false, object) }
    }

    unsafe fn remove(&self, table: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.deregister(table) }
    }

    unsafe fn add_array(&self, tables: &[usize]) {
        let object = self.objects.borrow_mut().take();
        // SAFETY: the array ends in a zero, and the caller vouches for the rest.
        unsafe {
            self.calls.register(tables.as_ptr() as usize, true, object);
        }
    }

    unsafe fn remove_array(&self, tables: &[usize]) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.deregister(tables.as_ptr() as usize) }
    }

    fn sort(&self, code: usize) {
        self.calls.look_for(code);
    }
}

impl Objects {
    fn take(&mut self) -> *mut Object {
        if self.ready.is_empty() {
            self.refill(Instant::now());
        }
        self.ready
            .pop()
            .unwrap_or_else(|| Box::leak(Box::default()))
    }

    fn refill(&mut self, now: Instant) {
        let is_rested = |(since, _): &mut (Instant, _)| now.duration_since(*since) >= REST;
        let oldest = match self.resting.len() > RESTING_BLOCKS {
            true => self.resting.pop_front_if(is_rested),
            false => None,
        };
        match oldest {
            Some((_, objects)) => self.ready = objects,
            None => self.ready.extend(new_objects(BLOCK)),
        }
    }

    fn retire(&mut self, object: *mut Object) {
        if object.is_null() {
            return;
        }
        self.removed.push(object);
        if self.removed.len() == BLOCK {
            let block = std::mem::replace(&mut self.removed, Vec::with_capacity(BLOCK));
            self.resting.push_back((Instant::now(), block));
        }
    }
}

/// Objects that are never freed: libgcc may have them for as long as the process lives.
fn new_objects(count: usize) -> Vec<*mut Object> {
    let block = Box::leak(vec![Object::default(); count].into_boxed_slice());
    block.iter_mut().map(std::ptr::from_mut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_rests_until_many_others_were_removed_and_time_has_passed() {
        let mut objects = Objects::default();
        let first = objects.take();
        objects.retire(first);
        let mut made = 1;
        while objects.resting.len() <= RESTING_BLOCKS {
            let object = objects.take();
            assert_ne!(object, first);
            objects.retire(object);
            made += 1;
        }
        assert!(made >= RESTING_BLOCKS * BLOCK);
        objects.ready.clear();
        let (since, _) = objects.resting[0];
        objects.refill(since);
        assert!(!objects.ready.contains(&first), "no time has passed");
        objects.ready.clear();
        objects.refill(since + REST);
        assert!(objects.ready.contains(&first));
        assert_eq!(objects.resting.len(), RESTING_BLOCKS);
    }
}
