//! Memory for what is written once and kept as long as its owner: pieces one behind the other in large
//! chunks, which never move.
//!
//! An allocation for each of ten thousand definitions costs more than its call. What the system's allocator
//! has for a second thread grows by a page at a time, each of them a system call that holds up every
//! thread which touches new memory; and half a line of each piece is the allocator's.

use rustix::mm::{Advice, madvise};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// Words of the first chunk; each other one has twice as many as that before it. The system gives a large
/// one no memory before it is used.
const FIRST: usize = 1 << 11;

/// Chunks that there may be: all pieces together have 32 GiB.
const CHUNKS: usize = 21;

const WORD: usize = size_of::<u64>();

/// Bytes of a chunk that are made present at once, before they are used: pages that come one by one, when they are
/// written for the first time, take twice as long. Few, since somebody waits for it, and may wait with a lock.
const PRESENT: usize = 8 << 10;

/// Bytes of a chunk of which it is likely that much more is used soon.
const LARGE: usize = 64 << 10;

/// Bytes that somebody else is to make present ahead, and how many of them are left when more is wanted: a quarter
/// of a millisecond's at least.
const AHEAD: usize = 256 << 10;
const LOW: usize = 128 << 10;

/// Pieces of memory, each of which is written once, when it is taken.
#[derive(Default)]
pub(crate) struct Arena {
    chunks: [OnceLock<Chunk>; CHUNKS],
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// Words that are taken, with what was left over at the ends of chunks.
    words: usize,
    /// The address up to which the last chunk was made present.
    present: usize,
}

struct Chunk {
    /// Shared with who makes it present.
    words: Arc<[Word]>,
    /// How many words from the first are written, which are never written again.
    written: AtomicUsize,
}

#[repr(transparent)]
struct Word(UnsafeCell<u64>);

// SAFETY: a word is used by its arena alone. The words below `written` are read and never written; those above are
// written by whoever holds the lock of the arena's `taken`, and read by nobody until `written` says so.
unsafe impl Sync for Word {}
// SAFETY: it is a number.
unsafe impl Send for Word {}

/// Memory of an arena that is to be made present before it is used.
pub(crate) struct Absent {
    words: Arc<[Word]>,
    /// In bytes.
    range: Range<usize>,
}

/// Where a piece of an arena lies. It begins at a multiple of eight bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Piece {
    /// In words.
    start: u32,
    /// In bytes.
    size: u32,
}

impl Piece {
    /// The piece of `size` bytes that begins at word `start`: a part of one that was kept.
    pub(crate) fn at(start: u32, size: u32) -> Self {
        Self { start, size }
    }

    /// The word that it begins at.
    pub(crate) fn start(self) -> u32 {
        self.start
    }
}

impl Arena {
    /// Keeps a piece of `size` bytes, which are zero until `write` fills them. `None` if there is no room.
    pub(crate) fn keep(&self, size: usize, write: impl FnOnce(&mut [u8])) -> Option<Piece> {
        self.keep_in(size, write, Chunk::make_present)
    }

    /// The same where somebody else can make memory present: what is to be so before long is given beside the
    /// piece. It is used whether that is done or not.
    pub(crate) fn keep_ahead(
        &self,
        size: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Option<(Piece, Option<Absent>)> {
        let mut absent = None;
        let piece = self.keep_in(size, write, |chunk, place, present| {
            absent = chunk.look_ahead(place, present);
        })?;
        Some((piece, absent))
    }

    fn keep_in(
        &self,
        size: usize,
        write: impl FnOnce(&mut [u8]),
        make_present: impl FnOnce(&Chunk, &[Word], &mut usize),
    ) -> Option<Piece> {
        let words = size.div_ceil(WORD);
        let bytes = u32::try_from(size).ok()?;
        let mut taken = crate::lock(&self.taken);
        let (mut number, mut offset) = locate(taken.words);
        while offset.checked_add(words)? > length_of(number) {
            (number, offset) = (number + 1, 0);
            if number == CHUNKS {
                return None;
            }
        }
        let chunk = self.chunks.get(number)?;
        let chunk = chunk.get_or_init(|| Chunk::new(length_of(number)));
        let place = chunk.words.get(offset..offset + words)?;
        let piece = Piece {
            start: u32::try_from(start_of(number) + offset).ok()?,
            size: bytes,
        };
        make_present(chunk, place, &mut taken.present);
        // SAFETY: `place` has so many bytes, of which any values are values. They lie above `written`, so that
        // nobody reads them, and the lock that is held keeps everybody else from writing.
        write(unsafe { std::slice::from_raw_parts_mut(first(place), size) });
        chunk.written.store(offset + words, Ordering::Release);
        taken.words = start_of(number) + offset + words;
        Some(piece)
    }

    /// The bytes of a piece; none if it is another arena's and this one has nothing there.
    pub(crate) fn get(&self, piece: Piece) -> &[u8] {
        self.find(piece).unwrap_or_default()
    }

    fn find(&self, piece: Piece) -> Option<&[u8]> {
        let (number, offset) = locate(piece.start as usize);
        let chunk = self.chunks.get(number)?.get()?;
        let size = piece.size as usize;
        let end = offset + size.div_ceil(WORD);
        if end > chunk.written.load(Ordering::Acquire) {
            return None;
        }
        let place = chunk.words.get(offset..end)?;
        // SAFETY: the words of that range are written, and have so many bytes; they stay as they are and where
        // they are as long as the arena does.
        Some(unsafe { std::slice::from_raw_parts(first(place), size) })
    }
}

/// Where words begin. They are written by nobody who has it but whoever may.
fn first(words: &[Word]) -> *mut u8 {
    UnsafeCell::raw_get(words.as_ptr().cast::<UnsafeCell<u64>>()).cast()
}

impl Chunk {
    fn new(length: usize) -> Self {
        let words = Arc::<[Word]>::new_zeroed_slice(length);
        Self {
            // SAFETY: zero is a word.
            words: unsafe { words.assume_init() },
            written: AtomicUsize::new(0),
        }
    }

    /// Whether the memory of `place` is to be made present, or is not as far as `present` tells; where it
    /// begins and where it ends in the chunk.
    fn reaches(&self, place: &[Word], present: usize, before: usize) -> Option<Range<usize>> {
        let words = self.words.as_ptr_range();
        let (first, end) = (words.start as usize, words.end as usize);
        let place = place.as_ptr_range();
        let is_behind = !(first..=end).contains(&present);
        let needs = end - first >= LARGE && (is_behind || place.end as usize + before > present);
        let from = match is_behind {
            true => place.start as usize,
            false => present.max(place.start as usize),
        };
        (needs && from < end).then_some(from..end)
    }

    /// Sees to it that the memory of `place` is there, and that behind it, where that is worth while.
    #[inline]
    fn make_present(&self, place: &[Word], present: &mut usize) {
        if let Some(rest) = self.reaches(place, *present, 0) {
            *present = make_present(rest.start, rest.end);
        }
    }

    /// What is to be made present soon, of which `place` may have a part. It counts as present from now on.
    #[inline]
    fn look_ahead(&self, place: &[Word], present: &mut usize) -> Option<Absent> {
        let rest = self.reaches(place, *present, LOW)?;
        let page = rustix::param::page_size();
        let first = self.words.as_ptr() as usize;
        let from = rest.start.next_multiple_of(page);
        let to = from.saturating_add(AHEAD).min(rest.end / page * page);
        *present = to.max(rest.start);
        // What is left is less than is to be left over.
        if to >= rest.end / page * page {
            *present = rest.end;
        }
        (from < to).then(|| Absent {
            words: Arc::clone(&self.words),
            range: from - first..to - first,
        })
    }
}

impl Absent {
    /// Makes it present.
    pub(crate) fn make_present(self) {
        let first = self.words.as_ptr() as usize;
        populate(first + self.range.start, self.range.len());
    }
}

/// Makes memory present from `start` on, and not beyond `end`; gives where that ends.
#[cold]
fn make_present(start: usize, end: usize) -> usize {
    let page = rustix::param::page_size();
    let from = start.next_multiple_of(page);
    let to = from.saturating_add(PRESENT).min(end / page * page);
    if to > from {
        populate(from, to - from);
    }
    to.max(start)
}

fn populate(start: usize, size: usize) {
    // SAFETY: this changes nothing that is there, and fails where there is nothing. Kernels that do not know it
    // give the pages when they are written.
    let _ = unsafe { madvise(start as *mut _, size, Advice::LinuxPopulateWrite) };
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Arena").finish_non_exhaustive()
    }
}

/// The chunk that has the word with this number, and the word's place there.
fn locate(word: usize) -> (usize, usize) {
    let number = (word / FIRST + 1).ilog2() as usize;
    (number, word - start_of(number))
}

/// The number of a chunk's first word.
fn start_of(number: usize) -> usize {
    length_of(number) - FIRST
}

fn length_of(number: usize) -> usize {
    FIRST << number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_stay_what_they_were() {
        let arena = Arena::default();
        let sizes = [0, 1, 7, 8, 9, 300, 8 * FIRST, 8 * FIRST + 1, 5, 100_000];
        let all: Vec<_> = (0u8..).zip(sizes.iter().cycle().take(100)).collect();
        let keep = |&(byte, &size): &(u8, &usize)| arena.keep(size, |piece| piece.fill(byte));
        let pieces: Vec<_> = all.iter().map(keep).collect();
        for ((byte, size), piece) in all.into_iter().zip(pieces) {
            let found = arena.get(piece.expect("there is room"));
            assert_eq!(found.len(), *size);
            assert!(found.iter().all(|found| *found == byte));
            assert_eq!(found.as_ptr() as usize % WORD, 0);
        }
    }

    #[test]
    fn every_word_has_its_place() {
        for number in 0..CHUNKS {
            let (start, length) = (start_of(number), length_of(number));
            assert_eq!(locate(start), (number, 0));
            assert_eq!(locate(start + length - 1), (number, length - 1));
        }
        assert!(u32::try_from(start_of(CHUNKS)).is_ok());
    }

    #[test]
    fn what_nobody_wrote_is_not_shown() {
        let (arena, other) = (Arena::default(), Arena::default());
        let piece = other.keep(100, |_| {}).expect("there is room");
        assert!(arena.get(piece).is_empty());
        assert!(arena.keep(usize::MAX, |_| {}).is_none());
        arena.keep(50, |_| {}).expect("there is room");
        assert!(arena.get(piece).is_empty());
    }

    #[test]
    fn what_is_made_present_ahead_is_each_part_once() {
        let arena = Arena::default();
        let (mut asked, mut kept) = (0, 0);
        let (mut ends, mut pieces) = (Vec::new(), Vec::new());
        while kept < 4 << 20 {
            let keep = arena.keep_ahead(600, |piece| piece.fill(7));
            let (piece, absent) = keep.expect("there is room");
            pieces.push(piece);
            kept += 600;
            if let Some(absent) = absent {
                let first = absent.words.as_ptr() as usize;
                let range = first + absent.range.start..first + absent.range.end;
                assert!(ends.iter().all(|end| !range.contains(end)));
                ends.push(range.end - 1);
                asked += range.len();
                absent.make_present();
            }
        }
        assert!(asked > kept / 2, "{asked} of {kept}");
        assert!(asked <= kept + kept / 2 + 2 * AHEAD, "{asked} of {kept}");
        assert!(pieces.iter().all(|&piece| arena.get(piece) == [7; 600]));
    }

    #[test]
    fn threads_read_while_others_write() {
        let arena = Arena::default();
        std::thread::scope(|scope| {
            for thread in 1..=4u8 {
                let arena = &arena;
                scope.spawn(move || {
                    let keep = |_| arena.keep(100, |piece| piece.fill(thread));
                    let pieces: Vec<_> = (0..1000).map(keep).collect();
                    for piece in pieces {
                        assert_eq!(arena.get(piece.expect("there is room")), [thread; 100]);
                    }
                });
            }
        });
    }
}
