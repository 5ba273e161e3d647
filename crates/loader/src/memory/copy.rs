//! The copy of a large image, and its checksum in the same pass.
//!
//! Such a copy waits for memory most of the time, and hashing a piece between two copies of pieces lets
//! the memory wait as well. So each 64 bytes are loaded once, and what was loaded is both hashed and
//! stored, while what comes next is fetched: both the source, and the destination, which is in
//! no cache either. What is checked is what runs, even if the source changes meanwhile.
//!
//! Stores past the caches were no faster here, where the memory was filled with zeros a moment ago.
//!
//! The checksum is XXH3 of 64 bits with seed 0, as everywhere ([`checksum`](rekindle_cache_core::checksum));
//! only its form for long inputs is here. Other processors, and short images, go the usual way.

use rekindle_cache_core::copy_with_checksum as copy_in_pieces;

/// Images below this size are in the caches before and after.
const LARGE: usize = 32 << 10;

/// Copies `from` to `to`, which has the same length, and returns the checksum of the copy.
///
/// # Panics
/// If the lengths differ.
pub(crate) fn copy_with_checksum(from: &[u8], to: &mut [u8]) -> u64 {
    assert_eq!(from.len(), to.len(), "a copy has the length of its source");
    #[cfg(target_arch = "x86_64")]
    if from.len() >= LARGE
        && let Some(copy) = x86_64::Blocks::of_this_processor()
    {
        return long::copy(from, to, copy);
    }
    let _ = LARGE;
    copy_in_pieces(from, to)
}

/// XXH3 for more than 240 bytes: eight lanes take in a stripe of 64 bytes at a time, and are scrambled
/// after each block of 16 stripes.
#[cfg(target_arch = "x86_64")]
mod long {
    use super::x86_64::Blocks;

    pub(super) const STRIPE: usize = 64;
    pub(super) const BLOCK: usize = 16 * STRIPE;

    /// The lanes.
    #[derive(Clone, Copy)]
    #[repr(C, align(64))]
    pub(super) struct Lanes(pub(super) [u64; 8]);

    /// The algorithm's default secret.
    #[repr(C, align(64))]
    pub(super) struct Secret(pub(super) [u8; 192]);

    #[rustfmt::skip]
    pub(super) static SECRET: Secret = Secret([
        0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
        0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
        0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
        0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
        0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
        0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
        0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
        0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
        0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
        0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
        0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
        0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
    ]);

    pub(super) const PRIME32_1: u64 = 0x9e37_79b1;
    const PRIME32_2: u64 = 0x85eb_ca77;
    const PRIME32_3: u64 = 0xc2b2_ae3d;
    const PRIME64_1: u64 = 0x9e37_79b1_85eb_ca87;
    const PRIME64_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
    const PRIME64_3: u64 = 0x1656_67b1_9e37_79f9;
    const PRIME64_4: u64 = 0x85eb_ca77_c2b2_ae63;
    const PRIME64_5: u64 = 0x27d4_eb2f_1656_67c5;

    const START: Lanes = Lanes([
        PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3, PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1,
    ]);

    /// Where the secrets of the last stripe and of the end begin.
    const LAST: usize = 192 - STRIPE - 7;
    const END: usize = 11;

    /// Copies and hashes; `from` and `to` are equally long, of more than a block.
    pub(super) fn copy(from: &[u8], to: &mut [u8], blocks: Blocks) -> u64 {
        let mut lanes = START;
        // The last block is always left over, be it whole.
        let whole = (from.len() - 1) / BLOCK * BLOCK;
        let (from, last_from) = from.split_at(whole);
        let (to_blocks, last_to) = to.split_at_mut(whole);
        blocks.copy(from, to_blocks, &mut lanes);
        last_to.copy_from_slice(last_from);
        for (number, stripe) in last_to[..last_to.len() - 1]
            .chunks_exact(STRIPE)
            .enumerate()
        {
            accumulate(&mut lanes, stripe, &SECRET.0[8 * number..]);
        }
        // It may begin in the block before.
        let stripe = &to[to.len() - STRIPE..];
        accumulate(&mut lanes, stripe, &SECRET.0[LAST..]);
        finish(&lanes, to.len() as u64)
    }

    fn word(bytes: &[u8], number: usize) -> u64 {
        let bytes = bytes.get(8 * number..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn accumulate(lanes: &mut Lanes, stripe: &[u8], secret: &[u8]) {
        for lane in 0..8 {
            let data = word(stripe, lane);
            let key = data ^ word(secret, lane);
            let product = (key & 0xffff_ffff).wrapping_mul(key >> 32);
            lanes.0[lane ^ 1] = lanes.0[lane ^ 1].wrapping_add(data);
            lanes.0[lane] = lanes.0[lane].wrapping_add(product);
        }
    }

    fn finish(lanes: &Lanes, length: u64) -> u64 {
        let mut hash = length.wrapping_mul(PRIME64_1);
        for pair in 0..4 {
            let factor = |lane| lanes.0[lane] ^ word(&SECRET.0[END..], lane);
            let product = u128::from(factor(2 * pair)) * u128::from(factor(2 * pair + 1));
            hash = hash.wrapping_add(product as u64 ^ (product >> 64) as u64);
        }
        hash ^= hash >> 37;
        hash = hash.wrapping_mul(0x1656_6791_9e37_79f9);
        hash ^ hash >> 32
    }
}

/// Whole blocks, copied and taken into the lanes at once.
#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::long::{BLOCK, Lanes, PRIME32_1, SECRET, STRIPE};
    use std::arch::asm;
    use std::arch::x86_64::*;

    /// How far ahead memory is fetched: the processor itself does not look beyond a page.
    const AHEAD: usize = 2048;

    /// Where the secret of the scrambling begins.
    const SCRAMBLE: usize = 192 - STRIPE;

    /// The instructions to use, which this processor has.
    #[derive(Clone, Copy)]
    pub(super) struct Blocks(Set);

    #[derive(Clone, Copy)]
    enum Set {
        Avx512,
        Avx2,
    }

    impl Blocks {
        /// The best that this processor has, if it has any.
        pub(super) fn of_this_processor() -> Option<Self> {
            if is_x86_feature_detected!("avx512f") {
                return Some(Self(Set::Avx512));
            }
            is_x86_feature_detected!("avx2").then_some(Self(Set::Avx2))
        }

        #[cfg(test)]
        pub(super) fn avx2() -> Option<Self> {
            is_x86_feature_detected!("avx2").then_some(Self(Set::Avx2))
        }

        /// Copies whole blocks from `from` to `to`, which are equally long, and takes them into `lanes`.
        pub(super) fn copy(self, from: &[u8], to: &mut [u8], lanes: &mut Lanes) {
            assert!(from.len() == to.len() && from.len().is_multiple_of(BLOCK));
            let count = from.len() / BLOCK;
            let (from, to) = (from.as_ptr(), to.as_mut_ptr());
            // SAFETY: there are `count` blocks at both, and the processor has the instructions.
            unsafe {
                match self.0 {
                    Set::Avx512 => avx512(from, to, count, lanes),
                    Set::Avx2 => avx2(from, to, count, lanes),
                }
            }
        }
    }

    /// # Safety
    /// `count` blocks can be read at `from` and written at `to`.
    #[target_feature(enable = "avx512f")]
    unsafe fn avx512(mut from: *const u8, mut to: *mut u8, count: usize, lanes: &mut Lanes) {
        let secret = SECRET.0.as_ptr();
        let place = lanes.0.as_mut_ptr().cast();
        let prime = _mm512_set1_epi64(PRIME32_1 as i64);
        // SAFETY: lanes and secret are as long as is read of them, and the caller vouches for the blocks.
        // What is fetched ahead may lie anywhere.
        unsafe {
            let mut sum = _mm512_loadu_si512(place);
            for _ in 0..count {
                for stripe in 0..BLOCK / STRIPE {
                    _mm_prefetch(from.wrapping_add(AHEAD).cast(), _MM_HINT_T1);
                    let mut data = _mm512_loadu_si512(from.cast());
                    // From here on the compiler cannot tell where this is from, nor load it again.
                    asm!("/* {0} */", inout(zmm_reg) data, options(pure, nomem, nostack, preserves_flags));
                    _mm_prefetch(to.wrapping_add(AHEAD).cast(), _MM_HINT_ET0);
                    _mm512_storeu_si512(to.cast(), data);
                    let key = _mm512_loadu_si512(secret.add(8 * stripe).cast());
                    let key = _mm512_xor_si512(data, key);
                    let product = _mm512_mul_epu32(key, _mm512_srli_epi64::<32>(key));
                    let swapped = _mm512_shuffle_epi32::<0b01_00_11_10>(data);
                    sum = _mm512_add_epi64(sum, _mm512_add_epi64(product, swapped));
                    from = from.wrapping_add(STRIPE);
                    to = to.wrapping_add(STRIPE);
                }
                let key = _mm512_loadu_si512(secret.add(SCRAMBLE).cast());
                let mixed = _mm512_xor_si512(sum, _mm512_srli_epi64::<47>(sum));
                let mixed = _mm512_xor_si512(mixed, key);
                let high = _mm512_mul_epu32(_mm512_srli_epi64::<32>(mixed), prime);
                let low = _mm512_mul_epu32(mixed, prime);
                sum = _mm512_add_epi64(low, _mm512_slli_epi64::<32>(high));
            }
            _mm512_storeu_si512(place, sum);
        }
    }

    /// # Safety
    /// As for [`avx512`].
    #[target_feature(enable = "avx2")]
    unsafe fn avx2(mut from: *const u8, mut to: *mut u8, count: usize, lanes: &mut Lanes) {
        const HALF: usize = STRIPE / 2;
        let secret = SECRET.0.as_ptr();
        let place = lanes.0.as_mut_ptr();
        let prime = _mm256_set1_epi64x(PRIME32_1 as i64);
        // SAFETY: as in `avx512`.
        unsafe {
            let mut sums = [
                _mm256_loadu_si256(place.cast()),
                _mm256_loadu_si256(place.add(4).cast()),
            ];
            for _ in 0..count {
                for stripe in 0..BLOCK / STRIPE {
                    _mm_prefetch(from.wrapping_add(AHEAD).cast(), _MM_HINT_T1);
                    let mut low = _mm256_loadu_si256(from.cast());
                    let mut high = _mm256_loadu_si256(from.add(HALF).cast());
                    // As above.
                    asm!("/* {0} {1} */", inout(ymm_reg) low, inout(ymm_reg) high, options(pure, nomem, nostack, preserves_flags));
                    _mm_prefetch(to.wrapping_add(AHEAD).cast(), _MM_HINT_ET0);
                    _mm256_storeu_si256(to.cast(), low);
                    _mm256_storeu_si256(to.add(HALF).cast(), high);
                    for (half, data) in [low, high].into_iter().enumerate() {
                        let key = _mm256_loadu_si256(secret.add(8 * stripe + HALF * half).cast());
                        let key = _mm256_xor_si256(data, key);
                        let product = _mm256_mul_epu32(key, _mm256_srli_epi64::<32>(key));
                        let swapped = _mm256_shuffle_epi32::<0b01_00_11_10>(data);
                        let added = _mm256_add_epi64(product, swapped);
                        sums[half] = _mm256_add_epi64(sums[half], added);
                    }
                    from = from.wrapping_add(STRIPE);
                    to = to.wrapping_add(STRIPE);
                }
                for (half, sum) in sums.iter_mut().enumerate() {
                    let key = _mm256_loadu_si256(secret.add(SCRAMBLE + HALF * half).cast());
                    let mixed = _mm256_xor_si256(*sum, _mm256_srli_epi64::<47>(*sum));
                    let mixed = _mm256_xor_si256(mixed, key);
                    let high = _mm256_mul_epu32(_mm256_srli_epi64::<32>(mixed), prime);
                    let low = _mm256_mul_epu32(mixed, prime);
                    *sum = _mm256_add_epi64(low, _mm256_slli_epi64::<32>(high));
                }
            }
            for (half, sum) in sums.into_iter().enumerate() {
                _mm256_storeu_si256(place.add(4 * half).cast(), sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_cache_core::checksum;

    fn source(length: usize) -> Vec<u8> {
        let byte = |n: usize| (n.wrapping_mul(n) >> 3) as u8 ^ (n >> 11) as u8;
        (0..length).map(byte).collect()
    }

    /// A destination at a multiple of 64, and `offset` further on.
    fn with_destination(length: usize, offset: usize, then: impl FnOnce(&mut [u8])) {
        let mut memory = vec![0; length + 64 + offset];
        let start = memory.as_ptr().align_offset(64) + offset;
        then(&mut memory[start..start + length]);
    }

    #[test]
    fn a_copy_has_the_checksum_of_its_source() {
        let lengths = [0, 1, 1000, LARGE - 1, LARGE, LARGE + 1, LARGE + 63];
        let around_blocks = (1..6).flat_map(|n| [LARGE + 1024 * n - 1, LARGE + 1024 * n + n]);
        for length in lengths.into_iter().chain(around_blocks) {
            let source = source(length);
            for offset in [0, 16, 1] {
                with_destination(length, offset, |copy| {
                    let found = copy_with_checksum(&source, copy);
                    assert_eq!(found, checksum(&source), "{length} bytes");
                    assert!(copy == source, "{length} bytes");
                });
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn older_processors_get_the_same_checksum() {
        let Some(blocks) = x86_64::Blocks::avx2() else {
            return;
        };
        for (length, offset) in [(LARGE, 0), (LARGE + 1025, 32), (100_001, 0)] {
            let source = source(length);
            with_destination(length, offset, |copy| {
                let found = long::copy(&source, copy, blocks);
                assert_eq!(found, checksum(&source));
                assert!(copy == source);
            });
        }
    }
}
