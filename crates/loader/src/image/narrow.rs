//! Four bytes of code that get a thread-local's distance from the thread pointer when an image is loaded.
//!
//! On x86-64 they are a number with a sign, to which the distance is added. On AArch64 they are an
//! instruction, which says by its form what bits of the distance it takes; its operand is 1 if all of
//! the distance has to be in it, otherwise 0:
//!
//! | instruction | gets |
//! | --- | --- |
//! | `add`, shifted by 12 | bits 12 to 23, and the distance has to fit 24 bits |
//! | `add` | bits 0 to 11 |
//! | load or store with an offset without a sign | bits 0 to 11, in units of what it moves |
//! | `movz`, `movn`, `movk` | the 16 bits of its group; the former become the one that fits the sign |

use super::format::MACHINE_AARCH64;

/// Writes `distance` into `bytes` of code for `machine`. `None` if it does not fit.
pub(crate) fn write(machine: u16, bytes: &mut [u8; 4], distance: i64) -> Option<()> {
    *bytes = match machine {
        MACHINE_AARCH64 => instruction(u32::from_le_bytes(*bytes), distance)?.to_le_bytes(),
        _ => {
            let sum = i64::from(i32::from_le_bytes(*bytes)).checked_add(distance)?;
            i32::try_from(sum).ok()?.to_le_bytes()
        }
    };
    Some(())
}

fn instruction(old: u32, distance: i64) -> Option<u32> {
    let fits = |bits: u32| (0..1i64 << bits).contains(&distance);
    let low = distance as u32 & 0xfff;
    let add = old & 0x7fc0_0000;
    if add == 0x1140_0000 {
        return fits(24).then_some(with(old, 10, 12, (distance >> 12) as u32));
    }
    let scale = match add {
        0x1100_0000 => Some(0),
        _ => memory_scale(old),
    };
    if let Some(scale) = scale {
        let is_whole = old >> 10 & 0xfff != 0;
        let is_aligned = low & ((1 << scale) - 1) == 0;
        let is_fitting = is_aligned && (!is_whole || fits(12));
        return is_fitting.then_some(with(old, 10, 12, low >> scale));
    }
    if old & 0x1f80_0000 != 0x1280_0000 {
        return None;
    }
    let shift = 16 * (old >> 21 & 3);
    let is_whole = old >> 5 & 0xffff != 0;
    let limit = 1i128 << (shift + 16);
    if is_whole && !(-limit..limit).contains(&i128::from(distance)) {
        return None;
    }
    // 11 is `movk`, 10 is `movz`, 00 is `movn`, which takes the complement.
    let (old, distance) = match old >> 29 & 3 {
        3 => (old, distance),
        0 | 2 if distance < 0 && is_whole => (old & !(1 << 30), !distance),
        0 | 2 => (old | 1 << 30, distance),
        _ => return None,
    };
    Some(with(old, 5, 16, (distance >> shift) as u32 & 0xffff))
}

/// The bytes that a load or store of AArch64 with an unsigned offset moves, as a power of two.
pub(crate) fn memory_scale(instruction: u32) -> Option<u8> {
    if instruction & 0x3b00_0000 != 0x3900_0000 {
        return None;
    }
    let is_vector = instruction & (1 << 26) != 0;
    let is_whole_vector = is_vector && instruction & (1 << 23) != 0;
    let size = (instruction >> 30) as u8;
    match (is_whole_vector, size) {
        (false, _) => Some(size),
        (true, 0) => Some(4),
        (true, _) => None,
    }
}

/// An instruction with `bits` bits from `at` on replaced.
fn with(instruction: u32, at: u32, bits: u32, value: u32) -> u32 {
    let mask = ((1 << bits) - 1) << at;
    instruction & !mask | value << at & mask
}

#[cfg(test)]
mod tests {
    use super::super::format::MACHINE_X86_64;
    use super::*;

    fn written(old: u32, distance: i64) -> Option<u32> {
        let mut bytes = old.to_le_bytes();
        write(MACHINE_AARCH64, &mut bytes, distance)?;
        Some(u32::from_le_bytes(bytes))
    }

    #[test]
    fn instructions_say_what_they_take() {
        // add x0, x0, #0, lsl #12; add x0, x0, #0
        assert_eq!(written(0x9140_0000, 0x12_3456), Some(0x9144_8c00));
        assert_eq!(written(0x9140_0000, 1 << 24), None);
        assert_eq!(written(0x9100_0000, 0x12_3456), Some(0x9111_5800));
        assert_eq!(written(0x9100_0400, 0x12_3456), None);
        assert_eq!(written(0x9100_0400, 0x456), Some(0x9111_5800));
        // ldr x0, [x0]
        assert_eq!(written(0xf940_0000, 0x1458), Some(0xf942_2c00));
        assert_eq!(written(0xf940_0000, 0x1454), None);
        // movz x0, #1 (checked), lsl #16; movk x0, #0
        assert_eq!(written(0xd2a0_0020, 0x1_2345), Some(0xd2a0_0020));
        assert_eq!(written(0xd2a0_0020, 1 << 32), None);
        assert_eq!(written(0xd2a0_0020, -1), Some(0x92a0_0000));
        assert_eq!(written(0xf280_0000, 0x1_2345), Some(0xf284_68a0));
        // nop
        assert_eq!(written(0xd503_201f, 0), None);
    }

    #[test]
    fn a_number_is_added_to() {
        let mut bytes = (-4i32).to_le_bytes();
        assert_eq!(write(MACHINE_X86_64, &mut bytes, 16), Some(()));
        assert_eq!(bytes, 12i32.to_le_bytes());
        assert_eq!(write(MACHINE_X86_64, &mut bytes, i32::MAX.into()), None);
    }
}
