//! Who is told what came of an evaluation: a listener, the journal of misses, and events of `tracing`.

use crate::cache::{Backend, Cache};
use crate::outcome::{MissReason, Outcome};
use crate::statistics::Ledger;
use rekindle_cache_core::Digest;
use rekindle_cache_core::journal::{EnvironmentPart, Journal, Lines, Miss, text_digest};
use rekindle_cache_core::key::{Definition, Environment};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many bytes of the journal may wait to be written; what comes then is left out.
const MAX_WAITING: usize = 256 << 10;

/// An evaluation, as a listener sees it: after the look-up, and before the factory runs.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The definition.
    pub definition: &'a Definition<'a>,
    /// What came of it.
    pub outcome: &'a Outcome,
}

/// Is told of every evaluation, on the thread that evaluates; and of hits that were
/// [found](crate::CacheBuilder::verify) wrong, on another.
pub type Listener = dyn Fn(&Event<'_>) + Send + Sync;

impl<B: Backend> Cache<B> {
    /// Says what differs from what was kept of the same name, if somebody has asked for that.
    pub(crate) fn explained(&self, definition: &Definition<'_>, outcome: Outcome) -> Outcome {
        let (Outcome::Miss(MissReason::New), Some(explainer), Some(kept)) =
            (&outcome, &self.explainer, &self.kept)
        else {
            return outcome;
        };
        let parts_of = |environment: &Digest| kept.parts_of(environment);
        let environment = &self.environment;
        match explainer.difference(kept.store(), definition, environment, &parts_of) {
            Some(difference) => Outcome::Miss(MissReason::Differs(Box::new(difference))),
            None => outcome,
        }
    }

    /// Tells of an outcome.
    pub(crate) fn report(&self, definition: &Definition<'_>, outcome: &Outcome) {
        if let Some(listener) = &self.listener {
            listener(&Event {
                definition,
                outcome,
            });
        }
        if matches!(outcome, Outcome::Hit) {
            return;
        }
        tracing::debug!(name = definition.name, %outcome);
        if self.explainer.is_some() {
            let name = match definition.name {
                "" => "a form without a name",
                name => name,
            };
            tracing::info!(target: "rekindle::explain", "{name}: {outcome}");
        }
        let reason: &dyn std::fmt::Display = match outcome {
            Outcome::Miss(reason) => reason,
            Outcome::Bypass(reason) => reason,
            Outcome::Rejected(reason) => reason,
            Outcome::Hit | Outcome::SecondHit(_) => return,
        };
        if let Some(kept) = &self.kept {
            kept.note_miss(&self.environment, || {
                miss(definition, &self.environment, outcome.name(), reason)
            });
        }
    }
}

/// A line of the journal.
pub(crate) fn miss(
    definition: &Definition<'_>,
    environment: &Environment,
    outcome: &str,
    reason: &dyn std::fmt::Display,
) -> Miss {
    Miss {
        time: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        process: std::process::id(),
        outcome: outcome.to_owned(),
        name: definition.name.to_owned(),
        context: definition.context.to_owned(),
        text: text_digest(definition.text),
        environment: *environment.digest(),
        reason: reason.to_string(),
    }
}

/// Lines of the journal on their way into its file.
pub(crate) struct JournalQueue {
    folder: PathBuf,
    waiting: Mutex<Waiting>,
    /// What the sums of the cache's life come from.
    ledger: Arc<Ledger>,
}

#[derive(Default)]
struct Waiting {
    lines: Lines,
    /// The environment has been described.
    is_described: bool,
}

impl JournalQueue {
    /// For the journal in `folder`, the folder of a store's files.
    pub(crate) fn new(folder: &Path, ledger: Arc<Ledger>) -> Self {
        Self {
            folder: folder.to_owned(),
            waiting: Mutex::default(),
            ledger,
        }
    }

    pub(crate) fn note(&self, environment: &Environment, miss: impl FnOnce() -> Miss) {
        let mut waiting = crate::lock(&self.waiting);
        if waiting.lines.len() > MAX_WAITING {
            return;
        }
        if !std::mem::replace(&mut waiting.is_described, true) {
            waiting.lines.environment(environment);
        }
        waiting.lines.miss(&miss());
    }

    /// Writes what waits. A fault loses it, which harms nobody.
    pub(crate) fn write(&self) {
        let lines = std::mem::take(&mut crate::lock(&self.waiting).lines);
        if let Err(error) = lines.append_to(&self.folder) {
            tracing::debug!(%error, "the journal of misses is not written");
        }
    }

    /// Writes what was counted since this was done last. A fault loses it, as above.
    pub(crate) fn write_statistics(&self) {
        if let Some(news) = self.ledger.news()
            && let Err(error) = news.append_to(&self.folder)
        {
            tracing::debug!(%error, "the statistics are not written");
        }
    }

    /// The parts of an environment that an earlier process described.
    pub(crate) fn parts_of(&self, environment: &Digest) -> Vec<EnvironmentPart> {
        let journal = Journal::read(&self.folder).unwrap_or_default();
        let parts = journal.environments.into_iter();
        parts
            .filter(|part| part.environment == *environment)
            .collect()
    }
}
