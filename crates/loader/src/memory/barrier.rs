//! Makes every core forget the instructions that it has fetched, before their memory is used again.
//!
//! A core may have fetched, and even decoded, what was at an address before. `membarrier` with
//! `SYNC_CORE` (Linux 4.16) runs a serialising instruction on every core that runs a thread of this
//! process. Where it is refused, taking a right away from a page has the kernel interrupt the same
//! cores, and on x86-64 the return from an interrupt serialises.

use region::Protection;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

// linux/membarrier.h
const SYNC_CORE: libc::c_int = 1 << 5;
const REGISTER_SYNC_CORE: libc::c_int = 1 << 6;

/// The barrier that this process has. One for each process: a child has to register anew.
#[derive(Default)]
pub(super) struct Barrier {
    way: OnceLock<Way>,
    count: AtomicUsize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Membarrier,
    Interrupt,
}

impl Barrier {
    /// Waits until every core has forgotten. False if there is no way to know, so that memory must
    /// not be used again.
    pub(super) fn wait(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed);
        let is_first = self.way.get().is_none();
        let way = *self.way.get_or_init(register);
        if is_first && way == Way::Interrupt {
            tracing::debug!("no membarrier with SYNC_CORE, going on with changes of protection");
        }
        match way {
            Way::Membarrier if membarrier(SYNC_CORE) => true,
            _ => cfg!(target_arch = "x86_64") && interrupt_all().is_ok(),
        }
    }

    /// How often somebody waited.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

fn register() -> Way {
    if membarrier(REGISTER_SYNC_CORE) {
        return Way::Membarrier;
    }
    Way::Interrupt
}

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: the call takes three numbers and touches no memory.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// Takes the right to write from a page that was just written, which no core may go on caching.
fn interrupt_all() -> region::Result<()> {
    let mut page = region::alloc(1, Protection::READ_WRITE)?;
    // SAFETY: the page is ours, writable, and large enough for a byte.
    unsafe { page.as_mut_ptr::<u8>().write_volatile(1) };
    // SAFETY: nobody else knows the page.
    unsafe { region::protect(page.as_ptr::<u8>(), page.len(), Protection::READ) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_barrier_and_another_if_it_is_refused() {
        let barrier = Barrier::default();
        assert!(barrier.wait() && barrier.wait());
        assert_eq!(barrier.count(), 2);
        let refused = Barrier::default();
        refused.way.get_or_init(|| Way::Interrupt);
        assert_eq!(refused.wait(), cfg!(target_arch = "x86_64"));
    }
}
