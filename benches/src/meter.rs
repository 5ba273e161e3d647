//! What a process has used: memory, and time of processors.

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// The proportional share of memory that a process has, in bytes.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// All of it.
    pub(crate) pss: u64,
    /// What is mapped from files: packs and libraries, which the kernel has cached for all.
    pub(crate) file: u64,
}

impl Memory {
    /// What the kernel says of this process.
    pub(crate) fn now() -> Result<Self> {
        let text = std::fs::read_to_string("/proc/self/smaps_rollup")?;
        let bytes = |field: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(field));
            let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            let kilobytes: Option<u64> = kilobytes;
            kilobytes.map_or(0, |number| number << 10)
        };
        Ok(Self {
            pss: bytes("Pss:"),
            file: bytes("Pss_File:"),
        })
    }

    /// By how much it is more than `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            pss: self.pss.saturating_sub(before.pss),
            file: self.file.saturating_sub(before.file),
        }
    }
}

/// Has the allocator keep what it has from the system. Otherwise it gives the end of the heap back after a
/// compilation and asks for it again at the next or does not, depending on what happens to lie there.
pub(crate) fn keep_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: this changes how much is kept and nothing else.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}

/// CPU time of all threads of this process, in nanoseconds.
pub(crate) fn process_time() -> u64 {
    time(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU time of this thread, in nanoseconds.
pub(crate) fn thread_time() -> u64 {
    time(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn time(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a place for a time; it stays zero if there is no such clock.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
