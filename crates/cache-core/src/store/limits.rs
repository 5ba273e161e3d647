//! How large a store may become.
//!
//! Pruning begins at the soft limit and ends at the low-water mark, so that it is seldom. Between the soft
//! limit and the limit itself there is room for what is being rewritten (a pack made by merging or pruning
//! is at most an eighth of the limit) and for what living processes have not sealed yet.

use std::ffi::OsString;

/// The environment variable that bounds the bytes of a store: a number, or one with K, M, G or T.
pub const MAX_BYTES_VARIABLE: &str = "REKINDLE_MAX_BYTES";
/// The environment variable that bounds the number of records of a store.
pub const MAX_ENTRIES_VARIABLE: &str = "REKINDLE_MAX_ENTRIES";

/// How large a store may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files in the folder together, of what is removed but still open too.
    pub max_bytes: u64,
    /// Records.
    pub max_entries: u64,
}

/// A limit that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("{variable} is {value:?}, which is no number of {what}; {example}")]
#[non_exhaustive]
pub struct LimitsError {
    variable: &'static str,
    value: String,
    what: &'static str,
    example: &'static str,
}

impl Default for Limits {
    /// 4 GiB and 4 million records: some thousands of times what a large program needs.
    fn default() -> Self {
        Self {
            max_bytes: 4 << 30,
            max_entries: 4_000_000,
        }
    }
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self {
        max_bytes: u64::MAX,
        max_entries: u64::MAX,
    };

    /// The limits that `REKINDLE_MAX_BYTES` and `REKINDLE_MAX_ENTRIES` give, else the default.
    ///
    /// # Errors
    /// A value that is no number.
    pub fn from_environment() -> Result<Self, LimitsError> {
        Self::parse(
            std::env::var_os(MAX_BYTES_VARIABLE),
            std::env::var_os(MAX_ENTRIES_VARIABLE),
        )
    }

    fn parse(bytes: Option<OsString>, entries: Option<OsString>) -> Result<Self, LimitsError> {
        let default = Self::default();
        let read = |value: Option<OsString>, default, variable, what, example| {
            let Some(value) = value.filter(|value| !value.is_empty()) else {
                return Ok(default);
            };
            let value = value.to_string_lossy().into_owned();
            parse_amount(&value).ok_or(LimitsError {
                variable,
                value,
                what,
                example,
            })
        };
        Ok(Self {
            max_bytes: read(
                bytes,
                default.max_bytes,
                MAX_BYTES_VARIABLE,
                "bytes",
                "write 500M or 4G",
            )?,
            max_entries: read(
                entries,
                default.max_entries,
                MAX_ENTRIES_VARIABLE,
                "records",
                "write 100000 or 100K",
            )?,
        })
    }

    /// The limits with a part of the room taken: `of` parts in eight.
    fn eighths(self, of: u64) -> Self {
        let part = |limit: u64| match limit {
            u64::MAX => u64::MAX,
            limit => (u128::from(limit) * u128::from(of) / 8) as u64,
        };
        Self {
            max_bytes: part(self.max_bytes),
            max_entries: part(self.max_entries),
        }
    }

    /// Where pruning begins.
    pub fn soft(self) -> Self {
        self.eighths(6)
    }

    /// Where pruning ends.
    pub fn low(self) -> Self {
        self.eighths(5)
    }

    /// Where pruning cannot wait any more.
    pub(super) fn overdue(self) -> Self {
        self.eighths(7)
    }

    /// The size at which a segment is sealed without being asked for: there may be one in each of many
    /// processes.
    pub(super) fn segment_bytes(self) -> u64 {
        self.pack_bytes() / 16
    }

    /// The size that a pack made by merging or pruning has at most, unless one record is larger.
    pub fn pack_bytes(self) -> u64 {
        self.eighths(1).max_bytes
    }
}

/// A number with an optional unit, in powers of 1024.
fn parse_amount(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_suffix(['B', 'b']).unwrap_or(text);
    let text = text.strip_suffix("i").unwrap_or(text);
    let (number, shift) = match text.char_indices().last()? {
        (end, 'k' | 'K') => (text.get(..end)?, 10),
        (end, 'm' | 'M') => (text.get(..end)?, 20),
        (end, 'g' | 'G') => (text.get(..end)?, 30),
        (end, 't' | 'T') => (text.get(..end)?, 40),
        _ => (text, 0),
    };
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        assert_eq!(parse_amount("17"), Some(17));
        assert_eq!(parse_amount("2K"), Some(2048));
        assert_eq!(parse_amount("500 MiB"), Some(500 << 20));
        assert_eq!(parse_amount("4GB"), Some(4 << 30));
        assert_eq!(parse_amount("1t"), Some(1 << 40));
        for bad in ["", "G", "-1", "1.5G", "much", "99999999T", "K1"] {
            assert_eq!(parse_amount(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_environment_sets_what_it_names() {
        let limits = Limits::parse(Some("8G".into()), None).expect("a number");
        assert_eq!(limits.max_bytes, 8 << 30);
        assert_eq!(limits.max_entries, Limits::default().max_entries);
        let error = Limits::parse(None, Some("many".into())).expect_err("no number");
        assert!(error.to_string().contains(MAX_ENTRIES_VARIABLE), "{error}");
    }

    #[test]
    fn there_is_room_between_the_marks() {
        let limits = Limits::default();
        let (soft, low) = (limits.soft(), limits.low());
        assert!(low.max_bytes < soft.max_bytes && low.max_entries < soft.max_entries);
        assert!(soft.max_bytes + limits.pack_bytes() < limits.max_bytes);
        assert_eq!(Limits::NONE.soft(), Limits::NONE);
    }
}
