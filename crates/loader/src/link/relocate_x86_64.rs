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
//!   All others, and plain `GOTPCREL`, which promises nothing, keep the slot. APX has kinds of its own
//!   for its longer prefixes; `CODE_4` is a load with a REX2 prefix, which stays as it is.
//! - The large model counts from the beginning of the slots, `_GLOBAL_OFFSET_TABLE_`: its `GOT` kinds are
//!   distances from there to a slot, its `GOTOFF` and `PLTOFF` kinds to a symbol.
//! - A thread-local of the object itself has no fixed distance from the thread pointer, as its block
//!   is made when a thread first asks for it. One of the host may have; that is known at load.
//! - An image's parts are within 1 GiB of each other, so offsets inside an image fit unless an addend
//!   is absurd.

use super::borrowed::{self, Borrowing};
use super::instructions_x86_64::{Range, Rewrite};
use super::kinds_x86_64::name;
use super::read::{Binding, Input, Rela, Symbol, SymbolKind, Value, bad, text};
use super::sections::{Section, SectionKind};
use super::thread_locals_x86_64::is_thread_local;
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
    /// Bytes of the field.
    pub(super) width: u64,
    pub(super) addend: i64,
    pub(super) action: Action,
}

/// How a reference is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Eight bytes that are complete when the image is loaded.
    Word(Word),
    /// Four bytes with a host's thread-local's distance from the thread pointer, complete at load.
    NarrowOffset,
    /// A value that is known when the image is linked: `to + addend - from`.
    Field {
        to: To,
        from: From,
        range: Range,
        rewrite: Rewrite,
    },
}

/// What a word holds in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Word {
    Address,
    /// The module of a thread-local.
    ThreadModule,
    /// A thread-local's offset in its module's block.
    ThreadOffset,
    /// A thread-local's distance from the thread pointer.
    PointerOffset,
}

/// What a reference leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Symbol,
    Slot,
    Stub,
    /// A veneer of this reference's own.
    Veneer,
    /// The slot of a distance from the thread pointer.
    OffsetSlot,
    Pair,
    OwnPair,
    Descriptor,
    /// Where a thread-local lies in its block.
    ThreadOffset,
    SlotTable,
    /// The symbol's size.
    Size,
}

/// What a value counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The field itself.
    Place,
    SlotTable,
    Zero,
}

/// Bytes of a kind's field; unknown kinds are refused later, whatever this says.
fn width(kind: u32) -> u64 {
    match kind {
        elf::R_X86_64_64
        | elf::R_X86_64_PC64
        | elf::R_X86_64_GOT64
        | elf::R_X86_64_GOTOFF64
        | elf::R_X86_64_GOTPC64
        | elf::R_X86_64_GOTPCREL64
        | elf::R_X86_64_GOTPLT64
        | elf::R_X86_64_PLTOFF64
        | elf::R_X86_64_SIZE64
        | elf::R_X86_64_DTPMOD64
        | elf::R_X86_64_DTPOFF64
        | elf::R_X86_64_TPOFF64 => 8,
        elf::R_X86_64_16 | elf::R_X86_64_PC16 => 2,
        elf::R_X86_64_8 | elf::R_X86_64_PC8 => 1,
        // It marks a call of two bytes and changes nothing.
        elf::R_X86_64_TLSDESC_CALL => 0,
        _ => 4,
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
    let end = offset.checked_add(width(kind));
    if end.is_none_or(|end| end > section.bytes.len() as u64) {
        return Err(bad(
            "a relocation outside its section",
            format!("{}+{offset:#x}", text(section.name)),
        ));
    }
    if kind == elf::R_X86_64_TLSDESC_CALL {
        return Ok(None);
    }
    let symbol_index = input.target(section, relocation.r_sym(LE, false))?;
    let symbol = input.symbol(symbol_index)?;
    let reference = Reference {
        symbol,
        symbol_index,
        relocation: name(kind),
        offset,
        width: width(kind),
        addend: relocation.r_addend.get(LE),
        action: Action::Word(Word::Address),
    };
    let field = Field {
        input,
        section_index,
        section,
        kind,
        reference: &reference,
    };
    let action = if symbol.kind == SymbolKind::ThreadLocal || is_thread_local(kind) {
        field.thread_local()?
    } else {
        field.ordinary()?
    };
    Ok(Some(Reference {
        action,
        ..reference
    }))
}

/// Whether a symbol has a place in the image.
fn is_inside(value: Value) -> bool {
    !matches!(
        value,
        Value::Absolute(_) | Value::Undefined | Value::ThreadBlock
    )
}

/// Whether what a symbol stands for may turn out to be another image's or the host's: see
/// [`shared`](super::shared).
pub(super) fn may_be_shared(symbol: &Symbol<'_>) -> bool {
    symbol.kind == SymbolKind::Object
        && symbol.visible
        && matches!(symbol.binding, Binding::Weak | Binding::Unique)
        && matches!(symbol.value, Value::Defined { .. })
        && !super::shared::is_virtual_table(symbol.name)
}

/// A relocation that is being understood.
pub(super) struct Field<'s, 'a> {
    pub(super) input: &'s Input<'a>,
    section_index: usize,
    pub(super) section: &'s Section<'a>,
    pub(super) kind: u32,
    pub(super) reference: &'s Reference<'a>,
}

impl Field<'_, '_> {
    fn ordinary(&self) -> Result<Action, LinkError> {
        let Reference {
            ref symbol,
            relocation,
            ..
        } = *self.reference;
        let value = |to, from, range| Action::Field {
            to,
            from,
            range,
            rewrite: Rewrite::None,
        };
        let distance = |to| value(to, From::Place, Range::Signed32);
        let inside = is_inside(symbol.value);
        let outside = symbol.value == Value::Undefined;
        let absolute = matches!(symbol.value, Value::Absolute(_));
        Ok(match self.kind {
            elf::R_X86_64_64 if absolute => value(To::Symbol, From::Zero, Range::Whole),
            elf::R_X86_64_64 => {
                if self.section.kind == SectionKind::Text {
                    let site = self.site();
                    return Err(LinkError::NotPositionIndependent { relocation, site });
                }
                Action::Word(Word::Address)
            }
            elf::R_X86_64_PC64 if inside => value(To::Symbol, From::Place, Range::Whole),
            elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 if inside => distance(To::Symbol),
            elf::R_X86_64_PC16 if inside => value(To::Symbol, From::Place, Range::Signed16),
            elf::R_X86_64_PC8 if inside => value(To::Symbol, From::Place, Range::Signed8),
            elf::R_X86_64_PLT32 if outside => distance(To::Stub),
            elf::R_X86_64_PC32 if outside && self.is_branch() => distance(To::Stub),
            elf::R_X86_64_GOTPCRELX
            | elf::R_X86_64_REX_GOTPCRELX
            | elf::R_X86_64_CODE_4_GOTPCRELX
                if inside && !may_be_shared(symbol) =>
            {
                match self.rewrite() {
                    Rewrite::None => distance(To::Slot),
                    rewrite => Action::Field {
                        to: To::Symbol,
                        from: From::Place,
                        range: Range::Signed32,
                        rewrite,
                    },
                }
            }
            elf::R_X86_64_GOTPCREL
            | elf::R_X86_64_GOTPCRELX
            | elf::R_X86_64_REX_GOTPCRELX
            | elf::R_X86_64_CODE_4_GOTPCRELX
            | elf::R_X86_64_CODE_5_GOTPCRELX
            | elf::R_X86_64_CODE_6_GOTPCRELX => distance(To::Slot),
            elf::R_X86_64_GOTPCREL64 => value(To::Slot, From::Place, Range::Whole),
            elf::R_X86_64_GOTPC32 => distance(To::SlotTable),
            elf::R_X86_64_GOTPC64 => value(To::SlotTable, From::Place, Range::Whole),
            elf::R_X86_64_GOT32 => value(To::Slot, From::SlotTable, Range::Signed32),
            elf::R_X86_64_GOT64 | elf::R_X86_64_GOTPLT64 => {
                value(To::Slot, From::SlotTable, Range::Whole)
            }
            elf::R_X86_64_GOTOFF64 | elf::R_X86_64_PLTOFF64 if inside => {
                value(To::Symbol, From::SlotTable, Range::Whole)
            }
            elf::R_X86_64_PLTOFF64 if outside => value(To::Stub, From::SlotTable, Range::Whole),
            elf::R_X86_64_SIZE32 if !outside => value(To::Size, From::Zero, Range::Unsigned32),
            elf::R_X86_64_SIZE64 if !outside => value(To::Size, From::Zero, Range::Whole),
            elf::R_X86_64_32 if absolute => value(To::Symbol, From::Zero, Range::Unsigned32),
            elf::R_X86_64_32S if absolute => value(To::Symbol, From::Zero, Range::Signed32),
            elf::R_X86_64_16 if absolute => value(To::Symbol, From::Zero, Range::Any16),
            elf::R_X86_64_8 if absolute => value(To::Symbol, From::Zero, Range::Any8),
            elf::R_X86_64_PC32
                if outside
                    && self.reference.addend == -4
                    && self.borrowing() == Some(Borrowing::Address) =>
            {
                Action::Field {
                    to: To::Slot,
                    from: From::Place,
                    range: Range::Signed32,
                    rewrite: Rewrite::AddressToLoad,
                }
            }
            elf::R_X86_64_PC32 if outside && self.borrowing().is_some() => distance(To::Veneer),
            elf::R_X86_64_PC64
            | elf::R_X86_64_PC32
            | elf::R_X86_64_PLT32
            | elf::R_X86_64_PC16
            | elf::R_X86_64_PC8
            | elf::R_X86_64_GOTOFF64
            | elf::R_X86_64_PLTOFF64
            | elf::R_X86_64_SIZE32
            | elf::R_X86_64_SIZE64 => {
                let site = self.site();
                return Err(LinkError::DirectReference { relocation, site });
            }
            elf::R_X86_64_32 | elf::R_X86_64_32S | elf::R_X86_64_16 | elf::R_X86_64_8 => {
                let site = self.site();
                return Err(LinkError::NotPositionIndependent { relocation, site });
            }
            kind => {
                return Err(LinkError::UnsupportedRelocation {
                    relocation,
                    kind,
                    site: self.site(),
                });
            }
        })
    }

    pub(super) fn site(&self) -> crate::error::Site {
        let symbol = &self.reference.symbol;
        self.input
            .site(self.section_index, self.reference.offset, symbol)
    }

    /// The byte that lies `distance` before the field.
    fn before(&self, distance: u64) -> Option<u8> {
        let at = usize::try_from(self.reference.offset.checked_sub(distance)?).ok()?;
        self.section.bytes.get(at).copied()
    }

    /// Whether the field is that of a call, a jump or a conditional jump.
    fn is_branch(&self) -> bool {
        let ends_the_instruction =
            self.section.kind == SectionKind::Text && self.reference.addend == -4;
        let opcode = self.before(1);
        let is_jcc = self.before(2) == Some(0x0f) && matches!(opcode, Some(0x80..=0x8f));
        ends_the_instruction && (matches!(opcode, Some(0xe8 | 0xe9)) || is_jcc)
    }

    /// How the instruction, which has no slot, can do with one.
    fn borrowing(&self) -> Option<Borrowing> {
        if self.section.kind != SectionKind::Text {
            return None;
        }
        let field = usize::try_from(self.reference.offset).ok()?;
        borrowed::borrowing(self.section.bytes.get(..field)?)
    }

    /// How the instruction can do without its slot.
    fn rewrite(&self) -> Rewrite {
        // Another addend: an immediate follows, or a word other than the slot's own is wanted.
        if self.section.kind != SectionKind::Text || self.reference.addend != -4 {
            return Rewrite::None;
        }
        // The REX2 prefix has a bit that selects another map of instructions.
        let is_rex2 = self.before(4) == Some(0xd5) && self.before(3).is_some_and(|b| b & 0x80 == 0);
        if self.kind == elf::R_X86_64_CODE_4_GOTPCRELX && !is_rex2 {
            return Rewrite::None;
        }
        let is_rip_relative = |modrm: u8| modrm & 0xc7 == 0x05;
        match (self.before(2), self.before(1)) {
            (Some(0x8b), Some(modrm)) if is_rip_relative(modrm) => Rewrite::LoadToAddress,
            // A REX prefix in front of these would come to stand before `67`, and be lost.
            (Some(0xff), Some(0x15)) if self.kind == elf::R_X86_64_GOTPCRELX => Rewrite::Call,
            (Some(0xff), Some(0x25)) if self.kind == elf::R_X86_64_GOTPCRELX => Rewrite::Jump,
            _ => Rewrite::None,
        }
    }
}
