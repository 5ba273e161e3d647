//! The command line of the compiler proper, which the driver prints: what all flags, files with defaults and
//! guesses about the system came to.

use rekindle_cache_core::DigestBuilder;

/// Options that have clang read files which it does not report, or in an order that is not told. The flags of
/// [`Options`](crate::clang::Options) are looked through before; these may have come by other ways.
const UNTOLD: [&str; 18] = [
    "-F",
    "-fauto-profile",
    "-fbasic-block-sections=list=",
    "-fmemory-profile-use",
    "-fmodule",
    "-fms-compatibility",
    "-fms-extensions",
    "-fpass-plugin",
    "-fprebuilt-module-path",
    "-fprofile-instrument-use-path",
    "-fprofile-remapping-file",
    "-fprofile-sample-use",
    "-frandomize-layout-seed-file",
    "-fsanitize-coverage-allowlist",
    "-fsanitize-coverage-ignorelist",
    "-include-pch",
    "-ivfsoverlay",
    "-load",
];

/// The words behind the program's name, without where the output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Command(pub(crate) Vec<String>);

impl Command {
    /// The program and the command in what clang's `-v` printed.
    pub(crate) fn find(said: &str) -> Option<(String, Self)> {
        let line = said.lines().find(|line| {
            line.starts_with(' ') && line.contains(" \"-cc1\" ") || line.contains("\" -cc1 ")
        })?;
        let mut words = words(line).into_iter();
        let program = words.next()?;
        let mut command = Vec::new();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-o" => drop(words.next()),
                _ => command.push(word),
            }
        }
        Some((program, Self(command)))
    }

    /// The values of an option that has them in a word of their own.
    pub(crate) fn values<'a>(&'a self, option: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.windows(2).filter_map(move |pair| match pair {
            [name, value] if name == option => Some(value.as_str()),
            _ => None,
        })
    }

    /// The rest of each word that begins so.
    pub(crate) fn behind<'a>(&'a self, beginning: &'a str) -> impl Iterator<Item = &'a str> {
        let words = self.0.iter();
        words.filter_map(move |word| word.strip_prefix(beginning))
    }

    /// Whether what it reads cannot be told.
    pub(crate) fn is_untold(&self) -> bool {
        let mut words = self.0.iter();
        words.any(|word| UNTOLD.iter().any(|option| word.starts_with(option)))
    }

    pub(crate) fn digest(&self, builder: &mut DigestBuilder) {
        builder.list(self.0.len());
        for word in &self.0 {
            builder.text(word);
        }
    }
}

/// Words of a command line as clang prints it: in quotes where they need them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_word) = (false, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.extend(letters.next()),
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
                continue;
            }
            other => word.push(other),
        }
        is_word = true;
    }
    words.extend(is_word.then_some(word));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_found_and_taken_apart() {
        let said = "clang version 22\n \"/a b/clang\" -cc1 -o /tmp/x -include \"a b\" \
                    \"--embed-dir=x\\\"y\" -D \"\" -\n";
        let (program, command) = Command::find(said).expect("there is one");
        assert_eq!(program, "/a b/clang");
        let words = ["-cc1", "-include", "a b", "--embed-dir=x\"y", "-D", "", "-"];
        assert_eq!(command.0, words);
        assert_eq!(command.values("-include").collect::<Vec<_>>(), ["a b"]);
        assert_eq!(command.behind("--embed-dir=").collect::<Vec<_>>(), ["x\"y"]);
        assert!(!command.is_untold());
        assert!(Command(vec!["-load".to_owned()]).is_untold());
        assert_eq!(Command::find("clang version 22"), None);
    }
}
