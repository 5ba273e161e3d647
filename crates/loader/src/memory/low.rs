//! Addresses in the low 2 GiB, for code that is not position-independent.
//!
//! The kernel has a flag for a mapping there (`MAP_32BIT`), but looks for one piece, in the upper half. A
//! window is two pieces with a distance between them, so the free addresses are read off the list of
//! mappings. Windows lie as high as they can: the heap of a program that is linked to a low address
//! grows upwards from there.

use super::window::DISTANCE;
use crate::image::format::LOW_MARGIN;
use crate::modules;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::io;
use std::ops::Range;

/// Where windows of low images lie.
const LOW: Range<usize> = LOW_MARGIN as usize..(1 << 31) - LOW_MARGIN as usize;

/// How often a place is looked for that somebody else takes meanwhile.
const TRIES: usize = 16;

/// Reserves `size` bytes and, [`DISTANCE`] above, `size` bytes more, all in the low 2 GiB.
pub(super) fn reserve(size: usize) -> io::Result<usize> {
    if size > DISTANCE {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    for _ in 0..TRIES {
        let Some(start) = find(&free(&mappings()?), size) else {
            break;
        };
        if let Some(first) = take(start, size) {
            if take(start + DISTANCE, size).is_some() {
                return Ok(first);
            }
            give_back(start, size);
        }
    }
    Err(io::ErrorKind::OutOfMemory.into())
}

/// Reserves exactly these addresses, if nobody has them.
fn take(start: usize, size: usize) -> Option<usize> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
    // SAFETY: the flag keeps what is there; before Linux 4.17 the address is a mere wish.
    let found = unsafe { mmap_anonymous(start as *mut _, size, ProtFlags::empty(), flags) };
    let found = found.ok()? as usize;
    if found != start {
        give_back(found, size);
        return None;
    }
    Some(start)
}

fn give_back(start: usize, size: usize) {
    // SAFETY: the range was just reserved, and nothing points into it.
    let _ = unsafe { munmap(start as *mut _, size) };
}

/// A mapping of this process.
struct Mapping {
    range: Range<usize>,
    is_executable: bool,
}

/// This process's mappings, in the order of their addresses.
fn mappings() -> io::Result<Vec<Mapping>> {
    // Paths in it are of any bytes.
    let list = std::fs::read("/proc/self/maps")?;
    let lines = list.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(mapping).collect())
}

/// A line such as `00400000-00401000 r-xp ...`.
fn mapping(line: &[u8]) -> Option<Mapping> {
    let mut words = line.split(|byte| *byte == b' ');
    let (start, end) = str::from_utf8(words.next()?).ok()?.split_once('-')?;
    let address = |digits| usize::from_str_radix(digits, 16).ok();
    Some(Mapping {
        range: address(start)?..address(end)?,
        is_executable: words.next()?.contains(&b'x'),
    })
}

/// What is free of [`LOW`].
fn free(mappings: &[Mapping]) -> Vec<Range<usize>> {
    let mut gaps = Vec::new();
    let mut at = LOW.start;
    for mapping in mappings {
        let end = mapping.range.start.min(LOW.end);
        if at < end {
            gaps.push(at..end);
        }
        at = at.max(mapping.range.end);
    }
    if at < LOW.end {
        gaps.push(at..LOW.end);
    }
    gaps
}

/// The highest address from which on `size` bytes are free, and as many at the distance of data.
fn find(gaps: &[Range<usize>], size: usize) -> Option<usize> {
    let fits = |code: &Range<usize>, data: &Range<usize>| {
        let end = code.end.min(data.end.checked_sub(DISTANCE)?);
        let start = end.checked_sub(size)?;
        (start >= code.start && start + DISTANCE >= data.start).then_some(start)
    };
    let pairs = gaps
        .iter()
        .flat_map(|code| gaps.iter().map(move |data| (code, data)));
    pairs.filter_map(|(code, data)| fits(code, data)).max()
}

/// Tells functions from data, as well as can be.
#[derive(Default)]
pub(crate) struct Functions {
    /// Once they were asked for.
    mappings: Option<Vec<Mapping>>,
}

impl Functions {
    /// Whether a function begins at `address`. The dynamic linker knows what modules give out; of others
    /// it is only known whether they can be executed.
    pub(crate) fn has(&mut self, address: usize) -> bool {
        match modules::is_function(address) {
            Some(is_function) => is_function,
            None => {
                let holds =
                    |mapping: &Mapping| mapping.is_executable && mapping.range.contains(&address);
                let read = || mappings().unwrap_or_default();
                self.mappings.get_or_insert_with(read).iter().any(holds)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_place_is_free_and_so_is_that_of_its_data() {
        let used = |ranges: &[Range<usize>]| -> Vec<Mapping> {
            let mapping = |range: &Range<usize>| Mapping {
                range: range.clone(),
                is_executable: false,
            };
            ranges.iter().map(mapping).collect()
        };
        let high = 1 << 46;
        let place = |ranges: &[Range<usize>], size| find(&free(&used(ranges)), size);
        let first = LOW.end - DISTANCE - 64 * MIB;
        assert_eq!(place(&[0..4096, high..high + MIB], 64 * MIB), Some(first));
        // The next window: its data lies below that of the first.
        let taken = [first..first + 64 * MIB, first + DISTANCE..LOW.end];
        assert_eq!(place(&taken, 64 * MIB), Some(first - 64 * MIB));
        // Nothing is free but two places that are no window's distance from each other.
        let ends = [0..3 * MIB, 4 * MIB..500 * MIB, 501 * MIB..high];
        assert_eq!(place(&ends, MIB), None);
        let ends = [
            0..3 * MIB,
            4 * MIB..3 * MIB + DISTANCE,
            4 * MIB + DISTANCE..high,
        ];
        assert_eq!(place(&ends, MIB), Some(3 * MIB));
        assert_eq!(place(&ends, MIB + 4096), None);
        assert_eq!(place(&[0..4096, 4096..high], 4096), None);
    }

    #[test]
    fn what_is_reserved_is_low() {
        let start = reserve(MIB).expect("a test program has low addresses to spare");
        assert!(LOW.contains(&start) && LOW.contains(&(start + DISTANCE + MIB - 1)));
        let other = reserve(MIB).expect("and more of them");
        assert!(start.abs_diff(other) >= MIB);
        for start in [start, start + DISTANCE, other, other + DISTANCE] {
            give_back(start, MIB);
        }
        assert!(reserve(DISTANCE + 1).is_err());
    }

    #[test]
    fn code_is_told_from_data() {
        let mut functions = Functions::default();
        assert!(functions.has(reserve as *const () as usize));
        assert!(functions.has(libc::labs as *const () as usize));
        let local = 1;
        assert!(!functions.has(&raw const local as usize));
    }

    #[test]
    fn paths_are_of_any_bytes() {
        let line = b"00400000-00401000 r-xp 00000000 08:01 77  /lib/\xff\xfe.so";
        let mapping = mapping(line).expect("it is a mapping");
        assert_eq!(mapping.range, 0x40_0000..0x40_1000);
        assert!(mapping.is_executable);
    }
}
