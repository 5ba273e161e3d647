//! Digests and checksums: what they are for, and the one encoding under every digest.
//!
//! A [`Digest`] is 256 bits of BLAKE3 and answers "is it the same thing?" for keys and contents. A
//! [`checksum`] is 64 bits of XXH3 and answers "did these bytes arrive as they were written?"; it is
//! no defence against someone who writes the bytes on purpose.

use std::fmt;
use std::hash::Hasher as _;
use std::str::FromStr;
use twox_hash::XxHash3_64;

/// A BLAKE3 digest of 256 bits.
///
/// Made by a [`DigestBuilder`], whose encoding keeps any two different inputs apart, or by
/// [`Digest::of`] from plain bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes` as contents in the given `domain`.
    pub fn of(domain: &str, bytes: &[u8]) -> Self {
        let mut builder = DigestBuilder::new(domain);
        builder.bytes(bytes);
        builder.finish()
    }

    /// The first eight bytes, big-endian, so that ordering by prefix is ordering by digest.
    pub fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The first eight hexadecimal digits, by which a reader tells two apart.
    pub fn short(&self) -> impl fmt::Display {
        struct Short(u64);
        impl fmt::Display for Short {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{:08x}", self.0 >> 32)
            }
        }
        Short(self.prefix())
    }
}

/// A text is no digest: it needs 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest has 64 hexadecimal digits")]
pub struct NoDigest;

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let digits = text.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(NoDigest);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16).ok_or(NoDigest)?;
                *byte = *byte << 4 | u8::try_from(value).map_err(|_| NoDigest)?;
            }
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // At once: the journal writes two for every miss.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]);
        }
        out.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Digest({:016x}..)", self.prefix())
    }
}

/// Builds a [`Digest`] from fields, so that no two sequences of fields share an encoding.
///
/// The encoding is: the domain as a field; then each field as one byte for its sort, its length as
/// 64 bits little-endian, and its bytes. A list is a field of sort `L` that holds the number of its
/// items and is followed by them. Lengths come before bytes, so no field can run into the next, and
/// the sort byte keeps a number apart from eight bytes of text.
///
/// ```
/// use rekindle_cache_core::DigestBuilder;
///
/// let digest = |a: &str, b: &str| {
///     let mut builder = DigestBuilder::new("example");
///     builder.text(a).text(b);
///     builder.finish()
/// };
/// assert_ne!(digest("ab", "c"), digest("a", "bc"));
/// ```
pub struct DigestBuilder {
    hasher: blake3::Hasher,
}

impl DigestBuilder {
    /// Starts a digest in `domain`: digests of different domains never meet.
    pub fn new(domain: &str) -> Self {
        let mut builder = Self {
            hasher: blake3::Hasher::new(),
        };
        builder.field(b'D', domain.as_bytes());
        builder
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.field(b'B', bytes)
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.field(b'T', text.as_bytes())
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.field(b'N', &number.to_le_bytes())
    }

    /// Adds another digest.
    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.field(b'H', &digest.0)
    }

    /// Announces a list of `count` items, which the caller adds next.
    pub fn list(&mut self, count: usize) -> &mut Self {
        self.field(b'L', &(count as u64).to_le_bytes())
    }

    /// The digest of all that was added.
    pub fn finish(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }

    fn field(&mut self, sort: u8, bytes: &[u8]) -> &mut Self {
        let [a, b, c, d, e, f, g, h] = (bytes.len() as u64).to_le_bytes();
        self.hasher.update(&[sort, a, b, c, d, e, f, g, h]);
        self.hasher.update(bytes);
        self
    }
}

/// The digest of `texts` under a key: BLAKE3's own keyed mode, of each text after its length as 64 bits
/// little-endian. The key stands for a domain, and how many texts that has.
pub(crate) fn keyed<const N: usize>(key: &Digest, texts: [&str; N]) -> Digest {
    /// What BLAKE3 takes at once. Handing it the parts of so little one by one takes half as long again.
    const CHUNK: usize = 1024;
    let parts = texts.map(|text| ((text.len() as u64).to_le_bytes(), text.as_bytes()));
    let mut chunk = [0; CHUNK];
    let mut rest = &mut chunk[..];
    for (length, text) in &parts {
        for part in [&length[..], text] {
            let Some((place, after)) = rest.split_at_mut_checked(part.len()) else {
                let mut hasher = blake3::Hasher::new_keyed(&key.0);
                for (length, text) in &parts {
                    hasher.update(length).update(text);
                }
                return Digest(*hasher.finalize().as_bytes());
            };
            place.copy_from_slice(part);
            rest = after;
        }
    }
    let size = CHUNK - rest.len();
    Digest(*blake3::keyed_hash(&key.0, &chunk[..size]).as_bytes())
}

/// The 64-bit checksum of records and images: XXH3 with seed 0.
pub fn checksum(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// Copies `from` to `to`, which has the same length, and returns the [`checksum`] of the copy.
///
/// Large copies are checked piece by piece, while the piece is in the core's first cache.
///
/// # Panics
/// If the lengths differ.
pub fn copy_with_checksum(from: &[u8], to: &mut [u8]) -> u64 {
    const PIECE: usize = 8 << 10;
    if from.len() < 4 * PIECE {
        to.copy_from_slice(from);
        return checksum(to);
    }
    assert_eq!(from.len(), to.len(), "a copy has the length of its source");
    let mut hasher = XxHash3_64::new();
    for (from, to) in from.chunks(PIECE).zip(to.chunks_mut(PIECE)) {
        to.copy_from_slice(from);
        hasher.write(to);
    }
    hasher.finish()
}

/// The 64-bit hash by which an image names a symbol beside its string: XXH3 with seed 0.
pub fn symbol_hash(name: &str) -> u64 {
    XxHash3_64::oneshot(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq)]
    enum Field {
        Bytes(Vec<u8>),
        Text(String),
        Number(u64),
        List(usize),
    }

    fn fields() -> impl Strategy<Value = Vec<Field>> {
        let field = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12).prop_map(Field::Bytes),
            "[a-c]{0,4}".prop_map(Field::Text),
            (0u64..4).prop_map(Field::Number),
            (0usize..4).prop_map(Field::List),
        ];
        prop::collection::vec(field, 0..5)
    }

    fn digest(fields: &[Field]) -> Digest {
        let mut builder = DigestBuilder::new("test");
        for field in fields {
            match field {
                Field::Bytes(bytes) => builder.bytes(bytes),
                Field::Text(text) => builder.text(text),
                Field::Number(number) => builder.number(*number),
                Field::List(count) => builder.list(*count),
            };
        }
        builder.finish()
    }

    #[test]
    fn digests_are_read_as_they_are_written() {
        let digest = Digest::of("test", b"one");
        let text = digest.to_string();
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(digest.short().to_string(), text[..8]);
        for wrong in [
            "",
            &text[1..],
            &format!("{text}0"),
            &text.replace(&text[..1], "g"),
        ] {
            assert_eq!(wrong.parse::<Digest>(), Err(NoDigest));
        }
    }

    proptest! {
        #[test]
        fn equal_digests_only_of_equal_fields(a in fields(), b in fields()) {
            prop_assert_eq!(digest(&a) == digest(&b), a == b);
        }
    }

    #[test]
    fn domains_are_apart() {
        assert_ne!(Digest::of("a", b"x"), Digest::of("b", b"x"));
        // A domain cannot be imitated by a field.
        assert_ne!(
            DigestBuilder::new("ab").finish(),
            DigestBuilder::new("a").text("b").finish()
        );
    }

    #[test]
    fn keyed_digests_tell_keys_texts_and_their_ends_apart() {
        let (key, other) = (Digest([1; 32]), Digest([2; 32]));
        let long = "x".repeat(2000);
        for text in ["", "a", &long[..1000], &long[..1008], &long[..1009], &long] {
            let digest = keyed(&key, [text, "b"]);
            let mut hasher = blake3::Hasher::new_keyed(&key.0);
            for text in [text, "b"] {
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
            assert_eq!(digest.0, *hasher.finalize().as_bytes());
            assert_ne!(digest, keyed(&other, [text, "b"]));
            assert_ne!(digest, keyed(&key, [&format!("{text}b"), ""]));
        }
    }

    #[test]
    fn prefix_orders_as_the_digest_does() {
        let mut low = [0; 32];
        let mut high = [0; 32];
        low[7] = 1;
        high[0] = 1;
        assert!(Digest(low).prefix() < Digest(high).prefix());
    }

    #[test]
    fn checksums_are_xxh3_whatever_computes_them() {
        // Values of the reference implementation.
        assert_eq!(checksum(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(symbol_hash("a"), 0xe6c6_32b6_1e96_4e1f);
    }

    #[test]
    fn a_copy_has_the_checksum_of_its_source() {
        let source: Vec<u8> = (0..100_001u32)
            .map(|n| (n.wrapping_mul(n) >> 3) as u8)
            .collect();
        for length in [0, 1, 240, 1024, 8192, 32_767, 32_768, 40_961, 100_001] {
            let source = &source[..length];
            let mut copy = vec![0; length];
            assert_eq!(copy_with_checksum(source, &mut copy), checksum(source));
            assert_eq!(copy, source);
        }
    }
}
