//! The handler that notes which signal is about to end a thread.
//!
//! It is installed once in a process, when code from a cache is first run there, for the signals by which a
//! process ends that did something wrong: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT and SIGTRAP. It writes a
//! number into the thread's slot and hands on to whoever was there before, with what he asked for when
//! he was installed; where nobody was, the process ends as it would have. A handler that a host installs
//! later comes first, and hands on to this one or does not, in which case its signals do not count.
//!
//! It runs on the alternate stack if the thread has one, because a thread that has run out of stack has no
//! other. Rust gives its threads one; where there is none, an overflow does not count.
//!
//! What is in the handler has to be safe to call from a signal handler: see signal-safety(7).

use super::slots;
use crate::modules::{module_of, modules};
use libc::{c_int, c_void, siginfo_t};
use std::mem::{MaybeUninit, transmute};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

const SIGNALS: [c_int; 6] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    libc::SIGTRAP,
];

/// Who was there before, for each of the signals. Never freed.
static PREVIOUS: [AtomicPtr<libc::sigaction>; SIGNALS.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; SIGNALS.len()];

type Handler = unsafe extern "C" fn(c_int);
type InformedHandler = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// Installs the handler, unless it is there.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // The handler stays, so the module that it is in has to.
        let this = handle as InformedHandler as usize as u64;
        if let Some(module) = module_of(&modules(), this) {
            module.pin();
        }
        for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
            install_one(signal, previous);
        }
    });
}

fn install_one(signal: c_int, previous: &AtomicPtr<libc::sigaction>) {
    let Some(there) = current(signal) else {
        return;
    };
    let inherited = there.sa_flags & (libc::SA_RESTART | libc::SA_NODEFER);
    let mut action = there;
    action.sa_sigaction = handle as InformedHandler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | inherited;
    // Before it can be needed.
    previous.store(Box::into_raw(Box::new(there)), Ordering::Release);
    // SAFETY: the action is whole, and the handler does nothing that a handler may not.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
}

fn current(signal: c_int) -> Option<libc::sigaction> {
    let mut action = MaybeUninit::uninit();
    // SAFETY: no action is given, and the present one is written during the call.
    let done = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call has written it when it succeeds.
    (done == 0).then(|| unsafe { action.assume_init() })
}

unsafe extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the address of this thread's `errno` is always valid.
    let errno = unsafe { *libc::__errno_location() };
    slots::note(signal.cast_unsigned());
    // SAFETY: signal, information and context are those that the kernel gave this handler.
    unsafe { hand_on(signal, info, context) };
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Does what would have been done without this handler.
///
/// # Safety
/// For a signal handler, with what the kernel gave it.
unsafe fn hand_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let place = SIGNALS.iter().position(|known| *known == signal);
    let previous = place.and_then(|place| PREVIOUS.get(place));
    let previous = previous.map_or(ptr::null_mut(), |previous| previous.load(Ordering::Acquire));
    // SAFETY: it is null or was leaked by `install_one`, and nobody changes it.
    let Some(previous) = (unsafe { previous.as_ref() }) else {
        return end(signal, false);
    };
    // SAFETY: the kernel gives the information to handlers that ask for it, as this one does.
    let is_fault = unsafe { info.as_ref() }.is_some_and(|info| info.si_code > 0);
    match previous.sa_sigaction {
        libc::SIG_IGN if !is_fault => slots::take_back(),
        libc::SIG_DFL | libc::SIG_IGN => end(signal, is_fault),
        handler => {
            if previous.sa_flags & libc::SA_RESETHAND != 0 {
                reset(signal);
            }
            if previous.sa_flags & libc::SA_SIGINFO != 0 {
                // SAFETY: a handler with this flag takes these three.
                let handler: InformedHandler = unsafe { transmute(handler) };
                // SAFETY: it was installed for this signal, and is given what the kernel gives.
                unsafe { handler(signal, info, context) };
            } else {
                // SAFETY: a handler without the flag takes the number.
                let handler: Handler = unsafe { transmute(handler) };
                // SAFETY: it was installed for this signal.
                unsafe { handler(signal) };
            }
            // It may have mended what was wrong, or have made way for the next signal to end the process, as
            // Rust's own does. So what was noted stays until the run is over.
        }
    }
}

/// Has the process end by the signal, as soon as the handler returns.
fn end(signal: c_int, is_fault: bool) {
    reset(signal);
    // A fault happens again by itself, and leaves its address in the core dump. A trap does not: the
    // instruction after it is the next one.
    if !is_fault || signal == libc::SIGTRAP || signal == libc::SIGABRT {
        // SAFETY: the signal is blocked in its handler, or ends the process at once.
        unsafe { libc::raise(signal) };
    }
}

fn reset(signal: c_int) {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeros are no flags, an empty mask and `SIG_DFL`, and the structure is read during the call.
    unsafe {
        (*action.as_mut_ptr()).sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, action.as_ptr(), ptr::null_mut());
    }
}
