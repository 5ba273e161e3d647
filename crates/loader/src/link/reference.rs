//! What a relocation comes to: the words in which every target says it.
//!
//! A relocation has a meaning for one target alone. Each target's `classify` says it as a [`Reference`]:
//! what is led to, what the distance counts from, and in what [`Form`] the result is written. What
//! follows from that (what is kept, where things lie, which words are left for load) is the same for all.

use super::aarch64::instructions::Operand;
use super::read::{Binding, Input, Rela, Symbol, SymbolKind, Value, bad, text};
use super::sections::Section;
use super::x86_64::instructions::Rewrite;
use crate::error::{LinkError, Site};
use object::LittleEndian as LE;

/// A relocation, understood.
pub(super) struct Reference<'a> {
    pub(super) symbol: Symbol<'a>,
    pub(super) symbol_index: u32,
    /// The number of its kind; its name is the target's business.
    pub(super) kind: u32,
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
    /// Four bytes of code with a host's thread-local's distance from the thread pointer, complete at
    /// load.
    NarrowOffset(Narrow),
    /// Four bytes of an image for the low 2 GiB with the address of something from outside that is low as
    /// well, or its distance from the field; complete at load.
    NarrowAddress { is_distance: bool },
    /// A value that is known when the image is linked: `to + addend - from`.
    Field { to: To, from: From, form: Form },
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

/// What four bytes are, into which a distance from the thread pointer is written at load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Narrow {
    /// A number with a sign, which begins as the addend.
    Number,
    /// An instruction of AArch64 with this operand.
    Aarch64(Operand),
}

/// What a reference leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Symbol,
    /// The same, by way of a thunk if it is out of a branch's reach.
    Near,
    Slot,
    /// A slot with the symbol's address plus the addend, which then counts for nothing else.
    SlotWithAddend,
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
    /// The field's page; what is led to counts as its page, too.
    Page,
    SlotTable,
    /// Another symbol of the image.
    Symbol(u32),
    /// The page of the first slot.
    SlotTablePage,
    Zero,
    /// Nothing, as the value is an address: known when the image is loaded, into the low 2 GiB.
    Nowhere,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Number(Range),
    /// Into an instruction of x86-64, which becomes another one.
    X86_64(Rewrite),
    /// Into an instruction of AArch64, which is looked at before.
    Aarch64(Operand),
}

/// The width of a number, and what it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    Whole,
    Signed32,
    Unsigned32,
    /// Either with or without a sign.
    Any32,
    Any16,
    Any8,
    Signed16,
    Signed8,
}

impl Range {
    /// `value` in as many bytes as the field has; `None` if it does not fit.
    pub(super) fn encode(self, value: i64) -> Option<([u8; 8], usize)> {
        let (least, most, width) = match self {
            Self::Whole => (i64::MIN, i64::MAX, 8),
            Self::Signed32 => (i32::MIN.into(), i32::MAX.into(), 4),
            Self::Unsigned32 => (0, u32::MAX.into(), 4),
            Self::Any32 => (i32::MIN.into(), u32::MAX.into(), 4),
            Self::Any16 => (i16::MIN.into(), u16::MAX.into(), 2),
            Self::Signed16 => (i16::MIN.into(), i16::MAX.into(), 2),
            Self::Any8 => (i8::MIN.into(), u8::MAX.into(), 1),
            Self::Signed8 => (i8::MIN.into(), i8::MAX.into(), 1),
        };
        (least..=most)
            .contains(&value)
            .then(|| (value.to_le_bytes(), width))
    }
}

/// Why a value cannot be written into an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    OutOfReach,
    /// The instruction has no operand of that form.
    Instruction,
}

/// A relocation that is being understood.
pub(super) struct Field<'s, 'a> {
    pub(super) input: &'s Input<'a>,
    pub(super) section_index: usize,
    pub(super) section: &'s Section<'a>,
    pub(super) reference: &'s Reference<'a>,
}

impl Field<'_, '_> {
    fn site(&self) -> Site {
        let symbol = &self.reference.symbol;
        self.input
            .site(self.section_index, self.reference.offset, symbol)
    }

    /// The error that `error` makes of the name of this relocation and where it is.
    #[cold]
    pub(super) fn refuse(&self, error: impl FnOnce(&'static str, Site) -> LinkError) -> LinkError {
        error(self.input.target.name(self.reference.kind), self.site())
    }

    /// The error of a kind that is not linked.
    pub(super) fn unsupported(&self) -> LinkError {
        let kind = self.reference.kind;
        self.refuse(|relocation, site| LinkError::UnsupportedRelocation {
            relocation,
            kind,
            site,
        })
    }

    /// Whether the symbol is a thread-local of these objects; an error if it is none at all.
    pub(super) fn is_own_thread_local(&self) -> Result<bool, LinkError> {
        let not = || self.refuse(|relocation, site| LinkError::NotThreadLocal { relocation, site });
        match self.reference.symbol.value {
            Value::Defined { section, .. } => {
                match self.input.section(section)?.kind.is_thread_local() {
                    true => Ok(true),
                    false => Err(not()),
                }
            }
            Value::ThreadBlock => Ok(true),
            Value::Undefined => Ok(false),
            _ => Err(not()),
        }
    }
}

/// The reference of a relocation whose field has `width` bytes, with an action that is still to be found.
#[inline(always)]
pub(super) fn read<'a>(
    input: &Input<'a>,
    section: &Section<'a>,
    relocation: &Rela,
    kind: u32,
    width: u64,
) -> Result<Reference<'a>, LinkError> {
    let offset = relocation.r_offset.get(LE);
    let end = offset.checked_add(width);
    if end.is_none_or(|end| end > section.bytes.len() as u64) {
        return Err(bad(
            "a relocation outside its section",
            format!("{}+{offset:#x}", text(section.name)),
        ));
    }
    let symbol_index = input.target(section, relocation.r_sym(LE, false))?;
    Ok(Reference {
        symbol: input.symbol(symbol_index)?,
        symbol_index,
        kind,
        offset,
        width,
        addend: relocation.r_addend.get(LE),
        action: Action::Word(Word::Address),
    })
}

/// Whether a symbol has a place in the image.
pub(super) fn is_inside(value: Value) -> bool {
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
