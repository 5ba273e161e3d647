//! Finds the top-level forms of a text without reading them.
//!
//! A definition is looked up in the cache by its text, so on a hit nothing else is done with the
//! text than this: one pass over its bytes that makes no value and allocates nothing. It accepts
//! every text that the reader accepts, with the same extents, and refuses every text whose
//! delimiters do not match.

use super::extent::{Extent, Inside, Nest, Place, Stop, extent};

/// A top-level form's place in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form<'a> {
    /// Byte offset of its first character.
    pub start: usize,
    /// Byte offset after its last character.
    pub end: usize,
    /// The line of its first character, from 1.
    pub line: u32,
    /// The column of its first character, from 1, in characters.
    pub column: u32,
    /// Of a list, the symbol that it starts with.
    pub head: Option<&'a str>,
    /// Of a list whose head begins with `def`, the symbol that comes second, without its metadata.
    pub name: Option<&'a str>,
}

/// Why a text has no further form, though it has not ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
#[non_exhaustive]
pub struct ScanError {
    /// What is wrong.
    pub message: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// Whether more text could make it right: the text ends inside a form.
    pub is_incomplete: bool,
}

/// The first form of `text` at or after the byte `from`, which is not inside a form.
///
/// # Errors
///
/// Delimiters that do not match, or the end of the text inside a form.
pub fn scan(text: &str, from: usize) -> Result<Option<Form<'_>>, ScanError> {
    let mut scanner = Scanner::new(text);
    let before = text.as_bytes().get(..from).unwrap_or(text.as_bytes());
    scanner.place.pass(before, 0);
    scanner.offset = before.len();
    scanner.next_form()
}

/// Goes through the forms of a text.
pub struct Scanner<'a> {
    text: &'a str,
    offset: usize,
    place: Place,
}

impl<'a> Scanner<'a> {
    /// Starts at the beginning of `text`.
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            offset: 0,
            place: Place::START,
        }
    }

    /// Goes through the elements of the list `form` of `text` as if they were top-level forms.
    pub fn elements(text: &'a str, form: &Form<'a>) -> Self {
        let inside = form.end.checked_sub(1).and_then(|end| text.get(..end));
        let before = text.get(..form.start).unwrap_or_default();
        Self {
            text: inside.unwrap_or_default(),
            offset: form.start + 1,
            place: Place {
                line: form.line,
                line_start: before.rfind('\n').map_or(0, |newline| newline + 1),
            },
        }
    }

    /// Byte offset after the last form.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The next form, or `None` at the end.
    ///
    /// # Errors
    ///
    /// Delimiters that do not match, or the end of the text inside a form. The scanner stays where
    /// it was.
    pub fn next_form(&mut self) -> Result<Option<Form<'a>>, ScanError> {
        let mut place = self.place;
        let found = extent(
            self.text.as_bytes(),
            self.offset,
            &mut place,
            &mut Nest::new(false),
        );
        let Extent { start, end, begin } = match found {
            Ok(Some(extent)) => extent,
            Ok(None) => {
                self.offset = self.text.len();
                self.place = place;
                return Ok(None);
            }
            Err(_) => return Err(self.describe()),
        };
        self.offset = end;
        self.place = place;
        let (head, name) = head_and_name(self.text, start);
        Ok(Some(Form {
            start,
            end,
            line: begin.line,
            column: begin.column(self.text, start),
            head,
            name,
        }))
    }

    /// Scans again, slowly, to say what is wrong.
    #[cold]
    fn describe(&self) -> ScanError {
        let mut place = self.place;
        let mut nest = Nest::new(true);
        let stop = match extent(self.text.as_bytes(), self.offset, &mut place, &mut nest) {
            Err(stop) => stop,
            Ok(_) => Stop::End { string: None },
        };
        let byte = |at: usize| self.text.get(at..).and_then(|text| text.chars().next());
        let innermost = nest
            .starts
            .as_ref()
            .and_then(|starts| starts.last().copied());
        let (at, message, is_incomplete) = match stop {
            Stop::End {
                string: Some(start),
            } => {
                let line = self.line_of(start);
                (
                    start,
                    format!("end of text inside a string that starts at line {line}"),
                    true,
                )
            }
            Stop::End { string: None } => {
                let start = innermost.unwrap_or(self.offset);
                let what = nest.top().map_or("a form", Inside::describe);
                let line = self.line_of(start);
                (
                    start,
                    format!("end of text inside {what} that starts at line {line}"),
                    true,
                )
            }
            Stop::Unmatched(at) => {
                let found = byte(at).unwrap_or(')');
                let message = match (nest.top(), innermost) {
                    (Some(inside), Some(start)) => format!(
                        "unmatched '{found}' inside {} that starts at line {}",
                        inside.describe(),
                        self.line_of(start)
                    ),
                    _ => format!("unmatched '{found}'"),
                };
                (at, message, false)
            }
            Stop::Dispatch(at) => {
                let after = byte(at + 1).map(String::from).unwrap_or_default();
                (at, format!("'#{after}' means nothing"), after.is_empty())
            }
        };
        let mut place = self.place;
        if let Some(passed) = self.text.as_bytes().get(self.offset..at) {
            place.pass(passed, self.offset);
        }
        ScanError {
            message,
            line: place.line,
            column: place.column(self.text, at),
            is_incomplete,
        }
    }

    fn line_of(&self, at: usize) -> u32 {
        let mut place = self.place;
        if let Some(passed) = self.text.as_bytes().get(self.offset..at) {
            place.pass(passed, self.offset);
        }
        place.line
    }
}

/// The symbol that the list at `start` starts with, and the name that it defines.
fn head_and_name(text: &str, start: usize) -> (Option<&str>, Option<&str>) {
    if text.as_bytes().get(start) != Some(&b'(') {
        return (None, None);
    }
    let Some((head, after)) = element(text, start + 1) else {
        return (None, None);
    };
    if !is_symbol(head) {
        return (None, None);
    }
    if !head.starts_with("def") {
        return (Some(head), None);
    }
    let mut name = element(text, after).map(|(element, _)| element);
    while let Some(inner) = name.and_then(|name| name.strip_prefix('^')) {
        // Past the metadata itself.
        name = element(inner, 0)
            .and_then(|(_, after)| element(inner, after))
            .map(|(element, _)| element);
    }
    (Some(head), name.filter(|name| is_symbol(name)))
}

/// The text of the next form at or after `from` in a list, and where it ends.
fn element(text: &str, from: usize) -> Option<(&str, usize)> {
    let mut place = Place::START;
    let found = extent(text.as_bytes(), from, &mut place, &mut Nest::new(false));
    let Extent { start, end, .. } = found.ok()??;
    Some((text.get(start..end)?, end))
}

fn is_symbol(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters.next();
    let is_number = |first: char| first.is_ascii_digit();
    match first {
        None => false,
        Some('(' | '[' | '{' | '"' | '\'' | '`' | '~' | '@' | '^' | '#' | ':') => false,
        Some('+' | '-') => !characters.next().is_some_and(is_number),
        Some(first) => !is_number(first),
    }
}
