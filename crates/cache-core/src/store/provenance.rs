//! Who vouched for a record.

use std::fmt;

/// Who vouched for a record: this user's own compiler, or whoever signed the bundle that it came with.
///
/// It is kept with the record, covered by its checksum, and copied with it from layer to layer, so that a
/// key that is no longer trusted takes with it what it brought.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Provenance(pub(crate) [u8; 32]);

impl Provenance {
    /// Compiled by a process of the folder's owner.
    pub const OWN: Self = Self([0; 32]);

    /// Taken over from elsewhere without a signature, because the user said so.
    pub const UNSIGNED: Self = Self([0xff; 32]);

    /// Taken over from elsewhere under a signature that `key` verifies.
    ///
    /// An ed25519 public key is never all zeros or all ones: the first is a point of small order and the
    /// second no point, and both are refused by strict verification.
    pub const fn signed_by(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The key whose signature vouched for it.
    pub fn key(&self) -> Option<[u8; 32]> {
        (![Self::OWN, Self::UNSIGNED].contains(self)).then_some(self.0)
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key() {
            _ if *self == Self::OWN => out.write_str("own"),
            None => out.write_str("unsigned"),
            Some(key) => key.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for Provenance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Provenance({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signed_records_have_a_key() {
        assert_eq!(Provenance::OWN.key(), None);
        assert_eq!(Provenance::UNSIGNED.key(), None);
        assert_eq!(Provenance::signed_by([5; 32]).key(), Some([5; 32]));
        assert_eq!(Provenance::OWN.to_string(), "own");
        assert_eq!(
            Provenance::signed_by([0xab; 32]).to_string(),
            "ab".repeat(32)
        );
    }
}
