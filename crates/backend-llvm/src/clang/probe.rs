//! What clang says of itself when it is asked: its version, its target, where it looks for headers. Asking
//! takes as long as compiling something small, so the answer is kept for as long as nothing changes that it
//! depends on.

use crate::clang::command::Command;
use crate::clang::configurations::Configurations;
use crate::clang::error::Error;
use crate::clang::headers::SearchPath;
use crate::clang::identity::{Part, parts};
use crate::clang::options::{LEAST_VERSION, Options};
use crate::clang::run::Runner;
use crate::clang::temporary::TemporaryFolder;
use rekindle_cache_core::{Digest, DigestBuilder};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The first line of a kept answer.
const TITLE: &str = "rekindle clang probe 2";

/// What is known of a clang with certain flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The line with the version.
    pub(crate) version: String,
    pub(crate) target: String,
    pub(crate) cpu: String,
    pub(crate) features: Vec<String>,
    pub(crate) path: SearchPath,
    /// The files that the compiler is made of.
    pub(crate) parts: Vec<Part>,
    /// By what it was told its defaults.
    configurations: Configurations,
    /// What the compiler proper is called with.
    command: Command,
    /// Folders in which it looks for the system's compiler, with a digest of the names in them.
    installations: Vec<(String, Digest)>,
}

impl Probe {
    /// Asks the clang of `runner`, or takes what was kept in `folder`.
    pub(crate) fn new(runner: &Runner, options: &Options, folder: &Path) -> Result<Self, Error> {
        let kept = folder.join(format!("probe-{}", key(runner, options).short()));
        // What `native` stands for is the machine's: the folder may be another machine's as well.
        let may_keep = !options.flags.iter().any(|flag| flag.ends_with("=native"));
        if may_keep
            && let Ok(text) = std::fs::read_to_string(&kept)
            && let Some(probe) = Self::read(&text, &key(runner, options))
            && probe.changed().is_none()
            && probe.is_current(&runner.directory)
        {
            return Ok(probe);
        }
        let probe = Self::ask(runner, options, folder)?;
        if may_keep && probe.may_be_kept() {
            let text = probe.write(&key(runner, options));
            let temporary = TemporaryFolder::new(folder)?;
            let written = temporary.file("probe");
            let done =
                std::fs::write(&written, text).and_then(|()| std::fs::rename(&written, &kept));
            if let Err(error) = done {
                tracing::debug!(path = %kept.display(), %error, "what clang said is not kept");
            }
        }
        Ok(probe)
    }

    fn ask(runner: &Runner, options: &Options, folder: &Path) -> Result<Self, Error> {
        let mut own = parts(&runner.program)?;
        let temporary = TemporaryFolder::new(folder)?;
        let output = temporary.file("preprocessed");
        let mut arguments: Vec<OsString> = options.flags.iter().map(OsString::from).collect();
        arguments.extend(
            [
                "-fPIC",
                "-x",
                options.language.name(),
                "-E",
                "-v",
                "-",
                "-o",
            ]
            .map(OsString::from),
        );
        arguments.push(output.into());
        let finished = runner.run(&arguments, "", &temporary)?;
        let no_clang = || Error::NoClang {
            path: runner.program.clone(),
            said: finished.said.lines().take(3).collect::<Vec<_>>().join("; "),
        };
        let mut probe = Self::parse(&finished.said).ok_or_else(no_clang)?;
        if version_number(&probe.version).is_none_or(|version| version < LEAST_VERSION) {
            return Err(no_clang());
        }
        if !finished.status.success() {
            return Err(crate::clang::compiler::failure(&finished));
        }
        // The program that compiles may be another one than the one that was started.
        if let Some((compiler, _)) = Command::find(&finished.said)
            && let Ok(real) = parts(&runner.directory.join(compiler))
        {
            let is_new = |part: &Part| own.iter().all(|own| own.path != part.path);
            let real: Vec<_> = real.into_iter().filter(is_new).collect();
            own.extend(real);
        }
        probe.parts = own;
        let absolute = |path: String| runner.directory.join(path);
        let (read, folders) = configured(&finished.said, &runner.program);
        probe.configurations = Configurations::look(
            read.into_iter().map(absolute).collect(),
            folders.into_iter().map(absolute).collect(),
        );
        for (path, digest) in &mut probe.installations {
            *digest = listing(path);
        }
        for (path, place) in &mut probe.path.places {
            *place = runner
                .directory
                .join(&*path)
                .canonicalize()
                .unwrap_or_default();
        }
        match probe.changed() {
            Some(path) => Err(Error::Replaced { path }),
            None => Ok(probe),
        }
    }

    /// What clang's `-v` printed; `None` if that was no clang.
    fn parse(said: &str) -> Option<Self> {
        let mut probe = Self {
            version: said
                .lines()
                .find(|line| line.contains("clang version "))?
                .to_owned(),
            ..Self::default()
        };
        let mut into: Option<&mut Vec<String>> = None;
        let mut named_twice = Vec::new();
        for line in said.lines() {
            let unquoted = |text: &str| text.trim_matches('"').to_owned();
            if let Some(target) = line.strip_prefix("Target: ") {
                probe.target = target.to_owned();
            } else if let Some(path) = line.strip_prefix("Selected GCC installation: ") {
                let folders = Path::new(path).ancestors().skip(1).take(2);
                let named = folders.map(|folder| (folder.display().to_string(), listing("")));
                probe.installations.extend(named);
            } else if let Some(path) = line.strip_prefix("ignoring nonexistent directory ") {
                probe.path.missing.push(unquoted(path));
            } else if let Some(path) = line.strip_prefix("ignoring duplicate directory ") {
                named_twice.push(unquoted(path));
            } else if line.starts_with("#include \"...\" search starts here") {
                into = Some(&mut probe.path.quoted);
            } else if line.starts_with("#include <...> search starts here") {
                into = Some(&mut probe.path.angled);
            } else if line.starts_with("End of search list") {
                into = None;
            } else if let (Some(list), Some(folder)) = (&mut into, line.strip_prefix(' ')) {
                list.push(folder.to_owned());
            }
        }
        let path = &mut probe.path;
        let searched = path.quoted.iter().chain(&path.angled).cloned();
        let places = searched.chain(named_twice);
        path.places = places.map(|path| (path, PathBuf::new())).collect();
        let command = Command::find(said).map(|(_, command)| command);
        probe.set_command(command.unwrap_or_default());
        Some(probe)
    }

    /// Notes the command, and what it says.
    fn set_command(&mut self, command: Command) {
        let owned = |text: &str| text.to_owned();
        self.cpu = command
            .values("-target-cpu")
            .last()
            .map_or_else(String::new, owned);
        self.features = command.values("-target-feature").map(owned).collect();
        self.path.embedded = command.behind("--embed-dir=").map(owned).collect();
        let forced = ["-include", "-imacros"];
        let forced = forced.iter().flat_map(|option| command.values(option));
        self.path.forced = forced.map(owned).collect();
        let is_special = |folder: &String| {
            folder.ends_with(" (framework directory)") || folder.ends_with(" (headermap)")
        };
        self.path.is_untold = command.0.is_empty()
            || command.is_untold()
            || self
                .path
                .quoted
                .iter()
                .chain(&self.path.angled)
                .any(is_special);
        self.command = command;
    }

    /// The file that is not what it was when clang was asked.
    pub(crate) fn changed(&self) -> Option<PathBuf> {
        let part = self.parts.iter().find(|part| part.is_replaced());
        let part = part.map(|part| part.path.clone());
        part.or_else(|| self.configurations.changed())
    }

    /// Whether the answer is the same for all who ask the same question, and can be written in lines.
    fn may_be_kept(&self) -> bool {
        let path = &self.path;
        let places = path.places.iter().map(|(_, place)| place);
        !self.configurations.is_own
            && self.command.0.iter().all(|word| !word.contains('\n'))
            && places.into_iter().all(|place| place.to_str().is_some())
    }

    /// Whether asking again would give the same, as far as that can be seen without asking.
    fn is_current(&self, directory: &Path) -> bool {
        !self.parts.is_empty()
            && self
                .installations
                .iter()
                .all(|(path, digest)| listing(path) == *digest)
            && self.path.is_current(directory)
    }

    /// Adds what reaches the code to a digest: which files they are does not, what is in them does.
    pub(crate) fn digest(&self, builder: &mut DigestBuilder) {
        builder
            .text(&self.version)
            .text(&self.target)
            .text(&self.cpu);
        let lists = [&self.features, &self.path.quoted, &self.path.angled];
        for list in lists {
            builder.list(list.len());
            for item in list {
                builder.text(item);
            }
        }
        builder.list(self.parts.len());
        for part in &self.parts {
            builder.digest(&part.digest);
        }
        self.configurations.digest(builder);
        self.command.digest(builder);
    }

    fn write(&self, key: &Digest) -> String {
        let mut text = format!("{TITLE}\nkey\t{key}\n");
        let mut add = |name: &str, fields: &[&str]| {
            text.push_str(name);
            for field in fields {
                text.push('\t');
                text.push_str(field);
            }
            text.push('\n');
        };
        add("version", &[&self.version]);
        add("target", &[&self.target]);
        self.path
            .quoted
            .iter()
            .for_each(|one| add("quoted", &[one]));
        self.path
            .angled
            .iter()
            .for_each(|one| add("angled", &[one]));
        let missing = self.path.missing.iter();
        missing.for_each(|one| add("missing", &[one]));
        for (path, place) in &self.path.places {
            add("place", &[path, &place.display().to_string()]);
        }
        for (path, digest) in &self.configurations.files {
            add("configuration", &[&digest.to_string(), path]);
        }
        for (path, digest) in &self.configurations.folders {
            add("configurations", &[&digest.to_string(), path]);
        }
        for (path, digest) in &self.installations {
            add("installations", &[&digest.to_string(), path]);
        }
        for part in &self.parts {
            let path = part.path.display().to_string();
            add(
                "part",
                &[&part.stamp.to_string(), &part.digest.to_string(), &path],
            );
        }
        let words = self.command.0.iter();
        words.for_each(|word| add("word", &[word]));
        add("end", &[]);
        text
    }

    /// `None` if it is not whole, or the answer to another question.
    fn read(text: &str, key: &Digest) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let mut probe = Self::default();
        let mut command = Command::default();
        for line in lines {
            let (name, value) = line.split_once('\t').unwrap_or((line, ""));
            let owned = value.to_owned();
            let with_digest = || {
                let (digest, path) = value.split_once('\t')?;
                Some((path.to_owned(), digest.parse::<Digest>().ok()?))
            };
            match name {
                "key" if value.parse() == Ok(*key) => {}
                "version" => probe.version = owned,
                "target" => probe.target = owned,
                "quoted" => probe.path.quoted.push(owned),
                "angled" => probe.path.angled.push(owned),
                "missing" => probe.path.missing.push(owned),
                "place" => {
                    let (path, place) = value.split_once('\t')?;
                    probe.path.places.push((path.to_owned(), place.into()));
                }
                "configuration" => probe.configurations.files.push(with_digest()?),
                "configurations" => probe.configurations.folders.push(with_digest()?),
                "word" => command.0.push(owned),
                "installations" => probe.installations.push(with_digest()?),
                "part" => {
                    let mut fields = value.splitn(3, '\t');
                    probe.parts.push(Part {
                        stamp: fields.next()?.parse().ok()?,
                        digest: fields.next()?.parse().ok()?,
                        path: PathBuf::from(fields.next()?),
                    });
                }
                "end" => {
                    probe.set_command(command);
                    return Some(probe);
                }
                _ => return None,
            }
        }
        None
    }
}

/// The digest of the question: which program, and what it is given.
fn key(runner: &Runner, options: &Options) -> Digest {
    let mut builder = DigestBuilder::new("rekindle clang probe");
    builder
        .bytes(runner.program.as_os_str().as_encoded_bytes())
        .bytes(runner.directory.as_os_str().as_encoded_bytes())
        .text(options.language.name())
        .list(options.flags.len());
    for flag in &options.flags {
        builder.text(flag);
    }
    // A script may find its clang by it.
    builder.bytes(runner.search_path.as_encoded_bytes());
    runner.digest_variables(&mut builder);
    builder.finish()
}

/// The number in `... clang version 22.1.8 ...`.
fn version_number(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once("clang version ")?;
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The files with defaults that clang says it has read, and the folders that it looks for such files in.
fn configured(said: &str, program: &Path) -> (Vec<String>, Vec<String>) {
    let behind = |beginning: &'static str| {
        let lines = said.lines();
        lines.filter_map(move |line| line.strip_prefix(beginning).map(str::to_owned))
    };
    let real = program.canonicalize();
    let own = [Some(program), real.as_deref().ok()];
    let own = own.into_iter().flatten().filter_map(Path::parent);
    let folders = behind("InstalledDir: ")
        .chain(behind("System configuration file directory: "))
        .chain(behind("User configuration file directory: "))
        .chain(own.map(|folder| folder.display().to_string()));
    (behind("Configuration file: ").collect(), folders.collect())
}

/// The digest of the names in a folder.
fn listing(path: &str) -> Digest {
    let names = listed(path);
    let mut builder = DigestBuilder::new("rekindle names in a folder");
    builder.list(names.len());
    for name in &names {
        builder.bytes(name.as_encoded_bytes());
    }
    builder.finish()
}

/// The names in a folder, in order.
pub(crate) fn listed(path: &str) -> Vec<OsString> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
Debian clang version 22.1.8 (1~deb12u1)
Target: x86_64-pc-linux-gnu
Thread model: posix
InstalledDir: /usr/lib/llvm 22/bin
Configuration file: /etc/clang/clang.cfg
Selected GCC installation: /usr/lib/gcc/x86_64-linux-gnu/12
 (in-process)
 \"/usr/lib/llvm 22/bin/clang\" -cc1 -triple x86_64 -target-cpu x86-64-v3 -target-feature +avx2 -I inc \
    -include x.h --embed-dir=data -o /tmp/x -
ignoring duplicate directory \"inc/../inc\"
  as it is a non-system directory that duplicates a system directory
ignoring nonexistent directory \"/include\"
#include \"...\" search starts here:
 quoted
#include <...> search starts here:
 inc
 /usr/include
End of search list.
";

    #[test]
    fn what_clang_says_is_read_written_and_read_again() {
        let probe = Probe::parse(SAID).expect("that is clang");
        assert_eq!(version_number(&probe.version), Some(22));
        assert_eq!(probe.target, "x86_64-pc-linux-gnu");
        assert_eq!(
            (probe.cpu.as_str(), &*probe.features),
            ("x86-64-v3", &["+avx2".to_owned()][..])
        );
        assert_eq!(probe.path.quoted, ["quoted"]);
        assert_eq!(probe.path.angled, ["inc", "/usr/include"]);
        assert_eq!(probe.path.missing, ["/include"]);
        assert_eq!(probe.path.places.len(), 4, "{:?}", probe.path.places);
        assert_eq!(probe.path.forced, ["x.h"]);
        assert_eq!(probe.path.embedded, ["data"]);
        let (read, folders) = configured(SAID, Path::new("/own/bin/clang"));
        assert_eq!(read, ["/etc/clang/clang.cfg"]);
        assert_eq!(folders, ["/usr/lib/llvm 22/bin", "/own/bin"]);
        let key = Digest::of("test", b"key");
        let text = probe.write(&key);
        assert_eq!(Probe::read(&text, &key), Some(probe));
        assert_eq!(Probe::read(&text, &Digest::of("test", b"other")), None);
        for length in (0..text.len() - 1).filter(|length| text.is_char_boundary(*length)) {
            assert_eq!(Probe::read(&text[..length], &key), None, "cut to {length}");
        }
    }

    #[test]
    fn what_is_no_clang_is_told() {
        assert_eq!(Probe::parse("gcc version 12.2.0 (Debian 12.2.0-14)"), None);
        assert_eq!(
            version_number("Apple clang version 17.0.0 (clang-1700)"),
            Some(17)
        );
        assert_eq!(version_number("clang version x"), None);
    }
}
