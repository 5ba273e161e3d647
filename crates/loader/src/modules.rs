//! Which names the process's modules do not have, without asking the dynamic linker for each.
//!
//! `dlsym` takes a microsecond or two to say no, which is as long as loading an image. Its own tables
//! say it in nanoseconds: every module has a filter and a hash table of the names that it defines
//! (`DT_GNU_HASH`). They are read while the dynamic linker holds its lock, so that no module goes away
//! meanwhile, and found again only when modules have come or gone.

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};

/// A name that may be defined by a module.
#[derive(Clone, Copy, Default)]
pub(crate) struct Query {
    hash: u32,
    /// Whether some module may have it; if not, none has.
    pub(crate) maybe: bool,
}

impl Query {
    /// Asks for `name`.
    pub(crate) fn new(name: &str) -> Self {
        // The hash that `DT_GNU_HASH` is made with: times 33, plus the next byte. Names of C++ are long, and four bytes at
        // a time wait for one product instead of four.
        const POWERS: [u32; 4] = [33 * 33 * 33, 33 * 33, 33, 1];
        let (fours, rest) = name.as_bytes().as_chunks::<4>();
        let hash = fours.iter().fold(5381u32, |hash, four| {
            let sum = four
                .iter()
                .zip(POWERS)
                .map(|(&byte, power)| u32::from(byte) * power);
            hash.wrapping_mul(33 * POWERS[0]).wrapping_add(sum.sum())
        });
        let hash = rest.iter().fold(hash, |hash, &byte| {
            hash.wrapping_mul(33).wrapping_add(byte.into())
        });
        Self { hash, maybe: false }
    }
}

/// The tables of names that the process's modules define, as of the last time that one came or went.
#[derive(Debug, Default)]
pub struct Modules {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// How many modules had come and gone.
    changes: Option<(u64, u64)>,
    tables: Vec<Table>,
}

#[derive(Debug, Clone, Copy)]
enum Table {
    /// Where a `DT_GNU_HASH` begins.
    Hashed(usize),
    /// A module with names and no such table.
    Unreadable,
}

impl Modules {
    /// Whether some module may define `name`: if not, the dynamic linker has no such name at this moment, and takes far
    /// longer to say so. Waits for nobody: a forked child may find these tables in use by a thread that it does not have.
    pub fn may_define(&self, name: &str) -> bool {
        let Ok(mut known) = self.known.try_lock() else {
            return true;
        };
        let mut query = [Query::new(name)];
        known.ask(&mut query);
        query.iter().any(|query| query.maybe)
    }

    /// Finds out which of `queries` no module defines.
    pub(crate) fn ask(&self, queries: &mut [Query]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.ask(queries);
    }
}

impl Known {
    fn ask(&mut self, queries: &mut [Query]) {
        let mut search = Search {
            known: self,
            queries,
            is_first: true,
        };
        // SAFETY: the callback has the signature that is asked for, and `search` lives through the call.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    }
}

struct Search<'s> {
    known: &'s mut Known,
    queries: &'s mut [Query],
    is_first: bool,
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    size: libc::size_t,
    search: *mut c_void,
) -> c_int {
    // SAFETY: `ask` passes its own search.
    let search = unsafe { &mut *search.cast::<Search<'_>>() };
    if size < size_of::<libc::dl_phdr_info>() {
        for query in &mut *search.queries {
            query.maybe = true;
        }
        return 1;
    }
    // SAFETY: the dynamic linker passes a module's description, of the size that was just checked.
    let info = unsafe { &*info };
    if std::mem::take(&mut search.is_first) {
        let changes = Some((info.dlpi_adds, info.dlpi_subs));
        if search.known.changes == changes {
            for table in &search.known.tables {
                table.answer(search.queries);
            }
            return 1;
        }
        search.known.tables.clear();
        search.known.changes = changes;
    }
    if let Some(table) = table_of(info) {
        table.answer(search.queries);
        search.known.tables.push(table);
    }
    0
}

fn table_of(info: &libc::dl_phdr_info) -> Option<Table> {
    const DT_NULL: u64 = 0;
    const DT_GNU_HASH: u64 = 0x6fff_fef5;
    if info.dlpi_phdr.is_null() {
        return None;
    }
    // SAFETY: the module's headers are there while the dynamic linker holds its lock.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let dynamic = headers
        .iter()
        .find(|header| header.p_type == libc::PT_DYNAMIC)?;
    let mut at =
        (info.dlpi_addr as usize).wrapping_add(dynamic.p_vaddr as usize) as *const [u64; 2];
    loop {
        // SAFETY: the dynamic section is readable, and ends with an entry of tag 0.
        let [tag, value] = unsafe { at.read() };
        match tag {
            DT_NULL => return Some(Table::Unreadable),
            DT_GNU_HASH => {
                // glibc turns it into an address; the kernel's own module it leaves alone.
                let is_offset = value < info.dlpi_addr;
                let base = if is_offset { info.dlpi_addr } else { 0 };
                return Some(Table::Hashed(base.wrapping_add(value) as usize));
            }
            _ => at = at.wrapping_add(1),
        }
    }
}

impl Table {
    fn answer(self, queries: &mut [Query]) {
        for query in queries {
            query.maybe |= match self {
                Self::Unreadable => true,
                // SAFETY: called with the table of a module that is there, under the dynamic linker's
                // lock.
                Self::Hashed(start) => unsafe { may_have(start, query.hash) },
            };
        }
    }
}

/// Looks `hash` up in the table at `start`: four counts, the filter, the buckets, the chains.
///
/// # Safety
/// A well-made `DT_GNU_HASH` lies there.
unsafe fn may_have(start: usize, hash: u32) -> bool {
    // SAFETY: the counts are the table's first 16 bytes.
    let [buckets, first, filter_words, shift] = unsafe { (start as *const [u32; 4]).read() };
    if buckets == 0 || filter_words == 0 {
        return false;
    }
    let filter = (start + 16) as *const u64;
    let word = (hash / 64) & (filter_words - 1);
    // SAFETY: the filter has `filter_words` words, a power of two.
    let word = unsafe { filter.add(word as usize).read() };
    let other = hash.checked_shr(shift).unwrap_or(0);
    if word >> (hash % 64) & word >> (other % 64) & 1 == 0 {
        return false;
    }
    let bucket_list = filter.wrapping_add(filter_words as usize).cast::<u32>();
    // SAFETY: the buckets follow the filter.
    let mut symbol = unsafe { bucket_list.add((hash % buckets) as usize).read() };
    let chains = bucket_list.wrapping_add(buckets as usize);
    if symbol < first {
        return false;
    }
    loop {
        // SAFETY: a chain's entries follow one another, and its last has the lowest bit set.
        let found = unsafe { chains.add((symbol - first) as usize).read() };
        if found | 1 == hash | 1 {
            return true;
        }
        if found & 1 == 1 {
            return false;
        }
        symbol += 1;
    }
}

unsafe extern "C" {
    fn dladdr1(
        address: *const c_void,
        info: *mut libc::Dl_info,
        extra: *mut *mut c_void,
        flags: c_int,
    ) -> c_int;
}

/// Bytes of the symbol at `address`, if the dynamic linker knows one that begins there.
pub(crate) fn size_of_symbol(address: usize) -> Option<u64> {
    Some(symbol_at(address)?.st_size)
}

/// Whether the symbol at `address` is a function's, if the dynamic linker knows one that begins there, and
/// the symbol says so.
pub(crate) fn is_function(address: usize) -> Option<bool> {
    const STT_NOTYPE: u8 = 0;
    const STT_FUNC: u8 = 2;
    const STT_GNU_IFUNC: u8 = 10;
    match symbol_at(address)?.st_info & 0xf {
        STT_NOTYPE => None,
        sort => Some(matches!(sort, STT_FUNC | STT_GNU_IFUNC)),
    }
}

fn symbol_at(address: usize) -> Option<libc::Elf64_Sym> {
    const RTLD_DL_SYMENT: c_int = 1;
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    let mut symbol = std::ptr::null_mut();
    // SAFETY: it takes any address, and has places for what it tells; a zeroed `Dl_info` is valid.
    let info = unsafe {
        let place = &raw mut symbol;
        let found = dladdr1(
            address as *const c_void,
            info.as_mut_ptr(),
            place,
            RTLD_DL_SYMENT,
        );
        (found != 0).then(|| info.assume_init())
    }?;
    if info.dli_saddr as usize != address || symbol.is_null() {
        return None;
    }
    // SAFETY: the dynamic linker's entry of a symbol, whose module was pinned when it was found.
    Some(unsafe { *symbol.cast::<libc::Elf64_Sym>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::process::address_of;

    #[test]
    fn what_the_dynamic_linker_finds_is_never_ruled_out() {
        let modules = Modules::default();
        for _ in 0..2 {
            let mut queries = ["strlen", "errno", "environ", "_Unwind_Resume"].map(Query::new);
            modules.ask(&mut queries);
            assert!(queries.iter().all(|query| query.maybe));
        }
        assert!(address_of(c"strlen").is_some());
    }

    /// As the tables of names are made, for names of every length.
    #[test]
    fn the_hash_is_that_of_the_tables() {
        let text = "_ZNSt8__detail9__variant12__gen_vtableI\u{ff}E";
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            let plain = text[..end].bytes().fold(5381u32, |hash, byte| {
                hash.wrapping_mul(33).wrapping_add(byte.into())
            });
            assert_eq!(Query::new(&text[..end]).hash, plain);
        }
    }

    #[test]
    fn what_nobody_has_is_ruled_out() {
        let names: Vec<String> = (0..1000).map(|n| format!("rekindle_nobody_{n}")).collect();
        let mut queries: Vec<Query> = names.iter().map(|name| Query::new(name)).collect();
        let modules = Modules::default();
        modules.ask(&mut queries);
        let maybe = queries.iter().filter(|query| query.maybe).count();
        assert!(maybe < 10, "{maybe} of 1000");
        for (name, query) in names.iter().zip(&queries) {
            assert_eq!(modules.may_define(name), query.maybe);
        }
        assert!(modules.may_define("strlen"));
    }
}
