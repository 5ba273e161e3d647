//! The kinds of AArch64 ELF: assembled by a cross compiler, linked here for a fixed address, and run by
//! qemu in a small program (`tests/foreign/runner.c`).

mod addresses;
mod blocks;
mod distances;
mod dynamic;
mod moves;
mod slots;
mod thread_locals;

use crate::cases::{Case, Meet, Proof};
use crate::foreign::Runner;
use crate::lld::{Laid, Linker, Met};
use crate::placed::Placed;
use crate::whole::Answer;
use crate::{Happened, each_kind, has_kind, link};
use object::elf;
use std::process::Command;

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
    let mut cases = addresses::addresses();
    cases.extend(addresses::branches());
    cases.extend(moves::moves());
    cases.extend(slots::slots());
    cases.extend(thread_locals::thread_locals());
    cases.extend(blocks::offsets_in_blocks());
    cases.extend(distances::distances());
    cases.extend(dynamic::dynamic());
    cases.sort_by_key(|case| case.kind);
    cases
}
