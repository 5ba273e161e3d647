//! Unwind tables of a window as few runs, for an unwinder that searches a list.
//!
//! libgcc before 13 stops at the first table that starts at or below an address, so the ranges of two
//! registered tables must not interleave. A *run* is a number of tables that lie next to each other in
//! a window, registered as one. Runs are kept in the order of addresses and merged like the levels
//! of a log-structured merge tree: a run of level `k` has some `8^k` tables, and when more than
//! [`RUNS_OF_A_LEVEL`] runs for each level up to `k` lie side by side, they become one. So there are
//! a few dozen runs for tens of thousands of tables, and each table has been merged a few times.
//!
//! When runs are merged, the merged one is registered first, and then the old ones are removed in
//! ascending order: at any moment a throw in another thread finds every function, either in its old
//! run, which starts nearer to it, or in the merged one.
//!
//! A merged run of some size is sorted at once, when it is made. libgcc would do so in the middle of the
//! next throw.

use super::unwind::Registrar;

/// Runs of one level that lie side by side before they are merged.
const RUNS_OF_A_LEVEL: usize = 7;

/// Runs with as many tables are not merged any more, as sorting them would take long, unless the
/// window has many times as many.
const LARGE: usize = 4096;

/// How many large runs a window has at most, more or less.
const LARGE_RUNS: usize = 8;

/// The most bytes of tables that are merged, as sorting them would take long: a table of a large image has a
/// thousand functions. A window with many times as many bytes has larger runs.
const MOST_BYTES: usize = 1 << 20;

/// Which part of a window's bytes a run may have.
const PART_OF_BYTES: usize = 4;

/// The runs of all levels are counted this often.
const LOOKED_AT_EVERY: usize = 64;

/// From this many bytes of tables on, a merged run is sorted at once. That takes some 50 nanoseconds for
/// the 32 bytes of a function, and the runs that are not sorted have less than as many bytes together: so
/// a throw has to sort for a quarter of a millisecond at most.
const SORTED_AT_ONCE: usize = 128 << 10;

/// The registered tables of one window.
pub(super) struct Runs<R> {
    registrar: R,
    /// In ascending order, without overlap.
    runs: Vec<Run>,
    tables: usize,
    /// Of all tables, or a guess once some were removed.
    bytes: usize,
}

/// Tables that are registered as one. Images lie apart, and each holds its table, so that tables have
/// the order of the code that they are about.
struct Run {
    /// The first table.
    first: usize,
    /// The last one.
    last: usize,
    /// Where the code of the first began when it was registered.
    code: usize,
    tables: Tables,
    /// Of all its tables, or a guess once some were removed.
    bytes: usize,
    level: u8,
}

enum Tables {
    One(usize),
    /// Ascending (but for the first two, see [`array`]), and a zero.
    Many(Vec<usize>),
}

impl Tables {
    fn as_slice(&self) -> &[usize] {
        match self {
            Self::One(table) => std::slice::from_ref(table),
            Self::Many(tables) => tables.split_last().map_or(&[], |(_, tables)| tables),
        }
    }
}

impl Run {
    fn count(&self) -> usize {
        self.tables.as_slice().len()
    }

    fn new(code: usize, tables: Tables, bytes: usize) -> Self {
        let all = tables.as_slice();
        let front = all.get(..2).unwrap_or(all);
        Self {
            first: front.iter().copied().min().unwrap_or(0),
            last: all
                .last()
                .into_iter()
                .chain(front)
                .copied()
                .max()
                .unwrap_or(0),
            code,
            level: level(all.len()),
            bytes,
            tables,
        }
    }
}

impl<R: Registrar> Runs<R> {
    pub(super) fn new(registrar: R) -> Self {
        Self {
            registrar,
            runs: Vec::new(),
            tables: 0,
            bytes: 0,
        }
    }

    /// How often the unwinder has to look in the worst case.
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// How many tables are registered.
    pub(super) fn tables(&self) -> usize {
        self.tables
    }

    /// Registers `table`, which has `size` bytes, of the image whose code begins at `code`.
    ///
    /// # Safety
    /// As for [`Registrar::add`]; the table lies in the image, and is about nothing outside of it.
    pub(super) unsafe fn add(&mut self, code: usize, table: usize, size: usize) {
        self.tables += 1;
        self.bytes += size;
        let at = match self.runs.last() {
            Some(last) if last.last >= table => self.runs.partition_point(|run| run.first < table),
            _ => self.runs.len(),
        };
        let before = at.checked_sub(1);
        if let Some(before) = before.filter(|b| self.runs.get(*b).is_some_and(|r| r.last > table)) {
            // Memory that was used before, or a thread that was overtaken.
            // SAFETY: the caller vouches for the new table, and the others are registered.
            unsafe { self.replace(before..before + 1, Some((table, size)), |_| true) };
            return;
        }
        // SAFETY: the caller vouches for the table.
        unsafe { self.registrar.add(table) };
        let is_last = at == self.runs.len();
        let run = Run::new(code, Tables::One(table), size);
        self.runs.insert(at, run);
        // At the end, where nearly all images come, only a merge makes runs of a higher level.
        let everywhere = !is_last || self.tables.is_multiple_of(LOOKED_AT_EVERY);
        self.merge_around(at, everywhere);
    }

    /// Removes the tables of images, which are given in ascending order.
    ///
    /// # Safety
    /// Nobody is in the code that they are about, or comes there again.
    pub(super) unsafe fn remove(&mut self, tables: &[usize]) {
        let mut rest = tables;
        while let Some(&first) = rest.first() {
            let at = self.runs.partition_point(|run| run.first <= first);
            let found = at
                .checked_sub(1)
                .and_then(|at| Some((at, self.runs.get(at)?)));
            let Some((at, run)) = found else {
                return;
            };
            let count = rest.partition_point(|table| *table <= run.last).max(1);
            let (gone, others) = rest.split_at(count.min(rest.len()));
            let before = run.count();
            // SAFETY: the others stay as they are.
            let after = unsafe {
                self.replace(at..at + 1, None, |table| {
                    gone.binary_search(&table).is_err()
                })
            };
            self.tables -= before - after;
            self.bytes = self.runs.iter().map(|run| run.bytes).sum();
            rest = others;
        }
    }

    /// Makes the window's last, small runs one: no more tables will come.
    pub(super) fn close(&mut self) {
        let large = self.large();
        let mut at = 0;
        while at < self.runs.len() {
            let mut left = self.most_bytes();
            let small = |run: &&Run| {
                let fits = run.count() < large && run.bytes <= left;
                left = left.saturating_sub(run.bytes);
                fits
            };
            let rest = self.runs.get(at..).unwrap_or_default();
            let count = rest.iter().take_while(small).count();
            if count > 1 {
                // SAFETY: all are registered and stay so.
                unsafe { self.replace(at..at + count, None, |_| true) };
            }
            at += 1;
        }
    }

    fn large(&self) -> usize {
        LARGE.max(self.tables / LARGE_RUNS)
    }

    fn most_bytes(&self) -> usize {
        MOST_BYTES.max(self.bytes / PART_OF_BYTES)
    }

    /// Merges runs side by side that the run at `at` has made too many: of its own level, of the next
    /// one if that has gained a run, and so on; of all levels, if `everywhere`.
    fn merge_around(&mut self, mut at: usize, everywhere: bool) {
        let top = level(self.large());
        let mut current = self.runs.get(at).map_or(top, |run| run.level);
        while current <= top {
            let joins = |run: &&Run| run.level <= current && run.level < top;
            let (left, right) = self.runs.split_at(at);
            let first = at - left.iter().rev().take_while(joins).count();
            let behind = at + right.iter().take_while(joins).count();
            let levels = if everywhere {
                usize::from(current) + 1
            } else {
                1
            };
            let many = behind - first > RUNS_OF_A_LEVEL * levels;
            let joined = self.runs.get(first..behind).unwrap_or_default();
            if many && joined.iter().map(|run| run.bytes).sum::<usize>() <= self.most_bytes() {
                // SAFETY: all are registered and stay so.
                unsafe { self.replace(first..behind, None, |_| true) };
                at = first;
            } else if !everywhere {
                return;
            }
            current += 1;
        }
    }

    /// Makes the runs in `range` one, with `added` and without those that `stays` says no to. Returns
    /// how many tables it has.
    ///
    /// # Safety
    /// `added` is as for [`add`](Self::add), and lies between the first and the last of them; nobody
    /// is in the code of those that go.
    unsafe fn replace(
        &mut self,
        range: std::ops::Range<usize>,
        added: Option<(usize, usize)>,
        stays: impl Fn(usize) -> bool,
    ) -> usize {
        let old = self.runs.get(range.clone()).unwrap_or_default();
        let Some(code) = old.first().map(|run| run.code) else {
            return 0;
        };
        let most = old.iter().map(Run::count).sum::<usize>() + 2;
        let mut tables = Vec::with_capacity(most);
        for run in old {
            tables.extend(
                run.tables
                    .as_slice()
                    .iter()
                    .copied()
                    .filter(|table| stays(*table)),
            );
        }
        let registered = old.iter().map(Run::count).sum::<usize>();
        let mut bytes: usize = old.iter().map(|run| run.bytes).sum();
        if tables.len() < registered {
            bytes = bytes / registered * tables.len();
        }
        if let Some((table, size)) = added {
            tables.push(table);
            bytes += size;
        }
        // Nearly sorted already, which this sort makes use of.
        tables.sort();
        let count = tables.len();
        let new = match *tables.as_slice() {
            [] => None,
            [table] => Some(Tables::One(table)),
            _ => Some(Tables::Many(array(tables))),
        };
        let is_same = match (&new, old) {
            (Some(new), [old]) => new.as_slice() == old.tables.as_slice(),
            _ => false,
        };
        if is_same {
            return count;
        }
        let new = new.map(|tables| Run::new(code, tables, bytes));
        let sort = added.is_none() && bytes >= SORTED_AT_ONCE && old.len() > 1;
        if let Some(new) = &new {
            // SAFETY: the tables were registered before, and the caller vouches for `added`.
            unsafe { self.register(new) };
        }
        for run in old {
            // SAFETY: it is registered, and goes away below.
            unsafe {
                match &run.tables {
                    Tables::One(table) => self.registrar.remove(*table),
                    Tables::Many(tables) => self.registrar.remove_array(tables),
                }
            }
        }
        if sort {
            self.registrar.sort(code);
        }
        self.runs.splice(range, new);
        count
    }

    /// # Safety
    /// As for [`Registrar::add`].
    unsafe fn register(&self, run: &Run) {
        // SAFETY: the caller vouches for the tables; the array lives as long as its run.
        unsafe {
            match &run.tables {
                Tables::One(table) => self.registrar.add(*table),
                Tables::Many(tables) => self.registrar.add_array(tables),
            }
        }
    }
}

impl<R> Drop for Runs<R> {
    fn drop(&mut self) {
        // Code outlives its loader, and so do its tables; libgcc goes on reading the arrays.
        for run in self.runs.drain(..) {
            std::mem::forget(run.tables);
        }
    }
}

/// The level of a run of `count` tables.
fn level(count: usize) -> u8 {
    (count.max(1).ilog2() / 3) as u8
}

/// `tables` as [`Registrar::add_array`] takes them.
fn array(mut tables: Vec<usize>) -> Vec<usize> {
    if tables.first().is_some_and(|first| *first as u32 == 0) {
        // Two tables cannot both have such an address: a window is smaller than 4 GiB.
        tables.swap(0, 1);
    }
    tables.push(0);
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// libgcc 12: what is registered, in the order of its list, with a table being about the 8 bytes
    /// at its own address.
    #[derive(Default, Clone)]
    struct List(Rc<RefCell<Lists>>);

    #[derive(Default)]
    struct Lists {
        seen: Vec<(usize, Vec<usize>)>,
        unseen: Vec<(usize, Vec<usize>)>,
        /// Addresses that have to be found whenever something changes.
        live: Vec<usize>,
        work: usize,
    }

    impl Lists {
        fn find(&mut self, address: usize) -> bool {
            let has = |tables: &[usize]| tables.iter().any(|t| (*t..*t + 8).contains(&address));
            let starts = |tables: &[usize]| tables.iter().min().is_some_and(|t| address >= *t);
            let candidate = self.seen.iter().find(|(_, tables)| starts(tables));
            if candidate.is_some_and(|(_, tables)| has(tables)) {
                return true;
            }
            while let Some(entry) = self.unseen.pop() {
                let found = has(&entry.1);
                let lowest = entry.1.iter().min().copied();
                let at = self
                    .seen
                    .iter()
                    .position(|(_, tables)| tables.iter().min().copied() < lowest);
                self.seen.insert(at.unwrap_or(self.seen.len()), entry);
                if found {
                    return true;
                }
            }
            false
        }

        fn put(&mut self, key: usize, tables: Vec<usize>) {
            assert!(tables.first().is_some_and(|first| *first as u32 != 0) || tables.len() == 1);
            self.work += tables.len();
            self.unseen.push((key, tables));
            self.check();
        }

        fn take(&mut self, key: usize) {
            let lists = [&mut self.unseen, &mut self.seen];
            let found = lists.into_iter().any(|list| {
                let at = list.iter().rposition(|(other, _)| *other == key);
                at.map(|at| list.remove(at)).is_some()
            });
            assert!(found, "nothing is registered at {key:#x}");
            self.check();
        }

        /// Every other time, so that some runs are sorted already and others are not.
        fn check(&mut self) {
            for address in self.live.clone().into_iter().step_by(2) {
                assert!(self.find(address + 4), "{address:#x} is lost");
            }
        }
    }

    // SAFETY: it only looks at numbers.
    unsafe impl Registrar for List {
        unsafe fn add(&self, table: usize) {
            self.0.borrow_mut().put(table, vec![table]);
        }
        unsafe fn remove(&self, table: usize) {
            self.0.borrow_mut().take(table);
        }
        unsafe fn add_array(&self, tables: &[usize]) {
            let (last, rest) = tables.split_last().expect("it ends in a zero");
            assert_eq!(*last, 0);
            self.0
                .borrow_mut()
                .put(tables.as_ptr() as usize, rest.to_vec());
        }
        unsafe fn remove_array(&self, tables: &[usize]) {
            self.0.borrow_mut().take(tables.as_ptr() as usize);
        }
        fn sort(&self, _code: usize) {}
    }

    fn add(runs: &mut Runs<List>, list: &List, number: usize) {
        let start = number * 16;
        // SAFETY: numbers, not tables.
        unsafe { runs.add(start, start + 8, 8) };
        list.0.borrow_mut().live.push(start + 8);
    }

    fn all_found(list: &List) -> bool {
        let live = list.0.borrow().live.clone();
        live.iter()
            .all(|address| list.0.borrow_mut().find(*address))
    }

    #[test]
    fn tens_of_thousands_of_tables_are_a_few_runs_after_little_work() {
        let list = List::default();
        let mut runs = Runs::new(list.clone());
        let mut most = 0;
        for number in 1..=30_000 {
            let start = number * 16;
            // SAFETY: numbers, not tables.
            unsafe { runs.add(start, start + 8, 8) };
            most = most.max(runs.len());
        }
        assert!(most <= 44, "{most}");
        assert_eq!(runs.tables(), 30_000);
        let work = list.0.borrow().work;
        assert!(work < 30_000 * 7, "each is registered a few times: {work}");
        for number in [1, 2, 29_999, 30_000, 12_345] {
            assert!(list.0.borrow_mut().find(number * 16 + 8));
        }
        runs.close();
        assert!(runs.len() <= LARGE_RUNS + 1, "{}", runs.len());
    }

    #[test]
    fn large_tables_are_merged_by_few() {
        let list = List::default();
        let mut runs = Runs::new(list.clone());
        for number in 1..=300 {
            let start = number * 16;
            // SAFETY: numbers, not tables.
            unsafe { runs.add(start, start + 8, 32 << 10) };
            let largest = runs.runs.iter().map(|run| run.bytes).max();
            assert!(largest <= Some(runs.most_bytes()), "{largest:?}");
        }
        assert!(runs.len() < 300 / 4, "{}", runs.len());
        runs.close();
        let largest = runs.runs.iter().map(|run| run.bytes).max();
        assert!(
            largest <= Some(300 * (32 << 10) / PART_OF_BYTES),
            "{largest:?}"
        );
        assert!(runs.len() <= 2 * PART_OF_BYTES, "{}", runs.len());
        for number in [1, 150, 300] {
            assert!(list.0.borrow_mut().find(number * 16 + 8));
        }
    }

    #[test]
    fn a_table_whose_address_ends_in_zeros_is_not_first() {
        let list = List::default();
        let mut runs = Runs::new(list.clone());
        for number in 0..20 {
            let start = (1 << 32) + number * 16;
            // SAFETY: numbers, not tables.
            unsafe { runs.add(start, start, 8) };
            list.0.borrow_mut().live.push(start);
            assert!(all_found(&list));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_function_is_found_in_whatever_order_tables_come_and_go(
            order in Just((1..120usize).collect::<Vec<_>>()).prop_shuffle(),
            removals in prop::collection::vec((0..60usize, prop::collection::vec(0..1000usize, 1..20)), 0..8),
            ascending in any::<bool>(),
        ) {
            let list = List::default();
            let mut runs = Runs::new(list.clone());
            let mut order = order;
            if ascending {
                order.sort_unstable();
            }
            let mut live = Vec::new();
            for (step, number) in order.into_iter().enumerate() {
                add(&mut runs, &list, number);
                live.push(number);
                prop_assert!(all_found(&list));
                for (_, which) in removals.iter().filter(|(at, _)| at * 2 == step) {
                    let mut gone: Vec<usize> = Vec::new();
                    for index in which {
                        if !live.is_empty() {
                            gone.push(live.swap_remove(index % live.len()) * 16 + 8);
                        }
                    }
                    gone.sort_unstable();
                    list.0.borrow_mut().live.retain(|address| !gone.contains(address));
                    // SAFETY: numbers, not tables.
                    unsafe { runs.remove(&gone) };
                    prop_assert_eq!(runs.tables(), live.len());
                    prop_assert!(all_found(&list));
                    for address in gone {
                        prop_assert!(!list.0.borrow_mut().find(address));
                        // The memory is used again.
                        add(&mut runs, &list, address / 16);
                        live.push(address / 16);
                    }
                }
            }
            prop_assert!(runs.len() <= 7 * 3, "{}", runs.len());
            runs.close();
            prop_assert!(runs.len() <= 1);
            prop_assert!(all_found(&list));
        }
    }
}
