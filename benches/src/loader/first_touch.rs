//! Loading into memory that nobody has touched before: what a load costs when the helper thread, which
//! makes pages present ahead, gets no processor.
//!
//! The thread is bound to this thread's processor, to run only when that is idle. What it has made
//! present before is filled first; from then on the loading thread meets untouched pages.

use super::rekindle::{NoSymbols, images};
use super::work::{Work, call};
use crate::row::Row;
use anyhow::{Context, Result};
use rekindle_cache_core::artifact::{Code as _, Image, Loader};
use rekindle_loader::NativeLoader;
use std::time::{Duration, Instant};

/// Loads per sample: pages come in batches, so that single loads cost nothing or all of it.
const GROUP: usize = 50;
const GROUPS: usize = 100;

pub(super) fn measure(work: &Work) -> Result<Vec<Row>> {
    let loader = NativeLoader::new();
    let images = images(&loader, work)?;
    let entries: Vec<&str> = work.units.iter().map(|unit| &*unit.entry).collect();
    let mut loads = Loads {
        loader: &loader,
        units: images.iter().zip(entries).cycle(),
    };
    loads.one()?;
    // Until the thread has done what the first load asked of it.
    std::thread::sleep(Duration::from_millis(20));
    let _bound = Bound::here()?;
    while loader.memory_statistics().used < loader.memory_statistics().made_ready_ahead {
        loads.one()?;
    }
    let ahead = loader.memory_statistics().made_ready_ahead;
    let mut samples = Vec::with_capacity(GROUPS);
    let mut bytes = 0;
    for _ in 0..GROUPS {
        let began = Instant::now();
        for _ in 0..GROUP {
            bytes += loads.one()?;
        }
        samples.push(began.elapsed().as_nanos() as u64 / GROUP as u64);
    }
    let helped = loader.memory_statistics().made_ready_ahead - ahead;
    eprintln!("the helper thread made {helped} of {bytes} bytes present");
    let name = format!("{}, first touch", work.name);
    let mut row = Row::new(name, "rekindle-image", samples);
    if let Some(row) = &mut row {
        row.bytes_per_entry = Some((bytes / (GROUPS * GROUP)) as u64);
    }
    Ok(row.into_iter().collect())
}

struct Loads<'w, I> {
    loader: &'w NativeLoader,
    units: I,
}

impl<'w, I: Iterator<Item = (&'w Image, &'w str)>> Loads<'w, I> {
    /// Loads and calls the next unit, and returns its size.
    fn one(&mut self) -> Result<usize> {
        let (image, entry) = self.units.next().context("no units")?;
        // SAFETY: the image is made from an object that the benchmark compiled.
        let code = unsafe { self.loader.load(image.as_ref(), &NoSymbols) }?;
        let entry = code.symbol(entry).context("no such root")?;
        // SAFETY: it is the unit's factory.
        unsafe { call(entry as usize) };
        Ok(code.size())
    }
}

/// This thread on one processor, with every helper thread on the same for when it is idle.
struct Bound {
    before: libc::cpu_set_t,
}

impl Bound {
    fn here() -> Result<Self> {
        // SAFETY: both are plain sets of bits, filled by the calls that are given them.
        let (before, one) = unsafe {
            let mut before: libc::cpu_set_t = std::mem::zeroed();
            libc::sched_getaffinity(0, size_of_val(&before), &raw mut before);
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(libc::sched_getcpu().unsigned_abs() as usize, &mut one);
            libc::sched_setaffinity(0, size_of_val(&one), &raw const one);
            (before, one)
        };
        for thread in std::fs::read_dir("/proc/self/task")? {
            let thread = thread?;
            if std::fs::read_to_string(thread.path().join("comm"))?.trim() != "rekindle-ahead" {
                continue;
            }
            let id: libc::pid_t = thread.file_name().to_string_lossy().parse()?;
            let lowest = libc::sched_param { sched_priority: 0 };
            // SAFETY: the thread is one of this process, and the parameters are valid for the calls.
            unsafe {
                libc::sched_setaffinity(id, size_of_val(&one), &raw const one);
                libc::sched_setscheduler(id, libc::SCHED_IDLE, &raw const lowest);
            }
        }
        Ok(Self { before })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // SAFETY: the set is the one that this thread had.
        unsafe { libc::sched_setaffinity(0, size_of_val(&self.before), &raw const self.before) };
    }
}
