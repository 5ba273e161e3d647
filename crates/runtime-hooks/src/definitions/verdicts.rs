//! What a thread knows of behaviours without asking for the definitions, which every thread asks for.

use super::NameId;
use rekindle_cache_core::Digest;

/// How many behaviours are known: those of the macros that a program uses all the time.
const KNOWN: usize = 64;

/// Behaviours that were asked for. They stand as long as the session gives up none: see
/// [`Definitions::verdicts`](super::Definitions::verdicts).
#[derive(Debug)]
pub(crate) struct Verdicts {
    /// The count of verdicts given up for which they were told.
    stamp: u64,
    /// A name has one place, which others may have as well.
    known: [Option<(NameId, Digest)>; KNOWN],
}

impl Default for Verdicts {
    fn default() -> Self {
        Self {
            stamp: 0,
            known: [None; KNOWN],
        }
    }
}

impl Verdicts {
    /// The behaviour of `name`, if it is known and `now` is still the count for which it was told.
    #[inline]
    pub(crate) fn get(&self, now: u64, name: NameId) -> Option<Digest> {
        match self.known.get(name.index() % KNOWN)? {
            Some((known, behaviour)) if *known == name && self.stamp == now => Some(*behaviour),
            _ => None,
        }
    }

    /// Notes what was told while `stamp` was the count.
    pub(crate) fn put(&mut self, stamp: u64, name: NameId, behaviour: Digest) {
        if self.stamp != stamp {
            self.known = [None; KNOWN];
            self.stamp = stamp;
        }
        if let Some(place) = self.known.get_mut(name.index() % KNOWN) {
            *place = Some((name, behaviour));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_from_before_a_verdict_was_given_up() {
        let mut verdicts = Verdicts::default();
        let [one, other] = [b"one".as_slice(), b"other"].map(|text| Digest::of("test", text));
        let (a, b, beside_a) = (NameId(3), NameId(4), NameId(3 + KNOWN as u32));
        assert_eq!(verdicts.get(0, a), None);
        verdicts.put(0, a, one);
        verdicts.put(0, b, other);
        assert_eq!(
            (verdicts.get(0, a), verdicts.get(0, b)),
            (Some(one), Some(other))
        );
        assert_eq!(
            (verdicts.get(1, a), verdicts.get(0, beside_a)),
            (None, None)
        );
        verdicts.put(1, b, one);
        assert_eq!((verdicts.get(1, a), verdicts.get(1, b)), (None, Some(one)));
        assert_eq!(verdicts.get(0, b), None);
        verdicts.put(1, beside_a, other);
        assert_eq!(verdicts.get(1, beside_a), Some(other));
    }
}
