//! The instructions of AArch64 that hold fields, and those that a linker writes.
//!
//! Every field is looked at before it is written: an object whose relocation stands at another
//! instruction is refused, since what would come of it nobody knows.

use crate::image::narrow::memory_scale;
use crate::link::reference::Misfit;

/// The operand of an instruction that a value goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::link) enum Operand {
    /// `adr`: 21 bits with a sign.
    Address,
    /// `adrp`: 21 bits of pages with a sign, or as many as there are.
    Page { checked: bool },
    /// `add` without shift: 12 bits.
    AddLow { checked: bool },
    /// `add` with its operand shifted by 12: bits 12 to 23.
    AddHigh,
    /// Loads and stores of `1 << scale` bytes: the low 12 bits, in units of these.
    Memory { scale: u8, checked: bool },
    /// A load of 8 bytes from a table of up to 32 KiB.
    TableSlot,
    /// A load from where the program is: 19 bits of words with a sign.
    Literal,
    /// `b.cond`, `cbz`, `cbnz`: the same 19 bits.
    Conditional,
    /// `tbz`, `tbnz`: 14 bits.
    Test,
    /// `b`, `bl`: 26 bits.
    Branch,
    /// `movz`, `movn`, `movk` of 16 bits, in one of four groups.
    Move { group: u8, check: Check },
}

/// What a `mov` has to hold of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::link) enum Check {
    /// These 16 bits; others follow.
    None,
    /// All of it, without a sign.
    Unsigned,
    /// All of it; of `movz` and `movn` the instruction becomes the one that fits the sign.
    Signed,
}

impl Operand {
    /// Writes `value` into the operand of an instruction.
    pub(in crate::link) fn write(self, bytes: &mut [u8; 4], value: i64) -> Result<(), Misfit> {
        let old = u32::from_le_bytes(*bytes);
        if !self.is_of(old) {
            return Err(Misfit::Instruction);
        }
        let unsigned = |bits: u32| (0..1 << bits).contains(&value);
        let units = |shift: u32, bits: u32| signed(value, shift, bits).ok_or(Misfit::OutOfReach);
        let fits = |fits: bool| fits.then_some(()).ok_or(Misfit::OutOfReach);
        let low = (value & 0xfff) as u32;
        let new = match self {
            Self::Address => with_split(old, units(0, 21)?),
            Self::Page { checked } => {
                let pages = signed(value, 12, 21);
                fits(pages.is_some() || !checked)?;
                with_split(old, (value >> 12) as u32 & 0x1f_ffff)
            }
            Self::AddLow { checked } => {
                fits(!checked || unsigned(12))?;
                with(old, 10, 12, low)
            }
            Self::AddHigh => {
                fits(unsigned(24))?;
                with(old, 10, 12, (value >> 12) as u32)
            }
            Self::Memory { scale, checked } => {
                fits((!checked || unsigned(12)) && low & ((1 << scale) - 1) == 0)?;
                with(old, 10, 12, low >> scale)
            }
            Self::TableSlot => {
                fits(unsigned(15) && value & 7 == 0)?;
                with(old, 10, 12, (value >> 3) as u32)
            }
            Self::Literal | Self::Conditional => with(old, 5, 19, units(2, 19)?),
            Self::Test => with(old, 5, 14, units(2, 14)?),
            Self::Branch => with(old, 0, 26, units(2, 26)?),
            Self::Move { group, check } => {
                let bits = 16 * (u32::from(group) + 1);
                let (fitting, negative) = match check {
                    Check::None => (true, false),
                    Check::Unsigned => (bits == 64 || unsigned(bits), false),
                    Check::Signed => (
                        bits == 64 || (-(1i64 << bits)..1i64 << bits).contains(&value),
                        value < 0,
                    ),
                };
                fits(fitting)?;
                let is_keep = old & KEEP == KEEP;
                let (opcode, value) = match check {
                    Check::Signed if !is_keep && negative => (old & !ZERO, !value),
                    Check::Signed if !is_keep => (old | ZERO, value),
                    _ => (old, value),
                };
                with(opcode, 5, 16, (value >> (bits - 16)) as u32 & 0xffff)
            }
        };
        *bytes = new.to_le_bytes();
        Ok(())
    }

    /// Makes an instruction ready for a value that is known at load. What operand it has is seen from
    /// the instruction then; its number is 1 if all of the value has to be in it, and else 0.
    pub(in crate::link) fn prepare(self, bytes: &mut [u8; 4]) -> Result<(), Misfit> {
        let old = u32::from_le_bytes(*bytes);
        if !self.is_of(old) {
            return Err(Misfit::Instruction);
        }
        let new = match self {
            Self::AddLow { checked } | Self::Memory { checked, .. } => {
                with(old, 10, 12, checked.into())
            }
            Self::AddHigh => with(old, 10, 12, 0),
            Self::Move { check, .. } => with(old, 5, 16, (check != Check::None).into()),
            _ => return Err(Misfit::Instruction),
        };
        *bytes = new.to_le_bytes();
        Ok(())
    }

    /// Whether an instruction has this operand (Arm ARM, C4.1).
    fn is_of(self, instruction: u32) -> bool {
        let is = |mask: u32, bits: u32| instruction & mask == bits;
        match self {
            Self::Address => is(0x9f00_0000, 0x1000_0000),
            Self::Page { .. } => is(0x9f00_0000, 0x9000_0000),
            Self::AddLow { .. } => is(0x7fc0_0000, 0x1100_0000),
            Self::AddHigh => is(0x7fc0_0000, 0x1140_0000),
            Self::Memory { scale, .. } => memory_scale(instruction) == Some(scale),
            Self::TableSlot => is(0xffc0_0000, 0xf940_0000),
            Self::Literal => is(0x3b00_0000, 0x1800_0000),
            Self::Conditional => is(0xff00_0000, 0x5400_0000) || is(0x7e00_0000, 0x3400_0000),
            Self::Test => is(0x7e00_0000, 0x3600_0000),
            Self::Branch => is(0x7c00_0000, 0x1400_0000),
            Self::Move { group, .. } => {
                let is_known = instruction >> 29 & 3 != 1;
                is(0x1f80_0000, 0x1280_0000)
                    && is_known
                    && instruction >> 21 & 3 == u32::from(group)
            }
        }
    }
}

/// The opcode bit by which `movz` differs from `movn`, and those of `movk`.
const ZERO: u32 = 1 << 30;
const KEEP: u32 = 3 << 29;

/// `value` in units of `1 << shift`, as `bits` bits with a sign; `None` if it does not fit.
fn signed(value: i64, shift: u32, bits: u32) -> Option<u32> {
    let limit = 1i64 << (bits + shift - 1);
    let fits = (-limit..limit).contains(&value) && value & ((1 << shift) - 1) == 0;
    fits.then(|| (value >> shift) as u32 & ((1 << bits) - 1))
}

/// An instruction with `bits` bits from `at` on replaced.
fn with(instruction: u32, at: u32, bits: u32, value: u32) -> u32 {
    let mask = ((1 << bits) - 1) << at;
    instruction & !mask | value << at & mask
}

/// `adr` and `adrp` have the two lowest bits apart from the others.
fn with_split(instruction: u32, value: u32) -> u32 {
    with(with(instruction, 29, 2, value & 3), 5, 19, value >> 2)
}

/// What fills the space between functions: `brk #0`.
pub(in crate::link) const FILLER: [u8; 4] = 0xd420_0000u32.to_le_bytes();

/// How far a branch reaches either way.
pub(in crate::link) const BRANCH_REACH: u64 = 128 << 20;

/// Bytes of a stub, and of a thunk.
pub(in crate::link) const STUB_SIZE: u64 = 16;

/// The register that calls may change on their way (AAPCS64, 6.1.1).
const SCRATCH: u32 = 16;

/// A stub at `place` that jumps through the word at `slot`: `adrp x16; ldr x16, [x16]; br x16`.
pub(in crate::link) fn stub(place: u64, slot: u64) -> [u8; 16] {
    let load = 0xf940_0000 | SCRATCH << 5 | SCRATCH;
    leap(place, slot, with(load, 10, 12, (slot & 0xfff) as u32 >> 3))
}

/// A thunk at `place` that jumps to `target`: `adrp x16; add x16, x16; br x16`.
pub(in crate::link) fn thunk(place: u64, target: u64) -> [u8; 16] {
    let add = 0x9100_0000 | SCRATCH << 5 | SCRATCH;
    leap(place, target, with(add, 10, 12, (target & 0xfff) as u32))
}

/// `adrp x16` for the page of `target`, `second`, and `br x16`.
fn leap(place: u64, target: u64, second: u32) -> [u8; 16] {
    let pages = (target >> 12).wrapping_sub(place >> 12) as u32 & 0x1f_ffff;
    let first = with_split(0x9000_0000 | SCRATCH, pages);
    let jump = 0xd61f_0000 | SCRATCH << 5;
    let mut code = [0; 16];
    let words = [first, second, jump, u32::from_le_bytes(FILLER)];
    for (bytes, word) in code.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(operand: Operand, instruction: u32, value: i64) -> Result<u32, Misfit> {
        let mut bytes = instruction.to_le_bytes();
        operand.write(&mut bytes, value)?;
        Ok(u32::from_le_bytes(bytes))
    }

    #[test]
    fn branches_reach_as_far_as_their_fields() {
        // bl, b.eq, tbz w0, #3
        for (operand, instruction, reach) in [
            (Operand::Branch, 0x9400_0000, 128i64 << 20),
            (Operand::Conditional, 0x5400_0000, 1 << 20),
            (Operand::Test, 0x3618_0000, 32 << 10),
            (Operand::Literal, 0x5800_0000, 1 << 20),
        ] {
            assert!(written(operand, instruction, reach - 4).is_ok());
            assert!(written(operand, instruction, -reach).is_ok());
            for value in [reach, -reach - 4, 2] {
                let refused = written(operand, instruction, value);
                assert_eq!(refused, Err(Misfit::OutOfReach), "{operand:?} {value}");
            }
            // nop
            let refused = written(operand, 0xd503_201f, 0);
            assert_eq!(refused, Err(Misfit::Instruction));
        }
        assert_eq!(written(Operand::Branch, 0x9400_0000, -4), Ok(0x97ff_ffff));
        assert_eq!(written(Operand::Test, 0x3618_0000, 8), Ok(0x3618_0040));
    }

    #[test]
    fn pages_and_offsets_are_split() {
        let page = Operand::Page { checked: true };
        // adrp x0
        assert_eq!(written(page, 0x9000_0000, 0x5000), Ok(0xb000_0020));
        assert_eq!(written(page, 0x9000_0000, 1 << 32), Err(Misfit::OutOfReach));
        assert_eq!(written(page, 0x1000_0000, 0), Err(Misfit::Instruction));
        // ldr q0, [x0]; ldrb w0, [x0]
        let sixteen = Operand::Memory {
            scale: 4,
            checked: false,
        };
        assert_eq!(written(sixteen, 0x3dc0_0000, 0x1230), Ok(0x3dc0_8c00));
        assert_eq!(
            written(sixteen, 0x3dc0_0000, 0x1238),
            Err(Misfit::OutOfReach)
        );
        assert_eq!(
            written(sixteen, 0x3940_0000, 0x1230),
            Err(Misfit::Instruction)
        );
    }

    #[test]
    fn moves_follow_the_sign() {
        let group = Operand::Move {
            group: 0,
            check: Check::Signed,
        };
        // movz x0, #0
        assert_eq!(written(group, 0xd280_0000, -2), Ok(0x9280_0020));
        assert_eq!(written(group, 0x9280_0000, 2), Ok(0xd280_0040));
        assert_eq!(
            written(group, 0xd280_0000, 1 << 16),
            Err(Misfit::OutOfReach)
        );
        // movk x0, #0, lsl #16
        let next = Operand::Move {
            group: 1,
            check: Check::None,
        };
        assert_eq!(written(next, 0xf2a0_0000, 0x1234_5678), Ok(0xf2a2_4680));
        assert_eq!(written(group, 0xf2a0_0000, 0), Err(Misfit::Instruction));
    }

    #[test]
    fn a_stub_jumps_through_its_slot() {
        let stub = stub(0x1ff8, 0x3008);
        let words: Vec<u32> = stub
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            .collect();
        assert_eq!(words, [0xd000_0010, 0xf940_0610, 0xd61f_0200, 0xd420_0000]);
    }
}
