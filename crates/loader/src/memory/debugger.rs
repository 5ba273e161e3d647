//! Tells GDB, and debuggers that do as it does, of loaded code.
//!
//! Its interface is a list of symbol files in memory and a function to stop in when the list changes
//! ("JIT Compilation Interface" in GDB's manual). Each change costs a debugger that is there a stop and a
//! look through everything that it knows, so that images are told of in batches: the last few each by a
//! file of its own, so that a breakpoint is set before code runs, and all others by one file for
//! [`BATCH`] of them.
//!
//! Other compilers in the process use the same list by the same names, which are weak for that reason.
//! There is one lock for those who use this one, but not for the others: they may write to an entry that was
//! taken out just now. So entries are never freed, only used again.

use crate::code::NamedTable;
use crate::image::format::MACHINE_HERE;
use crate::symbol_file::{self, LoadedImage, is_for_debuggers};
use rekindle_cache_core::fork::PerProcess;
use std::arch::global_asm;
use std::ops::Range;
use std::ptr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

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

/// An entry that is in no list.
struct Spare(*mut Entry);

// SAFETY: the entry is used under the list's lock.
unsafe impl Send for Spare {}

/// Guards the list, and keeps the entries that can be used again.
static LIST: LazyLock<PerProcess<Mutex<Vec<Spare>>>> =
    LazyLock::new(|| PerProcess::new(Mutex::default));

/// What one loader has told.
pub(crate) struct Debugger {
    told: Mutex<Vec<Told>>,
}

impl Default for Debugger {
    fn default() -> Self {
        // A process that forks in the middle of this would leave the child waiting for ever.
        LazyLock::force(&LIST);
        Self {
            told: Mutex::default(),
        }
    }
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
        let file = Box::into_raw(file.into_boxed_slice()).cast();
        let mut spare = lock();
        let entry = match spare.pop() {
            Some(Spare(entry)) => entry,
            None => Box::into_raw(Box::new(Entry {
                next: ptr::null_mut(),
                previous: ptr::null_mut(),
                file: ptr::null(),
                size: 0,
            })),
        };
        // SAFETY: the lock is held. The entry is in no list, and no entry is ever freed.
        unsafe {
            let list = &raw mut __jit_debug_descriptor;
            let next = (*list).first;
            entry.write(Entry {
                next,
                previous: ptr::null_mut(),
                file,
                size,
            });
            if !next.is_null() {
                (*next).previous = entry;
            }
            (*list).first = entry;
            tell(REGISTER, entry);
        }
        Self { entry }
    }

    /// Takes it out of the list.
    fn unregister(self) {
        let entry = self.entry;
        let mut spare = lock();
        // SAFETY: the lock is held. The entry is in the list, and so are its neighbours, or were: this one's
        // are never freed, and others free theirs as they may. The file was made by `new`, and the entry
        // forgets it.
        unsafe {
            let list = &raw mut __jit_debug_descriptor;
            let (next, previous) = ((*entry).next, (*entry).previous);
            if !next.is_null() {
                (*next).previous = previous;
            }
            if !previous.is_null() {
                (*previous).next = next;
            } else if (*list).first == entry {
                (*list).first = next;
            }
            tell(UNREGISTER, entry);
            let (file, size) = ((*entry).file.cast_mut(), (*entry).size as usize);
            ((*entry).file, (*entry).size) = (ptr::null(), 0);
            drop(Box::from_raw(ptr::slice_from_raw_parts_mut(file, size)));
        }
        spare.push(Spare(entry));
    }
}

fn lock() -> MutexGuard<'static, Vec<Spare>> {
    LIST.get().lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says to whoever stops in the function what has changed.
///
/// # Safety
/// The list's lock is held, and `entry` is an entry.
unsafe fn tell(action: u32, entry: *mut Entry) {
    // SAFETY: the lock is held, and others keep to theirs as well as they can; a debugger looks while the
    // process stands still.
    unsafe {
        let list = &raw mut __jit_debug_descriptor;
        (*list).action = action;
        (*list).relevant = entry;
        __jit_debug_register_code();
    }
}

/// How many files the list has now: of all who use it.
#[cfg(test)]
fn count() -> usize {
    let _guard = lock();
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

    /// Part of the test below, as the list is the whole process's.
    fn another_compiler_writes_to_the_list_meanwhile(debugger: &Debugger) {
        // SAFETY: it is a byte of an array.
        unsafe { debugger.loaded(image(0)) };
        let entry = debugger.told.lock().expect("nothing failed")[0].entry.entry;
        let mut foreign = Entry {
            next: entry,
            previous: ptr::null_mut(),
            file: ptr::null(),
            size: 0,
        };
        // SAFETY: no other test changes the list. The other compiler has got as far as this.
        unsafe { __jit_debug_descriptor.first = &raw mut foreign };
        debugger.unloaded(image(0).base);
        // SAFETY: as before; the entry that it was about to write to is still there, without its file.
        unsafe {
            let first = __jit_debug_descriptor.first;
            assert_eq!(first, &raw mut foreign);
            assert!((*entry).file.is_null() && (*entry).size == 0);
            (*entry).previous = &raw mut foreign;
            __jit_debug_descriptor.first = ptr::null_mut();
        }
        let spare = lock().len();
        assert!(spare >= BATCH);
        // SAFETY: it is a byte of an array.
        unsafe { debugger.loaded(image(0)) };
        let left = lock().len();
        assert_eq!((left, count()), (spare - 1, 1));
        debugger.unloaded(image(0).base);
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
        another_compiler_writes_to_the_list_meanwhile(&debugger);
    }
}
