//! Floats in words.
//!
//! A float whose exponent is near 0 has a bit pattern whose bits 62 to 60 are 011 or 100. Less the
//! bias they are 000 or 001, which leaves two bits that are always clear: a rotation brings them, with
//! the sign, to the low end, where the tag `10` goes beside the sign.

use std::num::NonZeroU64;

/// Subtracted from a float's bits, this brings the exponents that flonums hold to 0b00x.
pub(super) const FLONUM_BIAS: u64 = 3 << 60;

/// The word of a float that fits into one.
#[inline]
pub(super) fn flonum_word(value: f64) -> Option<NonZeroU64> {
    let bits = value.to_bits();
    let magnitude = bits & !(1 << 63);
    // The word that the bias itself would have stands for zero, which is far more common.
    if magnitude == 0 {
        return NonZeroU64::new(bits >> 63 << 2 | 0b10);
    }
    if magnitude <= FLONUM_BIAS || magnitude - FLONUM_BIAS >= 1 << 61 {
        return None;
    }
    // Bits 62 and 61 are clear now, so that the rotation leaves room for the tag beside the sign.
    NonZeroU64::new((bits - FLONUM_BIAS).rotate_left(3) | 0b10)
}

/// The float of a flonum's word.
#[inline]
pub(super) fn flonum_value(word: u64) -> f64 {
    let bits = (word & !0b10).rotate_right(3);
    match bits & !(1 << 63) {
        0 => f64::from_bits(bits),
        _ => f64::from_bits(bits + FLONUM_BIAS),
    }
}
