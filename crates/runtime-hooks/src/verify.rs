//! Sampled verification: some hits are compiled again, and the object compared with what was kept.
//!
//! A hit is right if the host told of everything that its front end looked at. Whether it does shows when the
//! front end runs all the same: after a hit that is chosen, the host's closure is called as on a miss, on the
//! evaluating thread, and the unit that it gives is compiled on a thread of the verifier's. The hit stands, and
//! its factory runs meanwhile. If the object is another one, the record is removed, and that is counted,
//! warned of, written to the journal and told to the listener.
//!
//! A chosen hit therefore costs the evaluating thread what the front end takes, and another core what
//! generating code takes. At most [`QUEUE`] units wait; a hit that would be one more is not verified. Closing the
//! cache waits for them, up to the deadline. A hit that shares code which is in the process already
//! is not chosen: that code had its turn.

use crate::asked::Copied;
use crate::cache::{Backend, Session};
use crate::compilation::Compilation;
use crate::host::Host;
use crate::jobs::Jobs;
use crate::kept::Kept;
use crate::outcome::{Outcome, RejectReason};
use crate::recorder::Recorder;
use crate::report::{Event, Noted};
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::Compiler;
use rekindle_cache_core::key::{Definition, FormKey};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many units may wait.
const QUEUE: usize = 64;

/// Chooses a share of the hits, evenly.
#[derive(Debug, Default)]
pub(crate) struct Sampling {
    /// The share, of 2^32; the largest number is all.
    share: u32,
    sum: AtomicU32,
}

impl Sampling {
    /// Chooses the share `rate`, from 0 to 1. Which hit is the first is chance, so that short processes have
    /// their share as well.
    pub(crate) fn new(rate: f64) -> Self {
        let share = (rate.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u32;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let chance = now.map_or(0, |since| since.subsec_nanos()) ^ std::process::id();
        Self {
            share,
            sum: AtomicU32::new(chance.wrapping_mul(0x9e37_79b9)),
        }
    }

    #[inline]
    pub(crate) fn is_chosen(&self) -> bool {
        self.share != 0 && self.choose()
    }

    #[cold]
    fn choose(&self) -> bool {
        let sum = self.sum.fetch_add(self.share, Ordering::Relaxed);
        self.share == u32::MAX || sum.checked_add(self.share).is_none()
    }
}

impl<B: Backend> Session<B> {
    /// Has the front end run for a hit, and what it gives compared with what was kept.
    #[cold]
    pub(crate) fn verify<E>(
        &self,
        kept: &Kept,
        definition: &Definition<'_>,
        key: FormKey,
        expected: Digest,
        host: &dyn Host,
        compile: impl FnOnce(&Recorder<'_>) -> Result<Compilation<B::Unit>, E>,
    ) {
        if !kept.verifier().has_room() {
            return;
        }
        let recorder = Recorder::new(host, self.unadmitted(), &self.outside);
        let unit = match compile(&recorder) {
            Ok(compilation) => match recorder.finish().bypass {
                None => Ok(compilation.unit.into_unit()),
                Some(reason) => Err(format!("it would not be kept now: {reason}")),
            },
            Err(_) => Err("its front end fails now".to_owned()),
        };
        let verdicts = Arc::clone(&self.verdicts);
        let backend = Arc::clone(&self.cache.backend);
        let counters = Arc::clone(&self.counters);
        let listener = self.cache.listener.clone();
        let environment = Arc::clone(&self.cache.environment);
        let (store, journal) = (kept.shared_store(), kept.journal().cloned());
        let copied = Arc::new(Copied::of(definition));
        // The front end may have forked, and then it is the child's.
        kept.verifier().add(Box::new(move || {
            let compared = unit.and_then(|unit| compare(&*backend, &unit, &expected));
            counters.verified(compared.is_ok());
            let Err(what) = compared else {
                return;
            };
            let definition = copied.definition();
            tracing::warn!(
                name = definition.name,
                what,
                "a hit was wrong: its host did not tell of all that it depends on"
            );
            store.report_damage(&key, &format!("verification: {what}"));
            // So that the code is not shared any longer either. After it is gone, or it would be shared anew.
            verdicts.fetch_add(1, Ordering::Release);
            let outcome = Outcome::Rejected(RejectReason::Verification(what));
            if let Some(journal) = journal {
                let noted = || Noted::new(Arc::clone(&copied), &outcome);
                journal.note(&environment, noted);
            }
            if let Some(listener) = listener {
                listener(&Event {
                    definition: &definition,
                    outcome: &outcome,
                });
            }
        }));
    }
}

/// Compiles `unit`, and says how the object differs from the one with the digest `expected`.
fn compare<B: Backend>(backend: &B, unit: &B::Unit, expected: &Digest) -> Result<(), String> {
    let compiled = match backend.compiler().compile(unit) {
        Ok(compiled) => compiled,
        Err(error) => return Err(format!("the compiler makes no object of it now: {error}")),
    };
    let object = Digest::of("rekindle object", &compiled.object.bytes);
    match object == *expected {
        true => Ok(()),
        false => Err(format!(
            "it compiles to the object {}, and {} was kept",
            object.short(),
            expected.short()
        )),
    }
}

/// What compares.
pub(crate) fn verifier() -> Jobs {
    Jobs::at_once("rekindle-verify", QUEUE, "a hit could not be verified")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_chosen_evenly() {
        let chosen = |rate: f64| {
            let sampling = Sampling::new(rate);
            (0..1000).filter(|_| sampling.is_chosen()).count()
        };
        assert_eq!(chosen(0.0), 0);
        assert_eq!(chosen(1.0), 1000);
        assert_eq!(chosen(7.0), 1000);
        assert_eq!(chosen(f64::NAN), 0);
        for (rate, about) in [(0.25, 250), (0.001, 1), (0.9, 900)] {
            let chosen = chosen(rate);
            assert!(chosen.abs_diff(about) <= 1, "{chosen} of 1000 at {rate}");
        }
    }
}
