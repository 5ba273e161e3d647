//! How a cache is set up: one list of settings, for the builder and for the environment alike.
//!
//! What the builder was told stands. What it was not told, the environment says, and what that does not
//! say is the default:
//!
//! | builder | variable | values | default |
//! | --- | --- | --- | --- |
//! | [`mode`](CacheBuilder::mode) | `REKINDLE` | `on`, `read-only`, `off` | `on` |
//! | [`folder`](CacheBuilder::folder) | `REKINDLE_DIR` | a path | `rekindle` in the user's cache folder |
//! | [`limits`](CacheBuilder::limits) | `REKINDLE_MAX_BYTES`, `REKINDLE_MAX_ENTRIES` | a number, bytes with `K`, `M` or `G` | 4 GiB, 4,000,000 |
//! | [`explain`](CacheBuilder::explain) | `REKINDLE_EXPLAIN` | `on`, `off` | `off` |
//! | [`watch_deaths`](CacheBuilder::watch_deaths) | `REKINDLE_WATCH` | `on`, `off` | `on` |
//! | [`verify`](CacheBuilder::verify) | `REKINDLE_VERIFY` | a share, from 0 to 1 | 0 |
//! | [`timeline`](CacheBuilder::timeline) | `REKINDLE_TIMELINE` | `on`, `off` | `off` |
//! | [`improving`](CacheBuilder::improving) | - | [`Improving`] | its default, where there is a better compiler |
//! | [`deadline`](CacheBuilder::deadline) | - | a duration | 10 seconds |
//! | `gdb` of the loader's options | `REKINDLE_DEBUGGER` | `gdb`, `off` | `off` |
//!
//! A variable with another value is told of in a warning and counts as not set. `REKINDLE_LOG` filters what
//! the commands of this project print; libraries print nothing and speak through `tracing`.
//!
//! [`CacheBuilder::mode`]: crate::CacheBuilder::mode
//! [`CacheBuilder::folder`]: crate::CacheBuilder::folder
//! [`CacheBuilder::limits`]: crate::CacheBuilder::limits
//! [`CacheBuilder::explain`]: crate::CacheBuilder::explain
//! [`CacheBuilder::watch_deaths`]: crate::CacheBuilder::watch_deaths
//! [`CacheBuilder::verify`]: crate::CacheBuilder::verify
//! [`CacheBuilder::timeline`]: crate::CacheBuilder::timeline
//! [`CacheBuilder::improving`]: crate::CacheBuilder::improving
//! [`Improving`]: crate::Improving
//! [`CacheBuilder::deadline`]: crate::CacheBuilder::deadline

#[cfg(doc)]
use crate::CacheBuilder;
use crate::better::Improving;
use rekindle_cache_core::store::Limits;
use std::time::Duration;

/// The variable that says what a cache may do.
pub const MODE_VARIABLE: &str = "REKINDLE";
/// The variable that asks for explanations.
pub const EXPLAIN_VARIABLE: &str = "REKINDLE_EXPLAIN";
/// The variable that says whether deaths of processes are noted.
pub const WATCH_VARIABLE: &str = "REKINDLE_WATCH";
/// The variable that says which share of the hits is verified.
pub const VERIFY_VARIABLE: &str = "REKINDLE_VERIFY";
/// The variable that says which debugger is told of code.
pub const DEBUGGER_VARIABLE: &str = "REKINDLE_DEBUGGER";
/// The variable that asks for a timeline.
pub const TIMELINE_VARIABLE: &str = "REKINDLE_TIMELINE";

/// What a cache may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Find what was kept, and keep what is compiled.
    #[default]
    On,
    /// Find what was kept, and change nothing in the folder. What is compiled is kept in memory.
    ReadOnly,
    /// Keep nothing: every definition is a bypass and runs in the backend's JIT.
    Off,
}

/// What a builder was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) mode: Option<Mode>,
    pub(crate) limits: Option<Limits>,
    pub(crate) explain: Option<bool>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) watch_deaths: Option<bool>,
    pub(crate) verify: Option<f64>,
    pub(crate) timeline: Option<bool>,
    pub(crate) improving: Option<Improving>,
}

impl Settings {
    /// How long closing a cache waits for the disk, if nobody says otherwise.
    const DEADLINE: Duration = Duration::from_secs(10);

    pub(crate) fn mode(&self) -> Mode {
        let modes = [
            ("on", Mode::On),
            ("read-only", Mode::ReadOnly),
            ("off", Mode::Off),
        ];
        self.mode
            .or_else(|| from_environment(MODE_VARIABLE, &modes))
            .unwrap_or_default()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits.unwrap_or_else(|| {
            Limits::from_environment().unwrap_or_else(|error| {
                tracing::warn!("{error}");
                Limits::default()
            })
        })
    }

    pub(crate) fn explain(&self) -> bool {
        self.explain
            .or_else(|| from_environment(EXPLAIN_VARIABLE, &SWITCH))
            .unwrap_or(false)
    }

    pub(crate) fn watch_deaths(&self) -> bool {
        self.watch_deaths
            .or_else(|| from_environment(WATCH_VARIABLE, &SWITCH))
            .unwrap_or(true)
    }

    pub(crate) fn timeline(&self) -> bool {
        self.timeline
            .or_else(|| from_environment(TIMELINE_VARIABLE, &SWITCH))
            .unwrap_or(false)
    }

    pub(crate) fn verify(&self) -> f64 {
        self.verify.unwrap_or_else(|| {
            let Some(text) = std::env::var_os(VERIFY_VARIABLE).filter(|text| !text.is_empty())
            else {
                return 0.0;
            };
            share(text.to_str().unwrap_or_default()).unwrap_or_else(|| {
                tracing::warn!(
                    "{VERIFY_VARIABLE} is {text:?}, which is no number from 0 to 1: it is not heeded"
                );
                0.0
            })
        })
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline.unwrap_or(Self::DEADLINE)
    }
}

/// Whether gdb is to be told of code: asked by loaders, which are there before their cache.
pub(crate) fn debugger() -> bool {
    from_environment(DEBUGGER_VARIABLE, &[("gdb", true), ("off", false)]).unwrap_or(false)
}

const SWITCH: [(&str, bool); 2] = [("on", true), ("off", false)];

fn from_environment<T: Copy>(variable: &str, values: &[(&str, T)]) -> Option<T> {
    let text = std::env::var_os(variable).filter(|text| !text.is_empty())?;
    let value = choose(text.to_str().unwrap_or_default(), values);
    if value.is_none() {
        let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
        tracing::warn!(
            "{variable} is {text:?}, which is none of {}: it is not heeded",
            names.join(", ")
        );
    }
    value
}

fn share(text: &str) -> Option<f64> {
    let share: f64 = text.parse().ok()?;
    (0.0..=1.0).contains(&share).then_some(share)
}

fn choose<T: Copy>(text: &str, values: &[(&str, T)]) -> Option<T> {
    let (_, value) = values.iter().find(|(name, _)| *name == text)?;
    Some(*value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_comes_first_and_defaults_last() {
        let settings = Settings::default();
        assert_eq!(settings.deadline(), Settings::DEADLINE);
        let settings = Settings {
            mode: Some(Mode::ReadOnly),
            explain: Some(true),
            limits: Some(Limits::NONE),
            deadline: Some(Duration::ZERO),
            watch_deaths: Some(false),
            verify: Some(0.5),
            timeline: Some(true),
            improving: None,
        };
        assert_eq!(settings.mode(), Mode::ReadOnly);
        assert!(settings.explain());
        assert!(!settings.watch_deaths());
        assert!(settings.timeline());
        assert!((settings.verify() - 0.5).abs() < f64::EPSILON);
        assert_eq!(settings.limits(), Limits::NONE);
        assert_eq!(settings.deadline(), Duration::ZERO);
    }

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        assert_eq!(share("0.01"), Some(0.01));
        assert_eq!((share("0"), share("1")), (Some(0.0), Some(1.0)));
        for other in ["", "-0.1", "1.1", "NaN", "1%", "on"] {
            assert_eq!(share(other), None, "{other}");
        }
    }

    #[test]
    fn only_the_words_that_are_listed_count() {
        let values = [("on", true), ("off", false)];
        assert_eq!(choose("on", &values), Some(true));
        assert_eq!(choose("off", &values), Some(false));
        for other in ["", "On", "1", "yes", "on "] {
            assert_eq!(choose(other, &values), None);
        }
    }
}
