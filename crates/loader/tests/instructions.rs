//! The exact bytes that references become, as the x86-64 ABI has them.

mod compiled;

use compiled::{Host, Outcome, assembly, load_with};
use rekindle_cache_core::artifact::{Code, Loader};
use rekindle_loader::NativeLoader;
use std::error::Error;

/// The image's bytes: its text comes first.
fn text(source: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let image = NativeLoader::new().prepare(&assembly(source)?, &["test"])?;
    let size = rekindle_loader::check(&image.bytes)?.text_size();
    Ok(image.bytes.get(..size).unwrap_or_default().to_vec())
}

#[test]
fn references_through_slots_are_relaxed_inside_the_image() -> Outcome {
    let found = text(
        ".text
         .globl test, target
         test:
             movq target@GOTPCREL(%rip), %rax
             movq target@GOTPCREL(%rip), %r15
             movl target@GOTPCREL(%rip), %eax
             call *target@GOTPCREL(%rip)
             jmp *target@GOTPCREL(%rip)
         target:
             ret",
    )?;
    #[rustfmt::skip]
    let expected = [
        0x48, 0x8d, 0x05, 25, 0, 0, 0,  // lea target(%rip), %rax
        0x4c, 0x8d, 0x3d, 18, 0, 0, 0,  // lea target(%rip), %r15
        0x8d, 0x05, 12, 0, 0, 0,        // lea target(%rip), %eax
        0x67, 0xe8, 6, 0, 0, 0,         // addr32 call target
        0xe9, 1, 0, 0, 0, 0x90,         // jmp target; nop
        0xc3,
    ];
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn relaxed_branches_run() -> Outcome {
    // Backwards, forwards, and to another section, so that all four bytes of the field matter.
    let object = assembly(
        ".section .text.before,\"ax\"
         .globl two, test, thirty, four
         two: movl $2, %eax; ret
         .zero 70000, 0x90
         .section .text.test,\"ax\"
         test:
             pushq %rbx
             call *two@GOTPCREL(%rip)
             movl %eax, %ebx
             call *thirty@GOTPCREL(%rip)
             addl %eax, %ebx
             movq four@GOTPCREL(%rip), %rax
             call *%rax
             addl %ebx, %eax
             popq %rbx
             jmp *six@GOTPCREL(%rip)
         .globl six
         .section .text.behind,\"ax\"
         .zero 70000, 0x90
         six: addl $6, %eax; ret
         thirty: movl $30, %eax; ret
         .data
         .quad 1
         .section .text.last,\"ax\"
         four: movl $4, %eax; ret",
    )?;
    let code = load_with(&NativeLoader::new(), &object, &["test"], &Host::default())?;
    assert_eq!(compiled::function(&code, "test")?(), 42);
    Ok(())
}

#[test]
fn other_instructions_keep_their_slots() -> Outcome {
    let object = assembly(
        ".text
         .globl test, target
         test:
             xorl %eax, %eax
             movq target@GOTPCREL(%rip), %rcx
             cmpq target@GOTPCREL(%rip), %rcx    # REX_GOTPCRELX, but not a load
             sete %al
             pushq target@GOTPCREL(%rip)
             popq %rdx
             cmpq %rcx, %rdx
             sete %cl
             addb %cl, %al
             testq $-1, target@GOTPCREL(%rip)    # an immediate follows the field
             setne %cl
             addb %cl, %al
             movzbl %al, %eax
             ret
         target: ret",
    )?;
    let loader = NativeLoader::new();
    let image = loader.prepare(&object, &["test"])?;
    let description = rekindle_loader::check(&image.bytes)?;
    assert_eq!(description.fixup_count(), 1, "one slot, shared");
    let code = load_with(&loader, &object, &["test"], &Host::default())?;
    assert_eq!(compiled::function(&code, "test")?(), 3);
    Ok(())
}

#[test]
fn loads_of_old_assemblers_keep_their_slots() -> Outcome {
    let object = assembly(
        ".text
         .globl test, target
         test:
             .byte 0x48, 0x8b, 0x05
             .reloc ., R_X86_64_GOTPCREL, target-4
             .long 0
             ret
         target: ret",
    )?;
    let loader = NativeLoader::new();
    let code = load_with(&loader, &object, &["test", "target"], &Host::default())?;
    let target = code.symbol("target").ok_or("it is a root")? as i64;
    assert_eq!(compiled::function(&code, "test")?(), target);
    Ok(())
}

#[test]
fn outside_functions_share_one_stub_and_one_slot() -> Outcome {
    let found = text(
        ".text
         .globl test
         test:
             call outside@PLT
             je outside@PLT
             jmp outside@PLT
             .byte 0xe8
             .reloc ., R_X86_64_PC32, outside-4
             .long 0
             movq outside@GOTPCREL(%rip), %rax
             call *outside@GOTPCREL(%rip)",
    )?;
    #[rustfmt::skip]
    let expected = [
        0xe8, 35, 0, 0, 0,              // call stub
        0x0f, 0x84, 29, 0, 0, 0,        // je stub
        0xe9, 24, 0, 0, 0,              // jmp stub
        0xe8, 19, 0, 0, 0,              // call stub
        0x48, 0x8b, 0x05, 20, 0, 0, 0,  // mov slot(%rip), %rax
        0xff, 0x15, 14, 0, 0, 0,        // call *slot(%rip)
        0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
        0xff, 0x25, 2, 0, 0, 0,         // stub: jmp *slot(%rip)
        0xcc, 0xcc,                     // the slot follows
    ];
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn addends_and_distances_of_64_bits() -> Outcome {
    let object = assembly(
        ".text
         .globl test
         test:
             leaq distance(%rip), %rax
             addq (%rax), %rax           # where `cell` is
             movq (%rax), %rcx           # 40
             movq behind(%rip), %rax     # cell + 24
             subq $24, %rax
             addq 8(%rax), %rcx          # 2
             addq constant(%rip), %rcx   # -1
             leaq 1(%rcx), %rax
             ret
         .section .rodata
         distance: .quad cell - distance
         constant: .quad absolute
         .set absolute, -1
         .globl absolute
         .data
         .quad 0
         cell: .quad 40, 2
         .section .data.rel.ro,\"aw\"
         .byte 0                          # words need not be aligned
         behind: .quad cell + 24",
    )?;
    let code = load_with(&NativeLoader::new(), &object, &["test"], &Host::default())?;
    assert_eq!(compiled::function(&code, "test")?(), 42);
    Ok(())
}
