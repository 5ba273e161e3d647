//! What a process has used: memory, and time of processors.

use anyhow::{Context, Result, ensure};
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

/// Has this thread run on one processor from now on: the one with this number, of those that it may run on.
pub(crate) fn stay_on(number: usize) -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        let size = size_of::<libc::cpu_set_t>();
        let most = libc::CPU_SETSIZE as usize;
        // SAFETY: a set of processors is bits, of which zero is a value; the calls read and write such a set, and
        // change where this thread runs alone.
        let is_done = unsafe {
            let (mut may, mut one) = std::mem::zeroed::<(libc::cpu_set_t, libc::cpu_set_t)>();
            let mut is_done = libc::sched_getaffinity(0, size, &raw mut may) == 0;
            let mut processors = (0..most).filter(|processor| libc::CPU_ISSET(*processor, &may));
            let processor = processors.nth(number);
            libc::CPU_SET(
                processor.context("there are fewer processors than threads")?,
                &mut one,
            );
            is_done &= libc::sched_setaffinity(0, size, &raw const one) == 0;
            is_done
        };
        ensure!(is_done, "{}", std::io::Error::last_os_error());
    }
    Ok(())
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
