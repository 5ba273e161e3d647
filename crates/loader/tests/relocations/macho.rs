//! The kinds of Mach-O: x86-64 is run in this process, arm64 by qemu.

use crate::cases::{Case, Proof};
use crate::compiled::{Host, function};
use crate::foreign::Runner;
use crate::whole::{Answer, succeed};
use crate::{Happened, link};
use object::macho;
use object::macho::MachHeader64;
use object::read::macho::{MachHeader, Section, Segment};
use object::{LittleEndian as LE, macho as numbers};
use rekindle_cache_core::artifact::{Image, Loader};
use rekindle_loader::NativeLoader;
use std::process::Command;

macro_rules! names {
    ($constant:ident: $($name:ident),* $(,)?) => {
        /// The names of one machine's kinds.
        pub(crate) const $constant: &[(u32, &str)] = &[$((numbers::$name as u32, stringify!($name))),*];
    };
}

names! {
    X86_64:
    X86_64_RELOC_UNSIGNED, X86_64_RELOC_SIGNED, X86_64_RELOC_BRANCH, X86_64_RELOC_GOT_LOAD,
    X86_64_RELOC_GOT, X86_64_RELOC_SUBTRACTOR, X86_64_RELOC_SIGNED_1, X86_64_RELOC_SIGNED_2,
    X86_64_RELOC_SIGNED_4, X86_64_RELOC_TLV,
}

names! {
    ARM64:
    ARM64_RELOC_UNSIGNED, ARM64_RELOC_SUBTRACTOR, ARM64_RELOC_BRANCH26, ARM64_RELOC_PAGE21,
    ARM64_RELOC_PAGEOFF12, ARM64_RELOC_GOT_LOAD_PAGE21, ARM64_RELOC_GOT_LOAD_PAGEOFF12,
    ARM64_RELOC_POINTER_TO_GOT, ARM64_RELOC_TLVP_LOAD_PAGE21, ARM64_RELOC_TLVP_LOAD_PAGEOFF12,
    ARM64_RELOC_ADDEND, ARM64_RELOC_AUTHENTICATED_POINTER,
}

/// All kinds of x86-64: none of them may be refused altogether.
pub(crate) const X86_64_EMITTED: &[u32] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// All of arm64 but the signed pointers of arm64e, which need a key of the process.
pub(crate) const ARM64_EMITTED: &[u32] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

fn assemble(target: &str, source: &str, kind: u32) -> Answer<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let [unit, object] = ["unit.s", "unit.o"].map(|name| folder.path().join(name));
    let end = ".subsections_via_symbols";
    std::fs::write(&unit, format!(".globl _test\n{source}\n{end}\n"))?;
    let mut command = Command::new("clang-22");
    command.arg(format!("--target={target}-apple-macos11"));
    succeed(command.arg("-c").arg(&unit).arg("-o").arg(&object))?;
    let object = std::fs::read(object)?;
    match has_kind(&object, kind)? {
        true => Ok(object),
        false => Err("the assembler made another relocation of it".into()),
    }
}

fn has_kind(object: &[u8], kind: u32) -> Answer<bool> {
    let header = MachHeader64::<LE>::parse(object, 0)?;
    let mut commands = header.load_commands(LE, object, 0)?;
    while let Some(command) = commands.next()? {
        if let Some((segment, data)) = command.segment_64()? {
            for section in segment.sections(LE, data)? {
                let mut list = section.relocations(LE, object)?.iter();
                if list.any(|relocation| u32::from(relocation.info(LE).r_type) == kind) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// Links, loads and runs a case of x86-64.
pub(crate) fn try_x86_64(case: &Case, _linker: Option<&str>) -> Answer<Happened> {
    let object = assemble("x86_64", case.source, case.kind)?;
    let image = match link(&object)? {
        Ok(image) => Image::new(image),
        Err(error) => return Ok(Happened::Refused(error)),
    };
    // SAFETY: the image is of a case's source.
    let code = unsafe { NativeLoader::new().load(image.as_ref(), &Host::default()) }?;
    let test = function(&code, "test").map_err(|error| error.to_string())?;
    finish(case, test() as i32)
}

/// Links a case of arm64, and has qemu run it.
pub(crate) fn try_arm64(case: &Case, _linker: Option<&str>) -> Answer<Happened> {
    // A semicolon begins a comment in this assembler.
    let source = case.source.replace(";", "\n");
    // Signed pointers are of processors that have more than the others.
    let target = if source.contains("@AUTH") {
        "arm64e"
    } else {
        "arm64"
    };
    let object = assemble(target, &source, case.kind)?;
    let image = match link(&object)? {
        Ok(image) => image,
        Err(error) => return Ok(Happened::Refused(error)),
    };
    let runner = Runner::get()?;
    let placed = runner.place(&image)?;
    finish(case, runner.call(&placed, "test", 0)?)
}

fn finish(case: &Case, found: i32) -> Answer<Happened> {
    match (case.proof, found) {
        (Proof::Run, 42) => Ok(Happened::Ran),
        (Proof::Refuse, _) => Err("not refused".into()),
        (_, other) => Err(format!("it returned {other}").into()),
    }
}

const fn case(kind: u8, what: &'static str, proof: Proof, source: &'static str) -> Case {
    Case {
        kind: kind as u32,
        what,
        source,
        written_as: None,
        proof,
    }
}

const fn run(kind: u8, what: &'static str, source: &'static str) -> Case {
    case(kind, what, Proof::Run, source)
}

const fn refuse(kind: u8, what: &'static str, source: &'static str) -> Case {
    case(kind, what, Proof::Refuse, source)
}

/// All cases of x86-64.
pub(crate) const X86_64_CASES: &[Case] = &[
    run(macho::X86_64_RELOC_UNSIGNED, "data of the image, with an addend",
        "_test: movq _pointer(%rip), %rax; movl -8(%rax), %eax; ret
         .data; .p2align 3; _pointer: .quad _number + 8; _number: .long 42, 0, 0"),
    run(macho::X86_64_RELOC_UNSIGNED, "a literal, by its address",
        "_test: movq _pointer(%rip), %rax; movzbl 1(%rax), %eax; ret
         .cstring; L_text: .asciz \"+*\"; .data; .p2align 3; _pointer: .quad L_text"),
    run(macho::X86_64_RELOC_UNSIGNED, "a function of the process",
        "_test: subq $8, %rsp; movq $-42, %rdi; movq _pointer(%rip), %rax; call *%rax; addq $8, %rsp; ret
         .data; .p2align 3; _pointer: .quad _labs"),
    refuse(macho::X86_64_RELOC_UNSIGNED, "in text", "_test: movabsq $_outside, %rax; ret"),
    refuse(macho::X86_64_RELOC_UNSIGNED, "an address in four bytes",
        "_test: movl _a(%rip), %eax; ret; .data; _a: .long _test"),
    run(macho::X86_64_RELOC_SIGNED, "data of the image", 
        "_test: movl _number + 4(%rip), %eax; ret; .data; _number: .long 1, 42"),
    run(macho::X86_64_RELOC_SIGNED, "a literal, by its address",
        "_test: movzbl L_text + 1(%rip), %eax; ret; .cstring; .asciz \"other\"; L_text: .asciz \"+*\""),
    refuse(macho::X86_64_RELOC_SIGNED, "data of the process", "_test: movl _outside(%rip), %eax; ret"),
    run(macho::X86_64_RELOC_SIGNED_1, "data of the image, before a byte",
        "_test: movb $42, _number(%rip); movl _number(%rip), %eax; ret; .data; .long 7; _number: .long 0"),
    run(macho::X86_64_RELOC_SIGNED_1, "data of the image by its address, before a byte",
        "_test: movb $42, L_number(%rip); movl _other + 4(%rip), %eax; ret
         .data; _other: .long 7; L_number: .long 0"),
    run(macho::X86_64_RELOC_SIGNED_2, "data of the image, before two bytes",
        "_test: movw $42, _number(%rip); movl _number(%rip), %eax; ret; .data; .long 7; _number: .long 0"),
    run(macho::X86_64_RELOC_SIGNED_4, "data of the image, before four bytes",
        "_test: movl $42, _number(%rip); movl _number(%rip), %eax; ret; .data; .long 7; _number: .long 0"),
    run(macho::X86_64_RELOC_BRANCH, "a function of the image",
        "_test: call _other; addl $2, %eax; ret; .globl _other; _other: movl $40, %eax; ret"),
    run(macho::X86_64_RELOC_BRANCH, "a function of the process",
        "_test: subq $8, %rsp; movq $-42, %rdi; call _labs; addq $8, %rsp; ret"),
    run(macho::X86_64_RELOC_GOT_LOAD, "data of the image, relaxed",
        "_test: movq _number@GOTPCREL(%rip), %r9; movl (%r9), %eax; ret; .data; .globl _number; _number: .long 42"),
    run(macho::X86_64_RELOC_GOT_LOAD, "a function of the process",
        "_test: subq $8, %rsp; movq $-42, %rdi; movq _labs@GOTPCREL(%rip), %rax; call *%rax; addq $8, %rsp; ret"),
    run(macho::X86_64_RELOC_GOT, "a slot, at another instruction",
        "_test: pushq _number@GOTPCREL(%rip); popq %rax; movl (%rax), %eax; ret; .data; .globl _number; _number: .long 42"),
    run(macho::X86_64_RELOC_GOT, "a slot, from data",
        "_test: leaq _field(%rip), %rcx; movslq (%rcx), %rax; movq (%rax, %rcx), %rax; movl (%rax), %eax; ret
         .section __TEXT,__const; _field: .long _number@GOTPCREL + 4
         .data; .globl _number; _number: .long 42"),
    run(macho::X86_64_RELOC_SUBTRACTOR, "a distance from the field",
        "_test: leaq _field(%rip), %rcx; movslq (%rcx), %rax; movl (%rax, %rcx), %eax; ret
         .section __TEXT,__const; _field: .long _number - _field; .data; .globl _number; _number: .long 42"),
    run(macho::X86_64_RELOC_SUBTRACTOR, "a difference of two symbols elsewhere",
        "_test: movq _field(%rip), %rax; leaq _one(%rip), %rcx; movl 4(%rcx, %rax), %eax; ret
         .data; .globl _one, _two; .p2align 3; _field: .quad _two - _one - 4; _one: .long 1; _two: .long 42"),
    run(macho::X86_64_RELOC_TLV, "a thread-local of the image",
        "_test: subq $8, %rsp; movq _v@TLVP(%rip), %rdi; call *(%rdi); movl (%rax), %eax; addq $8, %rsp; ret
         .section __DATA,__thread_data,thread_local_regular; .long 7; _v$tlv$init: .long 42
         .section __DATA,__thread_vars,thread_local_variables; .globl _v
         _v: .quad __tlv_bootstrap, 0, _v$tlv$init"),
    run(macho::X86_64_RELOC_TLV, "a thread-local of the image that begins as zero",
        "_test: subq $8, %rsp; movq _v@TLVP(%rip), %rdi; call *(%rdi); addl $42, (%rax); movl (%rax), %eax; addq $8, %rsp; ret
         .tbss _v$tlv$init, 4, 2
         .section __DATA,__thread_vars,thread_local_variables; .globl _v
         _v: .quad __tlv_bootstrap, 0, _v$tlv$init"),
    refuse(macho::X86_64_RELOC_TLV, "a thread-local of the process",
        "_test: movq _v@TLVP(%rip), %rdi; call *(%rdi); ret"),
];

/// All cases of arm64.
pub(crate) const ARM64_CASES: &[Case] = &[
    run(macho::ARM64_RELOC_UNSIGNED, "data of the image, with an addend",
        "_test: adrp x0, _pointer@PAGE; ldr x0, [x0, _pointer@PAGEOFF]; ldur w0, [x0, #-8]; ret
         .data; .p2align 3; _pointer: .quad _number + 8; _number: .long 42, 0, 0"),
    refuse(macho::ARM64_RELOC_UNSIGNED, "in text", "_test: ret; .p2align 3; .quad _outside"),
    run(macho::ARM64_RELOC_SUBTRACTOR, "a distance from the field",
        "_test: adrp x1, _field@PAGE; add x1, x1, _field@PAGEOFF; ldrsw x0, [x1]; ldr w0, [x0, x1]; ret
         .section __TEXT,__const; .p2align 2; _field: .long _number - _field; .data; .globl _number; _number: .long 42"),
    run(macho::ARM64_RELOC_SUBTRACTOR, "a difference of two symbols elsewhere",
        "_test: adrp x1, _one@PAGE; add x1, x1, _one@PAGEOFF; adrp x0, _field@PAGE; ldr x0, [x0, _field@PAGEOFF]
         add x1, x1, #4; ldr w0, [x0, x1]; ret
         .data; .globl _one, _two; .p2align 3; _field: .quad _two - _one - 4; _one: .long 1; _two: .long 42"),
    run(macho::ARM64_RELOC_BRANCH26, "a function of the image",
        "_test: stp x29, x30, [sp, #-16]!; bl _other; add w0, w0, #2; ldp x29, x30, [sp], #16; ret
         .globl _other; .p2align 2; _other: mov w0, #40; ret"),
    run(macho::ARM64_RELOC_BRANCH26, "a function of the process", "_test: mov x0, #-42; b _labs"),
    run(macho::ARM64_RELOC_PAGE21, "data of the image", PAIR),
    refuse(macho::ARM64_RELOC_PAGE21, "data of the process",
        "_test: adrp x0, _outside@PAGE; ldr w0, [x0, _outside@PAGEOFF]; ret"),
    run(macho::ARM64_RELOC_PAGEOFF12, "data of the image, in an addition", PAIR),
    run(macho::ARM64_RELOC_PAGEOFF12, "data of the image, in a load of a byte",
        "_test: adrp x0, _number@PAGE; ldrb w0, [x0, _number@PAGEOFF]; ret; .data; .byte 7; _number: .byte 42"),
    run(macho::ARM64_RELOC_PAGEOFF12, "data of the image, in a load of 16 bytes",
        "_test: adrp x0, _number@PAGE; ldr q0, [x0, _number@PAGEOFF]; fmov w0, s0; ret
         .data; .p2align 4; .quad 1, 2; .globl _number; _number: .quad 42, 0"),
    run(macho::ARM64_RELOC_GOT_LOAD_PAGE21, "data of the process", SLOT),
    run(macho::ARM64_RELOC_GOT_LOAD_PAGEOFF12, "data of the process", SLOT),
    run(macho::ARM64_RELOC_POINTER_TO_GOT, "a slot, from data",
        "_test: adrp x1, _field@PAGE; add x1, x1, _field@PAGEOFF; ldrsw x0, [x1]; ldr x0, [x0, x1]; ldr w0, [x0]; ret
         .section __TEXT,__const; .p2align 2; _field: .long _outside_data@GOT - ."),
    run(macho::ARM64_RELOC_TLVP_LOAD_PAGE21, "a thread-local of the image", VARIABLE),
    run(macho::ARM64_RELOC_TLVP_LOAD_PAGEOFF12, "a thread-local of the image", VARIABLE),
    refuse(macho::ARM64_RELOC_TLVP_LOAD_PAGE21, "a thread-local of the process",
        "_test: adrp x0, _v@TLVPPAGE; ldr x0, [x0, _v@TLVPPAGEOFF]; ret"),
    run(macho::ARM64_RELOC_ADDEND, "data of the image",
        "_test: adrp x0, _number@PAGE + 4; ldr w0, [x0, _number@PAGEOFF + 4]; ret; .data; .p2align 2; _number: .long 1, 42"),
    refuse(macho::ARM64_RELOC_AUTHENTICATED_POINTER, "a signed pointer",
        "_test: adrp x0, _a@PAGE; ldr x0, [x0, _a@PAGEOFF]; ret
         .data; .p2align 3; _a: .quad _test@AUTH(ia, 42)"),
];

const PAIR: &str = "_test: adrp x0, _number@PAGE; add x0, x0, _number@PAGEOFF; ldr w0, [x0]; ret
    .data; .zero 4100; .p2align 2; .globl _number; _number: .long 42";

const SLOT: &str = "_test: adrp x0, _outside_data@GOTPAGE; ldr x0, [x0, _outside_data@GOTPAGEOFF]; ldr w0, [x0]; ret";

const VARIABLE: &str = "_test: stp x29, x30, [sp, #-16]!
    adrp x0, _v@TLVPPAGE; ldr x0, [x0, _v@TLVPPAGEOFF]; ldr x1, [x0]; blr x1; ldr w0, [x0]
    ldp x29, x30, [sp], #16; ret
    .section __DATA,__thread_data,thread_local_regular; .long 7; _v$tlv$init: .long 42
    .section __DATA,__thread_vars,thread_local_variables; .globl _v; .p2align 3
    _v: .quad __tlv_bootstrap, 0, _v$tlv$init";
