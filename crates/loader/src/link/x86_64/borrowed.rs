//! Data of other modules that code reaches as if it were its own program's.
//!
//! Compilers that build for executables (`-fPIE`, the default of many, or `-fno-pic`) take variables of
//! libraries, such as `stderr`, to lie within 2 GiB: a linker of programs copies them there. An image
//! cannot: the library's variable is where it is. Some instructions can be made to go through a slot all
//! the same, and they are nearly all that compilers write:
//!
//! | before | after |
//! | --- | --- |
//! | `[rex.w] 8d /r` `lea foo(%rip), %r` | `[rex.w] 8b /r` `mov slot(%rip), %r` |
//! | the same with `foo + n` | `e9 ..` `jmp veneer`, then nops, to a *veneer* of the site's own |
//! | `[rex.w] 8b /r` `mov foo + n(%rip), %r` | the same |
//! | `b8+r` `mov $foo + n, %r` of 32 bits | the same; with 64 bits, as addresses have |
//! | `[rex.w] c7 /0` `mov $foo + n, %r` | the same |
//! | `[rex.w] 8b /r 25` `mov foo + n, %r` | the same |
//!
//! A veneer is `mov slot(%rip), %r`, then `mov n(%r), %r` or `lea n(%r), %r`, then `jmp back`: the
//! register is about to be overwritten, and flags and stack stay as they are. Everything else (stores,
//! comparisons, other widths) stays refused.
//!
//! Nothing in the object promises what instruction a field belongs to. The opcode, its operand and the
//! prefixes in front are looked at, and where they could be part of another instruction, it is refused.
//! All of them end with the field.

use object::elf;
use rustc_hash::FxHashMap;

/// Bytes of a veneer: at most 20, in whole words.
pub(in crate::link) const VENEER_SIZE: u64 = 24;

/// An instruction that can be made to go through a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::link) struct Borrowing {
    pub(in crate::link) wants: Wants,
    /// Bytes of the instruction in front of the field.
    pub(in crate::link) front: u64,
    /// The number of the register that it fills.
    register: u8,
    /// What the field counts from lies so many bytes behind it, if it is no absolute address.
    counts_from: i64,
}

/// What such an instruction puts into its register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::link) enum Wants {
    Address,
    Value,
}

/// What instruction `code` is up to the field of a relocation of `kind`, if it is one of these.
pub(in crate::link) fn borrowing(kind: u32, code: &[u8]) -> Option<Borrowing> {
    match kind {
        elf::R_X86_64_PC32 => relative(code),
        elf::R_X86_64_32 => short_move(code),
        elf::R_X86_64_32S => long_move(code).or_else(|| absolute_load(code)),
        _ => None,
    }
}

/// The byte that lies `distance` before the end of `code`.
fn before(code: &[u8], distance: usize) -> Option<u8> {
    code.get(code.len().checked_sub(distance)?).copied()
}

/// Whether `byte` makes the next instruction something else: another segment, shorter addresses, or the
/// second byte of a REX2 prefix.
fn is_prefix(byte: Option<u8>) -> bool {
    matches!(byte, Some(0x64 | 0x65 | 0x67 | 0xd5))
}

/// The register of `number`, which must not be the stack pointer: that must hold nothing else, not even
/// for a moment.
fn usable(number: u8) -> Option<u8> {
    (number != 4).then_some(number)
}

/// `lea` or `mov`, relative to the end of the instruction.
fn relative(code: &[u8]) -> Option<Borrowing> {
    let (rex, opcode, operand) = (before(code, 3)?, before(code, 2)?, before(code, 1)?);
    let is_wide = rex & 0xf8 == 0x48;
    let is_rip_relative = operand & 0xc7 == 0x05;
    // The last byte of an EVEX prefix looks like a REX prefix, and AVX-512 has both opcodes.
    let is_vector = before(code, 6) == Some(0x62);
    if !is_wide || !is_rip_relative || is_prefix(before(code, 4)) || is_vector {
        return None;
    }
    let wants = match opcode {
        0x8d => Wants::Address,
        0x8b => Wants::Value,
        _ => return None,
    };
    Some(Borrowing {
        wants,
        front: 3,
        register: usable(operand >> 3 & 7 | (rex >> 2 & 1) << 3)?,
        counts_from: 4,
    })
}

/// Whether the last `size` bytes of `code` may be the operand of an instruction that a number of 32 bits
/// follows.
fn ends_in_place(code: &[u8], size: usize) -> bool {
    let takes_number = matches!(before(code, size + 1), Some(0x69 | 0x81 | 0xc7 | 0xf7));
    let (true, Some(operand)) = (takes_number, before(code, size)) else {
        return false;
    };
    let (mode, has_index) = (operand >> 6, operand & 7 == 4);
    let index = has_index.then(|| before(code, size - 1)).flatten();
    let has_base = match index {
        Some(index) => index & 7 != 5,
        None => operand & 7 != 5,
    };
    let offset = match mode {
        0 if !has_base => 4,
        1 => 1,
        2 => 4,
        _ => 0,
    };
    mode != 3 && size == 1 + usize::from(has_index) + offset
}

/// `mov` of a number of 32 bits, which becomes one of 64.
fn short_move(code: &[u8]) -> Option<Borrowing> {
    let opcode = before(code, 1)?;
    // Another register, or the last byte of the instruction before; and another size.
    let is_open = matches!(before(code, 2), Some(0x40..=0x4f | 0x66 | 0xd5));
    let is_rex2 = before(code, 3) == Some(0xd5);
    // The byte may end a place in front of the number: `op $foo, -72(%r)`, `op $foo, (%r, %r, 4)`.
    let is_place = (2..=6).any(|size| ends_in_place(code, size));
    // And the number may be a place's offset: `op foo(%r), %r` with shorter addresses.
    let is_offset = (2..=8).any(|at| before(code, at) == Some(0x67));
    if opcode & 0xf8 != 0xb8 || is_open || is_rex2 || is_place || is_offset {
        return None;
    }
    Some(Borrowing {
        wants: Wants::Address,
        front: 1,
        register: usable(opcode & 7)?,
        counts_from: 0,
    })
}

/// `mov` of a number of 32 bits with a sign to a register of 64.
fn long_move(code: &[u8]) -> Option<Borrowing> {
    let (rex, opcode, operand) = (before(code, 3)?, before(code, 2)?, before(code, 1)?);
    if rex & 0xfe != 0x48 || opcode != 0xc7 || operand & 0xf8 != 0xc0 || is_prefix(before(code, 4))
    {
        return None;
    }
    Some(Borrowing {
        wants: Wants::Address,
        front: 3,
        register: usable(operand & 7 | (rex & 1) << 3)?,
        counts_from: 0,
    })
}

/// `mov` of 64 bits from an absolute address.
fn absolute_load(code: &[u8]) -> Option<Borrowing> {
    let (rex, opcode) = (before(code, 4)?, before(code, 3)?);
    let (operand, index) = (before(code, 2)?, before(code, 1)?);
    let is_absolute = operand & 0xc7 == 0x04 && index == 0x25;
    // As above: `vpcompressd %zmm0, foo`.
    let is_vector = before(code, 7) == Some(0x62);
    let is_other = is_prefix(before(code, 5)) || is_vector;
    if rex & 0xfb != 0x48 || opcode != 0x8b || !is_absolute || is_other {
        return None;
    }
    Some(Borrowing {
        wants: Wants::Value,
        front: 4,
        register: usable(operand >> 3 & 7 | (rex >> 2 & 1) << 3)?,
        counts_from: 0,
    })
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

/// What takes the place of an instruction, and its veneer.
pub(in crate::link) struct Detour {
    /// From the beginning of the instruction.
    pub(in crate::link) jump: Vec<u8>,
    pub(in crate::link) veneer: Vec<u8>,
}

impl Borrowing {
    /// The instruction made to go through the slot at `slot`, and as far from there as `addend` says.
    /// The field lies at `field`, the veneer at `veneer`. `None` if something is out of reach.
    pub(in crate::link) fn detour(
        self,
        addend: i64,
        field: u64,
        veneer: u64,
        slot: u64,
    ) -> Option<Detour> {
        let distance = |from: u64, to: u64| {
            let distance = to.wrapping_sub(from) as i64;
            Some(i32::try_from(distance).ok()?.to_le_bytes())
        };
        let start = field.wrapping_sub(self.front);
        let end = field.wrapping_add(4);
        let mut jump = vec![0xe9];
        jump.extend(distance(start.wrapping_add(5), veneer)?);
        jump.extend_from_slice(match self.front {
            1 => &[],
            // Nops of two and three bytes.
            3 => &[0x66, 0x90],
            _ => &[0x0f, 0x1f, 0x00],
        });

        let (number, extension) = (self.register & 7, self.register >> 3);
        let mut code = vec![0x48 | extension << 2, 0x8b, number << 3 | 5];
        code.extend(distance(veneer.wrapping_add(7), slot)?);
        // The register as its own base, with an offset of four bytes, which every base can have.
        let opcode = match self.wants {
            Wants::Address => 0x8d,
            Wants::Value => 0x8b,
        };
        code.extend([
            0x48 | extension << 2 | extension,
            opcode,
            0x80 | number << 3 | number,
        ]);
        if number == 4 {
            code.push(0x24);
        }
        let offset = addend.wrapping_add(self.counts_from);
        code.extend(i32::try_from(offset).ok()?.to_le_bytes());
        let back = veneer.wrapping_add(code.len() as u64 + 5);
        code.push(0xe9);
        code.extend(distance(back, end)?);
        Some(Detour { jump, veneer: code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(kind: u32, code: &[u8]) -> Option<Wants> {
        borrowing(kind, code).map(|found| found.wants)
    }

    #[test]
    fn only_these_instructions_are_taken() {
        let relative = elf::R_X86_64_PC32;
        let (number, signed) = (elf::R_X86_64_32, elf::R_X86_64_32S);
        let taken = [
            (relative, &[0x48, 0x8d, 0x05][..], Wants::Address),
            (relative, &[0x48, 0x8b, 0x3d], Wants::Value),
            (relative, &[0x4c, 0x8b, 0x25], Wants::Value),
            (
                relative,
                &[0x90, 0x90, 0x90, 0x4c, 0x8d, 0x3d],
                Wants::Address,
            ),
            (number, &[0xbf], Wants::Address),
            (number, &[0xc3, 0xb8], Wants::Address),
            // Behind movl $0, (%rdi).
            (number, &[0xc7, 0x07, 0, 0, 0, 0, 0xb8], Wants::Address),
            (signed, &[0x49, 0xc7, 0xc4], Wants::Address),
            (signed, &[0x48, 0x8b, 0x3c, 0x25], Wants::Value),
        ];
        for (kind, code, expected) in taken {
            assert_eq!(wanted(kind, code), Some(expected), "{code:x?}");
        }
        let refused: [(u32, &[u8]); 34] = [
            (relative, &[]),
            (relative, &[0x8b, 0x05]),
            // Narrow, a store, a comparison, another base, the stack pointer.
            (relative, &[0x44, 0x8b, 0x05]),
            (relative, &[0x48, 0x89, 0x05]),
            (relative, &[0x48, 0x3b, 0x05]),
            (relative, &[0x48, 0x8b, 0x80]),
            (relative, &[0x48, 0x8b, 0x25]),
            // fs:, gs:, addr32, REX2.
            (relative, &[0x64, 0x48, 0x8b, 0x05]),
            (relative, &[0x65, 0x48, 0x8b, 0x05]),
            (relative, &[0x67, 0x48, 0x8b, 0x05]),
            (relative, &[0xd5, 0x48, 0x8b, 0x05]),
            // vpcompressd %zmm0, foo(%rip)
            (relative, &[0x62, 0xf2, 0x7d, 0x48, 0x8b, 0x05]),
            // mov $foo, %esp; mov $foo, %r8d, or what follows movb $65, (%rdi); push $foo
            (number, &[0xbc]),
            (number, &[0xc6, 0x07, 0x41, 0xb8]),
            (number, &[0x68]),
            // movl $foo, -72(%rbp); movl $foo, -72(%rsp)
            (number, &[0xc7, 0x45, 0xb8]),
            (number, &[0xc7, 0x44, 0x24, 0xb8]),
            // Places with an index and no offset: movl $foo, (%rax, %rdi, 4) and others.
            (number, &[0xc7, 0x04, 0xb8]),
            (number, &[0x81, 0x04, 0xb8]),
            (number, &[0x81, 0x3c, 0xba]),
            (number, &[0x69, 0x14, 0xb8]),
            (number, &[0xf7, 0x04, 0xb8]),
            // Offsets of four bytes: of a register, with an index, and alone.
            (number, &[0xc7, 0x80, 0, 0, 0, 0xb8]),
            (number, &[0xc7, 0x84, 0x24, 0, 0, 0, 0xb8]),
            (number, &[0xc7, 0x04, 0x25, 0, 0, 0, 0xb8]),
            // mov foo(%eax), %edi; movzbl foo(%eax), %edi; mov foo(%eax, %edi, 4), %eax
            (number, &[0x67, 0x8b, 0xb8]),
            (number, &[0x67, 0x0f, 0xb6, 0xb8]),
            (number, &[0x67, 0x8b, 0x84, 0xb8]),
            // mov $foo, %r16d
            (number, &[0xd5, 0x10, 0xb8]),
            // vpcompressd %zmm0, foo
            (signed, &[0x62, 0xf2, 0x7d, 0x48, 0x8b, 0x04, 0x25]),
            // movq $foo, (%rax); cmpq $foo, %rax; mov foo(,%rax,8), %rax; mov %fs:foo, %rax
            (signed, &[0x48, 0xc7, 0x00]),
            (signed, &[0x48, 0x3d]),
            (signed, &[0x48, 0x8b, 0x04, 0xc5]),
            (signed, &[0x64, 0x48, 0x8b, 0x04, 0x25]),
        ];
        for (kind, code) in refused {
            assert_eq!(wanted(kind, code), None, "{code:x?}");
        }
    }

    #[test]
    fn a_detour_goes_and_comes_back() {
        let take = |kind, code: &[u8]| borrowing(kind, code).expect("it is taken");
        // mov foo(%rip), %rdi
        let load = take(elf::R_X86_64_PC32, &[0x48, 0x8b, 0x3d]);
        let found = load.detour(4, 0x103, 0x200, 0x300).expect("it is near");
        assert_eq!(found.jump, [0xe9, 0xfb, 0, 0, 0, 0x66, 0x90]);
        let expected = [
            0x48, 0x8b, 0x3d, 0xf9, 0, 0, 0, // mov 0x300(%rip), %rdi
            0x48, 0x8b, 0xbf, 8, 0, 0, 0, // mov 8(%rdi), %rdi
            0xe9, 0xf4, 0xfe, 0xff, 0xff, // jmp 0x107
        ];
        assert_eq!(found.veneer, expected);
        // lea foo-1(%rip), %r12: a base that needs a byte more.
        let address = take(elf::R_X86_64_PC32, &[0x4c, 0x8d, 0x25]);
        let found = address.detour(-5, 0x103, 0x200, 0x300).expect("it is near");
        assert_eq!(found.veneer.get(..3), Some(&[0x4c, 0x8b, 0x25][..]));
        let middle = found.veneer.get(7..15);
        let expected = [0x4d, 0x8d, 0xa4, 0x24, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(middle, Some(&expected[..]));
        assert!(found.veneer.len() as u64 <= VENEER_SIZE);
        assert!(load.detour(0, 0x103, 1 << 40, 0x300).is_none());
        assert!(load.detour(1 << 40, 0x103, 0x200, 0x300).is_none());

        // mov $foo, %edi: five bytes, all of them the jump.
        let number = take(elf::R_X86_64_32, &[0xbf]);
        let found = number.detour(0, 0x101, 0x200, 0x300).expect("it is near");
        assert_eq!(found.jump, [0xe9, 0xfb, 0, 0, 0]);
        assert_eq!(found.veneer.get(..3), Some(&[0x48, 0x8b, 0x3d][..]));
        // mov foo, %r9
        let load = take(elf::R_X86_64_32S, &[0x4c, 0x8b, 0x0c, 0x25]);
        let found = load.detour(0, 0x104, 0x200, 0x300).expect("it is near");
        assert_eq!(found.jump, [0xe9, 0xfb, 0, 0, 0, 0x0f, 0x1f, 0x00]);
        assert_eq!(found.veneer.get(7..10), Some(&[0x4d, 0x8b, 0x89][..]));
    }
}
