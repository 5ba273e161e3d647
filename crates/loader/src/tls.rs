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
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

mod descriptor;
pub(crate) mod host;

pub(crate) use descriptor::resolver as descriptor_resolver;

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

/// The blocks of a thread.
#[derive(Default)]
struct Blocks {
    /// By the modules' numbers.
    own: Vec<Block>,
    /// By the numbers of variables of `-femulated-tls`.
    emulated: Vec<Block>,
}

#[derive(Clone, Copy)]
struct Block {
    generation: u32,
    start: *mut u8,
    /// What `start` was allocated with.
    memory: *mut u8,
    layout: Layout,
}

impl Block {
    const NONE: Self = Self {
        generation: 0,
        start: ptr::null_mut(),
        memory: ptr::null_mut(),
        layout: Layout::new::<u8>(),
    };

    /// A block that begins with `template_size` bytes of `template`, followed by zeros.
    ///
    /// # Safety
    /// That many bytes can be read there.
    unsafe fn new(
        generation: u32,
        template: *const u8,
        template_size: usize,
        memory_size: usize,
        alignment: usize,
    ) -> Self {
        let Ok(layout) = Layout::from_size_align(memory_size.max(template_size).max(1), alignment)
        else {
            std::process::abort();
        };
        // SAFETY: the size is not zero.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: the block has at least `template_size` bytes, and is ours alone.
        unsafe {
            ptr::copy_nonoverlapping(template, start, template_size);
            ptr::write_bytes(start.add(template_size), 0, layout.size() - template_size);
        }
        Self {
            generation,
            start,
            memory: start,
            layout,
        }
    }

    fn free(self) {
        if !self.memory.is_null() {
            // SAFETY: `new` allocated it with this layout, and the thread that frees it is its owner.
            unsafe { dealloc(self.memory, self.layout) };
        }
    }
}

thread_local! {
    /// Null until the thread has a block. It has no destructor, so that it can be used at any time of a
    /// thread's end; the key's destructor frees what it points to.
    static BLOCKS: Cell<*mut Blocks> = const { Cell::new(ptr::null_mut()) };
}

fn key() -> libc::pthread_key_t {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `key` is a place for a key, and the destructor is made for what is stored under it.
        if unsafe { libc::pthread_key_create(&raw mut key, Some(end_of_thread)) } != 0 {
            // Blocks are not freed then: a thread that ends leaks them. Nobody is told, as whoever
            // listens could ask for a thread-local in here.
            return libc::pthread_key_t::MAX;
        }
        key
    })
}

unsafe extern "C" fn end_of_thread(blocks: *mut libc::c_void) {
    // A destructor that runs later and asks for a block gets a new one, and this is called again.
    BLOCKS.set(ptr::null_mut());
    // SAFETY: only `blocks` below stores something under the key, from `Box::into_raw`, once for each
    // box; and the thread no longer finds it.
    let blocks = unsafe { Box::from_raw(blocks.cast::<Blocks>()) };
    for block in blocks.own.into_iter().chain(blocks.emulated) {
        block.free();
    }
}

/// This thread's blocks.
fn blocks() -> *mut Blocks {
    let known = BLOCKS.get();
    if !known.is_null() {
        return known;
    }
    let fresh = Box::into_raw(Box::default());
    BLOCKS.set(fresh);
    // SAFETY: the key is valid or refused; the value is for its destructor.
    unsafe { libc::pthread_setspecific(key(), fresh.cast()) };
    fresh
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

fn put(list: &mut Vec<Block>, number: usize, block: Block) {
    if list.len() <= number {
        list.resize(number + 1, Block::NONE);
    }
    if let Some(slot) = list.get_mut(number) {
        std::mem::replace(slot, block).free();
    }
}

unsafe extern "C" {
    fn __tls_get_addr(index: *const Index) -> *mut u8;
}

/// What code of `-femulated-tls` has for each variable, as libgcc and compiler-rt define it.
#[repr(C)]
pub(crate) struct Emulated {
    size: usize,
    alignment: usize,
    /// The variable's number, counted from 1; 0 at first.
    number: AtomicUsize,
    template: *const u8,
}

/// `__emutls_get_address`, for a process without libgcc's.
///
/// # Safety
/// `variable` is the compiler's description of a variable.
pub(crate) unsafe extern "C" fn emulated_address(variable: *const Emulated) -> *mut u8 {
    static NUMBERS: AtomicUsize = AtomicUsize::new(0);
    // SAFETY: the caller's promise; its number alone changes, and atomically.
    let variable = unsafe { &*variable };
    let mut number = variable.number.load(Ordering::Acquire);
    if number == 0 {
        let fresh = NUMBERS.fetch_add(1, Ordering::Relaxed) + 1;
        let place = &variable.number;
        let swapped = place.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire);
        // A number that is lost to another thread's costs a few bytes.
        number = swapped.map_or_else(|other| other, |_| fresh);
    }
    let blocks = blocks();
    // SAFETY: it is this thread's own box, and no other reference to it is alive.
    let emulated = unsafe { &mut (*blocks).emulated };
    match emulated.get(number - 1) {
        Some(block) if !block.start.is_null() => block.start,
        _ => {
            let has_template = !variable.template.is_null();
            let template_size = if has_template { variable.size } else { 0 };
            let alignment = variable.alignment.max(1);
            // SAFETY: a template has the variable's size.
            let block = unsafe {
                Block::new(
                    1,
                    variable.template,
                    template_size,
                    variable.size,
                    alignment,
                )
            };
            put(emulated, number - 1, block);
            block.start
        }
    }
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
