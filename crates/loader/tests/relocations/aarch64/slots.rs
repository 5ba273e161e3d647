//! What goes through slots, by all the ways to reach one.

use super::{NUMBER, both, leaf, run, with};
use crate::cases::Case;
use crate::cases::Meet::Slot;
use object::elf;

pub(super) fn slots() -> Vec<Case> {
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
