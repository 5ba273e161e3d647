//! Measures subjects in turns: in each round each of them loads all units, once or in a burst.
//!
//! They alternate, another begins each time, and every other round goes backwards, so that a change of
//! the machine's mood and what the one before left in the caches meet all of them. A first round warms
//! up (symbols of the process bound, pages of the windows present, caches of the peers filled) and does
//! not count, unless it is so slow that this cannot matter. Where units are loaded in bursts, as long
//! for all subjects, the first load of a burst, right after others' work, goes to a row of its own.

use super::work::{Subject, Work};
use crate::meter::process_time;
use crate::row::Row;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// A first round that took longer than this counts.
const SLOW: Duration = Duration::from_secs(1);

/// A subject that has taken so long has been measured enough.
pub(super) const ENOUGH: Duration = Duration::from_secs(12);

/// The same in a quick run.
pub(super) const QUICK: Duration = Duration::from_millis(700);

/// Between rounds: what a process does between its loads. Helper threads of all subjects get to run,
/// and their CPU time is counted.
const PAUSE: Duration = Duration::from_millis(3);

/// A subject by its name, or why it cannot take part.
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) subject: Result<Box<dyn Subject>>,
}

struct State {
    name: &'static str,
    subject: Option<Box<dyn Subject>>,
    refused: Option<String>,
    samples: Vec<u64>,
    /// Of loads right after others' work, where these are told apart.
    firsts: Vec<u64>,
    cpu_ns: u64,
    loads: usize,
    spent: Duration,
    rounds: usize,
}

/// The rows of `contenders` at `work`.
pub(super) fn alternate(
    work: &Work,
    contenders: Vec<Contender>,
    enough: Duration,
) -> Result<Vec<Row>> {
    eprintln!("measuring {} ...", work.name);
    let mut states: Vec<State> = contenders.into_iter().map(State::new).collect();
    let count = states.len();
    let mut answers = vec![None; work.units.len()];
    for round in 0..=work.rounds {
        for turn in 0..count {
            let turn = match round % 2 {
                0 => turn,
                _ => count - 1 - turn,
            };
            states[(round / 2 + turn) % count].round(work, &mut answers, enough)?;
        }
    }
    let mut rows = Vec::new();
    let mut firsts = Vec::new();
    for mut state in states {
        let samples = std::mem::take(&mut state.firsts);
        firsts.extend(Row::new(
            format!("{}-first", work.name),
            state.name,
            samples,
        ));
        rows.extend(state.into_row(work));
    }
    rows.append(&mut firsts);
    Ok(rows)
}

impl State {
    fn new(contender: Contender) -> Self {
        let (subject, refused) = match contender.subject {
            Ok(subject) => (Some(subject), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Self {
            name: contender.name,
            subject,
            refused,
            samples: Vec::new(),
            firsts: Vec::new(),
            cpu_ns: 0,
            loads: 0,
            spent: Duration::ZERO,
            rounds: 0,
        }
    }

    /// One round. The first answer of a unit is what all others have to give.
    fn round(&mut self, work: &Work, answers: &mut [Option<i64>], enough: Duration) -> Result<()> {
        let Some(subject) = self.subject.as_deref_mut() else {
            return Ok(());
        };
        if self.spent > enough {
            return Ok(());
        }
        let measured = match measure(subject, work) {
            Ok(measured) => measured,
            Err(error) => {
                // It is dropped as it is: after an error nothing is known of its state.
                std::mem::forget(self.subject.take());
                self.refused = Some(format!("{error:#}").replace('\n', " "));
                return Ok(());
            }
        };
        for (load, given) in measured.answers.iter().enumerate() {
            let index = work.number(load);
            let known = *answers[index].get_or_insert(*given);
            if known != *given {
                let (name, work) = (self.name, work.name);
                bail!("{name}, {work}, unit {index}: the factory gave {given} instead of {known}");
            }
        }
        let total: u64 = measured.samples.iter().sum();
        self.spent += Duration::from_nanos(total);
        self.rounds += 1;
        if self.rounds == 1 && Duration::from_nanos(total) < SLOW {
            return Ok(());
        }
        self.cpu_ns += measured.cpu_ns;
        self.loads += measured.samples.len();
        for (load, sample) in measured.samples.into_iter().enumerate() {
            match work.is_first(load) {
                true => self.firsts.push(sample),
                false => self.samples.push(sample),
            }
        }
        Ok(())
    }

    fn into_row(self, work: &Work) -> Option<Row> {
        if let Some(reason) = self.refused {
            return Some(Row::refused(work.name.to_owned(), self.name, reason));
        }
        let count = self.loads.max(1) as u64;
        let mut row = Row::new(work.name.to_owned(), self.name, self.samples)?;
        row.cpu_ns = Some(self.cpu_ns / count);
        row.bytes_per_entry = self.subject.and_then(|subject| subject.bytes_per_entry());
        Some(row)
    }
}

struct Measured {
    samples: Vec<u64>,
    answers: Vec<i64>,
    cpu_ns: u64,
}

fn measure(subject: &mut dyn Subject, work: &Work) -> Result<Measured> {
    let mut samples = Vec::with_capacity(work.loads());
    let mut answers = Vec::with_capacity(work.loads());
    subject.begin(work)?;
    std::thread::sleep(PAUSE);
    let cpu_before = process_time();
    for load in 0..work.loads() {
        if load % work.burst != 0 {
            subject.again(work)?;
        }
        let began = Instant::now();
        let answer = subject.load_and_call(work, load);
        let took = began.elapsed();
        answers.push(answer?);
        samples.push(took.as_nanos() as u64);
    }
    std::thread::sleep(PAUSE);
    let cpu_ns = process_time() - cpu_before;
    subject.end()?;
    // What a subject has freed, the allocator puts in order at the next request of some size, which
    // would be the next subject's: after LLVM that takes longer than a whole load of others.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(64 << 10)));
    Ok(Measured {
        samples,
        answers,
        cpu_ns,
    })
}
