//! Addresses as numbers, in pages and by distance, and branches.

use super::{NUMBER, both, calling, leaf, refuse, run};
use crate::cases::Case;
use crate::cases::Meet::{Sections, Stub};
use object::elf;

pub(super) fn addresses() -> Vec<Case> {
    let pointer = "adrp x1, pointer; ldr x1, [x1, :lo12:pointer]";
    let mut cases = vec![
        run(elf::R_AARCH64_NONE, "nothing", "test: .reloc ., R_AARCH64_NONE, test; mov w0, 42; ret"),
        both(elf::R_AARCH64_ABS64, "data of the image, with an addend", Sections, leaf(
            "adrp x0, data_start; ldr x0, [x0, :lo12:data_start]; ldur w0, [x0, -8]; ret
             .data; .globl data_start; .balign 8; data_start: .quad number + 8; .quad 3; number: .quad 42")),
        run(elf::R_AARCH64_ABS64, "a function of the process", calling(&format!(
            "mov x0, -42; {pointer}; blr x1")) + "; .data; .balign 8; pointer: .quad labs"),
        run(elf::R_AARCH64_ABS64, "a weak symbol that nobody has", format!(
            ".weak absent; test: {pointer}; add x0, x1, 42; ret; .data; .balign 8; pointer: .quad absent")),
        refuse(elf::R_AARCH64_ABS64, "in text", "test: ret; .balign 8; .quad outside_data"),
        run(elf::R_AARCH64_ABS32, "in debug information, which is passed over",
            "test: mov w0, 42; ret; .section .debug_info; .word test"),
        refuse(elf::R_AARCH64_ABS32, "an address",
            "test: adrp x0, a; add x0, x0, :lo12:a; ret; .data; a: .word test"),
        both(elf::R_AARCH64_ABS32, "a number", Sections, leaf(
            "ldr w0, a; sub w0, w0, 100; ret; a: .reloc ., R_AARCH64_ABS32, forty + 102; .word 0
             .globl forty; forty = 40")),
        refuse(elf::R_AARCH64_ABS16, "an address",
            "test: adrp x0, a; add x0, x0, :lo12:a; ret; .data; a: .hword test"),
        both(elf::R_AARCH64_ABS16, "a number", Sections, leaf(
            "adr x0, a; ldrh w0, [x0]; ret; a: .reloc ., R_AARCH64_ABS16, forty + 2; .hword 0; .hword 0
             .globl forty; forty = 40")),
        both(elf::R_AARCH64_PREL64, "data of the image", Sections, leaf(&format!(
            "adr x0, a; ldr x1, [x0]; ldr w0, [x0, x1]; ret; .balign 8; a: .quad number - .{NUMBER}"))),
        both(elf::R_AARCH64_PREL32, "data of the image", Sections, leaf(&format!(
            "adr x0, a; ldrsw x1, [x0]; ldr w0, [x0, x1]; ret; a: .word number - .{NUMBER}"))),
        refuse(elf::R_AARCH64_PREL32, "data of the process",
            "test: ret; .word outside_data - ."),
        both(elf::R_AARCH64_PREL16, "near by", Sections, leaf(
            "adr x0, a; ldrsh x1, [x0]; add x0, x0, x1; br x0; a: .reloc ., R_AARCH64_PREL16, b
             .hword 0, 0; .globl b; b: mov w0, 42; ret")),
        run(elf::R_AARCH64_PLT32, "a function of the process", calling(
            "mov x0, -42; adr x1, a; ldrsw x2, [x1]; add x1, x1, x2; blr x1; b 1f
             a: .reloc ., R_AARCH64_NONE, labs /*kind 314*/; .word 0; 1:")),
        both(elf::R_AARCH64_PLT32, "a function of the image", Sections, leaf(
            "adr x1, a; ldrsw x2, [x1]; add x1, x1, x2; br x1
             a: .reloc ., R_AARCH64_NONE, b /*kind 314*/; .word 0; .globl b; b: mov w0, 42; ret")),
        both(elf::R_AARCH64_LD_PREL_LO19, "data of the image, near by", Sections, leaf(
            "ldr w0, number; ret; .section .text.other,\"ax\"; .globl number, other_start
             other_start: .word 1; number: .word 42")),
        both(elf::R_AARCH64_ADR_PREL_LO21, "data of the image, near by", Sections, leaf(
            "adr x0, number; ldr w0, [x0]; ret; .section .text.other,\"ax\"; .globl number, other_start
             other_start: .word 1; number: .word 42")),
        refuse(elf::R_AARCH64_ADR_PREL_LO21, "data of the image, out of reach", leaf(&format!(
            "adr x0, number; ldr w0, [x0]{NUMBER}"))),
        refuse(elf::R_AARCH64_ADR_PREL_LO21, "at another instruction",
            "test: .reloc ., R_AARCH64_ADR_PREL_LO21, test; adrp x0, .; ret"),
        both(elf::R_AARCH64_ADR_PREL_PG_HI21, "data of the image", Sections, leaf(&format!(
            ".zero 4092; adrp x0, number; ldr w0, [x0, :lo12:number]{NUMBER}"))
            .replace("test: .zero 4092;", ".zero 4092; test:")),
        refuse(elf::R_AARCH64_ADR_PREL_PG_HI21, "data of the process",
            "test: adrp x0, outside_data; ldr w0, [x0, :lo12:outside_data]; ret"),
        both(elf::R_AARCH64_ADR_PREL_PG_HI21_NC, "data of the image", Sections, leaf(&format!(
            "adrp x0, :pg_hi21_nc:number; ldr w0, [x0, :lo12:number]{NUMBER}"))),
        both(elf::R_AARCH64_ADD_ABS_LO12_NC, "data of the image", Sections, leaf(&format!(
            "adrp x0, number; add x0, x0, :lo12:number; ldr w0, [x0]{NUMBER}"))),
        refuse(elf::R_AARCH64_LDST64_ABS_LO12_NC, "at a load of another size",
            "test: .reloc ., R_AARCH64_LDST64_ABS_LO12_NC, test; ldr w0, [x0]; ret"),
        refuse(elf::R_AARCH64_LDST64_ABS_LO12_NC, "an address that is not aligned",
            "test: adrp x0, a; ldr x0, [x0, :lo12:a]; ret; .data; .balign 8; .word 1; a: .quad 1"),
    ];
    for (kind, load) in [
        (
            elf::R_AARCH64_LDST8_ABS_LO12_NC,
            "ldrb w0, [x0, :lo12:number]",
        ),
        (
            elf::R_AARCH64_LDST16_ABS_LO12_NC,
            "ldrh w0, [x0, :lo12:number]",
        ),
        (
            elf::R_AARCH64_LDST32_ABS_LO12_NC,
            "ldr w0, [x0, :lo12:number]",
        ),
        (
            elf::R_AARCH64_LDST64_ABS_LO12_NC,
            "ldr x0, [x0, :lo12:number]",
        ),
        (
            elf::R_AARCH64_LDST128_ABS_LO12_NC,
            "ldr q0, [x0, :lo12:number]; fmov w0, s0",
        ),
    ] {
        let source = leaf(&format!("adrp x0, number; {load}{NUMBER}"));
        cases.push(both(kind, "data of the image", Sections, source));
    }
    cases
}

pub(super) fn branches() -> Vec<Case> {
    let other =
        ".section .text.other,\"ax\"; .globl other_start; other_start: nop; .globl target; target:";
    vec![
        both(elf::R_AARCH64_CALL26, "a function of the image", Sections, calling(
            "bl target; add w0, w0, 2") + &format!("; {other} mov w0, 40; ret")),
        both(elf::R_AARCH64_CALL26, "a function of the process", Stub, calling(
            "mov x0, -42; bl labs")),
        run(elf::R_AARCH64_CALL26, "a function of the image, 130 MiB away", calling(
            "bl target; add w0, w0, 2") + &format!(
            "; .section .text.a,\"ax\"; a: .zero 0x4000000; .section .text.b,\"ax\"; b: .zero 0x4200000
             {other} mov w0, 40; ret; .data; .quad a, b; .section .init_array; .quad target; .quad a; .quad b")
            .replace(".section .init_array; .quad target; .quad a; .quad b",
                ".section .rekindle.side.far,\"a\"; .balign 8; .quad a, b")),
        both(elf::R_AARCH64_JUMP26, "a function of the image", Sections, leaf("b target")
            + &format!("; {other} mov w0, 42; ret")),
        both(elf::R_AARCH64_JUMP26, "a function of the process", Stub, leaf(
            "mov x0, -42; b labs; .type labs, %function")),
        refuse(elf::R_AARCH64_CALL26, "at another instruction",
            "test: .reloc ., R_AARCH64_CALL26, test; nop; ret"),
        both(elf::R_AARCH64_CONDBR19, "code of the image", Sections, leaf(
            "cmp wzr, wzr; b.eq target; mov w0, 1; ret") + &format!("; {other} mov w0, 42; ret")),
        both(elf::R_AARCH64_CONDBR19, "code of the image, from `cbz`", Sections, leaf(
            "cbz wzr, target; mov w0, 1; ret") + &format!("; {other} mov w0, 42; ret")),
        run(elf::R_AARCH64_CONDBR19, "a function of the process", leaf(
            "mov x0, -42; cmp wzr, wzr; b.eq labs; ret; .type labs, %function")),
        refuse(elf::R_AARCH64_CONDBR19, "out of reach", leaf("b.eq target; ret") + &format!(
            "; .section .text.a,\"ax\"; a: .zero 0x100000; {other} ret; .section .rekindle.side.far,\"a\"; .quad a")),
        both(elf::R_AARCH64_TSTBR14, "code of the image", Sections, leaf(
            "tbz wzr, 3, target; mov w0, 1; ret") + &format!("; {other} mov w0, 42; ret")),
        refuse(elf::R_AARCH64_TSTBR14, "out of reach", leaf("tbz w0, 3, target; ret") + &format!(
            "; .section .text.a,\"ax\"; a: .zero 0x8000; {other} ret; .section .rekindle.side.far,\"a\"; .quad a")),
    ]
}
