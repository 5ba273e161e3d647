//! The statistics of a run, as a line for people and as JSON for programs.

use rekindle_runtime_hooks::Statistics;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// What came of the definitions of a run.
#[derive(Debug, Clone)]
pub struct Report {
    statistics: Statistics,
}

impl Report {
    /// A report of `statistics`.
    pub fn new(statistics: &Statistics) -> Self {
        Self {
            statistics: statistics.clone(),
        }
    }

    /// Definitions that were compiled although code of them was kept, because processes died in it.
    fn deaths(&self) -> u64 {
        let reasons = &self.statistics.reasons;
        reasons.get(DEATHS).copied().unwrap_or_default()
    }

    /// Writes the report as one JSON object: `definitions`, `hits`, `second_hits`, `better_hits`, `misses`,
    /// `bypasses`, `rejected`, `compiled`, `verified`, `wrong`, `improved`, `deaths`, `redefined` (all counts), `loaded_bytes`,
    /// `superseded_bytes` (of code whose definition was redefined, and which stays loaded), `eval_ns` and
    /// `saved_ns` (nanoseconds), `reasons` (reason -> count), and `latency_ns` (`hit`, `second hit`,
    /// `compiled`, as far as there were any: `count`, `p50`, `p90`, `p99`, `max`).
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_json(&self, path: &Path) -> std::io::Result<()> {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut json = serde_json::Map::new();
        for (name, count) in self.statistics.counts() {
            json.insert(name.to_owned(), count.into());
        }
        json.insert("compiled".to_owned(), self.statistics.compiled().into());
        json.insert("deaths".to_owned(), self.deaths().into());
        let times = [
            ("eval_ns", self.statistics.eval_time),
            ("saved_ns", self.statistics.saved),
        ];
        for (name, time) in times {
            json.insert(name.to_owned(), nanoseconds(time).into());
        }
        let reasons = serde_json::json!(self.statistics.reasons);
        json.insert("reasons".to_owned(), reasons);
        let latencies = self.statistics.latencies.iter().map(|(name, histogram)| {
            let quantile = |share| histogram.quantile(share).map(nanoseconds);
            let latency = serde_json::json!({
                "count": histogram.count(),
                "p50": quantile(0.5),
                "p90": quantile(0.9),
                "p99": quantile(0.99),
                "max": quantile(1.0),
            });
            ((*name).to_owned(), latency)
        });
        let latencies: serde_json::Map<_, _> = latencies.collect();
        json.insert("latency_ns".to_owned(), latencies.into());
        let json = serde_json::Value::Object(json);
        std::fs::write(path, format!("{json}\n"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Statistics {
            definitions,
            hits,
            misses,
            bypasses,
            rejected,
            second_hits,
            better_hits,
            eval_time,
            saved,
            ..
        } = self.statistics;
        write!(
            out,
            "{definitions} definitions: {hits} hits, {misses} misses, {bypasses} bypasses, \
             {rejected} rejected in {}",
            Milliseconds(eval_time)
        )?;
        if second_hits > 0 {
            write!(out, "; {second_hits} of the hits by their analysed form")?;
        }
        if better_hits > 0 {
            write!(out, "; {better_hits} of the hits on better code")?;
        }
        if let Ok(count) = u32::try_from(definitions)
            && count > 0
        {
            let each = eval_time.as_secs_f64() * 1e6 / f64::from(count);
            write!(out, " ({each:.1} us each)")?;
        }
        if hits > 0 {
            write!(out, "; compiling the hits took {}", Milliseconds(saved))?;
        }
        if let Some(hits) = self.statistics.latencies.get("hit")
            && let (Some(median), Some(late)) = (hits.quantile(0.5), hits.quantile(0.99))
        {
            let [median, late] = [median, late].map(|time| time.as_secs_f64() * 1e6);
            write!(out, "; a hit {median:.1} us, 99 % within {late:.1} us")?;
        }
        if self.statistics.verified > 0 {
            let (verified, wrong) = (self.statistics.verified, self.statistics.wrong);
            write!(out, "; {verified} hits verified, {wrong} of them wrong")?;
        }
        let deaths = self.deaths();
        if deaths > 0 {
            write!(out, "; {deaths} set aside, as processes died in them")?;
        }
        let mut reasons = self.statistics.reasons.iter();
        if let Some((reason, times)) = reasons.next() {
            write!(out, "; {reason} ({times})")?;
            reasons.try_for_each(|(reason, times)| write!(out, ", {reason} ({times})"))?;
        }
        if self.statistics.redefined > 0 {
            let (times, bytes) = (self.statistics.redefined, self.statistics.superseded_bytes);
            write!(out, "; {times} redefined, whose {bytes} bytes stay loaded")?;
        }
        Ok(())
    }
}

/// What deaths are called among the reasons.
const DEATHS: &str = "rejected: deaths";

struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.2} ms", self.0.as_secs_f64() * 1e3)
    }
}
