//! The list of files that clang read: the rule for `make` that it writes.

/// The files of `rule`, as clang spells them.
///
/// A space in a name is `\ `, a dollar sign is `$$`, a `#` is `\#`; a backslash at the end of a line
/// continues it.
pub(crate) fn parse(rule: &str) -> Vec<String> {
    let Some((_, rule)) = rule.split_once(": ") else {
        return Vec::new();
    };
    let mut files = Vec::new();
    let mut name = String::new();
    let mut letters = rule.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            ('\\', Some('\n')) => {
                letters.next();
                finish(&mut name, &mut files);
            }
            ('\\', Some(escaped @ (' ' | '#'))) => {
                name.push(*escaped);
                letters.next();
            }
            ('$', Some('$')) => {
                name.push('$');
                letters.next();
            }
            (' ' | '\n' | '\r', _) => finish(&mut name, &mut files),
            (other, _) => name.push(other),
        }
    }
    finish(&mut name, &mut files);
    files
}

fn finish(name: &mut String, files: &mut Vec<String>) {
    if !name.is_empty() {
        files.push(std::mem::take(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unescaped() {
        let rule = "unit: /a/b.hpp \\\n  /with\\ space/c.h /dollar$$/d /hash\\#/e \\\n  /last\n";
        assert_eq!(
            parse(rule),
            [
                "/a/b.hpp",
                "/with space/c.h",
                "/dollar$/d",
                "/hash#/e",
                "/last"
            ]
        );
        assert!(parse("").is_empty());
        assert!(parse("unit: \n").is_empty());
    }
}
