//! Clocks, memory and the page cache.

use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;
use std::time::Instant;

/// Operations timed together where one alone takes hardly longer than reading the clock.
pub(super) const BATCH: usize = 32;

/// Runs `work` on batches of `items` and adds the nanoseconds per item of each batch to `samples`.
pub(super) fn batches<T>(
    items: &[T],
    samples: &mut Vec<f64>,
    mut work: impl FnMut(&T) -> Result<()>,
) -> Result<()> {
    for batch in items.chunks_exact(BATCH) {
        let began = Instant::now();
        for item in batch {
            work(item)?;
        }
        samples.push(began.elapsed().as_nanos() as f64 / BATCH as f64);
    }
    Ok(())
}

/// Runs `work` once and gives its nanoseconds as well.
pub(super) fn of<R>(work: impl FnOnce() -> Result<R>) -> Result<(R, f64)> {
    let began = Instant::now();
    let result = work();
    let taken = began.elapsed().as_nanos() as f64;
    Ok((result?, taken))
}

/// Runs `work` once and adds its nanoseconds to `samples`.
pub(super) fn once<R>(samples: &mut Vec<f64>, work: impl FnOnce() -> Result<R>) -> Result<R> {
    let (result, taken) = of(work)?;
    samples.push(taken);
    Ok(result)
}

/// Makes the kernel forget the contents of all files in `folder`, which nobody may have open: they are
/// on disk afterwards and in memory no more. What it knows of names and inodes stays.
pub(super) fn forget(folder: &Path) -> Result<()> {
    rustix::fs::syncfs(File::open(folder)?)?;
    forget_synced(folder)
}

fn forget_synced(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            forget_synced(&path)?;
            continue;
        }
        rustix::fs::fadvise(File::open(&path)?, 0, None, rustix::fs::Advice::DontNeed)
            .with_context(|| format!("the kernel keeps {}", path.display()))?;
    }
    Ok(())
}

/// Bytes that this process has allocated and not given back.
pub(super) fn heap_bytes() -> u64 {
    // SAFETY: it reads the allocator's counters, and no other thread is at work here whose allocations
    // could blur them.
    let info = unsafe { libc::mallinfo2() };
    (info.uordblks + info.hblkhd) as u64
}

/// Bytes that the files in `folder` take on disk.
pub(super) fn disk_bytes(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += entry.metadata()?.blocks() * 512;
        if entry.file_type()?.is_dir() {
            bytes += disk_bytes(&entry.path())?;
        }
    }
    Ok(bytes)
}
