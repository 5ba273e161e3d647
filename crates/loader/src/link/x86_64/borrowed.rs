//! Data of other modules that code reaches as if it were its own program's.
//!
//! Compilers that build for executables (`-fPIE`, the default of many) take variables of libraries,
//! such as `stderr`, to lie within 2 GiB: a linker of programs copies them there. An image cannot: the
//! library's variable is where it is. Two instructions can be made to go through a slot all the same,
//! and they are nearly all that compilers write:
//!
//! | before | after |
//! | --- | --- |
//! | `[rex.w] 8d /r` `lea foo(%rip), %r` | `[rex.w] 8b /r` `mov slot(%rip), %r` |
//! | the same with `foo + n` | `e9 ..` `jmp veneer; nop`, to a *veneer* of the site's own |
//! | `[rex.w] 8b /r` `mov foo + n(%rip), %r` | the same |
//!
//! A veneer is `mov slot(%rip), %r`, then `mov n(%r), %r` or `lea n(%r), %r`, then `jmp back`: the
//! register is about to be overwritten, and flags and stack stay as they are. Everything else (stores,
//! comparisons, other widths) stays refused.
//!
//! Nothing in the object promises what instruction a field belongs to. The opcode, its operand and the
//! prefixes in front are looked at, and where they could be part of another instruction, it is refused.
//! Both instructions end with the field.

use rustc_hash::FxHashMap;

/// Bytes of a veneer: at most 20, in whole words.
pub(in crate::link) const VENEER_SIZE: u64 = 24;

/// Bytes in front of the field of the two instructions.
const FRONT: usize = 3;

/// An instruction that can be made to go through a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::link) enum Borrowing {
    Address,
    Value,
}

/// Which of the two instructions `code` is up to its field, if it is one.
pub(in crate::link) fn borrowing(code: &[u8]) -> Option<Borrowing> {
    let before = |distance: usize| code.len().checked_sub(distance).and_then(|at| code.get(at));
    let (&rex, &opcode, &operand) = (before(3)?, before(2)?, before(1)?);
    let is_wide = rex & 0xf8 == 0x48;
    let is_rip_relative = operand & 0xc7 == 0x05;
    // Another segment, shorter addresses, or the second byte of a REX2 prefix.
    let is_prefixed = matches!(before(4), Some(0x64 | 0x65 | 0x67 | 0xd5));
    // The last byte of an EVEX prefix looks like a REX prefix, and AVX-512 has both opcodes.
    let is_vector = before(6) == Some(&0x62);
    // The stack pointer must not hold anything else for a moment.
    let is_stack_pointer = operand & 0x38 == 0x20 && rex & 4 == 0;
    if !is_wide || !is_rip_relative || is_prefixed || is_vector || is_stack_pointer {
        return None;
    }
    match opcode {
        0x8d => Some(Borrowing::Address),
        0x8b => Some(Borrowing::Value),
        _ => None,
    }
}

/// Sites with a veneer, in the order in which they were met.
#[derive(Default)]
pub(in crate::link) struct Veneers {
    /// By section and offset of the field.
    numbers: FxHashMap<(usize, u64), u64>,
}

impl Veneers {
    pub(in crate::link) fn insert(&mut self, section: usize, offset: u64) {
        let next = self.len();
        self.numbers.entry((section, offset)).or_insert(next);
    }

    /// The number of the veneer of a site.
    pub(in crate::link) fn get(&self, section: usize, offset: u64) -> Option<u64> {
        self.numbers.get(&(section, offset)).copied()
    }

    /// How many there are.
    pub(in crate::link) fn len(&self) -> u64 {
        self.numbers.len() as u64
    }
}

/// What takes the place of a load, and its veneer.
pub(in crate::link) struct Detour {
    /// From the beginning of the instruction.
    pub(in crate::link) jump: [u8; FRONT + 4],
    pub(in crate::link) veneer: Vec<u8>,
}

/// An instruction whose first bytes are `front`, made to go through the slot at `slot`, and `offset` bytes
/// from there. The field lies at `field`, the veneer at `veneer`. `None` if something is out of reach.
pub(in crate::link) fn detour(
    front: [u8; FRONT],
    offset: i64,
    field: u64,
    veneer: u64,
    slot: u64,
) -> Option<Detour> {
    let distance = |from: u64, to: u64| {
        let distance = to.wrapping_sub(from) as i64;
        Some(i32::try_from(distance).ok()?.to_le_bytes())
    };
    let [rex, opcode, operand] = front;
    let start = field.wrapping_sub(FRONT as u64);
    let end = field.wrapping_add(4);
    let [a, b, c, d] = distance(start.wrapping_add(5), veneer)?;
    // 66 90: a nop of two bytes.
    let jump = [0xe9, a, b, c, d, 0x66, 0x90];

    let mut code = vec![rex, 0x8b, operand];
    code.extend(distance(veneer.wrapping_add(7), slot)?);
    // The register as its own base, with an offset of four bytes, which every base can have.
    let number = operand >> 3 & 7;
    let extension = rex >> 2 & 1;
    code.extend([
        0x48 | extension << 2 | extension,
        opcode,
        0x80 | number << 3 | number,
    ]);
    if number == 4 {
        code.push(0x24);
    }
    code.extend(i32::try_from(offset).ok()?.to_le_bytes());
    let back = veneer.wrapping_add(code.len() as u64 + 5);
    code.push(0xe9);
    code.extend(distance(back, end)?);
    Some(Detour { jump, veneer: code })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_instructions_are_taken() {
        let taken = [
            (&[0x48, 0x8d, 0x05][..], Some(Borrowing::Address)),
            (&[0x48, 0x8b, 0x3d], Some(Borrowing::Value)),
            (&[0x4c, 0x8b, 0x25], Some(Borrowing::Value)),
            (
                &[0x90, 0x90, 0x90, 0x4c, 0x8d, 0x3d],
                Some(Borrowing::Address),
            ),
        ];
        for (code, expected) in taken {
            assert_eq!(borrowing(code), expected, "{code:x?}");
        }
        let refused: [&[u8]; 12] = [
            &[],
            &[0x8b, 0x05],
            // Narrow, a store, a comparison, another base, the stack pointer.
            &[0x44, 0x8b, 0x05],
            &[0x48, 0x89, 0x05],
            &[0x48, 0x3b, 0x05],
            &[0x48, 0x8b, 0x80],
            &[0x48, 0x8b, 0x25],
            // fs:, gs:, addr32, REX2.
            &[0x64, 0x48, 0x8b, 0x05],
            &[0x65, 0x48, 0x8b, 0x05],
            &[0x67, 0x48, 0x8b, 0x05],
            &[0xd5, 0x48, 0x8b, 0x05],
            // vpcompressd %zmm0, foo(%rip)
            &[0x62, 0xf2, 0x7d, 0x48, 0x8b, 0x05],
        ];
        for code in refused {
            assert_eq!(borrowing(code), None, "{code:x?}");
        }
    }

    #[test]
    fn a_detour_goes_and_comes_back() {
        // mov foo(%rip), %rdi
        let found = detour([0x48, 0x8b, 0x3d], 8, 0x103, 0x200, 0x300).expect("it is near");
        assert_eq!(found.jump, [0xe9, 0xfb, 0, 0, 0, 0x66, 0x90]);
        let expected = [
            0x48, 0x8b, 0x3d, 0xf9, 0, 0, 0, // mov 0x300(%rip), %rdi
            0x48, 0x8b, 0xbf, 8, 0, 0, 0, // mov 8(%rdi), %rdi
            0xe9, 0xf4, 0xfe, 0xff, 0xff, // jmp 0x107
        ];
        assert_eq!(found.veneer, expected);
        // lea foo-1(%rip), %r12: a base that needs a byte more.
        let found = detour([0x4c, 0x8d, 0x25], -1, 0x103, 0x200, 0x300).expect("it is near");
        assert_eq!(found.veneer.get(..3), Some(&[0x4c, 0x8b, 0x25][..]));
        let middle = found.veneer.get(7..15);
        let expected = [0x4d, 0x8d, 0xa4, 0x24, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(middle, Some(&expected[..]));
        assert!(found.veneer.len() as u64 <= VENEER_SIZE);
        assert!(detour([0x48, 0x8b, 0x3d], 0, 0x103, 1 << 40, 0x300).is_none());
        assert!(detour([0x48, 0x8b, 0x3d], 1 << 40, 0x103, 0x200, 0x300).is_none());
    }
}
