//! Addresses and distances in several moves of 16 bits.

use super::{both, leaf, refuse, with};
use crate::cases::Case;
use crate::cases::Meet::Sections;
use object::elf;

pub(super) fn moves() -> Vec<Case> {
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
