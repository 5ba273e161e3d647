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
    /// `#embed`: looked for in folders of its own.
    pub(crate) is_embedded: bool,
}

/// What a text asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    /// By name.
    pub(crate) named: Vec<Directive>,
    /// Whether it includes by the value of a macro.
    pub(crate) has_computed: bool,
    /// Whether it asks for the header in the value of a macro, or has the assembler read a file, which nobody
    /// reports.
    pub(crate) is_untold: bool,
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
    let mut lines = text.split(|byte| *byte == b'\n');
    while let Some(line) = lines.next() {
        match continued(line) {
            None => scan_line(line, &mut found),
            // A line goes on in the next one after a backslash, in the middle of a word too.
            Some(beginning) => {
                let mut joined = beginning.to_vec();
                for line in lines.by_ref() {
                    let beginning = continued(line);
                    joined.extend_from_slice(beginning.unwrap_or(line));
                    if beginning.is_none() {
                        break;
                    }
                }
                scan_line(&joined, &mut found);
            }
        }
    }
    found
}

/// What is before the backslash at the end of a line.
fn continued(line: &[u8]) -> Option<&[u8]> {
    line.trim_ascii_end().strip_suffix(b"\\")
}

fn scan_line(line: &[u8], found: &mut Directives) {
    let line = String::from_utf8_lossy(line);
    // The cheap test first: this sees megabytes of headers.
    if ["include", "import", "embed"]
        .iter()
        .any(|word| line.contains(word))
    {
        scan_words(&line, found);
        found.is_untold |= line.split(".include").skip(1).any(|behind| {
            // The assembler's, and no member's name.
            behind.starts_with([' ', '\t', '\\', '"'])
        });
    }
    found.is_untold |= line.contains(".incbin");
}

fn scan_words(line: &str, found: &mut Directives) {
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
        let ahead = ahead.trim_end();
        let is_directive = ahead.ends_with(['#', ':', '=']) || ahead.ends_with("*/");
        let Some(mut argument) = behind_comments(behind) else {
            // A comment that goes on in the next line: the name is behind it.
            found.is_untold |= is_directive || sort.is_question;
            continue;
        };
        if sort.is_question {
            let asked = argument.strip_prefix('(').map(behind_comments);
            argument = match asked {
                Some(Some(asked)) => asked,
                Some(None) => "",
                // `#ifdef __has_include` asks for nothing; another name for it may.
                None => {
                    found.is_untold |= ahead.contains("define ") || ahead.contains("define\t");
                    continue;
                }
            };
        }
        let name = match argument.as_bytes().first() {
            Some(b'<') => argument[1..].split_once('>').map(|(name, _)| (name, false)),
            Some(b'"') => argument[1..].split_once('"').map(|(name, _)| (name, true)),
            _ => {
                found.is_untold |= sort.is_question;
                found.has_computed |= is_directive && !argument.is_empty();
                None
            }
        };
        if let Some((name, is_quoted)) = name.filter(|(name, _)| !name.is_empty()) {
            found.named.push(Directive {
                name: name.to_owned(),
                is_quoted,
                is_next: sort.is_next,
                is_question: sort.is_question,
                is_embedded: word.ends_with("embed"),
            });
        }
    }
}

/// The text behind spaces and comments; `None` where a comment does not end.
fn behind_comments(text: &str) -> Option<&str> {
    let mut text = text.trim_start();
    while let Some(comment) = text.strip_prefix("/*") {
        text = comment.split_once("*/")?.1.trim_start();
    }
    Some(text)
}

/// The first word in `text` that a header's name may follow.
fn next_word(text: &str) -> Option<(usize, &'static str, Sort)> {
    let found = WORDS.iter().filter_map(|(word, sort)| {
        let at = text.find(word)?;
        Some((at, *word, *sort))
    });
    found.min_by_key(|(at, word, _)| (*at, usize::MAX - word.len()))
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
    fn comments_and_ends_of_lines_hide_nothing() {
        for text in [
            "#include/**/<x>",
            "#include /* a */ /* b */ <x>",
            "#inc\\\nlu\\ \r\nde <x>",
            "#include \\\n\\\n <x>",
            "#define f(x) x; \\\n#include <x>",
        ] {
            assert_eq!(names(text), ["<x>"], "{text}");
        }
        assert_eq!(names("#if __has_include/**/(/**/<x>)"), ["<x>?"]);
        assert!(scan(b"#/**/include/**/NAME").has_computed);
        assert!(scan(b"#include \\\n NAME").has_computed);
    }

    #[test]
    fn what_is_computed_is_said() {
        assert!(scan(b"#include HEADER").has_computed);
        assert!(scan("#include HÉADER".as_bytes()).has_computed);
        assert!(scan(b"#include $HEADER").has_computed);
        assert!(!scan(b"the words include HEADER in a comment").has_computed);
        for untold in [
            "#if __has_include(HEADER)",
            "#define asked __has_include",
            "#include /* to be\ncontinued */ <vector>",
            "#if __has_include(/*\n*/<vector>)",
            "asm(\".incbin \\\"file\\\"\");",
            "asm(\".include \\\"file\\\"\");",
        ] {
            assert!(scan(untold.as_bytes()).is_untold, "{untold}");
        }
        for told in [
            "#if defined(__has_include) && 1",
            "#ifdef __has_include",
            "all.include(one); // and .included",
            "#include \\\n <vector>",
            "#define f(x) include(x); \\\n g(x)",
        ] {
            assert!(!scan(told.as_bytes()).is_untold, "{told}");
        }
    }
}
