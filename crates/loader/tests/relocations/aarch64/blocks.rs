//! Offsets of thread-locals in the block of their image.

use super::{FAR_LOCAL, LOCAL, calling, refuse, run, with};
use crate::cases::Case;
use object::elf;

/// The block of the image, then `rest`, which makes 42 of it.
fn from_block(rest: &str, local: &str) -> String {
    calling(&format!(
        "adrp x0, :tlsldm:v; add x0, x0, :tlsldm_lo12_nc:v; bl __tls_get_addr; mov x1, x0; {rest}"
    )) + local
}

pub(super) fn offsets_in_blocks() -> Vec<Case> {
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
