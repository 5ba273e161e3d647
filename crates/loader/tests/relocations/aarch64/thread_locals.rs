//! Thread-locals that are asked for by calls: pairs and descriptors.

use super::{LOCAL, calling, leaf, refuse, run, with};
use crate::cases::Case;
use object::elf;

pub(super) fn thread_locals() -> Vec<Case> {
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
