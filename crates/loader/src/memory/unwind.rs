//! The unwinder of this process: which one it is, and the calls that tell it of tables.
//!
//! Three unwinders share the name `__register_frame`, and each wants something else:
//!
//! | unwinder | takes | finds a table by |
//! | --- | --- | --- |
//! | libgcc before 13 | a whole `.eh_frame` | a list: the first table that starts at or below the address |
//! | libgcc from 13 on | a whole `.eh_frame` | a tree of ranges, which must not overlap |
//! | LLVM's libunwind | the entry of one function | a list of functions |
//!
//! Which is there is found out once, by looking: the object that libgcc is lent for a table gets a
//! link to the next one in the versions that keep a list, and in no other.
//!
//! The list makes each throw slower with every table, so many tables are registered as one
//! (see [`runs`](super::runs)). libgcc takes an array of pointers to tables for that: they stay where
//! they are, and no pointer in them has to be rewritten.

use super::process::{address_of, module_of};
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

type Take = unsafe extern "C" fn(*const c_void);
type TakeObject = unsafe extern "C" fn(*const c_void, *mut c_void);
type GiveObject = unsafe extern "C" fn(*const c_void) -> *mut c_void;
type Find = unsafe extern "C" fn(*const c_void, *mut c_void) -> *const c_void;

/// The unwinder that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unwinder {
    /// libgcc before 13: tables are to be merged.
    List(TableCalls),
    /// libgcc from 13 on: a table for each image.
    Tree(Calls),
    /// libunwind: an entry for each function.
    Entries(Calls),
}

/// A thread's turn to call libgcc, whose lock puts whoever finds it taken to sleep, and to be woken takes hundreds of
/// times as long as the call that it waits for. It is a courtesy among threads that load, and keeps nobody out: who
/// has asked for long goes on without, since whoever has it may have no processor, or be in the process that this one
/// was forked from.
struct Turn;

static IS_TAKEN: AtomicBool = AtomicBool::new(false);

impl Turn {
    #[inline]
    fn take() -> Self {
        if IS_TAKEN.swap(true, Ordering::Relaxed) {
            Self::wait();
        }
        Self
    }

    #[cold]
    fn wait() {
        for _ in 0..200 {
            std::hint::spin_loop();
            if !IS_TAKEN.load(Ordering::Relaxed) && !IS_TAKEN.swap(true, Ordering::Relaxed) {
                return;
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        IS_TAKEN.store(false, Ordering::Relaxed);
    }
}

/// `__register_frame` and its opposite.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calls {
    register: Take,
    deregister: Take,
}

/// What libgcc before 13 is called by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableCalls {
    register: TakeObject,
    register_array: TakeObject,
    deregister: GiveObject,
    find: Find,
}

impl Unwinder {
    /// Looks for the unwinder of this process, which is worth remembering.
    pub(super) fn find() -> Option<Self> {
        look_up()
    }
}

impl Calls {
    /// Registers the table at `address`.
    ///
    /// # Safety
    /// A well-made `.eh_frame` with a zero at its end lies there, about code that is in place; both
    /// stay until it is removed, and no other table is about that code.
    pub(super) unsafe fn add(self, address: usize) {
        // SAFETY: the caller vouches for the table.
        unsafe { (self.register)(address as *const c_void) }
    }

    /// Removes the table at `address`.
    ///
    /// # Safety
    /// It was registered there, and is removed once.
    pub(super) unsafe fn remove(self, address: usize) {
        // SAFETY: the caller vouches that it was registered.
        unsafe { (self.deregister)(address as *const c_void) }
    }

    /// Registers each function's entry in `table`, which lies where the code runs.
    ///
    /// # Safety
    /// As for [`add`](Self::add).
    pub(super) unsafe fn add_entries(self, table: &[u8]) {
        for offset in function_entries(table) {
            // SAFETY: the caller vouches for the table; this is a function's entry in it.
            unsafe { self.add(table.as_ptr() as usize + offset) };
        }
    }

    /// Removes each function's entry in `table`.
    ///
    /// # Safety
    /// They were registered there, and are removed once.
    pub(super) unsafe fn remove_entries(self, table: &[u8]) {
        for offset in function_entries(table) {
            // SAFETY: the caller vouches that it was registered.
            unsafe { self.remove(table.as_ptr() as usize + offset) };
        }
    }
}

/// Registers many tables as one, and lets go of them.
///
/// An array ends in a zero, and its first word has low bits that are not all zero: libgcc takes an
/// array that begins with 32 zero bits for an empty table.
///
/// # Safety
/// Whoever implements it keeps nothing of an array that was removed.
pub(super) unsafe trait Registrar {
    /// Registers one table.
    ///
    /// # Safety
    /// As for [`Calls::add`].
    unsafe fn add(&self, table: usize);

    /// Removes a table that was registered by [`add`](Self::add).
    ///
    /// # Safety
    /// As for [`Calls::remove`].
    unsafe fn remove(&self, table: usize);

    /// Registers the tables of an array as one.
    ///
    /// # Safety
    /// As for [`Calls::add`], for each table and for the array itself.
    unsafe fn add_array(&self, tables: &[usize]);

    /// Removes an array.
    ///
    /// # Safety
    /// It was registered by [`add_array`](Self::add_array), and is removed once.
    unsafe fn remove_array(&self, tables: &[usize]);

    /// Has the unwinder sort the table about `code` now, rather than while an exception is in flight.
    fn sort(&self, code: usize);
}

fn look_up() -> Option<Unwinder> {
    let calls = plain_calls()?;
    let register = calls.register as usize;
    // A name that only libunwind has. A process may have both, so the module has to be the same.
    let libunwinds = address_of(c"__unw_add_dynamic_fde").and_then(module_of);
    if libunwinds.is_some() && libunwinds == module_of(register) {
        return Some(Unwinder::Entries(calls));
    }
    match table_calls() {
        Some(tables) if tables.keeps_a_list() => Some(Unwinder::List(tables)),
        _ => Some(Unwinder::Tree(calls)),
    }
}

pub(super) fn plain_calls() -> Option<Calls> {
    let register = address_of(c"__register_frame")?;
    let deregister = address_of(c"__deregister_frame")?;
    // SAFETY: all unwinders have these functions with these signatures.
    Some(unsafe {
        Calls {
            register: std::mem::transmute::<usize, Take>(register),
            deregister: std::mem::transmute::<usize, Take>(deregister),
        }
    })
}

fn table_calls() -> Option<TableCalls> {
    let register = address_of(c"__register_frame_info")?;
    let register_array = address_of(c"__register_frame_info_table")?;
    let deregister = address_of(c"__deregister_frame_info")?;
    let find = address_of(c"_Unwind_Find_FDE")?;
    // SAFETY: libgcc's functions, which have had these signatures since version 3.
    unsafe {
        Some(TableCalls {
            register: std::mem::transmute::<usize, TakeObject>(register),
            register_array: std::mem::transmute::<usize, TakeObject>(register_array),
            deregister: std::mem::transmute::<usize, GiveObject>(deregister),
            find: std::mem::transmute::<usize, Find>(find),
        })
    }
}

/// Words that libgcc is lent for each registration: more than any version's `struct object` has.
const OBJECT_SIZE: usize = 8;

/// libgcc's `struct object`, which it alone reads and writes.
pub(super) type Object = [usize; OBJECT_SIZE];

/// Words of libgcc's `struct object` that every version sets when a table is registered; the next
/// one is the link of the list.
const OBJECT_WORDS: usize = 5;

impl TableCalls {
    /// Whether libgcc links tables into a list, as it did before 13.
    fn keeps_a_list(self) -> bool {
        const UNTOUCHED: usize = usize::from_ne_bytes([0xa5; size_of::<usize>()]);
        // Bytes that stand for a function: nobody is ever there, and no other table is about them.
        let function = Box::new([0u8; 16]);
        let table = Box::new(AlignedTable(table_about(function.as_ptr() as u64)));
        let mut object = Box::new([UNTOUCHED; OBJECT_SIZE]);
        let place = object.as_mut_ptr();
        let begin = table.0.as_ptr().cast();
        // SAFETY: table and object are well-made and stay until they are deregistered again; the
        // object is read through the pointer that was handed out, and only at a word that nobody
        // writes once it is registered, except under a throw in another thread, which writes a link
        // there as well.
        unsafe {
            (self.register)(begin, place.cast());
            let link = place.add(OBJECT_WORDS).read_volatile();
            (self.deregister)(begin);
            link != UNTOUCHED
        }
    }

    /// Registers the table at `begin`, or the tables of an array, in `object`.
    ///
    /// # Safety
    /// As for [`Registrar::add`] and [`Registrar::add_array`]. The object is nobody else's.
    pub(super) unsafe fn register(self, begin: usize, is_array: bool, object: *mut Object) {
        let call = if is_array {
            self.register_array
        } else {
            self.register
        };
        let _turn = Turn::take();
        // SAFETY: the caller vouches for tables and object.
        unsafe { call(begin as *const c_void, object.cast()) }
    }

    /// Removes what was registered at `begin`, and returns its object.
    ///
    /// # Safety
    /// As for [`Registrar::remove`].
    pub(super) unsafe fn deregister(self, begin: usize) -> *mut Object {
        let _turn = Turn::take();
        // SAFETY: the caller vouches that it was registered; libgcc knows arrays and tables alike by
        // their addresses.
        unsafe { (self.deregister)(begin as *const c_void).cast() }
    }

    /// Looks for the table about `code`, which has it sorted.
    pub(super) fn look_for(self, code: usize) {
        let mut bases = [0usize; 3];
        // SAFETY: any address may be asked for; the three bases are written to the second argument.
        unsafe { (self.find)(code as *const c_void, bases.as_mut_ptr().cast()) };
    }
}

#[repr(C, align(8))]
struct AlignedTable([u8; 60]);

/// An `.eh_frame` about 16 bytes at `function`.
pub(super) fn table_about(function: u64) -> [u8; 60] {
    let mut table = [0; 60];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        if let Some(place) = table.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        at += bytes.len();
    };
    put(&20u32.to_le_bytes());
    put(&0u32.to_le_bytes());
    // Version 1, no augmentation, alignments 1 and -8, the return address in register 16.
    put(&[1, 0, 1, 0x78, 16]);
    // The frame begins at register 7 plus 8, and the return address is at its top.
    put(&[0x0c, 7, 8, 0x90, 1]);
    put(&[0; 6]);
    put(&28u32.to_le_bytes());
    put(&28u32.to_le_bytes());
    put(&function.to_le_bytes());
    put(&16u64.to_le_bytes());
    put(&[0; 8]);
    put(&0u32.to_le_bytes());
    table
}

/// Offsets of the entries that describe functions: those whose second word is not zero.
pub(super) fn function_entries(table: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let word = |at: usize| {
        let bytes = table.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let entry = at;
            let length = word(entry).filter(|length| *length != 0)?;
            let pointer = word(entry + 4)?;
            at = entry + 4 + length as usize;
            if pointer != 0 {
                return Some(entry);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_told_from_common_entries() {
        let mut table = Vec::new();
        for (length, pointer) in [(8u32, 0u32), (8, 16), (12, 28), (8, 0)] {
            table.extend(length.to_le_bytes());
            table.extend(pointer.to_le_bytes());
            table.resize(table.len() + length as usize - 4, 0xaa);
        }
        table.extend([0; 4]);
        assert_eq!(function_entries(&table).collect::<Vec<_>>(), [12, 24]);
        // Cut anywhere, the walk ends.
        for cut in 0..table.len() {
            assert!(function_entries(table.get(..cut).unwrap_or_default()).count() <= 2);
        }
    }

    #[test]
    fn the_table_of_the_probe_is_whole() {
        let table = table_about(0x1234);
        assert_eq!(function_entries(&table).collect::<Vec<_>>(), [24]);
        assert_eq!(table.get(56..), Some(&[0; 4][..]));
    }

    #[test]
    fn the_version_of_libgcc_is_told_right() {
        let found = Unwinder::find().expect("every process of Rust has an unwinder");
        // A symbol that came with version 13 of libgcc on x86-64.
        let is_new = address_of(c"__truncdfbf2").is_some();
        match found {
            Unwinder::List(_) => assert!(!is_new),
            Unwinder::Tree(_) => assert!(is_new),
            Unwinder::Entries(_) => assert!(address_of(c"__unw_add_dynamic_fde").is_some()),
        }
    }
}
