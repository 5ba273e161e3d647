//! The course of one process's evaluations, for people who ask where the time of a start goes.
//!
//! A text file, `timeline`, that the last process which was asked for one has put into the cache folder. Each
//! line is a list of fields between tabs, escaped as in the [journal](crate::journal). The first is `T`, the
//! second since 1970 when the cache was opened, the process, its program, for how many nanoseconds it was
//! watched, and how many evaluations were left out. One line of `D` for each span follows: the number of the
//! thread, start and length in nanoseconds since the cache was opened, what it was, and the name. It has at
//! most [`MOST`] spans, and names are cut off at [`LONGEST_NAME`] bytes. Lines of other sorts are passed over.

use crate::notes;
use crate::store::StoreError;
use std::path::Path;

/// So many spans are noted, the first ones.
pub const MOST: usize = 10_000;

/// So many bytes of a name are noted.
pub const LONGEST_NAME: usize = 120;

/// More than these spans take up.
const MAX_BYTES: u64 = 8 << 20;

const FILE: &str = "timeline";
/// The new one, before it is put in place.
const NEW_FILE: &str = "timeline.new";

/// What a span was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Opening the store.
    Open,
    /// Code was found by the text.
    Hit,
    /// Code was found by the analysed form.
    SecondHit,
    /// Compiled and kept.
    Miss,
    /// Compiled and not kept.
    Bypass,
    /// Found, refused and compiled.
    Rejected,
    /// The host's front end, or the compiler, gave an error.
    Failed,
}

impl Kind {
    /// All, in the order of this list.
    pub const ALL: [Self; 7] = [
        Self::Open,
        Self::Hit,
        Self::SecondHit,
        Self::Miss,
        Self::Bypass,
        Self::Rejected,
        Self::Failed,
    ];

    /// The name, as the file has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Hit => "hit",
            Self::SecondHit => "second hit",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

/// What took some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The thread; threads are numbered from 0 in the order in which they came.
    pub thread: u32,
    /// Nanoseconds since the cache was opened.
    pub start: u64,
    /// Nanoseconds.
    pub length: u64,
    /// What it was.
    pub kind: Kind,
    /// The definition's name, or its start.
    pub name: String,
}

/// The course of a process's evaluations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The second since 1970 when the cache was opened.
    pub time: u64,
    /// The process.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// For how many nanoseconds it was watched.
    pub length: u64,
    /// Spans that were left out, because there were too many.
    pub left_out: u64,
    /// The spans, in the order in which they ended.
    pub spans: Vec<Span>,
}

impl Timeline {
    /// Puts it in the place of what is in `folder`, the folder of a store's files.
    ///
    /// # Errors
    /// The file cannot be written, or is no file of its own: a link is not followed.
    pub fn write_to(&self, folder: &Path) -> Result<(), StoreError> {
        notes::replace(&folder.join(FILE), &folder.join(NEW_FILE), || {
            Ok(self.text())
        })
    }

    /// Reads that of `folder`, the folder of a store's files; `None` if no process has left one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>, StoreError> {
        Ok(Self::parse(&notes::read(&folder.join(FILE), MAX_BYTES)?))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let numbers = [
            self.time,
            u64::from(self.process),
            self.length,
            self.left_out,
        ];
        let [time, process, length, left_out] = numbers.map(|number| number.to_string());
        notes::push_line(
            &mut text,
            &["T", &time, &process, &self.program, &length, &left_out],
        );
        for span in self.spans.iter().take(MOST) {
            let numbers = [u64::from(span.thread), span.start, span.length];
            let [thread, start, length] = numbers.map(|number| number.to_string());
            let name = cut(&span.name);
            notes::push_line(
                &mut text,
                &["D", &thread, &start, &length, span.kind.name(), name],
            );
        }
        text
    }

    /// What any bytes say, if they say anything.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut timeline: Option<Self> = None;
        for line in text.lines() {
            let fields = notes::fields(line);
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            match (&fields[..], &mut timeline) {
                (["T", time, process, program, length, left_out, ..], None) => {
                    timeline = Some(Self {
                        time: time.parse().ok()?,
                        process: process.parse().ok()?,
                        program: (*program).to_owned(),
                        length: length.parse().ok()?,
                        left_out: left_out.parse().ok()?,
                        spans: Vec::new(),
                    });
                }
                (["D", thread, start, length, kind, name, ..], Some(timeline))
                    if timeline.spans.len() < MOST =>
                {
                    let span = || {
                        Some(Span {
                            thread: thread.parse().ok()?,
                            start: start.parse().ok()?,
                            length: length.parse().ok()?,
                            kind: Kind::ALL.into_iter().find(|one| one.name() == *kind)?,
                            name: cut(name).to_owned(),
                        })
                    };
                    timeline.spans.extend(span());
                }
                _ => {}
            }
        }
        timeline
    }
}

/// As much of a name as is noted.
pub fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(LONGEST_NAME))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        let kind = proptest::sample::select(Kind::ALL.to_vec());
        let span = (any::<u32>(), any::<u64>(), any::<u64>(), kind, ".{0,20}");
        let span = span.prop_map(|(thread, start, length, kind, name)| Span {
            thread,
            start,
            length,
            kind,
            name,
        });
        proptest::collection::vec(span, 0..6)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(spans in spans(), program in "\\PC{0,9}[\t\n\\\\]?", time in any::<u64>()) {
            let timeline = Timeline { time, process: 7, program, length: 9, left_out: 1, spans };
            let read = Timeline::parse(timeline.text().as_bytes());
            prop_assert_eq!(read, Some(timeline));
        }

        #[test]
        fn any_bytes_are_some_timeline(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Timeline::parse(&bytes);
        }
    }

    #[test]
    fn it_is_bounded_and_the_last_one_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Timeline::read(folder.path()).expect("none"), None);
        let span = Span {
            thread: 0,
            start: 1,
            length: 2,
            kind: Kind::Hit,
            name: "ä".repeat(1_000),
        };
        for time in [1, 2] {
            let timeline = Timeline {
                time,
                spans: vec![span.clone(); MOST + 10],
                ..Timeline::default()
            };
            timeline.write_to(folder.path()).expect("written");
        }
        let read = Timeline::read(folder.path()).expect("read").expect("one");
        assert_eq!((read.time, read.spans.len()), (2, MOST));
        assert_eq!(read.spans[0].name.len(), LONGEST_NAME);
        let files = std::fs::read_dir(folder.path()).expect("it can be read");
        assert_eq!(files.count(), 1, "nothing is left behind");
    }
}
