//! Tells the unwinder of loaded code, so that panics and exceptions pass through it.
//!
//! Two unwinders share one name for this: libgcc's `__register_frame` takes a whole `.eh_frame` that
//! ends in a zero, LLVM libunwind's takes one entry of a function. Which of them is in the process is
//! found out once.
//!
//! Tables are registered one by one for now. libgcc before version 13 searches a list of them, so that
//! each throw grows slower with their number; runs of adjacent tables are to be merged here.

use super::process::{address_of, module_of};
use crate::error::LoadError;
use std::ffi::c_void;
use std::sync::OnceLock;

type RegisterFrame = unsafe extern "C" fn(*const c_void);

/// The unwinder that is there.
#[derive(Clone, Copy)]
pub(crate) enum Unwinder {
    /// libgcc: a zero-terminated table.
    Tables(RegisterFrame),
    /// libunwind: one function's entry.
    Entries(RegisterFrame),
}

impl Unwinder {
    /// The unwinder of this process.
    pub(crate) fn find() -> Result<Self, LoadError> {
        static UNWINDER: OnceLock<Option<Unwinder>> = OnceLock::new();
        UNWINDER.get_or_init(look_up).ok_or(LoadError::NoUnwinder)
    }

    /// Registers the `.eh_frame` of `table`, which lies at `address` where the code runs.
    ///
    /// # Safety
    /// `table` are the bytes at `address`; they form a well-made `.eh_frame` with a zero at its end,
    /// about code that is in place, and neither it nor the code goes away.
    pub(crate) unsafe fn register(self, address: usize, table: &[u8]) {
        match self {
            // SAFETY: the caller vouches for the table.
            Self::Tables(register) => unsafe { register(address as *const c_void) },
            Self::Entries(register) => {
                for offset in function_entries(table) {
                    // SAFETY: the caller vouches for the table; this is a function's entry in it.
                    unsafe { register((address + offset) as *const c_void) };
                }
            }
        }
    }
}

fn look_up() -> Option<Unwinder> {
    let address = address_of(c"__register_frame")?;
    // SAFETY: both unwinders have this function with this signature.
    let register = unsafe { std::mem::transmute::<usize, RegisterFrame>(address) };
    // A name that only libunwind has. A process may have both, so the module has to be the same.
    let libunwinds = address_of(c"__unw_add_dynamic_fde").and_then(module_of);
    match libunwinds.is_some() && libunwinds == module_of(address) {
        true => Some(Unwinder::Entries(register)),
        false => Some(Unwinder::Tables(register)),
    }
}

/// Offsets of the entries that describe functions: those whose second word is not zero.
fn function_entries(table: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let word = |at: usize| {
        let bytes = table.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let entry = at;
            let length = word(entry).filter(|length| *length != 0)?;
            let pointer = word(entry + 4)?;
            at = entry + 4 + length as usize;
            if pointer != 0 {
                return Some(entry);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_told_from_common_entries() {
        let mut table = Vec::new();
        for (length, pointer) in [(8u32, 0u32), (8, 16), (12, 28), (8, 0)] {
            table.extend(length.to_le_bytes());
            table.extend(pointer.to_le_bytes());
            table.resize(table.len() + length as usize - 4, 0xaa);
        }
        table.extend([0; 4]);
        assert_eq!(function_entries(&table).collect::<Vec<_>>(), [12, 24]);
        // Cut anywhere, the walk ends.
        for cut in 0..table.len() {
            assert!(function_entries(table.get(..cut).unwrap_or_default()).count() <= 2);
        }
    }

    #[test]
    fn this_process_has_an_unwinder() {
        assert!(Unwinder::find().is_ok());
    }
}
