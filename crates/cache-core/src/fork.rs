//! State that a forked child must not share with its parent.
//!
//! A lock that another thread held during the fork stays held in the child for ever, its threads are not
//! there, and mappings that are shared with the parent are the parent's to fill. So a child gets fresh
//! state, and the old state is left alone.
//!
//! Asking for the process's number would be a system call on every look-up. Instead a page that the
//! kernel empties in every child (`MADV_WIPEONFORK`, Linux 4.14) is looked at.

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// A `T` that every process has to itself, made anew after a fork.
pub struct PerProcess<T> {
    current: AtomicPtr<Held<T>>,
    make: Box<dyn Fn() -> T + Send + Sync>,
}

struct Held<T> {
    sentinel: Sentinel,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    /// The state that `make` makes, now and in every child.
    pub fn new(make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let make = Box::new(make);
        Self {
            current: AtomicPtr::new(Box::into_raw(Held::new(&*make))),
            make,
        }
    }

    /// This process's state.
    pub fn get(&self) -> &T {
        let held = self.current.load(Ordering::Acquire);
        // SAFETY: `current` always holds a pointer from `Box::into_raw`; the box is freed by `drop`
        // alone, which has no references left. A replaced one is leaked, not freed.
        let old = unsafe { &*held };
        if old.sentinel.is_home() {
            return &old.value;
        }
        let fresh = Box::into_raw(Held::new(&*self.make));
        let swapped =
            self.current
                .compare_exchange(held, fresh, Ordering::AcqRel, Ordering::Acquire);
        let now = swapped.map_or_else(
            |other| {
                // SAFETY: nobody else has seen `fresh`.
                drop(unsafe { Box::from_raw(fresh) });
                other
            },
            |_| fresh,
        );
        // SAFETY: as above; the state of the parent's time stays where it is, untouched.
        unsafe { &(*now).value }
    }

    /// Whether `value`, which [`get`](Self::get) gave, is still this process's.
    pub fn is_current(&self, value: &T) -> bool {
        ptr::eq(self.get(), value)
    }
}

impl<T> PerProcess<T> {
    /// The state, if this process has made one: not in a child that has not asked for it.
    pub fn get_mut_if_home(&mut self) -> Option<&mut T> {
        let held = *self.current.get_mut();
        // SAFETY: the pointer is from `Box::into_raw`, and `&mut self` says that nobody else uses it.
        let held = unsafe { &mut *held };
        held.sentinel.is_home().then_some(&mut held.value)
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let held = *self.current.get_mut();
        // SAFETY: the pointer is from `Box::into_raw`, and `&mut self` says that nobody uses it.
        let held = unsafe { Box::from_raw(held) };
        if !held.sentinel.is_home() {
            // The addresses in it may mean something else in this process.
            std::mem::forget(held);
        }
    }
}

impl<T> Held<T> {
    fn new(make: &(dyn Fn() -> T + Send + Sync)) -> Box<Self> {
        Box::new(Self {
            sentinel: Sentinel::new(),
            value: make(),
        })
    }
}

/// Knows whether this is still the process that made it.
#[derive(Debug)]
pub struct Sentinel(Home);

#[derive(Debug)]
enum Home {
    /// A page that holds 1 here, and 0 in any child.
    Page(NonNull<AtomicU32>),
    /// The kernel has no such pages.
    Pid(rustix::process::Pid),
}

// SAFETY: the page is only read after it was made, and unmapped by `drop` alone.
unsafe impl Send for Sentinel {}
// SAFETY: as above; it is read atomically.
unsafe impl Sync for Sentinel {}

impl Sentinel {
    /// Of this process.
    #[expect(
        clippy::new_without_default,
        reason = "what it is depends on the process"
    )]
    pub fn new() -> Self {
        Self(Self::page().unwrap_or_else(|| Home::Pid(rustix::process::getpid())))
    }

    fn page() -> Option<Home> {
        let size = rustix::param::page_size();
        let flags = MapFlags::PRIVATE;
        // SAFETY: a fresh mapping, which no address that Rust knows of lies in.
        let page = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )
        };
        let page = page.ok()?;
        // SAFETY: the mapping is ours and has that size.
        if unsafe { madvise(page, size, Advice::LinuxWipeOnFork) }.is_err() {
            // SAFETY: nobody has seen the mapping.
            let _ = unsafe { munmap(page, size) };
            return None;
        }
        let word = NonNull::new(page.cast::<AtomicU32>())?;
        // SAFETY: a page is aligned for and large enough for a word, and is writable.
        unsafe { word.as_ref() }.store(1, Ordering::Relaxed);
        Some(Home::Page(word))
    }

    /// Whether this is the process that made it, and no child of it.
    pub fn is_home(&self) -> bool {
        match &self.0 {
            // SAFETY: the page stays mapped until `drop`.
            Home::Page(word) => unsafe { word.as_ref() }.load(Ordering::Relaxed) == 1,
            Home::Pid(pid) => *pid == rustix::process::getpid(),
        }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if let Home::Page(word) = &self.0 {
            // SAFETY: the mapping is ours, of that size, and `self` was the last to know it.
            let _ = unsafe { munmap(word.as_ptr().cast(), rustix::param::page_size()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_child_has_a_state_of_its_own() {
        let state = PerProcess::new(|| Mutex::new(0));
        // Held during the fork, so it would never be free in the child.
        let mut held = state.get().lock().expect("nobody panics");
        *held = 1;
        // SAFETY: the child makes no more than a page and a box, and ends without running anything else.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let fresh = state.get().try_lock().is_ok_and(|value| *value == 0);
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(i32::from(!fresh)) };
        }
        let mut status = 0;
        // SAFETY: the child is this process's, and `status` is written during the call.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(status, 0);
        assert_eq!(*held, 1);
    }

    #[test]
    fn what_this_process_made_is_dropped_with_it() {
        struct Noted(&'static AtomicBool);
        impl Drop for Noted {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        static DROPPED: AtomicBool = AtomicBool::new(false);
        let mut state = PerProcess::new(|| Noted(&DROPPED));
        assert!(state.get_mut_if_home().is_some());
        assert!(!DROPPED.load(Ordering::Relaxed));
        drop(state);
        assert!(DROPPED.load(Ordering::Relaxed));
    }
}
