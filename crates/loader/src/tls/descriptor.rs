//! The functions in descriptors of thread-locals: ELF's (`-mtls-dialect=gnu2`, the default of newer compilers
//! and of AArch64), and Mach-O's.
//!
//! Code calls them with the address of a descriptor, and wants the variable's distance from the thread
//! pointer, or its address. Every other register has to come back as it was, vectors included: compilers
//! count on that. So everything that a Rust function may change is kept on the stack around the call. How is
//! each machine's business.

#[cfg_attr(target_arch = "x86_64", path = "descriptor/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "descriptor/aarch64.rs")]
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    path = "descriptor/none.rs"
)]
mod imp;

pub(super) use imp::thread_pointer;
pub(crate) use imp::{resolver, variable_getter};

use super::{Index, get_address};

/// The distance of a variable from the thread pointer.
///
/// # Safety
/// `descriptor` is one that this loader filled in: its second word is the address of a pair.
unsafe extern "C" fn distance(descriptor: *const [u64; 2]) -> u64 {
    // SAFETY: the caller's promise is the same.
    let address = unsafe { get_address((*descriptor)[1] as *const Index) };
    (address as u64).wrapping_sub(thread_pointer())
}
