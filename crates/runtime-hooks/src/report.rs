//! Who is told what came of an evaluation: a listener, the journal of misses, and events of `tracing`.

use crate::asked::{Asked, Copied};
use crate::cache::{Backend, Cache};
use crate::outcome::{MissReason, Outcome};
use crate::statistics::Ledger;
use rekindle_cache_core::Digest;
use rekindle_cache_core::history::Sample;
use rekindle_cache_core::journal::{EnvironmentPart, Journal, Lines, Miss};
use rekindle_cache_core::key::{Definition, Environment};
use rekindle_cache_core::store::StoreStatistics;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many bytes of the journal may wait to be written; what comes then is left out.
const MAX_WAITING: usize = 256 << 10;

/// How many bytes of definitions may wait for their lines to be made.
const MAX_NOTED: usize = 256 << 10;

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
    }

    /// Has what was compiled written to the journal.
    pub(crate) fn note_miss(&self, asked: &Asked<'_>, outcome: &Outcome) {
        if let Outcome::Hit | Outcome::SecondHit(_) = outcome {
            return;
        }
        if let Some(journal) = self.kept.as_ref().and_then(|kept| kept.journal()) {
            journal.note(&self.environment, || Noted::new(asked.copy(), outcome));
        }
    }
}

/// A definition that was compiled, on its way into the journal.
pub(crate) struct Noted {
    time: u64,
    definition: Arc<Copied>,
    outcome: Outcome,
}

impl Noted {
    pub(crate) fn new(definition: Arc<Copied>, outcome: &Outcome) -> Self {
        Self {
            time: seconds(),
            definition,
            outcome: outcome.clone(),
        }
    }

    fn miss(&self, environment: &Environment, process: u32) -> Miss {
        let definition = self.definition.definition();
        Miss {
            time: self.time,
            process,
            outcome: self.outcome.name().to_owned(),
            name: definition.name.to_owned(),
            context: definition.context.to_owned(),
            text: self.definition.text_digest(),
            environment: *environment.digest(),
            reason: match &self.outcome {
                Outcome::Miss(reason) | Outcome::SecondHit(reason) => reason.to_string(),
                Outcome::Bypass(reason) => reason.to_string(),
                Outcome::Rejected(reason) => reason.to_string(),
                Outcome::Hit => String::new(),
            },
        }
    }
}

/// Since 1970.
fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

/// Lines of the journal on their way into its file.
pub(crate) struct JournalQueue {
    folder: PathBuf,
    waiting: Mutex<Waiting>,
    /// What the sums of the cache's life come from.
    ledger: Arc<Ledger>,
    /// The store as the history last had it.
    sampled: Mutex<StoreStatistics>,
}

#[derive(Default)]
struct Waiting {
    lines: Lines,
    /// What no lines have been made of yet, which is not the evaluating threads' work.
    noted: Vec<Noted>,
    noted_bytes: usize,
    /// All that is noted is of one environment, which is described before the first line.
    environment: Option<Arc<Environment>>,
    is_described: bool,
}

impl Waiting {
    fn make_lines(&mut self) {
        self.noted_bytes = 0;
        let Some(environment) = &self.environment else {
            return;
        };
        let process = std::process::id();
        for noted in self.noted.drain(..) {
            if self.lines.len() > MAX_WAITING {
                continue;
            }
            if !std::mem::replace(&mut self.is_described, true) {
                self.lines.environment(environment);
            }
            self.lines.miss(&noted.miss(environment, process));
        }
    }
}

impl JournalQueue {
    /// For the journal in `folder`, the folder of a store's files.
    pub(crate) fn new(folder: &Path, ledger: Arc<Ledger>, now: StoreStatistics) -> Self {
        Self {
            folder: folder.to_owned(),
            waiting: Mutex::default(),
            ledger,
            sampled: Mutex::new(now),
        }
    }

    pub(crate) fn note(&self, environment: &Arc<Environment>, noted: impl FnOnce() -> Noted) {
        let mut waiting = crate::lock(&self.waiting);
        if waiting.lines.len() > MAX_WAITING {
            return;
        }
        let environment = || Arc::clone(environment);
        waiting.environment.get_or_insert_with(environment);
        let noted = noted();
        waiting.noted_bytes += size_of::<Noted>() + noted.definition.len();
        waiting.noted.push(noted);
        if waiting.noted_bytes > MAX_NOTED {
            waiting.make_lines();
        }
    }

    /// Writes what waits. A fault loses it, which harms nobody.
    pub(crate) fn write(&self) {
        let lines = {
            let mut waiting = crate::lock(&self.waiting);
            waiting.make_lines();
            std::mem::take(&mut waiting.lines)
        };
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
        if let Some(timeline) = self.ledger.new_timeline()
            && let Err(error) = timeline.write_to(&self.folder)
        {
            tracing::debug!(%error, "the timeline is not written");
        }
    }

    /// Writes how large the store is, if that has changed since this was done last. A fault loses it, as above.
    pub(crate) fn write_history(&self, now: StoreStatistics) {
        let mut sampled = crate::lock(&self.sampled);
        let size = |store: &StoreStatistics| (store.bytes, store.records, store.evicted);
        if size(&sampled) == size(&now) {
            return;
        }
        let sample = Sample::new(seconds(), &sampled, &now);
        *sampled = now;
        drop(sampled);
        if let Err(error) = sample.append_to(&self.folder) {
            tracing::debug!(%error, "the history is not written");
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
