//! Thread-locals of `-femulated-tls`, which code asks for by a description of each.

use super::blocks::{Block, blocks, put};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What code of `-femulated-tls` has for each variable, as libgcc and compiler-rt define it.
#[repr(C)]
pub(crate) struct Emulated {
    size: usize,
    alignment: usize,
    /// The variable's number, counted from 1; 0 at first.
    number: AtomicUsize,
    template: *const u8,
}

/// `__emutls_get_address`, for a process without libgcc's.
///
/// # Safety
/// `variable` is the compiler's description of a variable.
pub(crate) unsafe extern "C" fn emulated_address(variable: *const Emulated) -> *mut u8 {
    static NUMBERS: AtomicUsize = AtomicUsize::new(0);
    // SAFETY: the caller's promise; its number alone changes, and atomically.
    let variable = unsafe { &*variable };
    let mut number = variable.number.load(Ordering::Acquire);
    if number == 0 {
        let fresh = NUMBERS.fetch_add(1, Ordering::Relaxed) + 1;
        let place = &variable.number;
        let swapped = place.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire);
        // A number that is lost to another thread's costs a few bytes.
        number = swapped.map_or_else(|other| other, |_| fresh);
    }
    let blocks = blocks();
    // SAFETY: it is this thread's own box, and no other reference to it is alive.
    let emulated = unsafe { &mut (*blocks).emulated };
    match emulated.get(number - 1) {
        Some(block) if !block.start.is_null() => block.start,
        _ => {
            let has_template = !variable.template.is_null();
            let template_size = if has_template { variable.size } else { 0 };
            let alignment = variable.alignment.max(1);
            // SAFETY: a template has the variable's size.
            let block = unsafe {
                Block::new(
                    1,
                    variable.template,
                    template_size,
                    variable.size,
                    alignment,
                )
            };
            put(emulated, number - 1, block);
            block.start
        }
    }
}
