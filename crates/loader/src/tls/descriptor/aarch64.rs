//! Descriptors of thread-locals on AArch64 ("ELF for the Arm 64-bit Architecture", 2023Q3, on TLS
//! descriptors).
//!
//! Code calls the resolver with the address of a descriptor in `x0`, and wants the distance in `x0`. Of
//! vectors the 128 bits are kept that every processor has; what SVE has beyond them is lost.

use super::distance;
use std::arch::naked_asm;

/// The address of the resolver.
pub(crate) fn resolver() -> usize {
    resolve as *const () as usize
}

/// The address of the function in descriptors of Mach-O.
pub(crate) fn variable_getter() -> usize {
    get_variable as *const () as usize
}

/// The thread pointer, as the ABI has it.
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: programs may read the register, and nothing else happens.
    unsafe {
        std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

/// Called with the address of a descriptor in `x0`, whose second and third words are the pair; the
/// variable's address comes back in `x0`, and every other register but `x16` as it was.
///
/// # Safety
/// To be called by the descriptor's protocol alone.
#[unsafe(naked)]
unsafe extern "C" fn get_variable() {
    // A descriptor of the other sort on the stack: its second word is the address of the pair.
    naked_asm!(
        "stp x29, x30, [sp, #-32]!",
        "mov x29, sp",
        "add x16, x0, #8",
        "stp xzr, x16, [sp, #16]",
        "add x0, sp, #16",
        "bl {resolve}",
        "mrs x16, tpidr_el0",
        "add x0, x0, x16",
        "ldp x29, x30, [sp], #32",
        "ret",
        resolve = sym resolve,
    )
}

/// # Safety
/// To be called by the descriptor's protocol alone.
#[unsafe(naked)]
unsafe extern "C" fn resolve() {
    naked_asm!(
        "stp x29, x30, [sp, #-16]!",
        "mov x29, sp",
        "sub sp, sp, #656",
        "stp x1, x2, [sp]",
        "stp x3, x4, [sp, #16]",
        "stp x5, x6, [sp, #32]",
        "stp x7, x8, [sp, #48]",
        "stp x9, x10, [sp, #64]",
        "stp x11, x12, [sp, #80]",
        "stp x13, x14, [sp, #96]",
        "stp x15, x16, [sp, #112]",
        "stp x17, x18, [sp, #128]",
        "stp q0, q1, [sp, #144]",
        "stp q2, q3, [sp, #176]",
        "stp q4, q5, [sp, #208]",
        "stp q6, q7, [sp, #240]",
        "stp q8, q9, [sp, #272]",
        "stp q10, q11, [sp, #304]",
        "stp q12, q13, [sp, #336]",
        "stp q14, q15, [sp, #368]",
        "stp q16, q17, [sp, #400]",
        "stp q18, q19, [sp, #432]",
        "stp q20, q21, [sp, #464]",
        "stp q22, q23, [sp, #496]",
        "stp q24, q25, [sp, #528]",
        "stp q26, q27, [sp, #560]",
        "stp q28, q29, [sp, #592]",
        "stp q30, q31, [sp, #624]",
        "bl {distance}",
        "ldp x1, x2, [sp]",
        "ldp x3, x4, [sp, #16]",
        "ldp x5, x6, [sp, #32]",
        "ldp x7, x8, [sp, #48]",
        "ldp x9, x10, [sp, #64]",
        "ldp x11, x12, [sp, #80]",
        "ldp x13, x14, [sp, #96]",
        "ldp x15, x16, [sp, #112]",
        "ldp x17, x18, [sp, #128]",
        "ldp q0, q1, [sp, #144]",
        "ldp q2, q3, [sp, #176]",
        "ldp q4, q5, [sp, #208]",
        "ldp q6, q7, [sp, #240]",
        "ldp q8, q9, [sp, #272]",
        "ldp q10, q11, [sp, #304]",
        "ldp q12, q13, [sp, #336]",
        "ldp q14, q15, [sp, #368]",
        "ldp q16, q17, [sp, #400]",
        "ldp q18, q19, [sp, #432]",
        "ldp q20, q21, [sp, #464]",
        "ldp q22, q23, [sp, #496]",
        "ldp q24, q25, [sp, #528]",
        "ldp q26, q27, [sp, #560]",
        "ldp q28, q29, [sp, #592]",
        "ldp q30, q31, [sp, #624]",
        "mov sp, x29",
        "ldp x29, x30, [sp], #16",
        "ret",
        distance = sym distance,
    )
}
