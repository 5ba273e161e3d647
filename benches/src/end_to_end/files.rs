//! Files that are made once for each definition, and kept for the next run.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Files of one folder, so that none is so large that looking into it takes long.
const PER_FOLDER: usize = 1_000;

/// The file of definition `number` below `folder`.
pub(super) fn path(folder: &Path, number: usize, extension: &str) -> PathBuf {
    folder.join(format!("{}/{number}.{extension}", number / PER_FOLDER))
}

/// Has `make` make what is missing of `count` definitions below `folder`, by all processors, until `budget` is
/// used up; says how many are there. What was made by another `recipe` is made anew.
pub(super) fn prepare(
    folder: &Path,
    recipe: &str,
    count: usize,
    budget: Duration,
    make: impl Fn(usize) -> Result<()> + Sync,
) -> Result<usize> {
    let stamp = folder.join("stamp");
    let known = std::fs::read_to_string(&stamp).unwrap_or_default();
    let there = match known.split_once('\n') {
        Some((number, found)) if found == recipe => number.parse().unwrap_or(0),
        _ => {
            if folder.exists() {
                std::fs::remove_dir_all(folder)?;
            }
            0
        }
    };
    if there >= count {
        return Ok(count);
    }
    for number in (0..count).step_by(PER_FOLDER) {
        let folder = path(folder, number, "any");
        std::fs::create_dir_all(folder.parent().context("it is in a folder")?)?;
    }
    eprintln!("making {} from {there} to {count} ...", folder.display());
    let until = Instant::now() + budget;
    let next = AtomicUsize::new(there);
    let failed = AtomicBool::new(false);
    let work = || -> Result<()> {
        // What is begun is ended, so that all below the number that is next are there.
        while Instant::now() < until && !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            make(number).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(done) => done?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })?;
    let there = next.into_inner().min(count);
    std::fs::write(&stamp, format!("{there}\n{recipe}"))?;
    Ok(there)
}
