//! Exceptions: what is thrown, where it passed, and how it is shown.

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;

use crate::value::{Position, Value, View, next_serial, print_readable};

/// Says that an exception is pending in the [`Context`](crate::context::Context).
///
/// Only a context makes one. Whoever gets one passes it on or takes the exception with
/// [`Context::take_thrown`](crate::context::Context::take_thrown).
#[must_use = "an exception is pending: pass it on, or take it from the context"]
#[derive(Debug)]
pub struct Raised(pub(crate) ());

impl fmt::Display for Raised {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an exception is pending")
    }
}

/// Where a top-level form starts: positions inside it are relative to this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file's name as it is shown.
    pub file: Rc<str>,
    /// The line of the form's first character, from 1.
    pub line: u32,
    /// The column of the form's first character, from 1.
    pub column: u32,
}

impl Origin {
    /// An origin.
    pub fn new(file: impl Into<Rc<str>>, line: u32, column: u32) -> Self {
        Self {
            file: file.into(),
            line,
            column,
        }
    }

    /// The line and column in the file, from 1, of a position in the form.
    pub fn locate(&self, position: Position) -> (u32, u32) {
        let column = match position.line {
            0 => self.column.saturating_add(position.column),
            _ => position.column.saturating_add(1),
        };
        (self.line.saturating_add(position.line), column)
    }

    /// `file:line:column` of a position in the form.
    pub fn describe(&self, position: Position) -> String {
        let (line, column) = self.locate(position);
        format!("{}:{line}:{column}", self.file)
    }
}

/// What code needs to say where an exception passed: where its form starts, and the positions in the form
/// that it speaks of by number.
#[derive(Debug)]
pub struct Site {
    origin: Origin,
    positions: OnceCell<Box<[Position]>>,
}

impl Site {
    /// The name of the table of positions that travels with code.
    pub const TABLE: &str = "ember positions";

    /// A site whose positions are not known yet.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            positions: OnceCell::new(),
        }
    }

    /// Where the form starts.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Takes the table that [`Site::table`] made. The first one counts.
    pub fn set_table(&self, table: &[u8]) {
        let words = table
            .chunks_exact(4)
            .map(|word| word.try_into().unwrap_or_default());
        let positions = words.map(|word| Position::unpack(u32::from_le_bytes(word)));
        let _ = self.positions.set(positions.collect());
    }

    /// Packed positions as a table, four bytes each, in little-endian order.
    pub fn table(positions: &[u32]) -> Vec<u8> {
        positions
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    /// A position by its number; the start of the form if there is no such number.
    pub fn position(&self, number: u64) -> Position {
        let positions = self.positions.get().map(|positions| &**positions);
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let position = positions.unwrap_or_default().get(number);
        position.copied().unwrap_or_default()
    }
}

/// One frame that an exception left.
#[derive(Clone, Debug)]
pub struct TraceEntry {
    /// Where the frame's definition starts.
    pub origin: Origin,
    /// Where in the definition the exception came up or passed.
    pub position: Position,
    /// The function's name, a symbol or string; nil at top level and in functions without a name.
    pub function: Value,
}

/// The frames that an exception left, innermost first; the outermost of a deep recursion are only
/// counted.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    entries: Vec<TraceEntry>,
    omitted: usize,
}

impl Trace {
    /// How many frames are kept.
    pub const CAPACITY: usize = 64;

    /// Adds the next frame outwards.
    pub fn push(&mut self, entry: impl FnOnce() -> TraceEntry) {
        if self.entries.len() < Self::CAPACITY {
            self.entries.push(entry());
        } else {
            self.omitted += 1;
        }
    }

    /// The kept frames, innermost first.
    pub fn entries(&self) -> &[TraceEntry] {
        &self.entries
    }

    /// How many frames were left after those.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

/// An exception object, as `ex-info` and the runtime make them.
pub struct Exception {
    message: Box<str>,
    data: Value,
    /// Where it passed when it was last thrown, for when it is thrown again.
    pub(crate) trace: RefCell<Trace>,
    serial: u64,
}

impl Exception {
    /// An exception with a message and data, usually a map.
    pub fn new(message: impl Into<Box<str>>, data: Value) -> Self {
        Self {
            message: message.into(),
            data,
            trace: RefCell::default(),
            serial: next_serial(),
        }
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the thrower added.
    pub fn data(&self) -> &Value {
        &self.data
    }

    /// This exception's place in the order of identities.
    pub fn serial(&self) -> u64 {
        self.serial
    }
}

/// A thrown value and the frames that it left.
#[derive(Clone, Debug)]
pub struct Thrown {
    /// What was thrown; any value.
    pub value: Value,
    /// Where it passed.
    pub trace: Trace,
}

impl Thrown {
    /// What went wrong, without where.
    pub fn message(&self) -> String {
        match self.value.view() {
            View::Exception(exception) => match exception.data().view() {
                View::Nil => exception.message().to_owned(),
                View::Map(map) if map.is_empty() => exception.message().to_owned(),
                _ => format!("{} {:?}", exception.message(), exception.data()),
            },
            _ => format!("uncaught: {}", print_readable(&self.value)),
        }
    }
}

/// `file:line:column: message`, then a line for each frame.
impl fmt::Display for Thrown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.trace.entries();
        if let Some(first) = entries.first() {
            write!(out, "{}: ", first.origin.describe(first.position))?;
        }
        write!(out, "{}", self.message())?;
        if let [only] = entries
            && only.function.is_nil()
            && self.trace.omitted() == 0
        {
            return Ok(());
        }
        for entry in entries {
            let place = entry.origin.describe(entry.position);
            match entry.function.is_nil() {
                true => write!(out, "\n  at {place}")?,
                false => write!(out, "\n  at {} ({place})", entry.function)?,
            }
        }
        match self.trace.omitted() {
            0 => Ok(()),
            omitted => write!(out, "\n  ... and {omitted} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Name;

    fn entry(line: u32, column: u32, function: &str) -> TraceEntry {
        TraceEntry {
            origin: Origin::new("a.em", 10, 5),
            position: Position::new(line, column),
            function: match function {
                "" => Value::NIL,
                name => Value::symbol(Name::parse(name)),
            },
        }
    }

    fn thrown(entries: impl IntoIterator<Item = TraceEntry>) -> Thrown {
        let mut trace = Trace::default();
        for entry in entries {
            trace.push(|| entry);
        }
        let exception = Exception::new("division by zero", Value::map([]));
        Thrown {
            value: Value::exception(exception),
            trace,
        }
    }

    #[test]
    fn columns_are_relative_on_the_first_line_only() {
        let origin = Origin::new("a.em", 10, 5);
        assert_eq!(origin.locate(Position::new(0, 0)), (10, 5));
        assert_eq!(origin.locate(Position::new(0, 3)), (10, 8));
        assert_eq!(origin.locate(Position::new(2, 3)), (12, 4));
    }

    #[test]
    fn a_site_gives_positions_by_number() {
        let site = Site::new(Origin::new("a.em", 10, 5));
        assert_eq!(site.position(0), Position::default());
        let positions = [Position::new(0, 3), Position::new(2, 1)];
        site.set_table(&Site::table(&positions.map(Position::pack)));
        assert_eq!([0, 1].map(|number| site.position(number)), positions);
        assert_eq!(site.position(2), Position::default());
        assert_eq!(site.position(u64::MAX), Position::default());
    }

    #[test]
    fn the_place_comes_first_and_frames_follow() {
        assert_eq!(thrown([]).to_string(), "division by zero");
        assert_eq!(
            thrown([entry(0, 1, "")]).to_string(),
            "a.em:10:6: division by zero"
        );
        assert_eq!(
            thrown([entry(1, 0, "user/f"), entry(0, 0, "")]).to_string(),
            "a.em:11:1: division by zero\n  at user/f (a.em:11:1)\n  at a.em:10:5"
        );
    }

    #[test]
    fn a_long_trace_is_cut_and_counted() {
        let thrown = thrown((0..100).map(|_| entry(0, 0, "f")));
        assert_eq!(thrown.trace.entries().len(), Trace::CAPACITY);
        assert!(thrown.to_string().ends_with("\n  ... and 36 more"));
    }

    #[test]
    fn any_value_can_be_shown() {
        let thrown = Thrown {
            value: Value::string("x"),
            trace: Trace::default(),
        };
        assert_eq!(thrown.to_string(), "uncaught: \"x\"");
    }
}
