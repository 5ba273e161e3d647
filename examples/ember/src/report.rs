//! The statistics of a run, as a line for people and as JSON for programs.

use rekindle_runtime_hooks::Statistics;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// What came of the definitions of a run.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    statistics: Statistics,
}

impl Report {
    /// A report of `statistics`.
    pub fn new(statistics: &Statistics) -> Self {
        Self {
            statistics: *statistics,
        }
    }

    /// Writes the report as one JSON object with the keys `definitions`, `hits`, `second_hits` (of the hits, those by
    /// their analysed form), `misses`, `bypasses`, `rejected`, `compiled` (all counts) and `eval_ns` (nanoseconds).
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_json(&self, path: &Path) -> std::io::Result<()> {
        let Statistics {
            definitions,
            hits,
            second_hits,
            misses,
            bypasses,
            rejected,
            eval_time,
            ..
        } = self.statistics;
        let json = serde_json::json!({
            "definitions": definitions,
            "hits": hits,
            "second_hits": second_hits,
            "misses": misses,
            "bypasses": bypasses,
            "rejected": rejected,
            "compiled": self.statistics.compiled(),
            "eval_ns": u64::try_from(eval_time.as_nanos()).unwrap_or(u64::MAX),
        });
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
        if let Ok(count) = u32::try_from(definitions)
            && count > 0
        {
            let each = eval_time.as_secs_f64() * 1e6 / f64::from(count);
            write!(out, " ({each:.1} us each)")?;
        }
        if hits > 0 {
            write!(out, "; compiling the hits took {}", Milliseconds(saved))?;
        }
        Ok(())
    }
}

struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.2} ms", self.0.as_secs_f64() * 1e3)
    }
}
