//! Thread-locals of loaded images.
//!
//! An image with thread-locals is a *module* here, as a shared library is one for the dynamic linker.
//! Its code asks for a variable by module and offset, through `__tls_get_addr` or a descriptor; both are
//! this file's. A module's number has its highest bit set, so that it is told from the dynamic linker's
//! own, to whom requests for the host's thread-locals go on.
//!
//! A thread gets its block of a module when it first asks for it, and gives all of them back when it
//! ends: through a key of pthreads, since those destructors run after those of C++ and Rust
//! thread-locals, which may still use the blocks. As with a shared library's, the first access of a
//! thread allocates.
//!
//! Numbers of modules are used again. Each use has its own generation, which is part of the number that
//! code sees; a thread that has a block of an earlier generation frees it when it meets a later one.

use crate::error::LoadError;
use crate::image::read::Threads;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

mod blocks;
mod descriptor;
mod emulated;
pub(crate) mod host;

use blocks::{BLOCKS, Block, blocks, put};
pub(crate) use descriptor::resolver as descriptor_resolver;
pub(crate) use descriptor::variable_getter;
pub(crate) use emulated::emulated_address;

/// What code passes to ask for a variable.
#[repr(C)]
pub(crate) struct Index {
    module: u64,
    offset: u64,
}

/// The mark of this loader's modules; the dynamic linker counts its own from 1.
const OURS: u64 = 1 << 63;

/// A module as threads see it. Entries are never freed, so that they are read without a lock.
struct Entry {
    /// Even while free; one more when taken.
    generation: AtomicU32,
    template: AtomicUsize,
    template_size: AtomicUsize,
    memory_size: AtomicUsize,
    alignment: AtomicUsize,
}

/// Entries of chunk `n`: twice as many as in the one before it.
const FIRST_CHUNK: usize = 64;

/// Chunks of entries, each made when it is first needed.
static CHUNKS: [AtomicPtr<Entry>; 26] = [const { AtomicPtr::new(ptr::null_mut()) }; 26];

/// How many entries were ever taken.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Entries that may be free again: a guess, so that finding one needs no lock, which a child could
/// inherit locked.
static FREED: AtomicUsize = AtomicUsize::new(0);

fn locate(number: usize) -> (usize, usize) {
    let shifted = number / FIRST_CHUNK + 1;
    let chunk = shifted.ilog2() as usize;
    (chunk, number - FIRST_CHUNK * ((1 << chunk) - 1))
}

fn entry(number: usize) -> Option<&'static Entry> {
    let (chunk, offset) = locate(number);
    let slot = CHUNKS.get(chunk)?;
    let size = FIRST_CHUNK << chunk;
    let mut start = slot.load(Ordering::Acquire);
    if start.is_null() {
        let fresh: Box<[Entry]> = (0..size).map(|_| Entry::free()).collect();
        let fresh = Box::into_raw(fresh).cast::<Entry>();
        let swapped =
            slot.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire);
        start = match swapped {
            Ok(_) => fresh,
            Err(other) => {
                let unused = ptr::slice_from_raw_parts_mut(fresh, size);
                // SAFETY: it is from `Box::into_raw`, and nobody else has seen it.
                drop(unsafe { Box::from_raw(unused) });
                other
            }
        };
    }
    // SAFETY: a chunk has `size` entries, is never freed, and `offset` is below that by `locate`.
    Some(unsafe { &*start.add(offset) })
}

impl Entry {
    fn free() -> Self {
        Self {
            generation: AtomicU32::new(0),
            template: AtomicUsize::new(0),
            template_size: AtomicUsize::new(0),
            memory_size: AtomicUsize::new(0),
            alignment: AtomicUsize::new(1),
        }
    }

    /// Takes the entry, if it is free. Returns its generation.
    fn take(&self) -> Option<u32> {
        let free = self.generation.load(Ordering::Relaxed);
        let taken = free
            .checked_add(1)
            .filter(|taken| taken & 1 == 1 && *taken < 1 << 31)?;
        let swapped =
            self.generation
                .compare_exchange(free, taken, Ordering::AcqRel, Ordering::Relaxed);
        swapped.ok().map(|_| taken)
    }
}

/// A module; its number is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Module {
    number: usize,
    generation: u32,
}

impl Module {
    /// A module whose template lies at `base + threads.template_offset`.
    pub(crate) fn new(base: usize, threads: &Threads) -> Result<Self, LoadError> {
        let (number, entry, generation) = take().ok_or(LoadError::Memory {
            doing: "numbering thread-locals",
            reason: std::io::ErrorKind::OutOfMemory.into(),
        })?;
        // Nobody asks for the module before code has its number.
        let template = base + threads.template_offset;
        entry.template.store(template, Ordering::Relaxed);
        let size = threads.template_size;
        entry.template_size.store(size, Ordering::Relaxed);
        entry
            .memory_size
            .store(threads.memory_size, Ordering::Relaxed);
        entry.alignment.store(threads.alignment, Ordering::Release);
        Ok(Self { number, generation })
    }

    /// The number that code has for it.
    pub(crate) fn number(&self) -> u64 {
        OURS | u64::from(self.generation) << 32 | self.number as u64
    }
}

impl Module {
    /// Where this thread's block lies, if it has one.
    pub(crate) fn block_of_this_thread(&self) -> Option<std::ops::Range<usize>> {
        let blocks = BLOCKS.get();
        if blocks.is_null() {
            return None;
        }
        // SAFETY: it is this thread's own box, of which no reference is held while others run.
        let own = unsafe { &(*blocks).own };
        let block = own.get(self.number)?;
        let size = entry(self.number)?.memory_size.load(Ordering::Relaxed);
        let start = block.start as usize;
        (block.generation == self.generation).then_some(start..start + size)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Some(entry) = entry(self.number) {
            entry
                .generation
                .store(self.generation + 1, Ordering::Release);
            FREED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn take() -> Option<(usize, &'static Entry, u32)> {
    let claimed = |freed: usize| freed.checked_sub(1);
    let again = FREED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claimed);
    if again.is_ok() {
        for number in 0..COUNT.load(Ordering::Acquire) {
            let entry = entry(number)?;
            if let Some(generation) = entry.take() {
                return Some((number, entry, generation));
            }
        }
    }
    let number = COUNT.fetch_add(1, Ordering::AcqRel);
    let entry = entry(number)?;
    // Somebody who looked for a free one may have been faster.
    match entry.take() {
        Some(generation) => Some((number, entry, generation)),
        None => take(),
    }
}

/// `__tls_get_addr` for loaded code.
///
/// # Safety
/// `index` is a pair that this loader filled in, and its module is still loaded.
pub(crate) unsafe extern "C" fn get_address(index: *const Index) -> *mut u8 {
    // SAFETY: the caller's promise.
    let Index { module, offset } = unsafe { ptr::read(index) };
    if module & OURS == 0 {
        // A weak variable that nobody has: its address is what is in the pair.
        if module == 0 {
            return offset as *mut u8;
        }
        // SAFETY: the pair was filled in with a module of the dynamic linker's and an offset in it.
        return unsafe { __tls_get_addr(index) };
    }
    let number = (module & 0xffff_ffff) as usize;
    let generation = (module >> 32) as u32 & 0x7fff_ffff;
    let blocks = BLOCKS.get();
    if !blocks.is_null() {
        // SAFETY: it is this thread's own box, of which no reference is held while code runs.
        let own = unsafe { &(*blocks).own };
        if let Some(block) = own.get(number)
            && block.generation == generation
        {
            return block.start.wrapping_add(offset as usize);
        }
    }
    make(number, generation).wrapping_add(offset as usize)
}

#[cold]
fn make(number: usize, generation: u32) -> *mut u8 {
    let Some(entry) = entry(number) else {
        std::process::abort();
    };
    if entry.generation.load(Ordering::Acquire) != generation {
        // Code of an unloaded image runs: there is nothing that it could be given.
        std::process::abort();
    }
    let template = entry.template.load(Ordering::Relaxed) as *const u8;
    // SAFETY: the template lies in the payload of an image that is loaded, as its code runs.
    let block = unsafe {
        Block::new(
            generation,
            template,
            entry.template_size.load(Ordering::Relaxed),
            entry.memory_size.load(Ordering::Relaxed),
            entry.alignment.load(Ordering::Relaxed),
        )
    };
    let blocks = blocks();
    // SAFETY: it is this thread's own box, and no other reference to it is alive.
    let own = unsafe { &mut (*blocks).own };
    put(own, number, block);
    block.start
}

unsafe extern "C" {
    fn __tls_get_addr(index: *const Index) -> *mut u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_fill_chunks_without_gaps() {
        let mut last = None;
        for number in 0..10_000 {
            let (chunk, offset) = locate(number);
            assert!(offset < FIRST_CHUNK << chunk);
            let follows = match last {
                None => (chunk, offset) == (0, 0),
                Some((before, at)) if before == chunk => offset == at + 1,
                Some((before, at)) => {
                    chunk == before + 1 && offset == 0 && at + 1 == FIRST_CHUNK << before
                }
            };
            assert!(follows, "{number}");
            last = Some((chunk, offset));
        }
    }

    #[test]
    fn a_block_is_made_once_and_anew_for_the_next_user_of_a_number() -> Result<(), LoadError> {
        let template = [1u8, 2, 3];
        let threads = Threads {
            template_offset: 0,
            template_size: 3,
            memory_size: 64,
            alignment: 32,
        };
        let base = template.as_ptr() as usize;
        let ask = |module: &Module, offset| {
            let index = Index {
                module: module.number(),
                offset,
            };
            // SAFETY: the module is alive.
            unsafe { get_address(&raw const index) }
        };
        for _ in 0..3 {
            let module = Module::new(base, &threads)?;
            let start = ask(&module, 0);
            assert_eq!(start as usize % 32, 0);
            // SAFETY: the block has 64 bytes.
            let bytes = unsafe { std::slice::from_raw_parts_mut(start, 64) };
            assert_eq!(bytes.first_chunk(), Some(&[1, 2, 3, 0]));
            assert!(bytes.iter().skip(3).all(|byte| *byte == 0));
            bytes.fill(9);
            assert_eq!(ask(&module, 5), start.wrapping_add(5));
            let module = &module;
            let other = std::thread::scope(|scope| {
                let ask = move || ask(module, 0) as usize;
                scope.spawn(ask).join().unwrap_or_default()
            });
            assert_ne!(other, start as usize);
        }
        Ok(())
    }
}
