//! A list that grows without moving what it has, so that no definition waits for all others to be moved.

use rekindle_cache_core::pages::make_present;
use std::ops::{Index, IndexMut};

/// Elements of the first part; each other one has twice as many as that before it.
const FIRST: usize = 1 << 10;

/// Bytes that are made present at a time, while all threads wait that want to define something.
const STRIDE: usize = 64 << 10;

/// One part behind the other.
#[derive(Debug)]
pub(super) struct Parts<T> {
    parts: Vec<Vec<T>>,
    length: usize,
    /// How many there may be in the last part before more memory is made present for it.
    room: usize,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            length: 0,
            room: 0,
        }
    }
}

impl<T> Parts<T> {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn push(&mut self, element: T) {
        let (number, offset) = locate(self.length);
        if number == self.parts.len() {
            self.parts.push(Vec::with_capacity(FIRST << number));
            // The first comes as it is used: most programs are small.
            self.room = if number == 0 { FIRST } else { 0 };
        }
        let part = &mut self.parts[number];
        if offset >= self.room {
            let room = part.spare_capacity_mut();
            let room = room.get(..STRIDE / size_of::<T>().max(1)).unwrap_or(room);
            make_present(room);
            self.room = offset + room.len().max(1);
        }
        part.push(element);
        self.length += 1;
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.parts.iter_mut().flatten()
    }
}

impl<T> Index<usize> for Parts<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        let (number, offset) = locate(index);
        &self.parts[number][offset]
    }
}

impl<T> IndexMut<usize> for Parts<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        let (number, offset) = locate(index);
        &mut self.parts[number][offset]
    }
}

/// The part that has the element with this number, and its place there.
#[inline]
fn locate(index: usize) -> (usize, usize) {
    let number = (index / FIRST + 1).ilog2() as usize;
    (number, index - ((FIRST << number) - FIRST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_where_they_are_and_what_they_were() {
        let mut parts = Parts::default();
        let mut places = Vec::new();
        for number in 0..10 * FIRST {
            assert_eq!(parts.len(), number);
            parts.push(number);
            places.push(std::ptr::from_ref(&parts[number]));
        }
        parts[3] += 7;
        for (number, place) in places.into_iter().enumerate() {
            let expected = if number == 3 { 10 } else { number };
            assert_eq!(parts[number], expected);
            assert_eq!(std::ptr::from_ref(&parts[number]), place);
        }
        parts.iter_mut().for_each(|element| *element = 1);
        assert!((0..parts.len()).all(|number| parts[number] == 1));
    }
}
