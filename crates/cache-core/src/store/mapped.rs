//! The pages of a mapped pack: present where it is being read, and given back when most of it was.
//!
//! A page comes with the first read of it, and a few around it; that takes a read as long as all the rest of
//! it. So after a few reads in a *block* its pages are made present at once, and until they are, records
//! are read from the file, which takes a quarter of that. Pages would then stay, and count
//! as memory of the process, for as long as the pack is open. But what is loaded from a pack is loaded once
//! by most processes: when most of a block was read, and the next block has come as far, the first one's
//! pages are given back. What is left to read of such a block is read from the file, record by record. Should
//! that become much, the process does read things twice: then the pages come back, and stay.
//!
//! Both take as long as many look-ups, and are left to whoever [tends](super::Store::tend) the store. Where nobody
//! does, pages come when they are read, and stay. So they do in a pack of one block, which is not worth a thread.
//!
//! How much was read of a block is counted without care for other threads, which may count at the same time:
//! a count that is too low costs memory and nothing else. Neither does anything here change what is
//! read; a mapping is the file, whether its pages are present or not.

use super::io::FileMap;
use super::tending::Tending;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes whose pages come and go together.
const BLOCK: usize = 1 << 20;

/// Bytes of a block after whose reading all of it is made present: a few small records.
const SOME: u32 = 16 << 10;

/// Bytes of a block after which it is used where it is mapped, present or not: whoever was to make it so is not coming.
const LATE: u32 = 128 << 10;

/// No block.
const NONE: usize = usize::MAX;

/// Added to the count of a block when its pages are given back.
const GIVEN_BACK: u32 = 1 << 30;

/// The count of a block whose pages stay.
const STAYS: u32 = 1 << 31;

/// A mapped file, and how much was read of its records.
pub(super) struct Mapped {
    map: FileMap,
    /// Where the pages end that have records and nothing else.
    end: usize,
    blocks: Box<[Block]>,
    /// The block of which most was read last: its pages are given back when the next has come as far.
    last: AtomicUsize,
    /// What is to be done.
    tasks: Mutex<Vec<Task>>,
    tending: Arc<Tending>,
}

#[derive(Default)]
struct Block {
    /// Bytes that were read of it.
    count: AtomicU32,
    /// Its pages were made present, and not given back since.
    is_present: AtomicBool,
}

/// What is to be done with the pages of a block.
#[derive(Debug, Clone, Copy)]
enum Task {
    MakePresent(usize),
    GiveBack(usize),
}

impl Mapped {
    pub(super) fn new(map: FileMap) -> Self {
        Self {
            map,
            end: 0,
            blocks: Box::default(),
            last: AtomicUsize::new(NONE),
            tasks: Mutex::default(),
            tending: Arc::default(),
        }
    }

    pub(super) fn map(&self) -> &FileMap {
        &self.map
    }

    /// Begins to count what is read of the records, which end at `end`, for whoever tends the store.
    pub(super) fn count_until(&mut self, end: usize, tending: &Arc<Tending>) {
        self.end = end.min(self.map.len()) / page_size() * page_size();
        if self.end > BLOCK {
            let blocks = self.end.div_ceil(BLOCK);
            self.blocks = (0..blocks).map(|_| Block::default()).collect();
        }
        self.tending = Arc::clone(tending);
    }

    /// Whether the record at `offset` is better read from the file than where it is mapped.
    #[inline]
    pub(super) fn is_absent(&self, offset: usize) -> bool {
        let Some(block) = self.blocks.get(offset / BLOCK) else {
            return false;
        };
        if block.is_present.load(Ordering::Relaxed) {
            return false;
        }
        match block.count.load(Ordering::Relaxed) {
            1..LATE => self.tending.is_there(),
            GIVEN_BACK..STAYS => true,
            _ => false,
        }
    }

    /// Says that a look-up is about to read a record at `offset`, and not somebody who goes through all.
    #[inline]
    pub(super) fn begin(&self, offset: usize) {
        if let Some(block) = self.blocks.get(offset / BLOCK)
            && block.count.load(Ordering::Relaxed) == 0
        {
            block.count.store(1, Ordering::Relaxed);
        }
    }

    /// Counts that the record at `range` was read.
    #[inline]
    pub(super) fn note(&self, range: Range<usize>) {
        let first = range.start / BLOCK;
        if range.end <= (first + 1) * BLOCK {
            self.note_in(first, range.len());
            return;
        }
        for number in first..range.end.div_ceil(BLOCK).min(self.blocks.len()) {
            let block = number * BLOCK..(number + 1) * BLOCK;
            let part = range.start.max(block.start)..range.end.min(block.end);
            self.note_in(number, part.len());
        }
    }

    /// Counts that `bytes` of a block were read: not more than it has.
    #[inline]
    fn note_in(&self, number: usize, bytes: usize) {
        let Some(block) = self.blocks.get(number) else {
            return;
        };
        let before = block.count.load(Ordering::Relaxed);
        if before >= STAYS {
            return;
        }
        let after = before + bytes as u32;
        // Whoever reads the same again and again from a block that nobody gives back.
        if after < GIVEN_BACK || before >= GIVEN_BACK {
            block.count.store(after, Ordering::Relaxed);
        }
        let size = self.range_of(number).len() as u32;
        let comes_to = |count| before < count && after >= count;
        if comes_to(SOME) || comes_to(most(size)) || comes_to(GIVEN_BACK + size / 2) {
            self.turn(number, before, after, size);
        }
    }

    /// Sees to what is to be done when the count of a block has come to a threshold.
    #[cold]
    fn turn(&self, number: usize, before: u32, after: u32, size: u32) {
        if !self.tending.is_there() {
            return;
        }
        // Nobody waits for this: what is left out costs memory or time, and nothing else.
        let Ok(mut tasks) = self.tasks.try_lock() else {
            return;
        };
        if before >= GIVEN_BACK {
            self.set(number, STAYS);
            tasks.push(Task::MakePresent(number));
        } else {
            if before < SOME {
                tasks.push(Task::MakePresent(number));
            }
            if after >= most(size) {
                let last = self.last.swap(number, Ordering::Relaxed);
                if last != number && last != NONE {
                    tasks.push(Task::GiveBack(last));
                }
            }
        }
        let is_any = !tasks.is_empty();
        drop(tasks);
        if is_any {
            self.tending.wake();
        }
    }

    /// Does what is to be done.
    pub(super) fn tend(&self) {
        let tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        for task in tasks {
            match task {
                Task::MakePresent(number) => {
                    self.make_present(number);
                    self.note_present(number, true);
                }
                Task::GiveBack(number) => {
                    self.set(number, GIVEN_BACK);
                    self.note_present(number, false);
                    self.give_back(number);
                }
            }
        }
    }

    fn set(&self, number: usize, count: u32) {
        if let Some(block) = self.blocks.get(number) {
            block.count.store(count, Ordering::Relaxed);
        }
    }

    fn note_present(&self, number: usize, is_present: bool) {
        if let Some(block) = self.blocks.get(number) {
            block.is_present.store(is_present, Ordering::Relaxed);
        }
    }

    fn range_of(&self, number: usize) -> Range<usize> {
        let start = number * BLOCK;
        start..(start + BLOCK).min(self.end)
    }

    fn make_present(&self, number: usize) {
        let range = self.range_of(number);
        // Kernels that do not know it give the pages when they are read.
        #[cfg(target_os = "linux")]
        self.map.advise(memmap2::Advice::PopulateRead, range);
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }

    fn give_back(&self, number: usize) {
        self.map.give_back(self.range_of(number));
    }
}

/// How much of a block of that size is most of it. The rest may be what nobody reads: a record under an
/// analysed form's key, or one that others have come in place of.
fn most(size: u32) -> u32 {
    size / 5 * 4
}

fn page_size() -> usize {
    rustix::param::page_size()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: usize = 3 << 10;

    /// A mapping of so many bytes, of records alone.
    fn mapped(size: usize) -> Mapped {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(size as u64).expect("has room");
        let map = FileMap::of(&file).expect("is mapped");
        let mut mapped = Mapped::new(map);
        let tending = Arc::new(Tending::default());
        tending.set(Arc::new(|| {}));
        mapped.count_until(size, &tending);
        mapped
    }

    fn read(mapped: &Mapped, place: Range<usize>) {
        for start in place.step_by(RECORD) {
            mapped.begin(start);
            mapped.note(start..start + RECORD);
            mapped.tend();
        }
    }

    #[test]
    fn a_block_is_absent_when_the_next_has_come_as_far() {
        let mapped = mapped(3 * BLOCK);
        read(&mapped, 0..BLOCK);
        assert!(!mapped.is_absent(0));
        read(&mapped, BLOCK..2 * BLOCK - BLOCK / 3);
        assert!(!mapped.is_absent(0));
        read(&mapped, 2 * BLOCK - BLOCK / 3..2 * BLOCK);
        assert!(mapped.is_absent(0) && mapped.is_absent(BLOCK - 1));
        assert!(!mapped.is_absent(BLOCK));
        // A few that were left, and then so many that they cannot be all that was left.
        read(&mapped, 0..BLOCK / 4);
        assert!(mapped.is_absent(0));
        read(&mapped, 0..BLOCK / 2);
        assert!(!mapped.is_absent(0));
        for _ in 0..10 {
            read(&mapped, 0..3 * BLOCK);
        }
        assert!(!mapped.is_absent(0));
    }

    #[test]
    fn a_block_is_read_from_the_file_until_its_pages_are_there_or_late() {
        let mapped = mapped(3 * BLOCK);
        assert!(!mapped.is_absent(0), "for who goes through all of it");
        mapped.begin(0);
        assert!(mapped.is_absent(0) && !mapped.is_absent(BLOCK));
        mapped.note(0..SOME as usize);
        assert!(mapped.is_absent(0), "nobody has made it present yet");
        mapped.tend();
        assert!(!mapped.is_absent(0));
        for start in (BLOCK..BLOCK + LATE as usize).step_by(RECORD) {
            mapped.begin(start);
            assert!(mapped.is_absent(BLOCK));
            mapped.note(start..start + RECORD);
        }
        assert!(!mapped.is_absent(BLOCK), "nobody comes");
    }

    #[test]
    fn records_of_any_size_are_counted_where_they_lie() {
        let mapped = mapped(5 * BLOCK + 12345);
        mapped.note(100..5 * BLOCK);
        assert!(!mapped.is_absent(0), "nobody has done it yet");
        mapped.tend();
        for (block, is) in [(0, true), (3, true), (4, false), (5, false), (6, false)] {
            assert_eq!(mapped.is_absent(block * BLOCK), is, "{block}");
        }
        // What no file has room for, as damage may say.
        mapped.note(5 * BLOCK..usize::MAX / 2);
        mapped.note(usize::MAX / 4..usize::MAX / 2);
        assert!(!mapped.is_absent(usize::MAX));
    }

    #[test]
    fn where_nobody_tends_pages_stay() {
        let mut mapped = mapped(3 * BLOCK);
        mapped.tending = Arc::default();
        read(&mapped, 0..3 * BLOCK);
        assert!((0..3).all(|block| !mapped.is_absent(block * BLOCK)));
        let small = self::mapped(BLOCK);
        assert!(small.blocks.is_empty());
        read(&small, 0..BLOCK);
    }

    #[test]
    fn what_is_read_for_ever_overflows_nothing() {
        let mapped = mapped(2 * BLOCK);
        for _ in 0..3 * (GIVEN_BACK as usize / BLOCK) {
            mapped.note(0..BLOCK);
            mapped.tend();
        }
        assert!(!mapped.is_absent(0));
    }
}
