//! The relocations of x86-64.
//!
//! What is particular about this machine:
//!
//! - Code reaches for things by 32-bit offsets from the *end* of an instruction. The field is four bytes
//!   before that end as a rule, hence the addend -4; it is not when an immediate follows.
//! - `PLT32` says "a branch, anything that jumps there will do", `PC32` says "this very address". For
//!   a symbol from outside the former gets a stub. Old assemblers wrote `PC32` for branches, too, so
//!   the opcode in front of the field decides there.
//! - `GOTPCRELX` and `REX_GOTPCRELX` promise that the field belongs to one of a few instructions, which
//!   a linker may rewrite to do without the slot (psABI, "Optimize GOTPCRELX relocations"):
//!
//!   | before | after |
//!   | --- | --- |
//!   | `[rex] 8b /r` `mov foo@GOTPCREL(%rip), %r` | `[rex] 8d /r` `lea foo(%rip), %r` |
//!   | `ff 15` `call *foo@GOTPCREL(%rip)` | `67 e8` `addr32 call foo` |
//!   | `ff 25` `jmp *foo@GOTPCREL(%rip)` | `e9 .. 90` `jmp foo; nop`, its field one byte earlier |
//!
//!   All others, and plain `GOTPCREL`, which promises nothing, keep the slot.
//! - An image's parts are within 1 GiB of each other, so offsets inside an image fit unless an addend
//!   is absurd.

use super::read::{Input, Rela, Symbol, SymbolKind, Value, bad, text};
use super::sections::{Section, SectionKind};
use crate::error::LinkError;
use object::LittleEndian as LE;
use object::elf;

/// A relocation, understood.
pub(super) struct Reference<'a> {
    pub(super) symbol: Symbol<'a>,
    pub(super) symbol_index: u32,
    /// The ABI's name of its kind.
    pub(super) relocation: &'static str,
    pub(super) offset: u64,
    pub(super) addend: i64,
    pub(super) action: Action,
}

/// How a reference is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Eight bytes with an address.
    Address,
    /// Four bytes with a distance.
    Distance32(To, Rewrite),
    /// Eight bytes with a distance.
    Distance64,
}

/// What a reference leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Symbol,
    Slot,
    Stub,
}

/// How the instruction around a field changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rewrite {
    None,
    LoadToAddress,
    Call,
    Jump,
}

impl Reference<'_> {
    /// What this reference needs beside its symbol.
    pub(super) fn to(&self) -> To {
        match self.action {
            Action::Distance32(to, _) => to,
            Action::Address | Action::Distance64 => To::Symbol,
        }
    }
}

/// Says what a relocation of `section` asks for, or why it cannot be had. `None` if for nothing.
pub(super) fn classify<'a>(
    input: &Input<'a>,
    section_index: usize,
    relocation: &Rela,
) -> Result<Option<Reference<'a>>, LinkError> {
    let kind = relocation.r_type(LE, false);
    if kind == elf::R_X86_64_NONE {
        return Ok(None);
    }
    let section = input.section(section_index)?;
    let offset = relocation.r_offset.get(LE);
    let addend = relocation.r_addend.get(LE);
    let symbol_index = relocation.r_sym(LE, false);
    let symbol = input.symbol(symbol_index)?;
    let site = || input.site(section_index, offset, &symbol);
    let relocation = name(kind);

    let width = match kind {
        elf::R_X86_64_64 | elf::R_X86_64_PC64 => 8,
        _ => 4,
    };
    let end = offset.checked_add(width);
    if end.is_none_or(|end| end > section.bytes.len() as u64) {
        return Err(bad(
            "a relocation outside its section",
            format!("{}+{offset:#x}", text(section.name)),
        ));
    }
    if is_thread_local(kind) || symbol.kind == SymbolKind::ThreadLocal {
        let site = site();
        return Err(LinkError::ThreadLocal { relocation, site });
    }
    if symbol.kind == SymbolKind::IndirectFunction {
        return Err(LinkError::IndirectFunction { site: site() });
    }

    let place = Field {
        section,
        offset,
        addend,
    };
    let action = match kind {
        elf::R_X86_64_64 => {
            let constant = matches!(symbol.value, Value::Absolute(_));
            if section.kind == SectionKind::Text && !constant {
                let site = site();
                return Err(LinkError::NotPositionIndependent { relocation, site });
            }
            Action::Address
        }
        elf::R_X86_64_PC64 if is_inside(symbol.value) => Action::Distance64,
        elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 if is_inside(symbol.value) => {
            Action::Distance32(To::Symbol, Rewrite::None)
        }
        elf::R_X86_64_PLT32 if symbol.value == Value::Undefined => {
            Action::Distance32(To::Stub, Rewrite::None)
        }
        elf::R_X86_64_PC32 if symbol.value == Value::Undefined && place.is_branch() => {
            Action::Distance32(To::Stub, Rewrite::None)
        }
        elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 | elf::R_X86_64_PC64 => {
            let site = site();
            return Err(LinkError::DirectReference { relocation, site });
        }
        elf::R_X86_64_GOTPCRELX | elf::R_X86_64_REX_GOTPCRELX if is_inside(symbol.value) => {
            match place.rewrite(kind) {
                Rewrite::None => Action::Distance32(To::Slot, Rewrite::None),
                rewrite => Action::Distance32(To::Symbol, rewrite),
            }
        }
        elf::R_X86_64_GOTPCREL
        | elf::R_X86_64_GOTPCRELX
        | elf::R_X86_64_REX_GOTPCRELX
        | elf::R_X86_64_CODE_4_GOTPCRELX => Action::Distance32(To::Slot, Rewrite::None),
        elf::R_X86_64_32 | elf::R_X86_64_32S | elf::R_X86_64_16 | elf::R_X86_64_8 => {
            let site = site();
            return Err(LinkError::NotPositionIndependent { relocation, site });
        }
        _ => {
            return Err(LinkError::UnsupportedRelocation {
                relocation,
                kind,
                site: site(),
            });
        }
    };
    Ok(Some(Reference {
        symbol,
        symbol_index,
        relocation,
        offset,
        addend,
        action,
    }))
}

/// Whether a symbol has a place in the image.
fn is_inside(value: Value) -> bool {
    match value {
        Value::Defined { .. } | Value::Common { .. } | Value::Handle => true,
        Value::Absolute(_) | Value::Undefined => false,
    }
}

struct Field<'s, 'a> {
    section: &'s Section<'a>,
    offset: u64,
    addend: i64,
}

impl Field<'_, '_> {
    /// The byte that lies `distance` before the field.
    fn before(&self, distance: u64) -> Option<u8> {
        let at = usize::try_from(self.offset.checked_sub(distance)?).ok()?;
        self.section.bytes.get(at).copied()
    }

    /// Whether the field is that of a call, a jump or a conditional jump.
    fn is_branch(&self) -> bool {
        let ends_the_instruction = self.section.kind == SectionKind::Text && self.addend == -4;
        let opcode = self.before(1);
        let is_jcc = self.before(2) == Some(0x0f) && matches!(opcode, Some(0x80..=0x8f));
        ends_the_instruction && (matches!(opcode, Some(0xe8 | 0xe9)) || is_jcc)
    }

    /// How the instruction can do without its slot.
    fn rewrite(&self, kind: u32) -> Rewrite {
        // Another addend: an immediate follows, or a word other than the slot's own is wanted.
        if self.section.kind != SectionKind::Text || self.addend != -4 {
            return Rewrite::None;
        }
        let is_rip_relative = |modrm: u8| modrm & 0xc7 == 0x05;
        match (self.before(2), self.before(1)) {
            (Some(0x8b), Some(modrm)) if is_rip_relative(modrm) => Rewrite::LoadToAddress,
            // A REX prefix in front of these would come to stand before `67`, and be lost.
            (Some(0xff), Some(0x15)) if kind == elf::R_X86_64_GOTPCRELX => Rewrite::Call,
            (Some(0xff), Some(0x25)) if kind == elf::R_X86_64_GOTPCRELX => Rewrite::Jump,
            _ => Rewrite::None,
        }
    }
}

/// Changes an instruction, given with the two bytes before its field, to do without its slot.
/// `distance` is what its field would hold. `None` if that does not fit.
pub(super) fn rewrite(rewrite: Rewrite, instruction: &mut [u8; 6], distance: i64) -> Option<()> {
    let field = |distance: i64| i32::try_from(distance).ok().map(i32::to_le_bytes);
    let [_, modrm, ..] = *instruction;
    *instruction = match rewrite {
        Rewrite::None => return None,
        Rewrite::LoadToAddress => {
            let [a, b, c, d] = field(distance)?;
            [0x8d, modrm, a, b, c, d]
        }
        Rewrite::Call => {
            let [a, b, c, d] = field(distance)?;
            [0x67, 0xe8, a, b, c, d]
        }
        Rewrite::Jump => {
            // The instruction ends one byte earlier, so the distance is one more.
            let [a, b, c, d] = field(distance.wrapping_add(1))?;
            [0xe9, a, b, c, d, 0x90]
        }
    };
    Some(())
}

/// A stub whose slot begins `distance` bytes after its own beginning.
pub(super) fn stub(distance: i32) -> [u8; 8] {
    // jmp *slot(%rip), which counts from the end of its six bytes.
    let [a, b, c, d] = distance.wrapping_sub(6).to_le_bytes();
    [0xff, 0x25, a, b, c, d, 0xcc, 0xcc]
}

/// What fills the space between functions: a trap.
pub(super) const FILLER: u8 = 0xcc;

fn is_thread_local(kind: u32) -> bool {
    matches!(
        kind,
        elf::R_X86_64_DTPMOD64
            ..=elf::R_X86_64_TPOFF32
            | elf::R_X86_64_GOTPC32_TLSDESC
            ..=elf::R_X86_64_TLSDESC
            | elf::R_X86_64_CODE_4_GOTTPOFF
            | elf::R_X86_64_CODE_4_GOTPC32_TLSDESC
            | elf::R_X86_64_CODE_5_GOTTPOFF
            | elf::R_X86_64_CODE_5_GOTPC32_TLSDESC
            | elf::R_X86_64_CODE_6_GOTTPOFF
            | elf::R_X86_64_CODE_6_GOTPC32_TLSDESC
    )
}

/// The ABI's name of a kind of relocation.
fn name(kind: u32) -> &'static str {
    match kind {
        elf::R_X86_64_64 => "R_X86_64_64",
        elf::R_X86_64_PC32 => "R_X86_64_PC32",
        elf::R_X86_64_GOT32 => "R_X86_64_GOT32",
        elf::R_X86_64_PLT32 => "R_X86_64_PLT32",
        elf::R_X86_64_GOTPCREL => "R_X86_64_GOTPCREL",
        elf::R_X86_64_32 => "R_X86_64_32",
        elf::R_X86_64_32S => "R_X86_64_32S",
        elf::R_X86_64_16 => "R_X86_64_16",
        elf::R_X86_64_PC16 => "R_X86_64_PC16",
        elf::R_X86_64_8 => "R_X86_64_8",
        elf::R_X86_64_PC8 => "R_X86_64_PC8",
        elf::R_X86_64_DTPMOD64 => "R_X86_64_DTPMOD64",
        elf::R_X86_64_DTPOFF64 => "R_X86_64_DTPOFF64",
        elf::R_X86_64_TPOFF64 => "R_X86_64_TPOFF64",
        elf::R_X86_64_TLSGD => "R_X86_64_TLSGD",
        elf::R_X86_64_TLSLD => "R_X86_64_TLSLD",
        elf::R_X86_64_DTPOFF32 => "R_X86_64_DTPOFF32",
        elf::R_X86_64_GOTTPOFF => "R_X86_64_GOTTPOFF",
        elf::R_X86_64_TPOFF32 => "R_X86_64_TPOFF32",
        elf::R_X86_64_PC64 => "R_X86_64_PC64",
        elf::R_X86_64_GOTOFF64 => "R_X86_64_GOTOFF64",
        elf::R_X86_64_GOTPC32 => "R_X86_64_GOTPC32",
        elf::R_X86_64_GOT64 => "R_X86_64_GOT64",
        elf::R_X86_64_GOTPCREL64 => "R_X86_64_GOTPCREL64",
        elf::R_X86_64_GOTPC64 => "R_X86_64_GOTPC64",
        elf::R_X86_64_PLTOFF64 => "R_X86_64_PLTOFF64",
        elf::R_X86_64_SIZE32 => "R_X86_64_SIZE32",
        elf::R_X86_64_SIZE64 => "R_X86_64_SIZE64",
        elf::R_X86_64_GOTPC32_TLSDESC => "R_X86_64_GOTPC32_TLSDESC",
        elf::R_X86_64_TLSDESC_CALL => "R_X86_64_TLSDESC_CALL",
        elf::R_X86_64_TLSDESC => "R_X86_64_TLSDESC",
        elf::R_X86_64_GOTPCRELX => "R_X86_64_GOTPCRELX",
        elf::R_X86_64_REX_GOTPCRELX => "R_X86_64_REX_GOTPCRELX",
        elf::R_X86_64_CODE_4_GOTPCRELX => "R_X86_64_CODE_4_GOTPCRELX",
        _ => "of an unknown name",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of an instruction whose last six bytes are `before`, then a field.
    fn rewritten(how: Rewrite, before: [u8; 2], distance: i64) -> Option<[u8; 6]> {
        let [a, b] = before;
        let mut instruction = [a, b, 0, 0, 0, 0];
        rewrite(how, &mut instruction, distance).map(|()| instruction)
    }

    #[test]
    fn instructions_reach_as_far_as_their_fields() {
        let most = i64::from(i32::MAX);
        let least = i64::from(i32::MIN);
        let load = |distance| rewritten(Rewrite::LoadToAddress, [0x8b, 0x3d], distance);
        assert_eq!(load(0x1234), Some([0x8d, 0x3d, 0x34, 0x12, 0, 0]));
        assert_eq!(load(most), Some([0x8d, 0x3d, 0xff, 0xff, 0xff, 0x7f]));
        assert_eq!(load(least - 1), None);

        let call = |distance| rewritten(Rewrite::Call, [0xff, 0x15], distance);
        assert_eq!(call(-6), Some([0x67, 0xe8, 0xfa, 0xff, 0xff, 0xff]));
        assert_eq!(call(least), Some([0x67, 0xe8, 0, 0, 0, 0x80]));
        assert_eq!(call(most + 1), None);

        // Its field moves down by a byte, and so does its reach.
        let jump = |distance| rewritten(Rewrite::Jump, [0xff, 0x25], distance);
        assert_eq!(jump(-6), Some([0xe9, 0xfb, 0xff, 0xff, 0xff, 0x90]));
        assert_eq!(jump(-1), Some([0xe9, 0, 0, 0, 0, 0x90]));
        assert_eq!(jump(most - 1), Some([0xe9, 0xff, 0xff, 0xff, 0x7f, 0x90]));
        assert_eq!(jump(most), None);
        assert_eq!(jump(least - 1), Some([0xe9, 0, 0, 0, 0x80, 0x90]));
    }

    #[test]
    fn a_stub_jumps_through_its_slot() {
        assert_eq!(stub(8), [0xff, 0x25, 2, 0, 0, 0, 0xcc, 0xcc]);
    }

    #[test]
    fn thread_local_kinds_are_known() {
        let kinds: Vec<u32> = (0..52).filter(|kind| is_thread_local(*kind)).collect();
        let expected = (16..=23).chain(34..=36).chain([44, 45, 47, 48, 50, 51]);
        assert_eq!(kinds, expected.collect::<Vec<_>>());
    }
}
