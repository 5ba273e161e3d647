//! The headers that a text may ask for: found in the text, whatever its conditions say.
//!
//! clang reports what it read, and not where it looked in vain. So the directives are read here as well. A
//! directive in a branch that is not taken, in a comment or in a string is found too, which costs a look at
//! a few more files and is never wrong.

/// A header that a text asks for by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Directive {
    /// The name between the quotes or brackets.
    pub(crate) name: String,
    /// In quotes: looked for beside the file that asks, first.
    pub(crate) is_quoted: bool,
    /// `#include_next`: looked for behind the folder of the file that asks.
    pub(crate) is_next: bool,
    /// `__has_include`: whether it is there counts, even if nobody reads it.
    pub(crate) is_question: bool,
}

/// What a text asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    /// By name.
    pub(crate) named: Vec<Directive>,
    /// Whether it includes by the value of a macro.
    pub(crate) has_computed: bool,
    /// Whether it asks for the header in the value of a macro, which nobody reports.
    pub(crate) asks_computed: bool,
}

/// Words before the name of a header, the longer ones first.
const WORDS: [(&str, Sort); 7] = [
    (
        "__has_include_next",
        Sort {
            is_next: true,
            is_question: true,
        },
    ),
    (
        "__has_include",
        Sort {
            is_next: false,
            is_question: true,
        },
    ),
    (
        "__has_embed",
        Sort {
            is_next: false,
            is_question: true,
        },
    ),
    (
        "include_next",
        Sort {
            is_next: true,
            is_question: false,
        },
    ),
    (
        "include",
        Sort {
            is_next: false,
            is_question: false,
        },
    ),
    (
        "import",
        Sort {
            is_next: false,
            is_question: false,
        },
    ),
    (
        "embed",
        Sort {
            is_next: false,
            is_question: false,
        },
    ),
];

#[derive(Clone, Copy)]
struct Sort {
    is_next: bool,
    is_question: bool,
}

/// The directives of `text`.
pub(crate) fn scan(text: &[u8]) -> Directives {
    let mut found = Directives::default();
    // A directive may go on in the next line after a backslash; such lines are joined by looking through it.
    for line in text.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        // The cheap test first: this sees megabytes of headers.
        if ["include", "import", "embed"]
            .iter()
            .any(|word| line.contains(word))
        {
            scan_line(&line, &mut found);
        }
    }
    if contains_split_directive(text) {
        // Rare, and then nothing is known of the name.
        found.asks_computed = true;
    }
    found
}

fn scan_line(line: &str, found: &mut Directives) {
    let mut rest = line;
    let mut before = None;
    while let Some((at, word, sort)) = next_word(rest) {
        let ahead = rest.get(..at).unwrap_or("");
        let last = ahead.chars().next_back().or(before);
        let behind = rest.get(at + word.len()..).unwrap_or("");
        before = word.chars().next_back();
        rest = behind;
        let is_part_of_a_name = |letter: char| letter.is_alphanumeric() || letter == '_';
        if last.is_some_and(is_part_of_a_name) || behind.starts_with(is_part_of_a_name) {
            continue;
        }
        let is_directive = ahead.trim_end().ends_with(['#', ':']);
        let argument = behind.trim_start();
        let argument = match sort.is_question {
            true => match argument.strip_prefix('(') {
                Some(argument) => argument.trim_start(),
                // `#ifdef __has_include` asks for nothing.
                None => continue,
            },
            false => argument,
        };
        let name = match argument.as_bytes().first() {
            Some(b'<') => argument[1..].split_once('>').map(|(name, _)| (name, false)),
            Some(b'"') => argument[1..].split_once('"').map(|(name, _)| (name, true)),
            Some(letter) if letter.is_ascii_alphabetic() || *letter == b'_' => {
                found.asks_computed |= sort.is_question;
                found.has_computed |= is_directive;
                None
            }
            _ => None,
        };
        if let Some((name, is_quoted)) = name.filter(|(name, _)| !name.is_empty()) {
            found.named.push(Directive {
                name: name.to_owned(),
                is_quoted,
                is_next: sort.is_next,
                is_question: sort.is_question,
            });
        }
    }
}

/// The first word in `text` that a header's name may follow.
fn next_word(text: &str) -> Option<(usize, &'static str, Sort)> {
    let found = WORDS.iter().filter_map(|(word, sort)| {
        let at = text.find(word)?;
        Some((at, *word, *sort))
    });
    found.min_by_key(|(at, word, _)| (*at, usize::MAX - word.len()))
}

/// Whether a directive goes on behind a backslash at the end of a line before its header is named.
fn contains_split_directive(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines();
    lines.any(|line| {
        let Some(line) = line.trim_end().strip_suffix('\\') else {
            return false;
        };
        let line = line.trim_end();
        let line = line.strip_suffix('(').unwrap_or(line).trim_end();
        let Some(at) = line.rfind(|letter: char| !letter.is_alphanumeric() && letter != '_') else {
            return false;
        };
        let (ahead, word) = line.split_at(at + 1);
        let is_directive = ahead.trim_end().ends_with('#') && !word.is_empty();
        let is_named = WORDS.iter().any(|(known, _)| *known == word);
        is_named && (is_directive || word.starts_with("__has"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let found = scan(text.as_bytes());
        let name = |one: &Directive| {
            let (open, close) = if one.is_quoted {
                ('"', '"')
            } else {
                ('<', '>')
            };
            let next = if one.is_next { "next " } else { "" };
            let question = if one.is_question { "?" } else { "" };
            format!("{next}{open}{}{close}{question}", one.name)
        };
        found.named.iter().map(name).collect()
    }

    #[test]
    fn directives_are_found_wherever_they_stand() {
        assert_eq!(names("#include <vector>\n"), ["<vector>"]);
        assert_eq!(names("  #  include\t\"a b.hpp\" // x"), ["\"a b.hpp\""]);
        assert_eq!(names("/* */ #include <a>\r\n#include <b>"), ["<a>", "<b>"]);
        assert_eq!(names("%:include <digraph>"), ["<digraph>"]);
        assert_eq!(names("#include_next <stdlib.h>"), ["next <stdlib.h>"]);
        assert_eq!(
            names("#if __has_include(<a>) && __has_include ( \"b\" )"),
            ["<a>?", "\"b\"?"]
        );
        assert_eq!(
            names("#embed \"data.bin\"\n#import <c>"),
            ["\"data.bin\"", "<c>"]
        );
        assert!(names("#ifdef __has_include\nint included(); // includes <x>\n").is_empty());
    }

    #[test]
    fn what_is_computed_is_said() {
        assert!(scan(b"#include HEADER").has_computed);
        assert!(!scan(b"the words include HEADER in a comment").has_computed);
        assert!(scan(b"#if __has_include(HEADER)").asks_computed);
        assert!(!scan(b"#if defined(__has_include) && 1").asks_computed);
        assert!(scan(b"#include \\\n <vector>").asks_computed);
        assert!(!scan(b"#define f(x) include(x); \\\n g(x)").asks_computed);
    }
}
