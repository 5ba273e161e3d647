//! Mach-O: the objects of macOS.
//!
//! What is particular about this format, and what it becomes here:
//!
//! - A section is not the unit of linking. Where the object says so (`MH_SUBSECTIONS_VIA_SYMBOLS`,
//!   which every compiler sets), each symbol begins an *atom* that can be kept or dropped alone:
//!   atoms become the sections of the neutral form ([`atoms`]). Literals stay whole.
//! - Symbols have no sizes; an atom's is the distance to the next. Names of C begin with an underscore,
//!   which is dropped, as `dlsym` has it.
//! - Relocations have their addends in the fields, and some come in pairs (`SUBTRACTOR`, `ADDEND`). One
//!   that names a section means an address in the object ([`relocations`]). They become relocations of
//!   the neutral form, with the kind's type, width and sort in one number ([`Kind`]); [`numbers`],
//!   [`x86_64`] and [`arm64`] say what they mean.
//! - Unwind tables are `__compact_unwind`, 32 bits for a function, and `__eh_frame` for what does not fit
//!   these. Both become `.eh_frame` with relocations of its own ([`unwind`]): what unwinders of all
//!   systems take at run time.
//! - A thread-local is a descriptor of three words in `__thread_vars`: a function that finds it, a key, an
//!   offset. The linker of macOS's loader fills in the first two; here it is the loader's own function, and the
//!   image's number as a module.
//!
//! Sources: `mach-o/reloc.h`, `mach-o/x86_64/reloc.h`, `mach-o/arm64/reloc.h`, `mach-o/nlist.h`,
//! `mach-o/compact_unwind_encoding.h`.

pub(super) mod arm64;
mod atoms;
mod compact;
mod numbers;
mod object;
mod relocations;
mod sections;
mod symbols;
mod unwind;
pub(super) mod x86_64;

use super::read::{LE, Rela};
use super::sections::Section;
use super::symbols::Symbol;
use super::target::Machine;
use crate::error::LinkError;
use ::object::elf::Rela64;
use ::object::{I64, U64};
use object::Object;

/// An object in the neutral form, but numbered for itself.
pub(super) struct Translated<'a> {
    pub(super) machine: Machine,
    pub(super) units: Vec<Unit<'a>>,
    /// The null symbol, those of the object, that of the thread-locals' block, and one for each unit.
    pub(super) symbols: Vec<Symbol<'a>>,
    /// What differences count from, by the numbers that their kinds have: numbers of symbols.
    pub(super) origins: Vec<u32>,
}

/// An atom, or a whole section.
pub(super) struct Unit<'a> {
    /// Without its relocations.
    pub(super) section: Section<'a>,
    /// Bytes that are not in the object.
    pub(super) made: Option<Vec<u8>>,
    pub(super) relocations: Vec<Rela>,
}

/// Whether these are the first bytes of such an object.
pub(super) fn is_macho(bytes: &[u8]) -> bool {
    bytes.starts_with(&::object::macho::MH_MAGIC_64.to_le_bytes())
}

/// Translates those of `objects` that are Mach-O.
pub(super) fn translate<'a>(
    objects: &[&'a [u8]],
) -> Result<Vec<Option<Translated<'a>>>, LinkError> {
    // ELF is read where it lies.
    if !objects.iter().any(|bytes| is_macho(bytes)) {
        return Ok(Vec::new());
    }
    let one = |bytes: &&'a [u8]| is_macho(bytes).then(|| translate_one(bytes)).transpose();
    objects.iter().map(one).collect()
}

fn translate_one(bytes: &[u8]) -> Result<Translated<'_>, LinkError> {
    let object = Object::parse(bytes)?;
    let mut atoms = atoms::split(&object)?;
    let mut origins = Vec::new();
    relocations::translate(&object, &mut atoms, &mut origins)?;
    unwind::translate(&object, &mut atoms)?;
    for unit in &mut atoms.units {
        // Assemblers write the last first.
        unit.relocations.sort_by_key(|one| one.r_offset.get(LE));
    }
    let symbols = symbols::read(&object, &atoms)?;
    Ok(Translated {
        machine: object.machine,
        units: atoms.units,
        symbols,
        origins,
    })
}

/// A kind of relocation as one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// The format's number, or [`MODULE`].
    pub(super) sort: u8,
    /// Bytes of the field.
    pub(super) width: u64,
    /// The value counts from the field.
    pub(super) from_place: bool,
    /// Of a difference: what it counts from, as a number in the list of origins.
    pub(super) origin: u32,
}

/// The sort of a word that holds the image's number as a module of thread-locals. Objects say their sorts
/// in four bits, so that none can say this one.
pub(super) const MODULE: u8 = 16;

impl Kind {
    pub(super) fn new(sort: u8, width: u64, from_place: bool) -> Self {
        Self {
            sort,
            width,
            from_place,
            origin: 0,
        }
    }

    fn pack(self) -> u32 {
        u32::from(self.sort)
            | self.width.trailing_zeros() << 5
            | u32::from(self.from_place) << 7
            | self.origin << 8
    }

    pub(super) fn unpack(kind: u32) -> Self {
        Self {
            sort: (kind & 31) as u8,
            width: 1 << (kind >> 5 & 3),
            from_place: kind & 128 != 0,
            origin: kind >> 8,
        }
    }
}

/// A relocation of the neutral form.
fn relocation(offset: u64, kind: Kind, symbol: u32, addend: i64) -> Rela {
    Rela64 {
        r_offset: U64::new(LE, offset),
        r_info: Rela64::r_info(LE, false, symbol, kind.pack()),
        r_addend: I64::new(LE, addend),
    }
}
