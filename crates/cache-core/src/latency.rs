//! How long things took, in few numbers: counts of durations in buckets that grow with the duration.
//!
//! A power of two has eight buckets, so a duration is known to 12.5 % whatever it is. Buckets are numbered:
//! those below 8 hold that many nanoseconds each, and the last holds all from 15 minutes on.

use std::collections::BTreeMap;
use std::time::Duration;

/// Bits of a duration below its highest that tell buckets apart.
const BITS: u32 = 3;

/// How many buckets there are.
pub const BUCKETS: usize = 304;

/// The bucket of a duration.
#[inline]
pub fn bucket(nanoseconds: u64) -> usize {
    let highest = u64::BITS - 1 - (nanoseconds | 1).leading_zeros();
    let Some(shift) = highest.checked_sub(BITS) else {
        return nanoseconds as usize;
    };
    let within = (nanoseconds >> shift) as usize & ((1 << BITS) - 1);
    ((shift as usize + 1) << BITS | within).min(BUCKETS - 1)
}

/// The shortest duration of a bucket, in nanoseconds.
pub fn start(bucket: usize) -> u64 {
    let bucket = bucket.min(BUCKETS);
    let within = (bucket & ((1 << BITS) - 1)) as u64;
    match (bucket >> BITS).checked_sub(1) {
        None => within,
        Some(shift) => ((1 << BITS) + within) << shift,
    }
}

/// Counts of durations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: BTreeMap<u16, u64>,
}

impl Histogram {
    /// Adds `count` durations of a bucket; `false` if there is no such bucket.
    pub fn add(&mut self, bucket: usize, count: u64) -> bool {
        let known = u16::try_from(bucket).ok().filter(|_| bucket < BUCKETS);
        match known {
            Some(bucket) if count > 0 => {
                let held = self.counts.entry(bucket).or_default();
                *held = held.saturating_add(count);
            }
            _ => {}
        }
        known.is_some()
    }

    /// Adds all of another.
    pub fn add_all(&mut self, other: &Self) {
        for (bucket, count) in other.buckets() {
            self.add(bucket, count);
        }
    }

    /// What is more in this than in an earlier one.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut more = Self::default();
        for (bucket, count) in &self.counts {
            let before = earlier.counts.get(bucket).copied().unwrap_or_default();
            more.add(usize::from(*bucket), count.saturating_sub(before));
        }
        more
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.counts
            .values()
            .fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// The buckets that hold any, in order, with how many.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u64)> {
        let counts = self.counts.iter();
        counts.map(|(bucket, count)| (usize::from(*bucket), *count))
    }

    /// The duration that `share` of all do not exceed, from above: 0.5 for the median. `None` if there are no
    /// durations.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = share.clamp(0.0, 1.0) * self.count() as f64;
        let mut seen = 0;
        let mut last = None;
        for (bucket, count) in self.buckets() {
            last = Some(bucket);
            seen += count;
            if seen as f64 >= wanted {
                break;
            }
        }
        last.map(|bucket| Duration::from_nanos(start(bucket + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_duration_lies_in_its_bucket(nanoseconds in any::<u64>(), shift in 0..64u32) {
            let nanoseconds = nanoseconds >> shift;
            let place = bucket(nanoseconds);
            prop_assert!(place < BUCKETS);
            prop_assert!(start(place) <= nanoseconds);
            if place + 1 < BUCKETS {
                prop_assert!(nanoseconds < start(place + 1));
                let width = start(place + 1) - start(place);
                prop_assert!(width == 1 || width * 8 <= start(place));
            }
        }
    }

    #[test]
    fn quantiles_come_from_above_and_add_up() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for nanoseconds in 1..=1000 {
            assert!(histogram.add(bucket(nanoseconds), 1));
        }
        assert!(!histogram.add(BUCKETS, 1));
        assert_eq!(histogram.count(), 1000);
        let near = |share, nanoseconds: f64| {
            let found = histogram
                .quantile(share)
                .expect("there are some")
                .as_nanos() as f64;
            assert!(
                found >= nanoseconds && found <= nanoseconds * 1.13,
                "{share}: {found}"
            );
        };
        near(0.5, 500.0);
        near(0.99, 990.0);
        near(1.0, 1000.0);
        let earlier = histogram.clone();
        histogram.add_all(&earlier);
        assert_eq!(histogram.count(), 2000);
        assert_eq!(histogram.since(&earlier), earlier);
    }
}
