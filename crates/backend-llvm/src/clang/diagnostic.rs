//! What clang says about a text: its plain messages, read back.

use std::fmt;

/// How grave a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Beside a message: where a name was declared, what an overload expects.
    Note,
    /// Of an optimisation.
    Remark,
    /// There is an object all the same.
    Warning,
    /// There is no object.
    Error,
    /// Nothing behind it was looked at, as of a header that is missing.
    Fatal,
}

impl Severity {
    /// Whether there is no object.
    pub fn is_error(self) -> bool {
        self >= Self::Error
    }

    const NAMES: [(&'static str, Self); 5] = [
        ("fatal error: ", Self::Fatal),
        ("error: ", Self::Error),
        ("warning: ", Self::Warning),
        ("remark: ", Self::Remark),
        ("note: ", Self::Note),
    ];
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, severity)| severity == self);
        out.write_str(name.map_or("", |(name, _)| name.trim_end_matches(": ")))
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// The file, as clang names it: `<stdin>` for the unit. Empty if it is about no file.
    pub file: String,
    /// The line, from 1; 0 if it is about none.
    pub line: u32,
    /// The column, from 1, in bytes; 0 if it is about none.
    pub column: u32,
    /// The message, with the flag that governs it: `unused variable 'x' [-Wunused-variable]`.
    pub message: String,
    /// The source line and marks below it, and what file was included from where, as clang shows them.
    pub context: String,
    /// What belongs to it.
    pub notes: Vec<Note>,
}

/// A message that belongs to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The file, as clang names it.
    pub file: String,
    /// The line, from 1; 0 if it is about none.
    pub line: u32,
    /// The column, from 1; 0 if it is about none.
    pub column: u32,
    /// The message.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(out, "{}:", self.file)?;
            if self.line > 0 {
                write!(out, "{}:{}:", self.line, self.column)?;
            }
            write!(out, " ")?;
        }
        write!(out, "{}: {}", self.severity, self.message)
    }
}

/// The messages in clang's output. What is no message is the context of the one before it, or, above an
/// error in a header, of the one behind it.
pub(crate) fn parse(output: &str) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut before = String::new();
    for line in output.lines() {
        let Some((severity, place, message)) = message(line) else {
            let is_ahead = line.starts_with("In file included from ");
            match found.last_mut() {
                Some(last) if !is_ahead => add_line(&mut last.context, line),
                _ => add_line(&mut before, line),
            }
            continue;
        };
        let (file, line, column) = position(place);
        let message = message.to_owned();
        match found.last_mut() {
            Some(last) if severity == Severity::Note => last.notes.push(Note {
                file,
                line,
                column,
                message,
            }),
            _ => found.push(Diagnostic {
                severity,
                file,
                line,
                column,
                message,
                context: std::mem::take(&mut before),
                notes: Vec::new(),
            }),
        }
    }
    found
}

fn add_line(text: &mut String, line: &str) {
    // The tally at the end is about no message.
    if !line.ends_with(" generated.") {
        text.push_str(line);
        text.push('\n');
    }
}

/// Severity, place and words of a line that is a message.
fn message(line: &str) -> Option<(Severity, &str, &str)> {
    let found = Severity::NAMES.iter().filter_map(|(name, severity)| {
        // The place is before it, and ends in a colon; or it is about no file.
        let at = match line.find(&format!(": {name}")) {
            Some(at) => at + 2,
            None if line.starts_with(name) => 0,
            None => return None,
        };
        Some((at, name, *severity))
    });
    // A message may itself hold such a word: the first counts, and of "fatal error" the longer one.
    let (at, name, severity) = found.min_by_key(|(at, name, _)| (*at, usize::MAX - name.len()))?;
    let place = line.get(..at)?.trim_end_matches(": ");
    let is_place = place.is_empty() || place.starts_with("clang") || has_position(place);
    is_place.then(|| (severity, place, line.get(at + name.len()..).unwrap_or("")))
}

/// Whether it is `FILE:LINE:COLUMN` or `FILE:LINE`, or a file alone: not a line of source, which begins
/// with its number and a bar.
fn has_position(place: &str) -> bool {
    !place.contains(" | ") && !place.starts_with(' ')
}

/// `FILE:LINE:COLUMN`, of which the latter may be missing.
fn position(place: &str) -> (String, u32, u32) {
    let mut parts = place.rsplitn(3, ':');
    let (last, middle, first) = (parts.next(), parts.next(), parts.next());
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
    match (first, number(middle), number(last)) {
        (Some(file), Some(line), Some(column)) => (file.to_owned(), line, column),
        _ => match place.rsplit_once(':') {
            Some((file, line)) if line.parse::<u32>().is_ok() => {
                (file.to_owned(), line.parse().unwrap_or(0), 0)
            }
            _ => (place.to_owned(), 0, 0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_positions_notes_and_context() {
        let output = "\
In file included from <stdin>:3:
inc/x.hpp:1:12: error: redefinition of 'xx'
    1 | inline int xx(){return 3;} // error: no message
      |            ^
inc/x.hpp:1:12: note: previous definition is here
<stdin>:2:2: warning: hello: error: and more [-W#warnings]
    2 | #warning hello
user.em:7:25: fatal error: 'nope.h' file not found
1 warning and 2 errors generated.
";
        let found = parse(output);
        assert_eq!(found.len(), 3, "{found:?}");
        let first = &found[0];
        assert_eq!(
            (
                first.severity,
                first.file.as_str(),
                first.line,
                first.column
            ),
            (Severity::Error, "inc/x.hpp", 1, 12)
        );
        assert!(
            first
                .context
                .starts_with("In file included from <stdin>:3:\n")
        );
        assert_eq!(first.notes.len(), 1);
        assert_eq!(first.notes[0].message, "previous definition is here");
        assert_eq!(found[1].severity, Severity::Warning);
        assert_eq!(found[1].message, "hello: error: and more [-W#warnings]");
        assert_eq!(
            found[2].to_string(),
            "user.em:7:25: fatal error: 'nope.h' file not found"
        );
    }

    #[test]
    fn messages_about_no_file() {
        let found = parse(
            "clang++: error: unknown argument: '-fnope'\n\
             fatal error: file '/x.hpp' has been modified since the precompiled header was built\n\
             error: unable to create target: 'No available targets'\n\
             warning: argument unused during compilation: '-lfoo'\n",
        );
        let severities: Vec<_> = found.iter().map(|one| one.severity).collect();
        assert_eq!(
            severities,
            [
                Severity::Error,
                Severity::Fatal,
                Severity::Error,
                Severity::Warning
            ]
        );
        assert_eq!(
            found[0].to_string(),
            "clang++: error: unknown argument: '-fnope'"
        );
        assert_eq!((found[1].file.as_str(), found[1].line), ("", 0));
        assert!(parse("Stack dump:\n0. Program arguments: clang\n").is_empty());
    }
}
