//! The course of a process's evaluations, where somebody [asked](crate::CacheBuilder::timeline) for it.
//!
//! Where nobody did there is none, and a hit pays for that with one look at a pointer.

use crate::outcome::Outcome;
use rekindle_cache_core::timeline::{Kind, MOST, Span, Timeline, cut};
use std::sync::Mutex;
use std::thread::ThreadId;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Spans on their way into the file.
#[derive(Debug)]
pub(crate) struct Recording {
    /// When the cache was opened.
    start: Instant,
    time: u64,
    /// A forked child leaves the file to its parent.
    process: u32,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    threads: Vec<ThreadId>,
    spans: Vec<Span>,
    left_out: u64,
    /// Something is new since it was written last.
    is_new: bool,
}

impl Recording {
    /// Begins now.
    pub(crate) fn start() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            start: Instant::now(),
            time: now.map_or(0, |since| since.as_secs()),
            process: std::process::id(),
            noted: Mutex::default(),
        }
    }

    /// Notes what took from `start` until now on this thread.
    #[cold]
    pub(crate) fn note(&self, kind: Kind, name: &str, start: Instant, length: Duration) {
        // A child may have been forked while another thread held the lock.
        if self.process != std::process::id() {
            return;
        }
        let mut noted = crate::lock(&self.noted);
        noted.is_new = true;
        if noted.spans.len() >= MOST {
            noted.left_out += 1;
            return;
        }
        let current = std::thread::current().id();
        let known = noted.threads.iter().position(|thread| *thread == current);
        let thread = known.unwrap_or_else(|| {
            noted.threads.push(current);
            noted.threads.len() - 1
        });
        let since = start.saturating_duration_since(self.start);
        let span = Span {
            thread: u32::try_from(thread).unwrap_or(u32::MAX),
            start: nanoseconds(since),
            length: nanoseconds(length),
            kind,
            name: cut(name).to_owned(),
        };
        noted.spans.push(span);
    }

    /// What has been noted, if something is new since this was asked last.
    pub(crate) fn news(&self) -> Option<Timeline> {
        if self.process != std::process::id() {
            return None;
        }
        let mut noted = crate::lock(&self.noted);
        if !std::mem::take(&mut noted.is_new) {
            return None;
        }
        let program = std::env::current_exe().unwrap_or_default();
        let program = program.file_name().unwrap_or_default();
        Some(Timeline {
            time: self.time,
            process: self.process,
            program: program.to_string_lossy().into_owned(),
            length: nanoseconds(self.start.elapsed()),
            left_out: noted.left_out,
            spans: noted.spans.clone(),
        })
    }
}

/// The sort of span that an evaluation is; without an outcome it failed.
pub(crate) fn kind_of(outcome: Option<&Outcome>) -> Kind {
    match outcome {
        Some(Outcome::Hit) => Kind::Hit,
        Some(Outcome::SecondHit(_)) => Kind::SecondHit,
        Some(Outcome::Miss(_)) => Kind::Miss,
        Some(Outcome::Bypass(_)) => Kind::Bypass,
        Some(Outcome::Rejected(_)) => Kind::Rejected,
        None => Kind::Failed,
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_numbered_and_spans_bounded() {
        let recording = Recording::start();
        assert!(recording.news().is_none());
        let note = || {
            recording.note(Kind::Hit, "a", Instant::now(), Duration::from_nanos(5));
        };
        note();
        std::thread::scope(|scope| {
            scope.spawn(note);
        });
        let timeline = recording.news().expect("two");
        let threads: Vec<_> = timeline.spans.iter().map(|span| span.thread).collect();
        assert_eq!(threads, [0, 1]);
        assert!(recording.news().is_none(), "nothing is new");
        for _ in 0..MOST {
            note();
        }
        let timeline = recording.news().expect("many");
        assert_eq!((timeline.spans.len(), timeline.left_out), (MOST, 2));
    }
}
