//! Reads any bytes as the sums of a cache's life, its history and a timeline: nothing hangs on them but what
//! people are told.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_cache_core::lifetime::Lifetime;
use rekindle_cache_core::timeline::{LONGEST_NAME, MOST, Timeline};
use rekindle_cache_core::history;

fuzz_target!(|bytes: &[u8]| {
    let samples = history::parse(bytes);
    assert!(samples.is_sorted_by_key(|sample| sample.time));
    if let Some(timeline) = Timeline::parse(bytes) {
        assert!(timeline.spans.len() <= MOST);
        assert!(timeline.spans.iter().all(|span| span.name.len() <= LONGEST_NAME));
    }
    let mut sum = Lifetime::parse(bytes);
    let again = sum.clone();
    sum.add(&again);
    for histogram in sum.latencies.values() {
        assert_eq!(histogram.count() == 0, histogram.quantile(0.5).is_none());
    }
});
