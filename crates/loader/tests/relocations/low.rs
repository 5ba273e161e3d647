//! The kinds of x86-64 ELF that have addresses in four bytes or in text: code that is not
//! position-independent, linked where it is welcome, and run in the low 2 GiB.

use crate::cases::{Case, Meet, Proof};
use crate::whole::Answer;
use crate::{Happened, x86_64};
use object::elf;
use rekindle_loader::{NativeLoader, Options};

/// What such code has beside the kinds of other code.
pub(crate) const KINDS: &[(u32, &str)] = &[
    (elf::R_X86_64_64, "R_X86_64_64"),
    (elf::R_X86_64_PC32, "R_X86_64_PC32"),
    (elf::R_X86_64_32, "R_X86_64_32"),
    (elf::R_X86_64_32S, "R_X86_64_32S"),
    (elf::R_X86_64_16, "R_X86_64_16"),
    (elf::R_X86_64_8, "R_X86_64_8"),
];

/// Those that compilers emit.
pub(crate) const EMITTED: &[u32] = &[
    elf::R_X86_64_64,
    elf::R_X86_64_PC32,
    elf::R_X86_64_32,
    elf::R_X86_64_32S,
];

/// Links, loads, runs and compares one case.
pub(crate) fn try_case(case: &Case, linker: Option<&str>) -> Answer<Happened> {
    let mut options = Options::default();
    options.position_dependent = true;
    x86_64::try_with(&NativeLoader::with_options(options), case, linker)
}

const fn case(kind: u32, what: &'static str, source: &'static str, proof: Proof) -> Case {
    Case {
        kind,
        what,
        source,
        written_as: None,
        proof,
    }
}

const fn run(kind: u32, what: &'static str, source: &'static str) -> Case {
    case(kind, what, source, Proof::Run)
}

const fn both(kind: u32, what: &'static str, source: &'static str) -> Case {
    case(kind, what, source, Proof::RunAndCompare(Meet::Sections))
}

const fn refuse(kind: u32, what: &'static str, source: &'static str) -> Case {
    case(kind, what, source, Proof::Refuse)
}

/// All cases, by kind.
pub(crate) const CASES: &[Case] = &[
    both(
        elf::R_X86_64_64,
        "data of the image, in text",
        ".globl text_start, data_start; text_start:
         test: movabsq $data_start + 4, %rax; movl (%rax), %eax; ret
         .data; data_start: .long 1, 42",
    ),
    run(
        elf::R_X86_64_64,
        "a function of the process, in text",
        "test: subq $8, %rsp; movq $-42, %rdi; movabsq $labs, %rax; call *%rax; addq $8, %rsp; ret",
    ),
    run(
        elf::R_X86_64_PC32,
        "a weak symbol that nobody has",
        ".weak absent
         test: movslq field(%rip), %rax; leaq field(%rip), %rdx; addq %rdx, %rax; addl $42, %eax; ret
         .section .rodata; field: .long absent - .",
    ),
    both(
        elf::R_X86_64_32,
        "data of the image",
        ".globl text_start, data_start; text_start:
         test: movl $data_start + 4, %eax; movl (%rax), %eax; ret
         .data; data_start: .long 1, 42",
    ),
    both(
        elf::R_X86_64_32,
        "code of the image, as data",
        ".globl text_start, data_start; text_start: test: movl data_start(%rip), %eax; jmp *%rax
         answer: movl $42, %eax; ret
         .data; data_start: .reloc ., R_X86_64_32, answer; .long 0",
    ),
    run(
        elf::R_X86_64_32,
        "a function of the process",
        "test: subq $8, %rsp; movq $-42, %rdi; movl $labs, %eax; call *%rax; addq $8, %rsp; ret",
    ),
    run(
        elf::R_X86_64_32,
        "a function of the process, through a stub",
        "test: subq $8, %rsp; movq $-42, %rdi; movl pointer(%rip), %eax; call *%rax; addq $8, %rsp; ret
         .data; pointer: .reloc ., R_X86_64_32, labs; .long 0",
    ),
    run(
        elf::R_X86_64_32,
        "the address of data of the process",
        "test: movl $outside_data, %edx; movl (%rdx), %eax; ret",
    ),
    run(
        elf::R_X86_64_32,
        "an address beyond that of data of the process",
        "test: movl $outside_data + 16, %edi; movl -16(%rdi), %eax; ret",
    ),
    run(
        elf::R_X86_64_32,
        "a weak symbol that nobody has",
        ".weak absent
         test: movl $absent, %eax; addl $42, %eax; ret",
    ),
    refuse(elf::R_X86_64_32, "out of reach", "test: movl $test + 0x70000000, %eax; ret"),
    both(
        elf::R_X86_64_32S,
        "data of the image, indexed",
        ".globl text_start, data_start; text_start:
         test: movl $3, %ecx; movl data_start - 4(, %rcx, 4), %eax; ret
         .data; data_start: .long 1, 2, 42",
    ),
    both(
        elf::R_X86_64_32S,
        "data of the image, with a sign",
        ".globl text_start, data_start; text_start:
         test: movq $data_start - 8, %rax; movl 8(%rax), %eax; ret
         .data; data_start: .long 42",
    ),
    run(
        elf::R_X86_64_32S,
        "the address of data of the process",
        "test: movq $outside_data, %r12; movl (%r12), %eax; ret",
    ),
    run(
        elf::R_X86_64_32S,
        "a load of data of the process",
        "test: .byte 0x4c, 0x8b, 0x04, 0x25; .reloc ., R_X86_64_32S, outside_data; .long 0
         movl %r8d, %eax; ret",
    ),
    run(
        elf::R_X86_64_32S,
        "a function of the process, through a stub",
        "test: subq $8, %rsp; movq $labs, (%rsp); movq $-42, %rdi; movq (%rsp), %rax; call *%rax
         addq $8, %rsp; ret",
    ),
    run(
        elf::R_X86_64_32S,
        "a weak symbol that nobody has, indexed",
        ".weak absent
         test: xorl %ecx, %ecx; leaq absent + 42(, %rcx, 8), %rax; ret",
    ),
    refuse(elf::R_X86_64_16, "in text", "test: movw $test, %ax; ret; nop"),
    refuse(elf::R_X86_64_8, "in text", "test: movb $test, %al; ret; nop; nop"),
];
