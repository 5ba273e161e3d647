//! Memory for what is written once and kept as long as its owner: pieces one behind the other in large
//! chunks, which never move.
//!
//! An allocation for each of ten thousand definitions costs more than its call. What the system's allocator
//! has for a second thread grows by a page at a time, each of them a system call that holds up every
//! thread which touches new memory; and half a line of each piece is the allocator's.

use rustix::mm::{Advice, madvise};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

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
    words: Box<[UnsafeCell<u64>]>,
    /// How many words from the first are written, which are never written again.
    written: AtomicUsize,
}

// SAFETY: the words below `written` are read and never written; those above are written by whoever holds the
// lock of the arena's `taken`, and read by nobody until `written` says so.
unsafe impl Sync for Chunk {}

/// Where a piece of an arena lies. It begins at a multiple of eight bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Piece {
    /// In words.
    start: u32,
    /// In bytes.
    size: u32,
}

impl Arena {
    /// Keeps a piece of `size` bytes, which are zero until `write` fills them. `None` if there is no room.
    pub(crate) fn keep(&self, size: usize, write: impl FnOnce(&mut [u8])) -> Option<Piece> {
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
        chunk.make_present(place, &mut taken.present);
        let start = UnsafeCell::raw_get(place.as_ptr());
        // SAFETY: `place` has so many bytes, of which any values are values. They lie above `written`, so that
        // nobody reads them, and the lock that is held keeps everybody else from writing.
        write(unsafe { std::slice::from_raw_parts_mut(start.cast(), size) });
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
        let start = UnsafeCell::raw_get(chunk.words.get(offset..end)?.as_ptr());
        // SAFETY: the words of that range are written, and have so many bytes; they stay as they are and where
        // they are as long as the arena does.
        Some(unsafe { std::slice::from_raw_parts(start.cast(), size) })
    }
}

impl Chunk {
    fn new(length: usize) -> Self {
        let words = Box::<[UnsafeCell<u64>]>::new_zeroed_slice(length);
        Self {
            // SAFETY: zero is a word.
            words: unsafe { words.assume_init() },
            written: AtomicUsize::new(0),
        }
    }

    /// Sees to it that the memory of `place` is there, and that behind it, where that is worth while.
    #[inline]
    fn make_present(&self, place: &[UnsafeCell<u64>], present: &mut usize) {
        let words = self.words.as_ptr_range();
        let (first, end) = (words.start as usize, words.end as usize);
        let is_behind = !(first..=end).contains(present);
        if end - first >= LARGE && (is_behind || place.as_ptr_range().end as usize > *present) {
            *present = make_present(place.as_ptr() as usize, end);
        }
    }
}

/// Makes memory present from `start` on, and not beyond `end`; gives where that ends.
#[cold]
fn make_present(start: usize, end: usize) -> usize {
    let page = rustix::param::page_size();
    let from = start.next_multiple_of(page);
    let to = from.saturating_add(PRESENT).min(end / page * page);
    if to > from {
        // SAFETY: this changes nothing that is there, and fails where there is nothing. Kernels that do not know it
        // give the pages when they are written.
        let _ = unsafe { madvise(from as *mut _, to - from, Advice::LinuxPopulateWrite) };
    }
    to.max(start)
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
