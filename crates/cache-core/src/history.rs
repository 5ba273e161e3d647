//! How a cache grew and shrank: how large it was, now and then, for people who ask.
//!
//! A text file, `history`, to which whoever has changed the packs appends a line: `G`, the second since 1970,
//! then, as numbers between tabs, the bytes of the packs, the records in them, the packs, and how many records
//! and bytes of packs were evicted since the writer's last line. At [`MAX_BYTES`] every two lines of the older
//! half become one, so the file covers the cache's whole life, the older the coarser. Nothing depends on it:
//! a line that cannot be read is passed over, and lines of other sorts too.

use crate::notes;
use crate::store::{StoreError, StoreStatistics};
use std::path::Path;

/// The size at which the older half is made coarser.
pub const MAX_BYTES: u64 = 32 << 10;

const FILE: &str = "history";
/// The coarser one, before it is put in place.
const NEW_FILE: &str = "history.new";

/// The size of a cache at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Seconds since 1970.
    pub time: u64,
    /// Bytes of the packs.
    pub bytes: u64,
    /// Records in them, duplicates included.
    pub records: u64,
    /// Packs.
    pub packs: u64,
    /// Records that were evicted since the sample before.
    pub evicted: u64,
    /// Bytes by which that made the packs smaller.
    pub evicted_bytes: u64,
}

impl Sample {
    /// What `now` says, with what was evicted since `before`.
    pub fn new(time: u64, before: &StoreStatistics, now: &StoreStatistics) -> Self {
        Self {
            time,
            bytes: now.bytes,
            records: now.records,
            packs: now.packs,
            evicted: now.evicted.saturating_sub(before.evicted),
            evicted_bytes: now.evicted_bytes.saturating_sub(before.evicted_bytes),
        }
    }

    /// Appends it to the history of a folder, the folder of a store's files.
    ///
    /// # Errors
    /// The file cannot be written, or is no file of its own: a link is not followed.
    pub fn append_to(&self, folder: &Path) -> Result<(), StoreError> {
        let path = folder.join(FILE);
        if notes::append(&path, &self.line())? < MAX_BYTES {
            return Ok(());
        }
        notes::replace(&path, &folder.join(NEW_FILE), || {
            let coarser = coarser(&read(folder)?);
            Ok(coarser.iter().map(Self::line).collect())
        })
    }

    fn line(&self) -> String {
        let Self {
            time,
            bytes,
            records,
            packs,
            evicted,
            evicted_bytes,
        } = self;
        format!("G\t{time}\t{bytes}\t{records}\t{packs}\t{evicted}\t{evicted_bytes}\n")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        if fields.next() != Some("G") {
            return None;
        }
        let mut number = || fields.next()?.parse::<u64>().ok();
        Some(Self {
            time: number()?,
            bytes: number()?,
            records: number()?,
            packs: number()?,
            evicted: number()?,
            evicted_bytes: number()?,
        })
    }
}

/// The samples of a folder, the folder of a store's files, oldest first. Of one without any there are none.
///
/// # Errors
/// The file cannot be read.
pub fn read(folder: &Path) -> Result<Vec<Sample>, StoreError> {
    Ok(parse(&notes::read(&folder.join(FILE), 2 * MAX_BYTES)?))
}

/// The samples in any bytes, oldest first.
pub fn parse(bytes: &[u8]) -> Vec<Sample> {
    let text = String::from_utf8_lossy(bytes);
    let mut samples: Vec<_> = text.lines().filter_map(Sample::parse).collect();
    samples.sort_by_key(|sample| sample.time);
    samples
}

/// Every two of the older half as one: as it was at the second, with what both evicted.
fn coarser(samples: &[Sample]) -> Vec<Sample> {
    let (older, newer) = samples.split_at(samples.len() / 2);
    let pairs = older.chunks(2).filter_map(|pair| {
        let last = pair.last()?;
        let sum = |count: fn(&Sample) -> u64| {
            pair.iter()
                .fold(0, |sum: u64, one| sum.saturating_add(count(one)))
        };
        Some(Sample {
            evicted: sum(|one| one.evicted),
            evicted_bytes: sum(|one| one.evicted_bytes),
            ..*last
        })
    });
    pairs.chain(newer.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers in any::<[u64; 6]>()) {
            let [time, bytes, records, packs, evicted, evicted_bytes] = numbers;
            let sample = Sample { time, bytes, records, packs, evicted, evicted_bytes };
            prop_assert_eq!(parse(sample.line().as_bytes()), vec![sample]);
        }

        #[test]
        fn any_bytes_are_some_samples(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let samples = parse(&bytes);
            prop_assert!(coarser(&samples).len() <= samples.len());
        }
    }

    #[test]
    fn the_file_stays_small_and_covers_all_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read(folder.path()).expect("nothing"), Vec::new());
        const SAMPLES: u64 = 5_000;
        for time in 1..=SAMPLES {
            let sample = Sample {
                time,
                bytes: time * 1_000,
                evicted: 1,
                ..Sample::default()
            };
            sample.append_to(folder.path()).expect("it can be written");
        }
        let path = folder.path().join(FILE);
        assert!(path.metadata().expect("it is there").len() < MAX_BYTES);
        let samples = read(folder.path()).expect("it can be read");
        let (first, last) = (samples[0], samples[samples.len() - 1]);
        assert!(first.time < SAMPLES / 4, "{first:?}");
        assert_eq!(last.time, SAMPLES);
        let evicted: u64 = samples.iter().map(|sample| sample.evicted).sum();
        assert_eq!(evicted, SAMPLES, "none is forgotten");
        let files = std::fs::read_dir(folder.path()).expect("it can be read");
        assert_eq!(files.count(), 1, "nothing is left behind");
    }

    #[test]
    fn lines_that_are_wrong_are_passed_over() {
        let text = "G\t2\t1\t1\t1\t0\t0\nG\t1\nX\t1\t1\t1\t1\t1\t1\nG\t1\t5\t1\t1\t0\t-1\nG\t1\t7\t1\t1\t0\t0\tmore\n";
        let samples = parse(text.as_bytes());
        let seen: Vec<_> = samples.iter().map(|one| (one.time, one.bytes)).collect();
        assert_eq!(seen, [(1, 7), (2, 1)]);
    }
}
