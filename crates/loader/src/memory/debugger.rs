//! Tells GDB, and debuggers that do as it does, of loaded code.
//!
//! Its interface is a list of symbol files in memory and a function to stop in when the list changes
//! ("JIT Compilation Interface" in GDB's manual). Each change costs a debugger that is there a stop and a
//! look through everything that it knows, so that images are told of in batches: the last few each by a
//! file of its own, so that a breakpoint is set before code runs, and all others by one file for
//! [`BATCH`] of them.
//!
//! Other compilers in the process use the same list by the same names, which are weak for that reason.
//! There is one lock for those who use this one.

use crate::code::NamedTable;
use crate::image::format::MACHINE_HERE;
use crate::symbol_file::{self, LoadedImage, is_for_debuggers};
use rekindle_cache_core::fork::PerProcess;
use std::arch::global_asm;
use std::ops::Range;
use std::ptr;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Images that are told of by one file once there are so many.
const BATCH: usize = 64;

global_asm!(
    ".pushsection .text.__jit_debug_register_code, \"ax\", %progbits",
    ".weak __jit_debug_register_code",
    ".type __jit_debug_register_code, %function",
    "__jit_debug_register_code: ret",
    ".size __jit_debug_register_code, . - __jit_debug_register_code",
    ".popsection",
    ".pushsection .data.__jit_debug_descriptor, \"aw\", %progbits",
    ".balign 8",
    ".weak __jit_debug_descriptor",
    ".type __jit_debug_descriptor, %object",
    "__jit_debug_descriptor: .long 1, 0",
    ".quad 0, 0",
    ".size __jit_debug_descriptor, 24",
    ".popsection",
);

unsafe extern "C" {
    fn __jit_debug_register_code();
    static mut __jit_debug_descriptor: Descriptor;
}

/// The list's head, as GDB has it.
#[repr(C)]
struct Descriptor {
    version: u32,
    action: u32,
    relevant: *mut Entry,
    first: *mut Entry,
}

const REGISTER: u32 = 1;
const UNREGISTER: u32 = 2;

/// An entry of the list, as GDB has it.
#[repr(C)]
struct Entry {
    next: *mut Entry,
    previous: *mut Entry,
    file: *const u8,
    size: u64,
}

/// Guards the list.
static LIST: LazyLock<PerProcess<Mutex<()>>> = LazyLock::new(|| PerProcess::new(|| Mutex::new(())));

/// What one loader has told.
#[derive(Default)]
pub(crate) struct Debugger {
    told: Mutex<Vec<Told>>,
}

/// A file, and the images that it tells of.
struct Told {
    images: Vec<Image>,
    entry: Registered,
}

/// What is told of an image.
pub(crate) struct Image {
    pub(crate) base: usize,
    pub(crate) text: Range<usize>,
    /// Where exports lie, and their names.
    pub(crate) names: Vec<(usize, String)>,
    /// Where the unwind table lies.
    pub(crate) unwind: Option<Range<usize>>,
    pub(crate) tables: Vec<NamedTable>,
}

impl Debugger {
    /// Tells of an image.
    ///
    /// # Safety
    /// It lies in memory as it says, readable, until it is [`unloaded`](Self::unloaded).
    pub(crate) unsafe fn loaded(&self, image: Image) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the caller's promise.
        let entry = unsafe { register(std::slice::from_ref(&image)) };
        told.push(Told {
            images: vec![image],
            entry,
        });
        let single = told.iter().rev().take_while(|told| told.images.len() == 1);
        if single.count() < BATCH {
            return;
        }
        let first = told.len() - BATCH;
        let batch = told.split_off(first);
        let mut images = Vec::with_capacity(BATCH);
        for told in batch {
            told.entry.unregister();
            images.extend(told.images);
        }
        // SAFETY: the promise of those who told of them; none is unloaded, as the lock is held.
        let entry = unsafe { register(&images) };
        told.push(Told { images, entry });
    }

    /// Takes back what was told of the image at `base`.
    pub(crate) fn unloaded(&self, base: usize) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |image: &Image| image.base == base;
        let Some(at) = told.iter().position(|told| told.images.iter().any(is_it)) else {
            return;
        };
        let mut batch = told.remove(at);
        batch.entry.unregister();
        batch.images.retain(|image| !is_it(image));
        if !batch.images.is_empty() {
            // SAFETY: the promise of those who told of them; none is unloaded, as the lock is held.
            batch.entry = unsafe { register(&batch.images) };
            told.insert(at, batch);
        }
    }
}

/// Tells of `images` by one file.
///
/// # Safety
/// They lie in memory as they say, readable.
unsafe fn register(images: &[Image]) -> Registered {
    // SAFETY: the caller's promise.
    let read = |range: &Range<usize>| unsafe {
        std::slice::from_raw_parts(range.start as *const u8, range.len())
    };
    let images: Vec<LoadedImage<'_>> = images
        .iter()
        .map(|image| {
            let names = image.names.iter().map(|(at, name)| (*at, &**name));
            let functions = super::profile::split(image.text.clone(), &mut names.collect());
            let tables = image.tables.iter();
            let tables = tables.filter(|table| is_for_debuggers(&table.name));
            LoadedImage {
                base: image.base as u64,
                text: wide(&image.text),
                functions: functions
                    .iter()
                    .map(|function| (wide(&function.range), function.name))
                    .collect(),
                unwind: image
                    .unwind
                    .as_ref()
                    .map(|range| (range.start as u64, read(range))),
                tables: tables
                    .map(|table| (&*table.name, table.place.start as u64, read(&table.place)))
                    .collect(),
            }
        })
        .collect();
    Registered::new(symbol_file::write(MACHINE_HERE, &images))
}

fn wide(range: &Range<usize>) -> Range<u64> {
    range.start as u64..range.end as u64
}

/// An entry that is in the list. Dropping it leaves it there, as code stays when its loader goes.
struct Registered {
    entry: *mut Entry,
}

// SAFETY: the entry is used under the list's lock.
unsafe impl Send for Registered {}

impl Registered {
    fn new(file: Vec<u8>) -> Self {
        let size = file.len() as u64;
        let entry = Box::into_raw(Box::new(Entry {
            next: ptr::null_mut(),
            previous: ptr::null_mut(),
            file: Box::into_raw(file.into_boxed_slice()).cast(),
            size,
        }));
        change(REGISTER, entry, |list| {
            // SAFETY: the entry is new, and those of the list are there while they are in it.
            unsafe {
                (*entry).next = list.first;
                if let Some(next) = list.first.as_mut() {
                    next.previous = entry;
                }
            }
            list.first = entry;
        });
        Self { entry }
    }

    /// Takes it out of the list.
    fn unregister(self) {
        let entry = self.entry;
        change(UNREGISTER, entry, |list| {
            // SAFETY: the entry and its neighbours are in the list.
            unsafe {
                let (next, previous) = ((*entry).next, (*entry).previous);
                if let Some(next) = next.as_mut() {
                    next.previous = previous;
                }
                match previous.as_mut() {
                    Some(previous) => previous.next = next,
                    None => list.first = next,
                }
            }
        });
        // SAFETY: both were made by `new`, and nobody knows them any more.
        unsafe {
            let entry = Box::from_raw(entry);
            let file = ptr::slice_from_raw_parts_mut(entry.file.cast_mut(), entry.size as usize);
            drop(Box::from_raw(file));
        }
    }
}

/// Changes the list by `change`, and says so to whoever stops in the function.
fn change(action: u32, entry: *mut Entry, change: impl FnOnce(&mut Descriptor)) {
    let _guard = LIST.get().lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the lock is held, and others keep to theirs as well as they can; a debugger looks while the
    // process stands still.
    unsafe {
        let list = &raw mut __jit_debug_descriptor;
        let list = &mut *list;
        change(list);
        list.action = action;
        list.relevant = entry;
        __jit_debug_register_code();
    }
}

/// How many files the list has now: of all who use it.
#[cfg(test)]
fn count() -> usize {
    let _guard = LIST.get().lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the lock is held.
    let mut at = unsafe { __jit_debug_descriptor.first };
    let mut count = 0;
    // SAFETY: entries are there while they are in the list.
    while let Some(entry) = unsafe { at.as_ref() } {
        at = entry.next;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object, ObjectSection, ObjectSymbol};

    static CODE: [u8; 256] = [0xc3; 256];

    fn image(number: usize) -> Image {
        let base = (&raw const CODE).addr() + number;
        Image {
            base,
            text: base..base + 1,
            names: vec![(base, format!("function_{number}"))],
            unwind: None,
            tables: Vec::new(),
        }
    }

    #[test]
    fn images_are_told_of_in_batches_and_forgotten_one_by_one() {
        let debugger = Debugger::default();
        let files = || debugger.told.lock().map(|told| told.len()).unwrap_or(0);
        let before = count();
        for number in 0..BATCH + 3 {
            // SAFETY: each is a byte of an array.
            unsafe { debugger.loaded(image(number)) };
        }
        assert_eq!((files(), count() - before), (4, 4));
        let told = debugger.told.lock().expect("nothing failed");
        // SAFETY: the entry is in the list.
        let (file, size) = unsafe { ((*told[0].entry.entry).file, (*told[0].entry.entry).size) };
        // SAFETY: the file stays while its entry does.
        let file = unsafe { std::slice::from_raw_parts(file, size as usize) };
        let parsed = object::File::parse(file).expect("it is an ELF file");
        assert_eq!(parsed.symbols().count(), BATCH);
        assert_eq!(
            parsed
                .sections()
                .filter(|s| s.name() == Ok(".text"))
                .count(),
            BATCH
        );
        let symbol = parsed
            .symbol_by_name("function_7")
            .expect("it is one of them");
        assert_eq!((symbol.address(), symbol.size()), (image(7).base as u64, 1));
        drop(told);
        for number in 0..BATCH + 3 {
            debugger.unloaded(image(number).base);
        }
        assert_eq!((files(), count()), (0, before));
        debugger.unloaded(image(0).base);
    }
}
