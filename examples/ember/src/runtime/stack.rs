//! How much of the thread's native stack may be used.
//!
//! Compiled functions, natives and the reader recurse on the native stack. Each looks whether it is
//! nearly used up and raises an exception then; the reserve is what Rust code that does not look
//! may still use.

/// What stays unused for code that does not look.
const RESERVE: usize = 256 << 10;
/// Assumed when the system does not say where the stack ends.
const ASSUMED: usize = 1 << 20;
/// No stack is taken to be larger: the main thread's may be unlimited.
const LARGEST: usize = 1 << 30;

/// An address close to the top of the stack.
#[inline]
pub(crate) fn current() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

/// The address below which the calling thread must not go.
pub(crate) fn limit() -> usize {
    let here = current();
    let lowest = lowest_address().unwrap_or(here.saturating_sub(ASSUMED));
    let usable = here.saturating_sub(lowest).min(LARGEST);
    // A thread with a tiny stack keeps half of what it has.
    here - usable + RESERVE.min(usable / 2)
}

/// Where the calling thread's stack ends, if the system says so.
#[cfg(target_os = "linux")]
fn lowest_address() -> Option<usize> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: `pthread_getattr_np` fills in the attributes when it returns 0; they are read and
    // destroyed only then, once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let mut address = std::ptr::null_mut();
        let mut size = 0;
        let result = libc::pthread_attr_getstack(attributes.as_ptr(), &mut address, &mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        (result == 0).then_some(address.addr())
    }
}

/// Where the calling thread's stack ends, if the system says so.
#[cfg(not(target_os = "linux"))]
fn lowest_address() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_lies_inside_the_stack() {
        let small = std::thread::Builder::new().stack_size(2 << 20);
        let thread = small.spawn(|| (current(), limit())).expect("a thread");
        let (here, limit) = thread.join().expect("no panic");
        assert!(limit < here);
        assert!(here - limit <= (2 << 20) - RESERVE);
        assert!(here - limit > 1 << 20);
    }
}
