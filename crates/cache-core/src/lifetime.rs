//! What came of definitions over a cache's life: sums that processes leave in its folder.
//!
//! A text file, `statistics`, to which each process appends a line now and then, of what is new since its
//! last one. At [`MAX_BYTES`] whoever has appended puts one line with the sum in the file's place; what
//! others append just then is lost. So is what a process had not written when it was killed. Nothing
//! depends on the file, and a line that cannot be read is left out, with the reason.
//!
//! A line is a list of fields between tabs: `S`, the second since 1970 from which it counts, how many
//! processes it sums up, and then in any order, each name once:
//!
//! | field | what |
//! | --- | --- |
//! | `NAME=NUMBER` | a count, or nanoseconds (`_ns`), or bytes |
//! | `NAME~BUCKET:NUMBER,...` | how many durations lie in each bucket of a [`Histogram`] |
//!
//! A name has up to 64 letters, digits, spaces, `-` and `_`. Lines of other sorts are passed over.

use crate::latency::Histogram;
use crate::notes;
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// The size at which the lines are summed up.
pub const MAX_BYTES: u64 = 64 << 10;

const FILE: &str = "statistics";
/// The sum, before it is put in place.
const NEW_FILE: &str = "statistics.new";

/// How many names there may be.
const MAX_NAMES: usize = 256;

const MAX_NAME: usize = 64;

/// Counts and latencies by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// The second since 1970 from which these count.
    pub since: Option<u64>,
    /// How many processes they are of; one that wrote several lines counts once.
    pub processes: u64,
    /// Counts, bytes, nanoseconds.
    pub counts: BTreeMap<String, u64>,
    /// How long things took.
    pub latencies: BTreeMap<String, Histogram>,
    /// Why lines were left out.
    pub ignored: Vec<String>,
}

impl Lifetime {
    /// Reads the sums of a folder, the folder of a store's files. Of one without any they are empty.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(folder: &Path) -> Result<Self, StoreError> {
        let bytes = notes::read(&folder.join(FILE), 2 * MAX_BYTES)?;
        Ok(Self::parse(&bytes))
    }

    /// The sum of all lines, which may be any bytes.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut sum = Self::default();
        let text = String::from_utf8_lossy(bytes);
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let parsed = match line.strip_suffix('\n') {
                None => Err("it has no end".to_owned()),
                Some(line) => Self::parse_line(line),
            };
            match parsed {
                Ok(Some(line)) => sum.add(&line),
                Ok(None) => {}
                Err(reason) => sum.ignored.push(format!("line {}: {reason}", number + 1)),
            }
        }
        sum
    }

    /// `None` if the line is of another sort.
    fn parse_line(line: &str) -> Result<Option<Self>, String> {
        let mut fields = line.split('\t');
        if fields.next() != Some("S") {
            return Ok(None);
        }
        let mut head = || fields.next().and_then(|field| field.parse::<u64>().ok());
        let (since, Some(processes)) = (head(), head()) else {
            return Err("it says neither since when nor of how many processes".to_owned());
        };
        let mut parsed = Self {
            since,
            processes,
            ..Self::default()
        };
        for field in fields {
            let refused = || format!("{field:?} is no count");
            let is_new = match field.split_once(['=', '~']) {
                Some((name, _)) if !is_name(name) => return Err(refused()),
                Some((name, value)) if field.contains('=') => {
                    let value = value.parse().map_err(|_| refused())?;
                    parsed.counts.insert(name.to_owned(), value).is_none()
                }
                Some((name, buckets)) => {
                    let histogram = parse_buckets(buckets).ok_or_else(refused)?;
                    let before = parsed.latencies.insert(name.to_owned(), histogram);
                    before.is_none()
                }
                None => return Err(refused()),
            };
            if !is_new || parsed.counts.len() + parsed.latencies.len() > MAX_NAMES {
                return Err(format!("{field:?} comes twice, or after too many"));
            }
        }
        Ok(Some(parsed))
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.since = match (self.since, other.since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.processes = self.processes.saturating_add(other.processes);
        for (name, count) in &other.counts {
            let is_known = self.counts.contains_key(name);
            if is_known || self.counts.len() + self.latencies.len() < MAX_NAMES {
                let sum = self.counts.entry(name.clone()).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        for (name, histogram) in &other.latencies {
            let is_known = self.latencies.contains_key(name);
            if is_known || self.counts.len() + self.latencies.len() < MAX_NAMES {
                let sum = self.latencies.entry(name.clone()).or_default();
                sum.add_all(histogram);
            }
        }
    }

    /// A count by its name, 0 if it is not there.
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        let nothing = |count: &u64| *count == 0;
        self.counts.values().all(nothing) && self.latencies.values().all(|all| all.count() == 0)
    }

    /// The line that these are. Names that are none, and what is zero, are left out.
    fn line(&self) -> String {
        let mut line = format!("S\t{}\t{}", self.since.unwrap_or_default(), self.processes);
        let counts = self.counts.iter();
        for (name, count) in counts.filter(|(name, count)| **count > 0 && is_name(name)) {
            let _ = write!(line, "\t{name}={count}");
        }
        let latencies = self.latencies.iter();
        for (name, histogram) in latencies.filter(|(name, all)| all.count() > 0 && is_name(name)) {
            let mut separator = '~';
            let _ = write!(line, "\t{name}");
            for (bucket, count) in histogram.buckets() {
                let _ = write!(line, "{separator}{bucket}:{count}");
                separator = ',';
            }
        }
        line.push('\n');
        line
    }

    /// Appends these to the sums of a folder, the folder of a store's files.
    ///
    /// # Errors
    /// The file cannot be written, or is no file of its own: a link is not followed.
    pub fn append_to(&self, folder: &Path) -> Result<(), StoreError> {
        let path = folder.join(FILE);
        if notes::append(&path, &self.line())? < MAX_BYTES {
            return Ok(());
        }
        notes::replace(&path, &folder.join(NEW_FILE), || {
            Ok(Self::read(folder)?.line())
        })
    }
}

fn is_name(name: &str) -> bool {
    let is_fit = |letter: u8| letter.is_ascii_alphanumeric() || b" -_".contains(&letter);
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_fit)
}

fn parse_buckets(text: &str) -> Option<Histogram> {
    let mut histogram = Histogram::default();
    for entry in text.split(',') {
        let (bucket, count) = entry.split_once(':')?;
        histogram
            .add(bucket.parse().ok()?, count.parse().ok()?)
            .then_some(())?;
    }
    Some(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::{BUCKETS, bucket};
    use proptest::prelude::*;

    fn sums() -> impl Strategy<Value = Lifetime> {
        let counts = proptest::collection::btree_map("[a-z _]{1,12}", 1..u64::MAX, 0..6);
        let buckets = proptest::collection::vec((0..BUCKETS, 1..u64::from(u32::MAX)), 1..9);
        let latencies = proptest::collection::btree_map("[A-Z-]{1,12}", buckets, 0..3);
        (any::<u64>(), any::<u64>(), counts, latencies).prop_map(
            |(since, processes, counts, latencies)| {
                let histogram = |buckets: Vec<(usize, u64)>| {
                    let mut histogram = Histogram::default();
                    for (bucket, count) in buckets {
                        histogram.add(bucket, count);
                    }
                    histogram
                };
                let latencies = latencies.into_iter();
                Lifetime {
                    since: Some(since),
                    processes,
                    counts,
                    latencies: latencies
                        .map(|(name, all)| (name, histogram(all)))
                        .collect(),
                    ignored: Vec::new(),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sums in sums()) {
            prop_assert_eq!(Lifetime::parse(sums.line().as_bytes()), sums);
        }

        #[test]
        fn any_bytes_are_some_sum(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Lifetime::parse(&bytes);
        }

        /// A line that was changed in one place is left out, or is another line; the rest stays.
        #[test]
        fn a_changed_byte_reaches_one_line(
            sums in sums(), place in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let good = "S\t5\t1\thits=7\n";
            let mut line = sums.line().into_bytes();
            let place = place.index(line.len() - 1);
            prop_assume!(byte != b'\n');
            line[place] = byte;
            line.extend(good.as_bytes());
            let read = Lifetime::parse(&line);
            prop_assert!(read.count("hits") >= 7);
            prop_assert!(read.ignored.len() <= 1);
        }
    }

    #[test]
    fn lines_that_are_wrong_are_told_and_left_out() {
        let text = "S\t9\t1\thits=2\nS\t8\t1\thits=x\nS\t7\nX\tanything\n\
                    S\t6\t1\thits=1\thits=1\nS\t5\t2\thits=3\tmiss~8:2,9:1\nS\t4\t1\tmiss~999:1\nS\t3\t1\thits=1";
        let read = Lifetime::parse(text.as_bytes());
        assert_eq!((read.since, read.processes), (Some(5), 3));
        assert_eq!(read.count("hits"), 5);
        assert_eq!(read.latencies["miss"].count(), 3);
        assert_eq!(read.ignored.len(), 5, "{:?}", read.ignored);
        assert!(read.ignored[0].starts_with("line 2: \"hits=x\""));
        assert!(read.ignored[4].contains("no end"));
    }

    #[test]
    fn the_file_stays_small_and_keeps_the_sum() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Lifetime::read(folder.path()).expect("nothing").is_empty());
        let mut one = Lifetime {
            since: Some(1),
            processes: 1,
            ..Lifetime::default()
        };
        one.counts.insert("hits".to_owned(), 3);
        let mut histogram = Histogram::default();
        for step in 0..40 {
            histogram.add(bucket(1 << step), 1);
        }
        one.latencies.insert("hit".to_owned(), histogram);
        const LINES: u64 = 1000;
        for _ in 0..LINES {
            one.append_to(folder.path()).expect("it can be written");
        }
        let path = folder.path().join(FILE);
        assert!(path.metadata().expect("it is there").len() < MAX_BYTES);
        let sum = Lifetime::read(folder.path()).expect("it can be read");
        assert_eq!((sum.count("hits"), sum.processes), (3 * LINES, LINES));
        assert_eq!(sum.latencies["hit"].count(), 40 * LINES);
        assert!(sum.ignored.is_empty());
        let files = std::fs::read_dir(folder.path()).expect("it can be read");
        assert_eq!(files.count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "").expect("it can be written");
        std::os::unix::fs::symlink(&elsewhere, folder.path().join(FILE)).expect("it can be made");
        let one = Lifetime::default();
        assert!(one.append_to(folder.path()).is_err());
        assert!(Lifetime::read(folder.path()).is_err());
        assert_eq!(std::fs::read(&elsewhere).expect("it is there"), b"");
    }
}
