//! Kinds for dynamic linkers.

use super::{LOCAL, calling, leaf, refuse, run, with};
use crate::cases::Case;
use object::elf;

/// Kinds for dynamic linkers, of which some say in data what code says otherwise.
pub(super) fn dynamic() -> Vec<Case> {
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
