//! Distances of thread-locals from the thread pointer: the models of programs.

use super::{LOCAL, leaf, refuse, run, with};
use crate::cases::Case;
use object::elf;

/// The models of programs, against the runner's own thread-local.
pub(super) fn distances() -> Vec<Case> {
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
