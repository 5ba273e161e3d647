//! Lets cores see instructions that were just written.
//!
//! On x86-64 they do so by themselves. On AArch64 instructions are fetched past the caches of data: what
//! was written is cleaned to where both meet, the caches of instructions forget it, and every core
//! synchronises, in this order.

pub(super) use imp::publish;

#[cfg(not(target_arch = "aarch64"))]
mod imp {
    /// Lets all cores see the code at `start`, of `size` bytes.
    #[inline]
    pub(in crate::memory) fn publish(_start: usize, _size: usize) {}
}

#[cfg(target_arch = "aarch64")]
mod imp {
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
