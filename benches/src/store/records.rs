//! The records that every subject keeps: the same in each run.

use rekindle_cache_core::Digest;

/// The key of a record.
pub(super) type Key = [u8; 32];

/// A record.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) key: Key,
    pub(super) payload: Vec<u8>,
}

/// A number of records, made as they are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Records {
    /// Tells sets apart: no key is in two of them.
    pub(super) set: &'static str,
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) payload: usize,
}

impl Records {
    /// All keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + use<> {
        let set = self.set;
        (self.first..self.first + self.count).map(move |number| key(set, number))
    }

    /// `count` of the keys in random order, by `seed`; every key before one comes twice.
    pub(super) fn random_keys(&self, count: usize, seed: u64) -> Vec<Key> {
        let mut numbers: Vec<usize> = (self.first..self.first + self.count).collect();
        let mut random = Random(seed | 1);
        for place in (1..numbers.len()).rev() {
            let other = usize::try_from(random.next() % (place as u64 + 1)).unwrap_or(0);
            numbers.swap(place, other);
        }
        let chosen = numbers.into_iter().cycle().take(count);
        chosen.map(|number| key(self.set, number)).collect()
    }

    /// The payload of `key`, in `payload`: bytes that no compressor or file system can make less of.
    pub(super) fn payload_of(&self, key: &Key, payload: &mut Vec<u8>) {
        let mut seed = [0; 8];
        seed.copy_from_slice(&key[..8]);
        let mut random = Random(u64::from_le_bytes(seed) | 1);
        payload.clear();
        while payload.len() < self.payload {
            payload.extend_from_slice(&random.next().to_le_bytes());
        }
        payload.truncate(self.payload);
    }

    /// All of them, made beforehand, so that making them is not measured.
    pub(super) fn made(&self) -> Vec<Made> {
        let mut made = Vec::with_capacity(self.count);
        for key in self.keys() {
            let mut payload = Vec::new();
            self.payload_of(&key, &mut payload);
            made.push(Made { key, payload });
        }
        made
    }

    /// Runs `work` with each key and its payload.
    pub(super) fn for_each<E>(
        &self,
        mut work: impl FnMut(&Key, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut payload = Vec::with_capacity(self.payload + 8);
        for key in self.keys() {
            self.payload_of(&key, &mut payload);
            work(&key, &payload)?;
        }
        Ok(())
    }
}

fn key(set: &str, number: usize) -> Key {
    Digest::of(set, &(number as u64).to_le_bytes()).0
}

/// Xorshift: the same numbers in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
