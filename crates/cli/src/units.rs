//! Amounts as people write and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A number of bytes in the largest unit of which it has one.
pub(crate) fn bytes(count: u64) -> String {
    in_units(count, 1024, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// A number of nanoseconds in the largest unit of which it has one, up to hours.
pub(crate) fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    match seconds {
        0..120 => in_units(nanoseconds, 1000, &["ns", "us", "ms", "s"]),
        120..7200 => format!("{} min {} s", seconds / MINUTE, seconds % MINUTE),
        _ => format!("{} h {} min", seconds / HOUR, seconds % HOUR / MINUTE),
    }
}

/// A number with commas between its thousands.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something: `1 pack`, `2 packs`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(number))
}

/// How long ago it was, at `now`, both in seconds since 1970.
pub(crate) fn ago(then: u64, now: u64) -> String {
    // A clock that was set back makes no future.
    let seconds = now.saturating_sub(then);
    let (amount, unit) = match seconds {
        0..2 => return "just now".to_owned(),
        2..MINUTE => (seconds, "second"),
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        _ => (seconds / DAY, "day"),
    };
    format!("{} ago", counted(amount, unit))
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Reads bytes such as `4096`, `500M` or `2 GiB`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    parse(
        text,
        &[
            ("", 1),
            ("k", 1 << 10),
            ("m", 1 << 20),
            ("g", 1 << 30),
            ("t", 1 << 40),
        ],
        |unit| unit.trim_end_matches("ib").trim_end_matches('b').to_owned(),
    )
    .ok_or_else(|| "write a number of bytes such as 4096, 500M or 2G".to_owned())
}

/// Reads a number such as `10000`, `10,000` or `10K`.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    let units = [("", 1), ("k", 1_000), ("m", 1_000_000)];
    parse(&text.replace([',', '_'], ""), &units, str::to_owned)
        .ok_or_else(|| "write a number such as 10000 or 10K".to_owned())
}

/// Reads an age such as `30d`, `12h` or `2 weeks`.
pub(crate) fn parse_age(text: &str) -> Result<Duration, String> {
    let units = [
        ("s", 1),
        ("m", MINUTE),
        ("h", HOUR),
        ("d", DAY),
        ("w", 7 * DAY),
    ];
    parse(text, &units, |unit| unit.chars().take(1).collect())
        .map(Duration::from_secs)
        .ok_or_else(|| "write an age such as 90m, 12h, 30d or 4w".to_owned())
}

fn parse(text: &str, units: &[(&str, u64)], short: impl Fn(&str) -> String) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = short(unit.trim());
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn in_units(count: u64, step: u32, units: &[&str]) -> String {
    let mut amount = count as f64;
    let mut unit = units.first().copied().unwrap_or_default();
    for next in units.iter().skip(1) {
        // What is rounded to a whole of the next unit is shown in that.
        if amount < f64::from(step) - 0.05 {
            break;
        }
        amount /= f64::from(step);
        unit = next;
    }
    if count < u64::from(step) {
        format!("{count} {}", units.first().copied().unwrap_or_default())
    } else {
        format!("{amount:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_for_people() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 40), "3.0 TiB");
        assert_eq!(duration(999), "999 ns");
        assert_eq!(duration(999_940), "999.9 us");
        assert_eq!(duration(999_960), "1.0 ms");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(duration(1_400_000), "1.4 ms");
        assert_eq!(duration(90_000_000_000), "90.0 s");
        assert_eq!(duration(200_000_000_000), "3 min 20 s");
        assert_eq!(duration(7_260_000_000_000), "2 h 1 min");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "pack"), "1 pack");
        assert_eq!(counted(2_000, "pack"), "2,000 packs");
        assert_eq!(ago(100, 100), "just now");
        assert_eq!(ago(100, 160), "1 minute ago");
        assert_eq!(ago(100, 100 + 3 * DAY), "3 days ago");
        assert_eq!(ago(100, 0), "just now", "the clock was set back");
    }

    #[test]
    fn amounts_are_read_as_people_write_them() {
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert_eq!(parse_bytes("500M"), Ok(500 << 20));
        assert_eq!(parse_bytes("2 GiB"), Ok(2 << 30));
        assert_eq!(parse_bytes("1kb"), Ok(1 << 10));
        assert_eq!(parse_count("10,000"), Ok(10_000));
        assert_eq!(parse_count("10K"), Ok(10_000));
        assert_eq!(parse_age("30d"), Ok(Duration::from_secs(30 * DAY)));
        assert_eq!(parse_age("2 weeks"), Ok(Duration::from_secs(14 * DAY)));
        for wrong in ["", "M", "1X", "-1", "99999999999999999999", "16777216T"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
        assert!(parse_age("1").is_err(), "an age has a unit");
    }
}
