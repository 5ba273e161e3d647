//! Where something stands in the text of its top-level form.

/// A place in a top-level form: line and column, both 0-based and counted from the form's start.
///
/// The column is relative to the form's start on line 0 only; on later lines it is the column in
/// the file. It counts characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Lines after the form's first line.
    pub line: u32,
    /// Characters before this place in its line.
    pub column: u32,
}

impl Position {
    const COLUMN_BITS: u32 = 12;
    const MAX_COLUMN: u32 = (1 << Self::COLUMN_BITS) - 1;
    // One less than fits: the word of all ones stands for "no position".
    const MAX_LINE: u32 = (1 << (32 - Self::COLUMN_BITS)) - 2;

    /// A position.
    pub fn new(line: u32, column: u32) -> Self {
        Self { line, column }
    }

    /// The position as `line << 12 | column`; what does not fit becomes the largest that does.
    pub fn pack(self) -> u32 {
        self.line.min(Self::MAX_LINE) << Self::COLUMN_BITS | self.column.min(Self::MAX_COLUMN)
    }

    /// The position of a packed word.
    pub fn unpack(word: u32) -> Self {
        Self {
            line: word >> Self::COLUMN_BITS,
            column: word & Self::MAX_COLUMN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_round_trips_and_saturates() {
        let position = Position::new(1234, 567);
        assert_eq!(Position::unpack(position.pack()), position);
        let far = Position::unpack(Position::new(u32::MAX, u32::MAX).pack());
        assert_eq!(far, Position::new(Position::MAX_LINE, Position::MAX_COLUMN));
        assert_ne!(Position::new(u32::MAX, u32::MAX).pack(), u32::MAX);
    }
}
