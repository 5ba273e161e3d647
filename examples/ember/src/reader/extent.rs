//! Where a form begins and ends: one pass over bytes that keeps track of delimiters and prefixes.

use super::token::ends_token;

/// Where lines begin, as far as the scanner has come.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) line_start: usize,
}

impl Place {
    /// The beginning of a text.
    pub(super) const START: Self = Self {
        line: 1,
        line_start: 0,
    };

    /// Counts the lines that end in `bytes`, which begin at `offset`.
    pub(super) fn pass(&mut self, bytes: &[u8], offset: usize) {
        for (index, &byte) in bytes.iter().enumerate() {
            if byte == b'\n' {
                self.newline(offset + index);
            }
        }
    }

    pub(super) fn newline(&mut self, at: usize) {
        self.line = self.line.saturating_add(1);
        self.line_start = at + 1;
    }

    pub(super) fn column(&self, text: &str, at: usize) -> u32 {
        let before = text.get(self.line_start..at).unwrap_or("");
        u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX)
    }
}

/// What the scanner is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    List,
    Vector,
    Braces,
    /// A prefix: one form is to come and completes it.
    Prefix,
    /// `^`: two forms are to come.
    Metadata,
    /// `#_`: one form is to come, and is none.
    Discard,
}

impl Inside {
    pub(super) fn describe(self) -> &'static str {
        match self {
            Inside::List => "a list",
            Inside::Vector => "a vector",
            Inside::Braces => "a map or set",
            Inside::Prefix => "a form after a prefix",
            Inside::Metadata => "metadata",
            Inside::Discard => "a form after #_",
        }
    }
}

/// A stack that needs no memory of its own for the depths that people write.
pub(super) struct Nest {
    shallow: [Inside; Self::SHALLOW],
    deep: Vec<Inside>,
    depth: usize,
    /// Where each of them starts; filled in only when an error is to be described.
    pub(super) starts: Option<Vec<usize>>,
}

impl Nest {
    const SHALLOW: usize = 64;

    pub(super) fn new(records_starts: bool) -> Self {
        Self {
            shallow: [Inside::List; Self::SHALLOW],
            deep: Vec::new(),
            depth: 0,
            starts: records_starts.then(Vec::new),
        }
    }

    #[inline]
    fn push(&mut self, inside: Inside, start: usize) {
        match self.shallow.get_mut(self.depth) {
            Some(place) => *place = inside,
            None => self.deep.push(inside),
        }
        self.depth += 1;
        if let Some(starts) = &mut self.starts {
            starts.push(start);
        }
    }

    #[inline]
    pub(super) fn top(&self) -> Option<Inside> {
        let index = self.depth.checked_sub(1)?;
        match self.shallow.get(index) {
            Some(inside) => Some(*inside),
            None => self.deep.last().copied(),
        }
    }

    #[inline]
    fn pop(&mut self) {
        if self.depth > Self::SHALLOW {
            self.deep.pop();
        }
        self.depth = self.depth.saturating_sub(1);
        if let Some(starts) = &mut self.starts {
            starts.pop();
        }
    }

    /// A form is complete: what it completes in turn. Says whether that is the top-level form.
    #[inline]
    fn complete(&mut self) -> bool {
        loop {
            match self.top() {
                None => return true,
                Some(Inside::Prefix) => self.pop(),
                Some(Inside::Metadata) => {
                    let start = self
                        .starts
                        .as_ref()
                        .and_then(|starts| starts.last().copied());
                    self.pop();
                    self.push(Inside::Prefix, start.unwrap_or(0));
                    return false;
                }
                Some(Inside::Discard) => {
                    self.pop();
                    return false;
                }
                Some(Inside::List | Inside::Vector | Inside::Braces) => return false,
            }
        }
    }
}

/// What stopped the scanner.
pub(super) enum Stop {
    /// The end of the text inside something, or inside a string that starts there.
    End { string: Option<usize> },
    /// A closing delimiter that closes nothing.
    Unmatched(usize),
    /// `#` before something that it means nothing with.
    Dispatch(usize),
}

/// Where a form is, and where its first line begins.
pub(super) struct Extent {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) begin: Place,
}

/// The extent of the first form at or after `at`.
pub(super) fn extent(
    bytes: &[u8],
    mut at: usize,
    place: &mut Place,
    nest: &mut Nest,
) -> Result<Option<Extent>, Stop> {
    let mut start = at;
    let mut begin = *place;
    loop {
        at = skip_blank(bytes, at, place);
        let Some(&byte) = bytes.get(at) else {
            return match nest.top() {
                None => Ok(None),
                Some(_) => Err(Stop::End { string: None }),
            };
        };
        if nest.depth == 0 {
            start = at;
            begin = *place;
        }
        let mut open = |inside, length| {
            nest.push(inside, at);
            length
        };
        let length = match byte {
            b'(' => open(Inside::List, 1),
            b'[' => open(Inside::Vector, 1),
            b'{' => open(Inside::Braces, 1),
            b'\'' | b'`' | b'@' => open(Inside::Prefix, 1),
            b'^' => open(Inside::Metadata, 1),
            b'~' => match bytes.get(at + 1) {
                Some(b'@') => open(Inside::Prefix, 2),
                _ => open(Inside::Prefix, 1),
            },
            b'#' => match bytes.get(at + 1) {
                Some(b'(') => open(Inside::List, 2),
                Some(b'{') => open(Inside::Braces, 2),
                Some(b'\'') => open(Inside::Prefix, 2),
                Some(b'_') => open(Inside::Discard, 2),
                Some(b'#') => 0,
                _ => return Err(Stop::Dispatch(at)),
            },
            _ => 0,
        };
        if length != 0 {
            at += length;
            continue;
        }
        at = match byte {
            b')' | b']' | b'}' => {
                let closed = match byte {
                    b')' => Inside::List,
                    b']' => Inside::Vector,
                    _ => Inside::Braces,
                };
                if nest.top() != Some(closed) {
                    return Err(Stop::Unmatched(at));
                }
                nest.pop();
                at + 1
            }
            b'"' => string_end(bytes, at, place)?,
            b'#' => token_end(bytes, at + 2),
            _ => token_end(bytes, at),
        };
        if nest.complete() {
            let end = at;
            return Ok(Some(Extent { start, end, begin }));
        }
    }
}

/// The first byte at or after `at` that is neither blank nor in a comment.
#[inline]
fn skip_blank(bytes: &[u8], mut at: usize, place: &mut Place) -> usize {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\n' => place.newline(at),
            b' ' | b'\t'..=b'\r' | b',' => {}
            b';' => {
                at = line_end(bytes, at);
                continue;
            }
            b'#' if bytes.get(at + 1) == Some(&b'!') => {
                at = line_end(bytes, at);
                continue;
            }
            _ => break,
        }
        at += 1;
    }
    at
}

fn line_end(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|&byte| byte != b'\n') {
        at += 1;
    }
    at
}

#[inline]
fn token_end(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|&byte| !ends_token(byte)) {
        at += 1;
    }
    at.min(bytes.len())
}

fn string_end(bytes: &[u8], start: usize, place: &mut Place) -> Result<usize, Stop> {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => {
                return Err(Stop::End {
                    string: Some(start),
                });
            }
            Some(b'"') => return Ok(at + 1),
            // Only a newline among what follows a backslash matters here: it is counted next.
            Some(b'\\') if bytes.get(at + 1) != Some(&b'\n') => at += 2,
            Some(b'\n') => {
                place.newline(at);
                at += 1;
            }
            Some(_) => at += 1,
        }
    }
}
