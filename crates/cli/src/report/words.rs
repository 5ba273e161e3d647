//! Reasons, names and times as the page has them.

use crate::records::shown_name;

/// Letters of a name that are shown.
const SHOWN: usize = 90;

/// Letters of a sentence in which names may stand.
const LONG: usize = 400;

/// The name of a definition: on one line, not endless, and read in the order in which it is written.
pub(super) fn name(name: &str) -> String {
    bounded(name, SHOWN)
}

/// A sentence that may have names in it, made safe to read in the same way.
pub(super) fn long(text: &str) -> String {
    bounded(text, LONG)
}

fn bounded(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (place, letter) in shown_name(text).chars().enumerate() {
        if place >= most {
            shown.push('…');
            break;
        }
        match letter {
            // These make text look as if it were another.
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => shown.extend(letter.escape_unicode()),
            _ => shown.push(letter),
        }
    }
    shown
}

/// What a reason means, and what may be done; `None` for one that this version does not know.
pub(super) fn reason(reason: &str) -> Option<(&'static str, &'static str)> {
    Some(match reason {
        "miss new" | "second hit new" => (
            "No code of this text in this environment",
            "New or edited, or the program or its compiler is another build.",
        ),
        "miss other key" | "second hit other key" => (
            "The text, its context or the environment is another",
            "`rekindle why NAME` says which part.",
        ),
        "miss behaviour" | "second hit behaviour" => (
            "Something that ran while compiling does other things now",
            "A macro, or a helper that it can reach, was changed.",
        ),
        "miss interface" | "second hit interface" => (
            "What compiling read of another definition has changed",
            "Its arity or its type, for instance.",
        ),
        "miss resolution" | "second hit resolution" => (
            "A symbol means something else",
            "It was defined, removed, or shadowed.",
        ),
        "miss file" | "miss file set" | "second hit file" | "second hit file set" => (
            "A file that compiling read has changed",
            "A header, or what a macro looked at.",
        ),
        "miss variable" | "second hit variable" => (
            "An environment variable has another value",
            "One that compiling looked at.",
        ),
        "miss module" | "second hit module" => {
            ("A library that the code is bound to was built anew", "")
        }
        "miss host" | "second hit host" => ("Something that only the host knows has changed", ""),
        "miss effect" | "second hit effect" => {
            ("What compiling did besides could not be repeated", "")
        }
        "miss unknown dependency" | "second hit unknown dependency" => (
            "Recorded by a newer version",
            "Its sort of dependency is not known here.",
        ),
        "bypass off" => ("The cache was off", "`REKINDLE=off`, or the host's wish."),
        "bypass unrecordable" => (
            "Compiling did what no record can repeat",
            "It read a clock or changed state; such code is never kept.",
        ),
        "bypass volatile" => (
            "A macro reached a value that its code does not determine",
            "Such code is never kept.",
        ),
        "bypass uncompilable" => ("The compiler makes no object of it", ""),
        "bypass unloadable" => ("The loader cannot take what the compiler made", ""),
        "rejected damaged" => (
            "A record was damaged",
            "It was compiled again. `rekindle verify --repair` sets damage aside.",
        ),
        "rejected image" => ("The loader refused an image", "It was compiled again."),
        "rejected deaths" => (
            "Processes had died in the code",
            "It was set aside and compiled again.",
        ),
        "rejected verification" => (
            "A hit was wrong",
            "The host does not tell of all that its definitions depend on.",
        ),
        _ => return None,
    })
}

/// Seconds since 1970 as `2026-11-23 19:45`, in UTC.
pub(super) fn date(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let minutes = seconds % 86_400 / 60;
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02}",
        minutes / 60,
        minutes % 60
    )
}

/// Year, month and day of a day since 1970, in the Gregorian calendar: years begin in March, so that the day
/// that some have comes last, and 400 of them have 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    // The first of March of the year 0 lies so many days before 1970.
    let days = days.saturating_add(719_468);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let in_month = day - (153 * month + 2) / 5 + 1;
    let is_next_year = u64::from(month >= 10);
    (
        era * 400 + year + is_next_year,
        if month < 10 { month + 3 } else { month - 9 },
        in_month,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00");
        assert_eq!(date(951_782_399), "2000-02-28 23:59");
        assert_eq!(date(951_782_400), "2000-02-29 00:00");
        assert_eq!(date(1_709_251_199), "2024-02-29 23:59");
        assert_eq!(date(1_735_689_599), "2024-12-31 23:59");
        assert_eq!(date(1_795_464_482), "2026-11-23 20:08");
        date(u64::MAX);
    }

    #[test]
    fn names_cannot_pose_as_others() {
        assert_eq!(name("user/one"), "user/one");
        assert_eq!(name(""), "(no name)");
        assert_eq!(name("a\u{202e}b\n"), "a\\u{202e}b\\n");
        assert_eq!(name(&"x".repeat(500)).chars().count(), SHOWN + 1);
    }
}
