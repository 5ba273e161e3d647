//! Which records go when there is no room for all: those that cost the least to lose.
//!
//! A record is worth what it took to compile, for each byte that it takes up, halved when it was not used
//! for a day, to a third after two, and so on. Of several records of one key the newest is worth the most: older
//! ones are of use only when dependencies change back.

use super::rewrite::Survey;
use super::uses::Use;
use rustc_hash::FxHashMap;

/// Bytes of the index for each record.
const INDEX: u64 = 22;

const DAY: f64 = 86_400.0;

/// How much may stay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) records: u64,
}

/// Marks the records of `surveys`, which are the newest first, that have to go for the others to fit into
/// `room`. `now` is in seconds since 1970.
pub(super) fn choose(surveys: &mut [Survey], uses: &FxHashMap<u64, Use>, room: Room, now: u64) {
    let mut versions: FxHashMap<u64, u32> = FxHashMap::default();
    let mut ranked = Vec::new();
    let (mut bytes, mut records) = (0u64, 0u64);
    for (place, survey) in surveys.iter().enumerate() {
        for (number, record) in survey.records.iter().enumerate().rev() {
            if !record.stays {
                continue;
            }
            let size = record.bytes + INDEX;
            bytes += size;
            records += 1;
            if record.is_removal() {
                continue;
            }
            let newer = versions.entry(record.prefix).or_default();
            *newer += 1;
            let used = uses.get(&record.prefix).map_or(0, |used| used.last);
            let worth = worth(record.compile_ns, size, record.created.max(used), now);
            ranked.push((worth / f64::from(*newer), place, number));
        }
    }
    ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    for (_, place, number) in ranked {
        if bytes <= room.bytes && records <= room.records {
            break;
        }
        let record = surveys
            .get_mut(place)
            .and_then(|survey| survey.records.get_mut(number));
        if let Some(record) = record {
            record.stays = false;
            bytes = bytes.saturating_sub(record.bytes + INDEX);
            records = records.saturating_sub(1);
        }
    }
}

fn worth(compile_ns: u64, bytes: u64, last: u64, now: u64) -> f64 {
    // A use in the future is from before the clock was set back: it counts as one of now.
    let days = now.saturating_sub(last) as f64 / DAY;
    compile_ns.max(1) as f64 / bytes as f64 / (1.0 + days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worth_is_cost_by_recency_by_size() {
        let now = 100 * 86_400;
        let base = worth(1000, 100, now, now);
        assert!(worth(2000, 100, now, now) > base, "took longer");
        assert!(worth(1000, 200, now, now) < base, "takes more room");
        assert!(worth(1000, 100, now - 86_400, now) < base, "used earlier");
        assert_eq!(
            worth(1000, 100, now + 500, now),
            base,
            "the clock went back"
        );
        assert!(worth(0, 100, 0, now) > 0.0);
    }
}
