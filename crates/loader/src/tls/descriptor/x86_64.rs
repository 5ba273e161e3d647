//! Descriptors of thread-locals on x86-64.
//!
//! Code calls the resolver with the address of a descriptor in `rax`, and wants the distance in `rax`.
//! Vectors are kept by the processor's own instruction for it.

use super::distance;
use std::arch::{naked_asm, x86_64::__cpuid_count};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that `xsave` needs, in whole lines; 0 if the processor or the system does not have it.
static AREA: AtomicUsize = AtomicUsize::new(0);

/// All registers but the tiles of AMX, which nothing on the way touches, and which are large.
const MASK: u64 = !(0b11 << 17);

/// The address of the resolver.
pub(crate) fn resolver() -> usize {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        // Leaf 1: whether the system lets programs use `xsave`.
        if __cpuid_count(1, 0).ecx & (1 << 27) != 0 {
            // Leaf 13: how much the registers need that the system has switched on.
            let size = __cpuid_count(13, 0).ebx as usize;
            AREA.store(size.next_multiple_of(64), Ordering::Relaxed);
        }
    });
    resolve as *const () as usize
}

/// The thread pointer, as the ABI has it.
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: the first word at `fs` holds its own address, says the ABI.
    unsafe {
        std::arch::asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly, preserves_flags));
    }
    pointer
}

/// The address of the function in descriptors of Mach-O.
pub(crate) fn variable_getter() -> usize {
    // It asks the resolver, which has to know the processor.
    let _ = resolver();
    get_variable as *const () as usize
}

/// Called with the address of a descriptor in `rdi`, whose second and third words are the pair; the
/// variable's address comes back in `rax`, and every other register as it was.
///
/// # Safety
/// To be called by the descriptor's protocol alone.
#[unsafe(naked)]
unsafe extern "C" fn get_variable() {
    // A descriptor of the other sort on the stack: its second word is the address of the pair.
    naked_asm!(
        "lea rax, [rdi + 8]",
        "push rax",
        "push rax",
        "mov rax, rsp",
        "call {resolve}",
        "add rsp, 16",
        "add rax, fs:[0]",
        "ret",
        resolve = sym resolve,
    )
}

/// # Safety
/// To be called by the descriptor's protocol alone.
#[unsafe(naked)]
unsafe extern "C" fn resolve() {
    // `r12` is used as the frame, so that the stack can be aligned for `xsave`, and `rbx` for the area.
    naked_asm!(
        "pushfq",
        "cld",
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push rbx",
        "push r12",
        "mov r12, rsp",
        "mov rdi, rax",
        "mov rbx, [rip + {area}]",
        "test rbx, rbx",
        "jz 2f",
        "sub rsp, rbx",
        "and rsp, -64",
        // The header has to be zero, or what is in it is taken for state.
        "xor eax, eax",
        "mov [rsp + 512], rax",
        "mov [rsp + 520], rax",
        "mov [rsp + 528], rax",
        "mov [rsp + 536], rax",
        "mov [rsp + 544], rax",
        "mov [rsp + 552], rax",
        "mov [rsp + 560], rax",
        "mov [rsp + 568], rax",
        "mov eax, {low}",
        "mov edx, {high}",
        "xsave64 [rsp]",
        "call {distance}",
        "mov rbx, rax",
        "mov eax, {low}",
        "mov edx, {high}",
        "xrstor64 [rsp]",
        "jmp 3f",
        "2:",
        "sub rsp, 512",
        "and rsp, -64",
        "fxsave64 [rsp]",
        "call {distance}",
        "mov rbx, rax",
        "fxrstor64 [rsp]",
        "3:",
        "mov rax, rbx",
        "mov rsp, r12",
        "pop r12",
        "pop rbx",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "popfq",
        "ret",
        area = sym AREA,
        distance = sym distance,
        low = const (MASK & 0xffff_ffff) as u32,
        high = const (MASK >> 32) as u32,
    )
}
