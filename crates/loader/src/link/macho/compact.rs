//! The compact form of unwind tables, as instructions of the other form.
//!
//! A function's 32 bits say how its frame is made, in one of a few ways
//! (`mach-o/compact_unwind_encoding.h`). What each means for the registers is what LLVM's code generators
//! encode, and its libunwind does with it.

use crate::link::target::Machine;

/// The sort of encoding, in its highest bits.
const MODE: u32 = 0x0f00_0000;

/// How to come from a frame to its caller's: bytes of `.eh_frame`'s instructions. `None` if the
/// encoding says that `__eh_frame` knows, or nothing.
///
/// `code` is the function's.
pub(super) fn instructions(machine: Machine, encoding: u32, code: &[u8]) -> Option<Vec<u8>> {
    match machine {
        Machine::X86_64 => x86_64(encoding, code),
        Machine::Aarch64 => arm64(encoding),
    }
}

/// Instructions as bytes.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    /// The caller's stack pointer is `offset` bytes above what `register` holds.
    fn frame(&mut self, register: u8, offset: u64) {
        self.0.extend([0x0c, register]);
        self.number(offset);
    }

    /// A register lies `words` words below the caller's stack pointer.
    fn saved(&mut self, register: u8, words: u64) {
        match register {
            0..64 => self.0.push(0x80 | register),
            _ => self.0.extend([0x05, register]),
        }
        self.number(words);
    }

    /// A number in groups of seven bits.
    fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 & 0x7f | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

fn arm64(encoding: u32) -> Option<Vec<u8>> {
    const STACK: u8 = 31;
    const FRAME: u8 = 29;
    const LINK: u8 = 30;
    let mut writer = Writer::default();
    let mut below = match encoding & MODE {
        0x0200_0000 => {
            writer.frame(STACK, u64::from(encoding >> 12 & 0xfff) * 16);
            1
        }
        0x0400_0000 => {
            writer.frame(FRAME, 16);
            writer.saved(LINK, 1);
            writer.saved(FRAME, 2);
            3
        }
        _ => return None,
    };
    // Pairs of registers, of which the lower numbers are those of x19 to x28, then d8 to d15.
    for (bit, first) in [
        (0, 19),
        (1, 21),
        (2, 23),
        (3, 25),
        (4, 27),
        (8, 72),
        (9, 74),
        (10, 76),
        (11, 78),
    ] {
        if encoding & 1 << bit != 0 {
            writer.saved(first, below);
            writer.saved(first + 1, below + 1);
            below += 2;
        }
    }
    Some(writer.0)
}

/// DWARF's numbers of the registers that a frame can keep, by the numbers of the encoding from 1 on: rbx,
/// r12 to r15, rbp.
const KEPT: [u8; 6] = [3, 12, 13, 14, 15, 6];

fn x86_64(encoding: u32, code: &[u8]) -> Option<Vec<u8>> {
    const FRAME: u8 = 6;
    const STACK: u8 = 7;
    let register = |number: u32| KEPT.get((number as usize).checked_sub(1)?).copied();
    let mut writer = Writer::default();
    match encoding & MODE {
        0x0100_0000 => {
            writer.frame(FRAME, 16);
            writer.saved(FRAME, 2);
            let first = u64::from(encoding >> 16 & 0xff);
            for number in 0..5u32 {
                let kept = encoding >> (3 * number) & 7;
                if kept != 0 {
                    let below = (first + 2).checked_sub(u64::from(number))?;
                    writer.saved(register(kept)?, below);
                }
            }
        }
        mode @ (0x0200_0000 | 0x0300_0000) => {
            let size = match mode {
                0x0200_0000 => u64::from(encoding >> 16 & 0xff) * 8,
                _ => {
                    // The operand of the instruction that makes the frame.
                    let at = (encoding >> 16 & 0xff) as usize;
                    let operand = code.get(at..)?.first_chunk()?;
                    let more = u64::from(encoding >> 13 & 7) * 8;
                    u64::from(u32::from_le_bytes(*operand)) + more
                }
            };
            writer.frame(STACK, size);
            let count = encoding >> 10 & 7;
            let order = permutation(encoding & 0x3ff, count)?;
            for (number, kept) in (0..).zip(order) {
                writer.saved(register(kept)?, u64::from(count) + 1 - number);
            }
        }
        _ => return None,
    }
    Some(writer.0)
}

/// The order of `count` of the six registers, as a number counts all orders.
fn permutation(mut number: u32, count: u32) -> Option<Vec<u32>> {
    let factors: &[u32] = match count {
        0 => &[],
        1 => &[1],
        2 => &[5, 1],
        3 => &[20, 4, 1],
        4 => &[60, 12, 3, 1],
        5 => &[120, 24, 6, 2, 1],
        6 => &[120, 24, 6, 2, 1, 1],
        _ => return None,
    };
    let mut left: Vec<u32> = (1..=6).collect();
    let mut order = Vec::new();
    for (index, factor) in factors.iter().enumerate() {
        // Of six the last is what is left.
        let next = match count == 6 && index == 5 {
            true => 0,
            false => number / factor,
        };
        number -= next * factor;
        let next = next as usize;
        if next >= left.len() {
            return None;
        }
        order.push(left.remove(next));
    }
    Some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_both_machines() {
        // x29 and x30, x19 to x22.
        let found = instructions(Machine::Aarch64, 0x0400_0003, &[]);
        let expected = vec![
            0x0c,
            29,
            16,
            0x80 | 30,
            1,
            0x80 | 29,
            2,
            0x80 | 19,
            3,
            0x80 | 20,
            4,
            0x80 | 21,
            5,
            0x80 | 22,
            6,
        ];
        assert_eq!(found, Some(expected));
        // rbp, with rbx and r14 below.
        let found = instructions(Machine::X86_64, 0x0102_0021, &[]);
        let expected = vec![0x0c, 6, 16, 0x86, 2, 0x83, 4, 0x8e, 3];
        assert_eq!(found, Some(expected));
        assert_eq!(instructions(Machine::X86_64, 0x0400_0000, &[]), None);
        assert_eq!(instructions(Machine::Aarch64, 0x0300_0000, &[]), None);
    }

    #[test]
    fn orders_are_counted() {
        assert_eq!(permutation(0, 2), Some(vec![1, 2]));
        assert_eq!(permutation(5 * 3 + 1, 2), Some(vec![4, 2]));
        assert_eq!(permutation(0, 6), Some(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(permutation(1023, 1), None);
    }
}
