//! What a thread has of loaded code's thread-locals, until it ends.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;

/// The blocks of a thread.
#[derive(Default)]
pub(super) struct Blocks {
    /// By the modules' numbers.
    pub(super) own: Vec<Block>,
    /// By the numbers of variables of `-femulated-tls`.
    pub(super) emulated: Vec<Block>,
}

#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) generation: u32,
    pub(super) start: *mut u8,
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
    pub(super) unsafe fn new(
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
    pub(super) static BLOCKS: Cell<*mut Blocks> = const { Cell::new(ptr::null_mut()) };
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
pub(super) fn blocks() -> *mut Blocks {
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

/// Puts a block in place of whatever had its number.
pub(super) fn put(list: &mut Vec<Block>, number: usize, block: Block) {
    if list.len() <= number {
        list.resize(number + 1, Block::NONE);
    }
    if let Some(slot) = list.get_mut(number) {
        std::mem::replace(slot, block).free();
    }
}
