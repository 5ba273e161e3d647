//! What objects are made for: a format and a machine, and the seam between these and the linker.
//!
//! | seam | ELF x86-64 | ELF AArch64 | Mach-O x86-64 | Mach-O arm64 |
//! | --- | --- | --- | --- | --- |
//! | object to sections, symbols, relocations | [`read`](super::read) | the same | [`macho`] | the same |
//! | relocation to [`Reference`] | [`x86_64`] | [`aarch64`] | [`macho::x86_64`] | [`macho::arm64`] |
//! | instructions: fields, stubs, thunks, filler | [`x86_64`] | [`aarch64`] | [`x86_64`] | [`aarch64`] |
//!
//! Everything else (what is kept, where it lies, slots, imports, fixups) knows no target. Nothing here
//! asks what machine the linker itself runs on.

use super::aarch64::{self, instructions as arm};
use super::macho;
use super::read::{Input, Rela};
use super::reference::{Action, Form, From, Reference};
use super::x86_64::{self, instructions as x86};
use crate::error::LinkError;
use crate::image::format::{MACHINE_AARCH64, MACHINE_X86_64};

/// A format and a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) format: Format,
    pub(super) machine: Machine,
}

/// How objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Elf,
    MachO,
}

/// What runs the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    X86_64,
    Aarch64,
}

impl Target {
    pub(super) const X86_64: Self = Self {
        format: Format::Elf,
        machine: Machine::X86_64,
    };
    pub(super) const AARCH64: Self = Self {
        format: Format::Elf,
        machine: Machine::Aarch64,
    };

    /// Says what a relocation of a section asks for, or why it cannot be had. `None` if for nothing.
    #[inline]
    pub(super) fn classify<'a>(
        self,
        input: &Input<'a>,
        section: usize,
        relocation: &Rela,
    ) -> Result<Option<Reference<'a>>, LinkError> {
        match (self.format, self.machine) {
            (Format::Elf, Machine::X86_64) => x86_64::classify(input, section, relocation),
            (Format::Elf, Machine::Aarch64) => aarch64::classify(input, section, relocation),
            (Format::MachO, Machine::X86_64) => macho::x86_64::classify(input, section, relocation),
            (Format::MachO, Machine::Aarch64) => macho::arm64::classify(input, section, relocation),
        }
    }

    /// The name of a kind of relocation, as the specification of the format has it.
    pub(super) fn name(self, kind: u32) -> &'static str {
        match (self.format, self.machine) {
            (Format::Elf, Machine::X86_64) => x86_64::kinds::name(kind),
            (Format::Elf, Machine::Aarch64) => aarch64::kinds::name(kind),
            (Format::MachO, Machine::X86_64) => macho::x86_64::name(kind),
            (Format::MachO, Machine::Aarch64) => macho::arm64::name(kind),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match (self.format, self.machine) {
            (Format::Elf, Machine::X86_64) => "ELF x86-64",
            (Format::Elf, Machine::Aarch64) => "ELF AArch64",
            (Format::MachO, Machine::X86_64) => "Mach-O x86-64",
            (Format::MachO, Machine::Aarch64) => "Mach-O arm64",
        })
    }
}

/// A piece of code that a linker writes.
pub(super) struct Code {
    bytes: [u8; 16],
    size: usize,
}

impl Code {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or_default()
    }
}

impl<const N: usize> std::convert::From<[u8; N]> for Code {
    fn from(code: [u8; N]) -> Self {
        let mut bytes = [0; 16];
        bytes
            .iter_mut()
            .zip(code)
            .for_each(|(byte, code)| *byte = code);
        Self {
            bytes,
            size: N.min(16),
        }
    }
}

impl Machine {
    /// ELF's number of it, which images have.
    pub(super) fn number(self) -> u16 {
        match self {
            Self::X86_64 => MACHINE_X86_64,
            Self::Aarch64 => MACHINE_AARCH64,
        }
    }

    /// Fills the space between functions with traps.
    pub(super) fn fill(self, text: &mut [u8]) {
        match self {
            Self::X86_64 => text.fill(x86::FILLER),
            Self::Aarch64 => {
                for word in text.chunks_exact_mut(arm::FILLER.len()) {
                    word.copy_from_slice(&arm::FILLER);
                }
            }
        }
    }

    /// Bytes of a stub, and its alignment.
    pub(super) fn stub_size(self) -> u64 {
        match self {
            Self::X86_64 => x86::STUB_SIZE,
            Self::Aarch64 => arm::STUB_SIZE,
        }
    }

    /// A stub at `place` that jumps through the word at `slot`. Slots and data are within reach by the
    /// image's own limits.
    pub(super) fn stub(self, place: u64, slot: u64) -> Code {
        match self {
            Self::X86_64 => {
                let distance = i32::try_from(slot.wrapping_sub(place) as i64);
                x86::stub(distance.unwrap_or(i32::MAX)).into()
            }
            Self::Aarch64 => arm::stub(place, slot).into(),
        }
    }

    /// A thunk at `place`, which jumps to `target` however far away that is in an image.
    pub(super) fn thunk(self, place: u64, target: u64) -> Code {
        match self {
            // Its branches reach everything in an image.
            Self::X86_64 => [].into(),
            Self::Aarch64 => arm::thunk(place, target).into(),
        }
    }

    /// How far a branch reaches, if that is less than an image can be long.
    pub(super) fn branch_reach(self) -> Option<u64> {
        match self {
            Self::X86_64 => None,
            Self::Aarch64 => Some(arm::BRANCH_REACH),
        }
    }

    /// Whether stubs find their slots by pages.
    pub(super) fn stubs_count_in_pages(self) -> bool {
        self == Self::Aarch64
    }
}

impl Action {
    /// Whether the result depends on where pages begin.
    #[inline]
    pub(super) fn counts_in_pages(self) -> bool {
        match self {
            Self::Field { from, form, .. } => match from {
                From::Page | From::SlotTablePage => true,
                From::Zero => matches!(form, Form::Aarch64(_)),
                From::Place | From::SlotTable | From::Symbol(_) | From::Nowhere => false,
            },
            Self::Word(_) | Self::NarrowOffset(_) | Self::NarrowAddress { .. } => false,
        }
    }
}
