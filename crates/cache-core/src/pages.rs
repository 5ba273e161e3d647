//! Pages that the system gives before they are used.
//!
//! Fresh memory gets its pages one by one, when they are written for the first time. That takes about a
//! microsecond each, of whatever happens to be under way; several at a time come for a third of that.

use std::mem::MaybeUninit;

/// Bytes that are made present at a time.
const STRIDE: usize = 256 << 10;

/// Has the system give the memory of `place` its pages now, as far as they are not there. What is in it stays as it
/// is. Where that cannot be had, pages come when they are written.
pub fn make_present<T>(place: &[T]) {
    #[cfg(target_os = "linux")]
    if size_of_val(place) > 0 {
        use rustix::mm::{Advice, madvise};
        let page = rustix::param::page_size();
        let place = place.as_ptr_range();
        let start = place.start as usize / page * page;
        let end = (place.end as usize).next_multiple_of(page);
        // SAFETY: each of these pages has a byte of `place`, so that it is mapped. The advice changes nothing of
        // what is in it, and fails where nothing can be written.
        let _ = unsafe { madvise(start as *mut _, end - start, Advice::LinuxPopulateWrite) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = place;
}

/// Makes room in `list` for one more at least, and makes the memory of that room present, or of its beginning if it
/// is large. Gives the length that `list` may grow to before this is worth calling again.
pub fn make_room<T>(list: &mut Vec<T>) -> usize {
    list.reserve(1);
    let length = list.len();
    let room: &[MaybeUninit<T>] = list.spare_capacity_mut();
    let room = room.get(..STRIDE / size_of::<T>().max(1)).unwrap_or(room);
    make_present(room);
    length + room.len().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_present_stays_what_it_is() {
        let mut bytes = vec![7u8; 3 * STRIDE];
        make_present(&bytes[1..STRIDE]);
        make_present(&bytes[5..5]);
        make_present::<u64>(&[]);
        assert!(bytes.iter().all(|byte| *byte == 7));
        bytes.push(8);
        let before = bytes.len();
        assert!(make_room(&mut bytes) > before);
        assert_eq!((bytes.len(), bytes.last()), (before, Some(&8)));
    }

    #[test]
    fn a_list_that_grows_is_told_to_ask_again() {
        let mut list: Vec<[u64; 4]> = Vec::new();
        let mut present = 0;
        let mut asked = 0;
        for number in 0..100_000 {
            if list.len() >= present {
                present = make_room(&mut list);
                asked += 1;
            }
            list.push([number; 4]);
        }
        assert!((1..200).contains(&asked), "{asked} times");
        assert!((0..).zip(&list).all(|(number, kept)| *kept == [number; 4]));
    }
}
