//! The unwind tables of all windows, registered as this process's unwinder wants them.

use super::objects::ListUnwinder;
use super::runs::Runs;
use super::sets;
use super::unwind::{TableCalls, Unwinder};
use crate::error::LoadError;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

/// What is registered. Dropping it removes nothing: code outlives its loader.
#[derive(Default)]
pub(crate) struct UnwindTables {
    registered: Mutex<Registered>,
    /// Not of the program as a whole: a child could inherit it half-way through being found.
    unwinder: OnceLock<Option<Unwinder>>,
}

#[derive(Default)]
struct Registered {
    /// For an unwinder with a list: by the window's number.
    windows: Vec<Option<Runs<ListUnwinder>>>,
    /// The window that was loaded into last, which its images come to one behind the other.
    last: Option<usize>,
    /// For the other unwinders.
    single: usize,
}

/// A table that was registered, by which it is removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    window: usize,
    address: usize,
    size: usize,
}

impl UnwindTables {
    /// The unwinder of this process.
    pub(crate) fn unwinder(&self) -> Result<Unwinder, LoadError> {
        let found = self.unwinder.get_or_init(Unwinder::find);
        found.ok_or(LoadError::NoUnwinder)
    }

    /// Registers `table`, which lies where it stays, of the image whose payload is at `image`.
    ///
    /// # Safety
    /// `table` is a well-made `.eh_frame` with a zero at its end, about code in `image` that is in
    /// place, and lies in it; both stay until the table is removed.
    pub(crate) unsafe fn add(
        &self,
        unwinder: Unwinder,
        window: usize,
        image: Range<usize>,
        table: &[u8],
    ) -> Table {
        let address = table.as_ptr() as usize;
        let mut registered = self.lock();
        // SAFETY: the caller vouches for the table.
        unsafe {
            match unwinder {
                Unwinder::List(calls) => {
                    let runs = registered.enter(window, calls);
                    runs.add(image.start, address, table.len());
                }
                Unwinder::Tree(calls) => calls.add(address),
                Unwinder::Entries(calls) => calls.add_entries(table),
            }
        }
        registered.single += usize::from(!matches!(unwinder, Unwinder::List(_)));
        Table {
            window,
            address,
            size: table.len(),
        }
    }

    /// Removes `tables`.
    ///
    /// # Safety
    /// They are from [`add`](Self::add) and still in place, each is removed once, and nobody is in
    /// the code that they are about, or comes there again.
    pub(crate) unsafe fn remove(&self, tables: &mut [Table]) {
        tables.sort_unstable_by_key(|table| (table.window, table.address));
        let mut registered = self.lock();
        let Ok(unwinder) = self.unwinder() else {
            return;
        };
        let mut addresses = Vec::new();
        for group in tables.chunk_by(|one, other| one.window == other.window) {
            let Some(first) = group.first() else { continue };
            // SAFETY: the caller vouches for the tables, which were added to this window.
            unsafe {
                match unwinder {
                    Unwinder::List(_) => {
                        addresses.clear();
                        addresses.extend(group.iter().map(|table| table.address));
                        if let Some(runs) = registered.runs(first.window) {
                            runs.remove(&addresses);
                        }
                        continue;
                    }
                    // In reverse, for whoever keeps a list after all.
                    Unwinder::Tree(calls) => {
                        group
                            .iter()
                            .rev()
                            .for_each(|table| calls.remove(table.address));
                    }
                    Unwinder::Entries(calls) => group.iter().rev().for_each(|table| {
                        let address = table.address as *const u8;
                        calls.remove_entries(std::slice::from_raw_parts(address, table.size));
                    }),
                }
            }
            registered.single -= group.len();
        }
    }

    /// How many images have tables, and as how many the unwinder sees them.
    pub(crate) fn count(&self) -> (usize, usize) {
        let registered = self.lock();
        let runs = registered.windows.iter().flatten();
        let (tables, seen) = runs.fold((0, 0), |(tables, seen), runs| {
            (tables + runs.tables(), seen + runs.len())
        });
        (tables + registered.single, seen + registered.single)
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        // Nothing in here panics half-way through a change.
        match self.registered.try_lock() {
            Ok(registered) => registered,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                sets::note_wait();
                let registered = self.registered.lock();
                registered.unwrap_or_else(PoisonError::into_inner)
            }
        }
    }
}

impl Registered {
    fn runs(&mut self, window: usize) -> Option<&mut Runs<ListUnwinder>> {
        self.windows.get_mut(window)?.as_mut()
    }

    /// The runs of `window`, which is loaded into. The one before it is as good as full.
    fn enter(&mut self, window: usize, calls: TableCalls) -> &mut Runs<ListUnwinder> {
        if self.last != Some(window) {
            let last = self.last.replace(window);
            if let Some(runs) = last.and_then(|last| self.runs(last)) {
                runs.close();
            }
        }
        if self.windows.len() <= window {
            self.windows.resize_with(window + 1, || None);
        }
        let runs = &mut self.windows[window];
        runs.get_or_insert_with(|| Runs::new(ListUnwinder::new(calls)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::unwind::{plain_calls, table_about};
    use super::*;
    use std::ffi::c_void;

    unsafe extern "C" {
        fn _Unwind_Find_FDE(code: *const c_void, bases: *mut [usize; 3]) -> *const c_void;
    }

    fn is_found(code: &[u8; 16]) -> bool {
        let mut bases = [0; 3];
        // SAFETY: any address may be asked for, and the three bases have their place.
        !unsafe { _Unwind_Find_FDE(code.as_ptr().cast(), &raw mut bases) }.is_null()
    }

    #[test]
    fn an_unwinder_with_a_tree_gets_every_table_and_loses_it_again() {
        // The calls of all libgccs are the same; only how many tables they bear differs.
        let calls = match Unwinder::find() {
            Some(Unwinder::List(_) | Unwinder::Tree(_)) => plain_calls(),
            _ => return,
        };
        let tables = UnwindTables {
            unwinder: OnceLock::from(calls.map(Unwinder::Tree)),
            ..UnwindTables::default()
        };
        // Bytes that stand for functions: nobody is ever there.
        let functions: Vec<Box<[u8; 16]>> = (0..20).map(|_| Box::default()).collect();
        let frames: Vec<Box<[u8]>> = functions
            .iter()
            .map(|function| Box::from(table_about(function.as_ptr() as u64)))
            .collect();
        let mut added = Vec::new();
        for (window, (function, table)) in functions.iter().zip(&frames).enumerate() {
            let start = function.as_ptr() as usize;
            let unwinder = tables.unwinder().expect("it was just put there");
            // SAFETY: the table is well-made, about bytes of the test's own, and removed below.
            added.push(unsafe { tables.add(unwinder, window / 8, start..start + 16, table) });
        }
        assert_eq!(tables.count(), (20, 20));
        assert!(functions.iter().all(|function| is_found(function)));
        let mut half: Vec<Table> = added.drain(..10).collect();
        // SAFETY: they were added above, and nobody is in their functions.
        unsafe { tables.remove(&mut half) };
        assert_eq!(tables.count(), (10, 10));
        let found: Vec<bool> = functions
            .iter()
            .map(|function| is_found(function))
            .collect();
        assert_eq!(found, [[false; 10], [true; 10]].concat());
        // SAFETY: as above.
        unsafe { tables.remove(&mut added) };
        assert_eq!(tables.count(), (0, 0));
        assert!(!functions.iter().any(|function| is_found(function)));
    }
}
