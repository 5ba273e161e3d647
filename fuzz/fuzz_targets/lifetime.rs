//! Reads any bytes as the sums of a cache's life: nothing hangs on them but what people are told.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_cache_core::lifetime::Lifetime;

fuzz_target!(|bytes: &[u8]| {
    let mut sum = Lifetime::parse(bytes);
    let again = sum.clone();
    sum.add(&again);
    for histogram in sum.latencies.values() {
        assert_eq!(histogram.count() == 0, histogram.quantile(0.5).is_none());
    }
});
