//! Linux: addresses are reserved without memory, code is written through another view or before it is
//! executable, and cores are made to see it.
//!
//! On x86-64 they do so by themselves. On AArch64 instructions are fetched past the caches of data: what
//! was written is cleaned to where both meet, the caches of instructions forget it, and every core
//! synchronises, in this order.

use super::super::window::DISTANCE;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::{io, ptr};

pub(in crate::memory) use machine::publish;

/// Whether images are made in memory of their own and then copied to where they run.
pub(in crate::memory) const WRITES_ASIDE: bool = false;

/// Reserves `size` bytes for code and, [`DISTANCE`] above, `size` bytes for data: addresses without memory.
pub(in crate::memory) fn reserve(size: usize) -> io::Result<usize> {
    if size > DISTANCE {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let start =
        unsafe { mmap_anonymous(ptr::null_mut(), DISTANCE + size, ProtFlags::empty(), flags) }?;
    let gap = start.wrapping_byte_add(size);
    // SAFETY: this part of the fresh mapping lies between the two that are kept.
    unsafe { munmap(gap, DISTANCE - size) }.or_else(|error| match size == DISTANCE {
        true => Ok(()),
        false => Err(error),
    })?;
    Ok(start as usize)
}

/// Writes `code` at `to`.
///
/// # Safety
/// The memory is writable, is the caller's alone, and has room for `code`.
pub(in crate::memory) unsafe fn write(to: *mut u8, code: &[u8]) {
    // SAFETY: the caller vouches for the place.
    unsafe { to.copy_from_nonoverlapping(code.as_ptr(), code.len()) };
}

#[cfg(not(target_arch = "aarch64"))]
mod machine {
    /// Lets all cores see the code at `start`, of `size` bytes.
    #[inline]
    pub(in crate::memory) fn publish(_start: usize, _size: usize) {}
}

#[cfg(target_arch = "aarch64")]
mod machine {
    use std::arch::asm;

    // linux/membarrier.h
    const SYNC_CORE: libc::c_int = 1 << 5;
    const REGISTER_SYNC_CORE: libc::c_int = 1 << 6;

    /// Lets all cores see the code at `start`, of `size` bytes.
    ///
    /// The sequence is that of the Arm Architecture Reference Manual, B2.7.4.2 ("Synchronization of
    /// instruction fetch and instruction writes"), as in the kernel's `caches.S`.
    pub(in crate::memory) fn publish(start: usize, size: usize) {
        let (data, instructions) = lines();
        let end = start.saturating_add(size);
        let mut line = start & !(data - 1);
        while line < end {
            // SAFETY: the address is of memory that this process may read; cleaning changes no contents.
            unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
            line += data;
        }
        // SAFETY: a barrier.
        unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
        let mut line = start & !(instructions - 1);
        while line < end {
            // SAFETY: as before; what is forgotten is fetched again.
            unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) };
            line += instructions;
        }
        // SAFETY: barriers.
        unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
        synchronise();
    }

    /// Bytes of a line of both caches (`CTR_EL0`).
    fn lines() -> (usize, usize) {
        let sizes: usize;
        // SAFETY: programs may read the register on Linux.
        unsafe {
            asm!("mrs {}, ctr_el0", out(reg) sizes, options(nomem, nostack, preserves_flags));
        }
        (4 << (sizes >> 16 & 15), 4 << (sizes & 15))
    }

    /// Has the other cores synchronise. Where that is refused, they do so when the kernel next interrupts
    /// them, or when they learn of the code by a system call.
    fn synchronise() {
        let run = |command: libc::c_int| {
            // SAFETY: the call takes three numbers and touches no memory.
            unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
        };
        // A child of `fork` has to register anew, and finds out by being refused.
        if !run(SYNC_CORE) && run(REGISTER_SYNC_CORE) {
            run(SYNC_CORE);
        }
    }
}
