//! The kinds of AArch64 ELF: assembled by a cross compiler, linked here for a fixed address, and run by
//! qemu in a small program (`tests/foreign/runner.c`).

use crate::cases::{Case, Meet, Proof};
use crate::foreign::Runner;
use crate::lld::{Laid, Linker, Met};
use crate::placed::Placed;
use crate::whole::Answer;
use crate::{Happened, each_kind, has_kind, link};
use object::elf;
use std::process::Command;

use Meet::{Sections, Slot, Stub};

/// What makes objects of the cases.
const ASSEMBLER: &str = "aarch64-linux-gnu-gcc";

/// Kinds that compilers emit, the tiny and the large model and all models of thread-locals included:
/// none of them may be refused altogether.
pub(crate) const EMITTED: &[u32] = &[
    elf::R_AARCH64_ABS64,
    elf::R_AARCH64_PREL64,
    elf::R_AARCH64_PREL32,
    elf::R_AARCH64_PREL16,
    elf::R_AARCH64_PLT32,
    elf::R_AARCH64_GOTPCREL32,
    elf::R_AARCH64_ADR_PREL_LO21,
    elf::R_AARCH64_ADR_PREL_PG_HI21,
    elf::R_AARCH64_ADR_PREL_PG_HI21_NC,
    elf::R_AARCH64_ADD_ABS_LO12_NC,
    elf::R_AARCH64_LDST8_ABS_LO12_NC,
    elf::R_AARCH64_LDST16_ABS_LO12_NC,
    elf::R_AARCH64_LDST32_ABS_LO12_NC,
    elf::R_AARCH64_LDST64_ABS_LO12_NC,
    elf::R_AARCH64_LDST128_ABS_LO12_NC,
    elf::R_AARCH64_LD_PREL_LO19,
    elf::R_AARCH64_CALL26,
    elf::R_AARCH64_JUMP26,
    elf::R_AARCH64_CONDBR19,
    elf::R_AARCH64_TSTBR14,
    elf::R_AARCH64_ADR_GOT_PAGE,
    elf::R_AARCH64_LD64_GOT_LO12_NC,
    elf::R_AARCH64_LD64_GOTPAGE_LO15,
    elf::R_AARCH64_GOT_LD_PREL19,
    elf::R_AARCH64_TLSGD_ADR_PREL21,
    elf::R_AARCH64_TLSGD_ADR_PAGE21,
    elf::R_AARCH64_TLSGD_ADD_LO12_NC,
    elf::R_AARCH64_TLSDESC_LD_PREL19,
    elf::R_AARCH64_TLSDESC_ADR_PREL21,
    elf::R_AARCH64_TLSDESC_ADR_PAGE21,
    elf::R_AARCH64_TLSDESC_LD64_LO12,
    elf::R_AARCH64_TLSDESC_ADD_LO12,
    elf::R_AARCH64_TLSDESC_CALL,
    elf::R_AARCH64_TLSIE_ADR_GOTTPREL_PAGE21,
    elf::R_AARCH64_TLSIE_LD64_GOTTPREL_LO12_NC,
    elf::R_AARCH64_TLSIE_LD_GOTTPREL_PREL19,
    elf::R_AARCH64_TLSLE_ADD_TPREL_HI12,
    elf::R_AARCH64_TLSLE_ADD_TPREL_LO12,
    elf::R_AARCH64_TLSLE_ADD_TPREL_LO12_NC,
];

impl Laid for Placed {
    fn address_of(&self, name: &str) -> Option<u64> {
        self.symbol(name)
    }

    fn memory(&self, address: u64, size: u64) -> Option<Vec<u8>> {
        self.bytes(address, size)
    }
}

/// Links, runs and compares one case.
pub(crate) fn try_case(case: &Case, linker: Option<&str>) -> Answer<Happened> {
    let runner = Runner::get()?;
    let folder = tempfile::tempdir()?;
    let [source, object] = ["unit.s", "unit.o"].map(|name| folder.path().join(name));
    std::fs::write(&source, format!(".globl test\n{}\n", case.source))?;
    let mut command = Command::new(ASSEMBLER);
    command.args(["-c", "-march=armv8-a"]).arg(&source);
    crate::whole::succeed(command.arg("-o").arg(&object))?;
    let mut object = std::fs::read(object)?;
    name_kinds(case.source, &mut object)?;
    if !has_kind(&object, case.kind)? {
        return Err("the assembler made another relocation of it".into());
    }
    let image = match link(&object)? {
        Ok(image) => image,
        Err(error) => return Ok(Happened::Refused(error)),
    };
    if case.proof == Proof::Refuse {
        return Err("not refused".into());
    }
    let placed = runner.place(&image)?;
    let run = || match runner.call(&placed, "test", 0)? {
        42 => Ok(()),
        other => Err(format!("it returned {other}").into()),
    };
    let compare = |meet: Meet| -> Answer<()> {
        let Some(linker) = linker else {
            return Ok(());
        };
        let met = match meet {
            Meet::Sections => Met::Sections,
            Meet::Slot => Met::Slot(placed.first_slot()),
            // The last thing in the text.
            Meet::Stub => Met::Stub(placed.base + placed.text_size - 16),
        };
        let names = ["outside_data", "outside_function", "labs"];
        let used: Vec<(&str, u64)> = names
            .into_iter()
            .filter(|name| case.source.contains(name))
            .filter_map(|name| {
                let import = placed.imports.iter().find(|import| import.name == name)?;
                Some((name, runner.resolve(import)?))
            })
            .collect();
        let linker = Linker {
            program: linker,
            emulation: "aarch64elf",
        };
        linker.compare(&object, &placed, met, &used)
    };
    match case.proof {
        Proof::Refuse => Err("not refused".into()),
        Proof::Run => run().map(|()| Happened::Ran),
        Proof::RunAndCompare(meet) => {
            run()?;
            compare(meet).map(|()| Happened::RanAndCompared)
        }
        Proof::Compare(meet) => compare(meet).map(|()| Happened::Compared),
    }
}

fn case(kind: u32, what: &'static str, proof: Proof, source: impl Into<String>) -> Case {
    Case {
        kind,
        what,
        source: source.into().leak(),
        written_as: None,
        proof,
    }
}

fn run(kind: u32, what: &'static str, source: impl Into<String>) -> Case {
    case(kind, what, Proof::Run, source)
}

fn both(kind: u32, what: &'static str, meet: Meet, source: impl Into<String>) -> Case {
    case(kind, what, Proof::RunAndCompare(meet), source)
}

fn refuse(kind: u32, what: &'static str, source: impl Into<String>) -> Case {
    case(kind, what, Proof::Refuse, source)
}

/// A function that calls others, with `body`.
fn calling(body: &str) -> String {
    format!(
        ".globl text_start; text_start: test: stp x29, x30, [sp, -16]!
         {body}
         ldp x29, x30, [sp], 16; ret
         .type labs, %function; .type __tls_get_addr, %function"
    )
}

/// A function without a frame.
fn leaf(body: &str) -> String {
    format!(".globl text_start; text_start: test: {body}")
}

/// Kinds that assemblers of today do not know, by the ends of their names. They get another one, with
/// the kind in a comment.
const UNKNOWN: &[(&str, u32)] = &[
    ("MOVW_GOTOFF_G0", elf::R_AARCH64_MOVW_GOTOFF_G0),
    ("MOVW_GOTOFF_G1_NC", elf::R_AARCH64_MOVW_GOTOFF_G1_NC),
    ("MOVW_GOTOFF_G2", elf::R_AARCH64_MOVW_GOTOFF_G2),
    ("MOVW_GOTOFF_G2_NC", elf::R_AARCH64_MOVW_GOTOFF_G2_NC),
    ("MOVW_GOTOFF_G3", elf::R_AARCH64_MOVW_GOTOFF_G3),
    ("GOTREL64", elf::R_AARCH64_GOTREL64),
    ("GOTREL32", elf::R_AARCH64_GOTREL32),
    ("PLT32", elf::R_AARCH64_PLT32),
    ("GOTPCREL32", elf::R_AARCH64_GOTPCREL32),
    ("TLSLD_MOVW_G1", elf::R_AARCH64_TLSLD_MOVW_G1),
    ("TLSLD_MOVW_G0_NC", elf::R_AARCH64_TLSLD_MOVW_G0_NC),
    ("TLSLD_LD_PREL19", elf::R_AARCH64_TLSLD_LD_PREL19),
    (
        "TLSLE_LDST128_TPREL_LO12",
        elf::R_AARCH64_TLSLE_LDST128_TPREL_LO12,
    ),
    (
        "TLSLE_LDST128_TPREL_LO12_NC",
        elf::R_AARCH64_TLSLE_LDST128_TPREL_LO12_NC,
    ),
    (
        "TLSLD_LDST128_DTPREL_LO12",
        elf::R_AARCH64_TLSLD_LDST128_DTPREL_LO12,
    ),
    (
        "TLSLD_LDST128_DTPREL_LO12_NC",
        elf::R_AARCH64_TLSLD_LDST128_DTPREL_LO12_NC,
    ),
    ("TLS_DTPMOD", elf::R_AARCH64_TLS_DTPMOD),
    ("TLS_DTPREL", elf::R_AARCH64_TLS_DTPREL),
    ("TLS_TPREL", elf::R_AARCH64_TLS_TPREL),
];

/// What stands for such a kind in the source.
const STAND_IN: u32 = elf::R_AARCH64_NONE;

/// An instruction with a relocation of this name.
fn with(kind: &str, symbol: &str, instruction: &str) -> String {
    match UNKNOWN.iter().find(|(name, _)| *name == kind) {
        Some((_, number)) => {
            format!(".reloc ., R_AARCH64_NONE, {symbol} /*kind {number}*/; {instruction}")
        }
        None => format!(".reloc ., R_AARCH64_{kind}, {symbol}; {instruction}"),
    }
}

/// Gives the stand-ins of `object` the kinds that the comments of its source have, in their order.
fn name_kinds(source: &str, object: &mut [u8]) -> Answer<()> {
    let mut kinds = source.split("/*kind ").skip(1).filter_map(|rest| {
        let (number, _) = rest.split_once("*/")?;
        number.parse::<u32>().ok()
    });
    each_kind(object, |kind| {
        if u32::from_le_bytes(*kind) == STAND_IN
            && let Some(number) = kinds.next()
        {
            *kind = number.to_le_bytes();
        }
    })
}

const NUMBER: &str =
    "; ret; .data; .globl data_start; .balign 16; data_start: .quad 1, 2; number: .quad 42, 0";

const LOCAL: &str = "; .section .tdata,\"awT\"; .globl v; .balign 16; .quad 7, 8; v: .quad 42, 0";

const FAR_LOCAL: &str =
    "; .section .tdata,\"awT\"; .globl v; .balign 16; .zero 0x12340; v: .quad 42, 0";

/// All cases, by kind.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = addresses();
    cases.extend(branches());
    cases.extend(moves());
    cases.extend(slots());
    cases.extend(thread_locals());
    cases.extend(offsets_in_blocks());
    cases.extend(distances());
    cases.extend(dynamic());
    cases.sort_by_key(|case| case.kind);
    cases
}

fn addresses() -> Vec<Case> {
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

fn branches() -> Vec<Case> {
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

fn moves() -> Vec<Case> {
    let mut cases = Vec::new();
    let number = 0x1234_5678_9abc_def0_u64;
    for (group, name, kind, unchecked) in [
        (
            0,
            "G0",
            elf::R_AARCH64_MOVW_UABS_G0,
            elf::R_AARCH64_MOVW_UABS_G0_NC,
        ),
        (
            1,
            "G1",
            elf::R_AARCH64_MOVW_UABS_G1,
            elf::R_AARCH64_MOVW_UABS_G1_NC,
        ),
        (
            2,
            "G2",
            elf::R_AARCH64_MOVW_UABS_G2,
            elf::R_AARCH64_MOVW_UABS_G2_NC,
        ),
        (3, "G3", elf::R_AARCH64_MOVW_UABS_G3, 0),
    ] {
        let shift = 16 * group;
        let source = |name: &str, value: u64| {
            leaf(&format!(
                "{}; lsr x0, x0, {shift}; mov x1, {}; sub x0, x0, x1; add x0, x0, 42; ret
                 .globl value; value = {value}",
                with(name, "value", &format!("movz x0, 0, lsl {shift}")),
                value >> shift & 0xffff
            ))
        };
        let name = format!("MOVW_UABS_{name}");
        cases.push(refuse(
            kind,
            "an address",
            leaf(&format!(
                "{}; ret",
                with(&name, "test", &format!("movz x0, 0, lsl {shift}"))
            )),
        ));
        let low = number & ((1u128 << (shift + 16)) - 1) as u64;
        cases.push(both(kind, "a number", Sections, source(&name, low)));
        if unchecked != 0 {
            let name = format!("{name}_NC");
            cases.push(both(unchecked, "a number", Sections, source(&name, number)));
        }
    }
    for (group, name, kind) in [
        (0, "G0", elf::R_AARCH64_MOVW_SABS_G0),
        (1, "G1", elf::R_AARCH64_MOVW_SABS_G1),
        (2, "G2", elf::R_AARCH64_MOVW_SABS_G2),
    ] {
        let shift = 16 * group;
        cases.push(both(
            kind,
            "a negative number",
            Sections,
            leaf(&format!(
                "{}; asr x0, x0, {shift}; add x0, x0, 47; ret; .globl value; value = {}",
                with(
                    &format!("MOVW_SABS_{name}"),
                    "value",
                    &format!("movz x0, 0, lsl {shift}")
                ),
                -5i64 << shift
            )),
        ));
    }
    for (group, name, kind, unchecked) in [
        (
            0,
            "G0",
            elf::R_AARCH64_MOVW_PREL_G0,
            elf::R_AARCH64_MOVW_PREL_G0_NC,
        ),
        (
            1,
            "G1",
            elf::R_AARCH64_MOVW_PREL_G1,
            elf::R_AARCH64_MOVW_PREL_G1_NC,
        ),
        (
            2,
            "G2",
            elf::R_AARCH64_MOVW_PREL_G2,
            elf::R_AARCH64_MOVW_PREL_G2_NC,
        ),
        (3, "G3", elf::R_AARCH64_MOVW_PREL_G3, 0),
    ] {
        let source = |name: &str| {
            // The group of the distance, and the rest of it from elsewhere.
            let bits = format!("and x2, x2, {:#x}", 0xffffu64 << (16 * group));
            leaf(&format!(
                "movz x0, 0; adr x1, here; adr x2, target; sub x2, x2, x1; mov x3, x2; {bits}
                 here: {}; sub x0, x0, x2; add x0, x0, x3; add x0, x0, x1; br x0
                 .globl target; target: mov w0, 42; ret",
                with(
                    &format!("MOVW_PREL_{name}"),
                    "target",
                    &format!(
                        "{} x0, 0, lsl {}",
                        if name.ends_with("NC") { "movk" } else { "movz" },
                        16 * group
                    )
                ),
            ))
        };
        cases.push(both(
            kind,
            "a function of the image",
            Sections,
            source(name),
        ));
        if unchecked != 0 {
            let source = source(&format!("{name}_NC"));
            cases.push(both(unchecked, "a function of the image", Sections, source));
        }
    }
    cases
}

fn slots() -> Vec<Case> {
    let pair =
        "adrp x0, :got:outside_data; ldr x0, [x0, :got_lo12:outside_data]; ldr w0, [x0]; ret";
    let own =
        |data: &str| format!("adrp x0, :got:{data}; ldr x0, [x0, :got_lo12:{data}]; ldr w0, [x0]");
    let table = "adrp x1, _GLOBAL_OFFSET_TABLE_; add x1, x1, :lo12:_GLOBAL_OFFSET_TABLE_";
    let mut cases = vec![
        both(
            elf::R_AARCH64_ADR_GOT_PAGE,
            "data of the process",
            Slot,
            leaf(pair),
        ),
        both(
            elf::R_AARCH64_LD64_GOT_LO12_NC,
            "data of the process",
            Slot,
            leaf(pair),
        ),
        run(
            elf::R_AARCH64_LD64_GOT_LO12_NC,
            "data of the image",
            leaf(&format!("{}{NUMBER}", own("number"))),
        ),
        run(
            elf::R_AARCH64_LD64_GOT_LO12_NC,
            "data of the process, with an addend",
            leaf(
                "adrp x0, :got:outside_data - 8; ldr x0, [x0, :got_lo12:outside_data - 8]; ldr w0, [x0, 8]; ret",
            ),
        ),
        both(
            elf::R_AARCH64_GOT_LD_PREL19,
            "data of the process",
            Slot,
            leaf("ldr x0, :got:outside_data; ldr w0, [x0]; ret"),
        ),
        run(
            elf::R_AARCH64_LD64_GOTPAGE_LO15,
            "data of the process",
            leaf(
                "adrp x0, _GLOBAL_OFFSET_TABLE_; ldr x0, [x0, :gotpage_lo15:outside_data]; ldr w0, [x0]; ret",
            ),
        ),
        run(
            elf::R_AARCH64_LD64_GOTOFF_LO15,
            "data of the process",
            leaf(&format!(
                "{table}; {}; ldr w0, [x0]; ret",
                with("LD64_GOTOFF_LO15", "outside_data", "ldr x0, [x1]")
            )),
        ),
        both(
            elf::R_AARCH64_GOTPCREL32,
            "data of the process",
            Slot,
            leaf(&format!(
                "adr x1, a; ldrsw x0, [x1]; ldr x0, [x0, x1]; ldr w0, [x0]; ret
             a: {}",
                with("GOTPCREL32", "outside_data", ".word 0")
            )),
        ),
        run(
            elf::R_AARCH64_GOTREL64,
            "data of the image",
            leaf(&format!(
                "{table}; ldr x0, a; ldr w0, [x0, x1]; ret; .balign 8
             a: {}{NUMBER}",
                with("GOTREL64", "number", ".quad 0")
            )),
        ),
        run(
            elf::R_AARCH64_GOTREL32,
            "data of the image",
            leaf(&format!(
                "{table}; ldrsw x0, a; ldr w0, [x0, x1]; ret
             a: {}{NUMBER}",
                with("GOTREL32", "number", ".word 0")
            )),
        ),
    ];
    for (kind, name, group) in [
        (elf::R_AARCH64_MOVW_GOTOFF_G0, "G0", 0),
        (elf::R_AARCH64_MOVW_GOTOFF_G0_NC, "G0_NC", 0),
        (elf::R_AARCH64_MOVW_GOTOFF_G1, "G1", 1),
        (elf::R_AARCH64_MOVW_GOTOFF_G1_NC, "G1_NC", 1),
        (elf::R_AARCH64_MOVW_GOTOFF_G2, "G2", 2),
        (elf::R_AARCH64_MOVW_GOTOFF_G2_NC, "G2_NC", 2),
        (elf::R_AARCH64_MOVW_GOTOFF_G3, "G3", 3),
    ] {
        // The slot lies at the table's beginning or right behind it: all groups but the first are 0.
        let instruction = match name.ends_with("NC") {
            true => format!("movk x0, 0, lsl {}", 16 * group),
            false => format!("movz x0, 0, lsl {}", 16 * group),
        };
        let low = match group {
            0 => String::new(),
            _ => "movk x0, 8".to_owned(),
        };
        cases.push(run(kind, "data of the process", leaf(&format!(
            "mov x0, 0; {table}; adrp x3, :got:labs; {}; {low}; ldr x0, [x1, x0]; ldr w0, [x0]; ret",
            with(&format!("MOVW_GOTOFF_{name}"), "outside_data", &instruction)))));
    }
    cases
}

fn thread_locals() -> Vec<Case> {
    let tail = "mrs x1, tpidr_el0; ldr w0, [x1, x0]";
    let descriptor = calling(&format!(
        "adrp x0, :tlsdesc:v; ldr x1, [x0, :tlsdesc_lo12:v]; add x0, x0, :tlsdesc_lo12:v
         .tlsdesccall v; blr x1; {tail}"
    )) + LOCAL;
    let tiny_descriptor = calling(&format!(
        "ldr x1, :tlsdesc:v; adr x0, :tlsdesc:v; .tlsdesccall v; blr x1; {tail}"
    )) + LOCAL;
    let large_descriptor = calling(&format!(
        "adrp x2, _GLOBAL_OFFSET_TABLE_; add x2, x2, :lo12:_GLOBAL_OFFSET_TABLE_
         movz x0, #:tlsdesc_off_g1:v; movk x0, #:tlsdesc_off_g0_nc:v
         {}; {}; .tlsdesccall v; blr x1; {tail}",
        with("TLSDESC_LDR", "v", "ldr x1, [x2, x0]"),
        with("TLSDESC_ADD", "v", "add x0, x2, x0")
    )) + LOCAL;
    let host = calling(&format!(
        "adrp x0, :tlsdesc:outside_local; ldr x1, [x0, :tlsdesc_lo12:outside_local]
         add x0, x0, :tlsdesc_lo12:outside_local; .tlsdesccall outside_local; blr x1; {tail}"
    ));
    let general =
        calling("adrp x0, :tlsgd:v; add x0, x0, :tlsgd_lo12:v; bl __tls_get_addr; ldr w0, [x0]")
            + LOCAL;
    let general_host = calling(
        "adrp x0, :tlsgd:outside_local; add x0, x0, :tlsgd_lo12:outside_local; bl __tls_get_addr; ldr w0, [x0]",
    );
    let local = calling(
        "adrp x0, :tlsldm:v; add x0, x0, :tlsldm_lo12_nc:v; bl __tls_get_addr
         add x0, x0, :dtprel_hi12:v, lsl 12; add x0, x0, :dtprel_lo12_nc:v; ldr w0, [x0]",
    ) + LOCAL;
    let large = |first: &str, second: &str, rest: &str| {
        calling(&format!(
            "adrp x2, _GLOBAL_OFFSET_TABLE_; add x2, x2, :lo12:_GLOBAL_OFFSET_TABLE_
         {first}; {second}; add x0, x0, x2; {rest}"
        )) + LOCAL
    };
    let large_general = large(
        "movz x0, #:tlsgd_g1:v",
        "movk x0, #:tlsgd_g0_nc:v",
        "bl __tls_get_addr; ldr w0, [x0]",
    );
    let large_local = large(
        &with("TLSLD_MOVW_G1", "v", "movz x0, 0, lsl 16"),
        &with("TLSLD_MOVW_G0_NC", "v", "movk x0, 0"),
        "bl __tls_get_addr; add x0, x0, :dtprel_lo12:v; ldr w0, [x0]",
    );
    let initial = format!(
        "adrp x0, :gottprel:outside_local; ldr x0, [x0, :gottprel_lo12:outside_local]; {tail}; ret"
    );
    let initial_own = leaf(&format!(
        "adrp x0, :gottprel:v; ldr x0, [x0, :gottprel_lo12:v]; {tail}; ret"
    )) + LOCAL;
    let large_initial = leaf(&format!(
        "adrp x2, _GLOBAL_OFFSET_TABLE_; add x2, x2, :lo12:_GLOBAL_OFFSET_TABLE_
         movz x0, #:gottprel_g1:outside_local; movk x0, #:gottprel_g0_nc:outside_local
         ldr x0, [x2, x0]; {tail}; ret"
    ));
    let own = "a thread-local of the image";
    let theirs = "a thread-local of the process";
    vec![
        run(
            elf::R_AARCH64_TLSGD_ADR_PREL21,
            own,
            calling("adr x0, :tlsgd:v; bl __tls_get_addr; ldr w0, [x0]") + LOCAL,
        ),
        run(elf::R_AARCH64_TLSGD_ADR_PAGE21, own, general.clone()),
        run(elf::R_AARCH64_TLSGD_ADR_PAGE21, theirs, general_host),
        run(elf::R_AARCH64_TLSGD_ADD_LO12_NC, own, general),
        run(elf::R_AARCH64_TLSGD_MOVW_G1, own, large_general.clone()),
        run(elf::R_AARCH64_TLSGD_MOVW_G0_NC, own, large_general),
        run(
            elf::R_AARCH64_TLSLD_ADR_PREL21,
            own,
            calling(
                "adr x0, :tlsldm:v; bl __tls_get_addr; add x0, x0, :dtprel_lo12:v; ldr w0, [x0]",
            ) + LOCAL,
        ),
        run(elf::R_AARCH64_TLSLD_ADR_PAGE21, own, local.clone()),
        run(elf::R_AARCH64_TLSLD_ADD_LO12_NC, own, local),
        run(elf::R_AARCH64_TLSLD_MOVW_G1, own, large_local.clone()),
        run(elf::R_AARCH64_TLSLD_MOVW_G0_NC, own, large_local),
        run(
            elf::R_AARCH64_TLSLD_LD_PREL19,
            "the number of the image",
            calling(&format!(
                "{}; add w0, w0, 41",
                with("TLSLD_LD_PREL19", "v", "ldr x0, .")
            )) + LOCAL,
        ),
        run(
            elf::R_AARCH64_TLSIE_ADR_GOTTPREL_PAGE21,
            theirs,
            leaf(&initial),
        ),
        refuse(
            elf::R_AARCH64_TLSIE_ADR_GOTTPREL_PAGE21,
            own,
            initial_own.clone(),
        ),
        run(
            elf::R_AARCH64_TLSIE_LD64_GOTTPREL_LO12_NC,
            theirs,
            leaf(&initial),
        ),
        run(
            elf::R_AARCH64_TLSIE_LD_GOTTPREL_PREL19,
            theirs,
            leaf(&format!("ldr x0, :gottprel:outside_local; {tail}; ret")),
        ),
        run(
            elf::R_AARCH64_TLSIE_MOVW_GOTTPREL_G1,
            theirs,
            large_initial.clone(),
        ),
        run(
            elf::R_AARCH64_TLSIE_MOVW_GOTTPREL_G0_NC,
            theirs,
            large_initial,
        ),
        run(
            elf::R_AARCH64_TLSDESC_LD_PREL19,
            own,
            tiny_descriptor.clone(),
        ),
        run(elf::R_AARCH64_TLSDESC_ADR_PREL21, own, tiny_descriptor),
        run(elf::R_AARCH64_TLSDESC_ADR_PAGE21, own, descriptor.clone()),
        run(elf::R_AARCH64_TLSDESC_ADR_PAGE21, theirs, host),
        run(elf::R_AARCH64_TLSDESC_LD64_LO12, own, descriptor.clone()),
        run(elf::R_AARCH64_TLSDESC_ADD_LO12, own, descriptor.clone()),
        run(elf::R_AARCH64_TLSDESC_CALL, own, descriptor),
        run(elf::R_AARCH64_TLSDESC_OFF_G1, own, large_descriptor.clone()),
        run(
            elf::R_AARCH64_TLSDESC_OFF_G0_NC,
            own,
            large_descriptor.clone(),
        ),
        run(elf::R_AARCH64_TLSDESC_LDR, own, large_descriptor.clone()),
        run(elf::R_AARCH64_TLSDESC_ADD, own, large_descriptor),
        refuse(
            elf::R_AARCH64_ADR_PREL_PG_HI21,
            "a thread-local, as if it were none",
            leaf("adrp x0, v; add x0, x0, :lo12:v; ret") + LOCAL,
        ),
    ]
}

/// The block of the image, then `rest`, which makes 42 of it.
fn from_block(rest: &str, local: &str) -> String {
    calling(&format!(
        "adrp x0, :tlsldm:v; add x0, x0, :tlsldm_lo12_nc:v; bl __tls_get_addr; mov x1, x0; {rest}"
    )) + local
}

fn offsets_in_blocks() -> Vec<Case> {
    let what = "a thread-local of the image";
    let moved = |first: &str, second: &str, third: &str, local| {
        from_block(
            &format!("mov x0, 0; {first}; {second}; {third}; ldr w0, [x1, x0]"),
            local,
        )
    };
    let far = |first: &str, second: &str| moved(first, second, "nop", FAR_LOCAL);
    let g1 = "movz x0, #:dtprel_g1:v";
    let g0 = "movk x0, #:dtprel_g0_nc:v";
    let high = "add x0, x1, :dtprel_hi12:v, lsl 12";
    let mut cases = vec![
        run(
            elf::R_AARCH64_TLSLD_MOVW_DTPREL_G2,
            what,
            moved(
                "movz x0, #:dtprel_g2:v",
                "movk x0, #:dtprel_g1_nc:v",
                g0,
                FAR_LOCAL,
            ),
        ),
        run(elf::R_AARCH64_TLSLD_MOVW_DTPREL_G1, what, far(g1, g0)),
        run(
            elf::R_AARCH64_TLSLD_MOVW_DTPREL_G1_NC,
            what,
            moved(
                "movz x0, #:dtprel_g2:v",
                "movk x0, #:dtprel_g1_nc:v",
                g0,
                FAR_LOCAL,
            ),
        ),
        run(
            elf::R_AARCH64_TLSLD_MOVW_DTPREL_G0,
            what,
            moved("movz x0, #:dtprel_g0:v", "nop", "nop", LOCAL),
        ),
        refuse(
            elf::R_AARCH64_TLSLD_MOVW_DTPREL_G0,
            "too far in its block",
            moved("movz x0, #:dtprel_g0:v", "nop", "nop", FAR_LOCAL),
        ),
        run(elf::R_AARCH64_TLSLD_MOVW_DTPREL_G0_NC, what, far(g1, g0)),
        run(
            elf::R_AARCH64_TLSLD_ADD_DTPREL_HI12,
            what,
            from_block(
                &format!("{high}; add x0, x0, :dtprel_lo12_nc:v; ldr w0, [x0]"),
                FAR_LOCAL,
            ),
        ),
        run(
            elf::R_AARCH64_TLSLD_ADD_DTPREL_LO12,
            what,
            from_block("add x0, x1, :dtprel_lo12:v; ldr w0, [x0]", LOCAL),
        ),
        refuse(
            elf::R_AARCH64_TLSLD_ADD_DTPREL_LO12,
            "too far in its block",
            from_block("add x0, x1, :dtprel_lo12:v; ldr w0, [x0]", FAR_LOCAL),
        ),
        run(
            elf::R_AARCH64_TLSLD_ADD_DTPREL_LO12_NC,
            what,
            from_block(
                &format!("{high}; add x0, x0, :dtprel_lo12_nc:v; ldr w0, [x0]"),
                FAR_LOCAL,
            ),
        ),
        refuse(
            elf::R_AARCH64_TLSLD_ADD_DTPREL_LO12,
            "a thread-local of the process",
            calling(&with(
                "TLSLD_ADD_DTPREL_LO12",
                "outside_local",
                "add x0, x1, 0",
            )),
        ),
    ];
    for (kind, size, load) in [
        (elf::R_AARCH64_TLSLD_LDST8_DTPREL_LO12, 8, "ldrb w0"),
        (elf::R_AARCH64_TLSLD_LDST16_DTPREL_LO12, 16, "ldrh w0"),
        (elf::R_AARCH64_TLSLD_LDST32_DTPREL_LO12, 32, "ldr w0"),
        (elf::R_AARCH64_TLSLD_LDST64_DTPREL_LO12, 64, "ldr x0"),
        (elf::R_AARCH64_TLSLD_LDST128_DTPREL_LO12, 128, "ldr q0"),
    ] {
        let name = format!("TLSLD_LDST{size}_DTPREL_LO12");
        let last = if size == 128 { "; fmov w0, s0" } else { "" };
        let near = format!("{}{last}", with(&name, "v", &format!("{load}, [x1]")));
        cases.push(run(kind, what, from_block(&near, LOCAL)));
        let unchecked = with(&format!("{name}_NC"), "v", &format!("{load}, [x0]"));
        cases.push(run(
            kind + 1,
            what,
            from_block(&format!("{high}; {unchecked}{last}"), FAR_LOCAL),
        ));
    }
    cases
}

/// The models of programs, against the runner's own thread-local.
fn distances() -> Vec<Case> {
    let what = "a thread-local of the process";
    let moved = |code: &str| {
        leaf(&format!(
            "mrs x1, tpidr_el0; mov x0, 0; {code}; ldr w0, [x1, x0]; ret"
        ))
    };
    let v = "outside_local";
    let g2 = format!("movz x0, #:tprel_g2:{v}");
    let g1 = format!("movk x0, #:tprel_g1_nc:{v}");
    let g0 = format!("movk x0, #:tprel_g0_nc:{v}");
    let high = format!("mrs x0, tpidr_el0; add x0, x0, :tprel_hi12:{v}, lsl 12");
    let mut cases = vec![
        run(
            elf::R_AARCH64_TLSLE_MOVW_TPREL_G2,
            what,
            moved(&format!("{g2}; {g1}; {g0}")),
        ),
        run(
            elf::R_AARCH64_TLSLE_MOVW_TPREL_G1,
            what,
            moved(&format!("movz x0, #:tprel_g1:{v}; {g0}")),
        ),
        run(
            elf::R_AARCH64_TLSLE_MOVW_TPREL_G1_NC,
            what,
            moved(&format!("{g2}; {g1}; {g0}")),
        ),
        run(
            elf::R_AARCH64_TLSLE_MOVW_TPREL_G0,
            what,
            moved(&format!("movz x0, #:tprel_g0:{v}")),
        ),
        run(
            elf::R_AARCH64_TLSLE_MOVW_TPREL_G0_NC,
            what,
            moved(&format!("{g2}; {g1}; {g0}")),
        ),
        run(
            elf::R_AARCH64_TLSLE_ADD_TPREL_HI12,
            what,
            leaf(&format!(
                "{high}; add x0, x0, :tprel_lo12_nc:{v}; ldr w0, [x0]; ret"
            )),
        ),
        refuse(
            elf::R_AARCH64_TLSLE_ADD_TPREL_HI12,
            "a thread-local of the image",
            leaf("mrs x0, tpidr_el0; add x0, x0, :tprel_hi12:v, lsl 12; ret") + LOCAL,
        ),
        refuse(
            elf::R_AARCH64_TLSLE_ADD_TPREL_HI12,
            "with an addend",
            leaf(&format!(
                "mrs x0, tpidr_el0; add x0, x0, :tprel_hi12:{v} + 4, lsl 12; ret"
            )),
        ),
        run(
            elf::R_AARCH64_TLSLE_ADD_TPREL_LO12,
            what,
            leaf(&format!(
                "mrs x0, tpidr_el0; add x0, x0, :tprel_lo12:{v}; ldr w0, [x0]; ret"
            )),
        ),
        run(
            elf::R_AARCH64_TLSLE_ADD_TPREL_LO12_NC,
            what,
            leaf(&format!(
                "{high}; add x0, x0, :tprel_lo12_nc:{v}; ldr w0, [x0]; ret"
            )),
        ),
    ];
    for (kind, unchecked, size, load) in [
        (
            elf::R_AARCH64_TLSLE_LDST8_TPREL_LO12,
            elf::R_AARCH64_TLSLE_LDST8_TPREL_LO12_NC,
            8,
            "ldrb w0",
        ),
        (
            elf::R_AARCH64_TLSLE_LDST16_TPREL_LO12,
            elf::R_AARCH64_TLSLE_LDST16_TPREL_LO12_NC,
            16,
            "ldrh w0",
        ),
        (
            elf::R_AARCH64_TLSLE_LDST32_TPREL_LO12,
            elf::R_AARCH64_TLSLE_LDST32_TPREL_LO12_NC,
            32,
            "ldr w0",
        ),
        (
            elf::R_AARCH64_TLSLE_LDST64_TPREL_LO12,
            elf::R_AARCH64_TLSLE_LDST64_TPREL_LO12_NC,
            64,
            "ldr x0",
        ),
        (
            elf::R_AARCH64_TLSLE_LDST128_TPREL_LO12,
            elf::R_AARCH64_TLSLE_LDST128_TPREL_LO12_NC,
            128,
            "ldr q0",
        ),
    ] {
        let name = format!("TLSLE_LDST{size}_TPREL_LO12");
        let last = if size == 128 { "; fmov w0, s0" } else { "" };
        let load = format!("{load}, [x0]");
        cases.push(run(
            kind,
            what,
            leaf(&format!(
                "mrs x0, tpidr_el0; {}{last}; and w0, w0, 0xff; ret",
                with(&name, v, &load)
            )),
        ));
        cases.push(run(
            unchecked,
            what,
            leaf(&format!(
                "{high}; {}{last}; and w0, w0, 0xff; ret",
                with(&format!("{name}_NC"), v, &load)
            )),
        ));
    }
    cases
}

/// Kinds for dynamic linkers, of which some say in data what code says otherwise.
fn dynamic() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        (elf::R_AARCH64_COPY, "COPY"),
        (elf::R_AARCH64_GLOB_DAT, "GLOB_DAT"),
        (elf::R_AARCH64_JUMP_SLOT, "JUMP_SLOT"),
        (elf::R_AARCH64_RELATIVE, "RELATIVE"),
        (elf::R_AARCH64_TLSDESC, "TLSDESC"),
        (elf::R_AARCH64_IRELATIVE, "IRELATIVE"),
    ]
    .into_iter()
    .map(|(kind, name)| {
        let source = format!("test: ret; .balign 8; {}", with(name, "test", ".quad 0, 0"));
        refuse(kind, "for dynamic linkers", source)
    })
    .collect();
    let pair = calling("adrp x0, pair; add x0, x0, :lo12:pair; bl __tls_get_addr; ldr w0, [x0]")
        + &format!(
            "; .data; .balign 16; pair: {}; {}{LOCAL}",
            with("TLS_DTPMOD", "v", ".quad 0"),
            with("TLS_DTPREL", "v", ".quad 0")
        );
    cases.extend([
        run(
            elf::R_AARCH64_TLS_DTPMOD,
            "the image, as a word of data",
            pair.clone(),
        ),
        run(
            elf::R_AARCH64_TLS_DTPREL,
            "a thread-local's offset, as a word of data",
            pair,
        ),
        run(
            elf::R_AARCH64_TLS_TPREL,
            "a thread-local of the process, as a word of data",
            leaf(&format!(
                "mrs x0, tpidr_el0; adrp x1, a; ldr x1, [x1, :lo12:a]; ldr w0, [x0, x1]; ret
             .data; .balign 8; a: {}",
                with("TLS_TPREL", "outside_local", ".quad 0")
            )),
        ),
    ]);
    cases
}
