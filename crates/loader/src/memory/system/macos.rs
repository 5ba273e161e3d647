//! macOS: memory for code is asked for as such, and a thread writes to it or runs it, but never both.
//!
//! Sources: "Porting just-in-time compilers to Apple silicon" in Apple's developer documentation, and the manual
//! pages `mmap(2)`, `pthread_jit_write_protect_np(3)` and `cache(3)` (`sys_icache_invalidate`). Never compiled: see
//! [`system`](super).
//!
//! A program with the hardened runtime needs the entitlement `com.apple.security.cs.allow-jit`.

use super::super::window::DISTANCE;
use libc::{MAP_ANON, MAP_FAILED, MAP_JIT, MAP_NORESERVE, MAP_PRIVATE};
use libc::{PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE};
use std::ffi::{c_int, c_void};
use std::{io, ptr};

/// Whether images are made in memory of their own and then copied to where they run.
pub(in crate::memory) const WRITES_ASIDE: bool = true;

/// How often a place for data is looked for.
const TRIES: usize = 16;

unsafe extern "C" {
    fn pthread_jit_write_protect_np(enabled: c_int);
    fn sys_icache_invalidate(start: *mut c_void, size: usize);
}

/// Reserves `size` bytes for code and, [`DISTANCE`] above, `size` bytes for data.
///
/// Memory for code cannot be put at an address of one's choice (`mmap(2)`: not with `MAP_FIXED`), so it comes first,
/// and data follows where that leaves room.
pub(in crate::memory) fn reserve(size: usize) -> io::Result<usize> {
    if size > DISTANCE {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let mut refused = Vec::new();
    let mut found = Err(io::ErrorKind::OutOfMemory.into());
    for _ in 0..TRIES {
        let all = PROT_READ | PROT_WRITE | PROT_EXEC;
        let code = map(ptr::null_mut(), size, all, MAP_JIT)?;
        let wanted = code.wrapping_byte_add(DISTANCE);
        let data = map(wanted, size, PROT_NONE, MAP_NORESERVE)?;
        if data == wanted {
            found = Ok(code as usize);
            break;
        }
        // Held until the end, so that the next place is another one.
        refused.extend([code, data]);
    }
    for start in refused {
        // SAFETY: the range was just mapped, and nothing points into it.
        unsafe { libc::munmap(start, size) };
    }
    found
}

fn map(wish: *mut c_void, size: usize, protection: c_int, flags: c_int) -> io::Result<*mut c_void> {
    let flags = MAP_PRIVATE | MAP_ANON | flags;
    // SAFETY: a fresh mapping; without `MAP_FIXED` it replaces none.
    match unsafe { libc::mmap(wish, size, protection, flags, -1, 0) } {
        MAP_FAILED => Err(io::Error::last_os_error()),
        start => Ok(start),
    }
}

/// Writes `code` at `to`.
///
/// # Safety
/// The memory is reserved as code, is the caller's alone, and has room for `code`.
pub(in crate::memory) unsafe fn write(to: *mut u8, code: &[u8]) {
    // SAFETY: both calls concern this thread alone, which runs no code of such memory between them; the caller
    // vouches for the place.
    unsafe {
        pthread_jit_write_protect_np(0);
        to.copy_from_nonoverlapping(code.as_ptr(), code.len());
        pthread_jit_write_protect_np(1);
    }
}

/// Lets all cores see the code at `start`, of `size` bytes.
pub(in crate::memory) fn publish(start: usize, size: usize) {
    // SAFETY: the range is of code that was just written.
    unsafe { sys_icache_invalidate(start as *mut c_void, size) };
}
