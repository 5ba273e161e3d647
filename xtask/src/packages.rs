//! Programs and libraries that tests and benchmarks use, and the system's packages that bring them.

mod needed;

use crate::workspace::target_folder;
use anyhow::{Result, bail};
use needed::{
    NEEDED, NEEDED_FOR_CLANG, NEEDED_FOR_CPP, NEEDED_TO_COMPARE_LOADERS,
    NEEDED_TO_COMPARE_PROCESSES,
};
use std::env;
use std::path::Path;
use xshell::{Shell, cmd};

/// Something that tests or benchmarks use.
struct Needed {
    found_by: FoundBy,
    /// What it is for.
    purpose: &'static str,
    /// The Debian package that has it.
    package: &'static str,
    /// Whether tests fail without it; otherwise those that want it say that they are skipped.
    required: bool,
}

enum FoundBy {
    /// Any one of these will do.
    Programs(&'static [&'static str]),
    /// A library: a static one, which comes with its headers, or a shared one by its whole name.
    Library(&'static str),
    /// A library beside LLVM's own, where no compiler looks.
    BesideLlvm(&'static str),
}

use FoundBy::{BesideLlvm, Library, Programs};

/// Installs what of the tests' needs is missing with `apt-get`, where this user may, and says what it
/// does.
///
/// # Errors
/// If something required is missing and cannot be installed. What is merely wanted gets a line.
pub(crate) fn install_missing(shell: &Shell) -> Result<()> {
    install(shell, NEEDED)
}

/// The same for the benchmark that compares loaders.
pub(crate) fn install_missing_loaders(shell: &Shell) -> Result<()> {
    install(shell, NEEDED_TO_COMPARE_LOADERS)
}

/// The same for the benchmark that compares whole processes; Numba goes to an environment of its own.
pub(crate) fn install_missing_peers(shell: &Shell) -> Result<()> {
    install(shell, NEEDED_TO_COMPARE_PROCESSES)?;
    let folder = target_folder(shell)?.join("bench/numba");
    let python = folder.join("bin/python");
    let import = |shell: &Shell| {
        let asked = cmd!(shell, "{python} -c 'import numba'");
        asked.quiet().ignore_stderr().run().is_ok()
    };
    if python.exists() && import(shell) {
        eprintln!("   Numba is there");
        return Ok(());
    }
    let made = cmd!(shell, "python3 -m venv {folder}").run();
    let made = made.and_then(|()| cmd!(shell, "{python} -m pip install --quiet numba").run());
    if made.is_err() || !import(shell) {
        eprintln!("   Numba cannot be installed here: it will be left out");
    }
    Ok(())
}

/// The same for the benchmark of the C++ host.
pub(crate) fn install_missing_cpp(shell: &Shell) -> Result<()> {
    install(shell, NEEDED_FOR_CPP)
}

/// The same for the benchmark of clang.
pub(crate) fn install_missing_clang(shell: &Shell) -> Result<()> {
    install(shell, NEEDED_FOR_CLANG)
}

fn install(shell: &Shell, needed: &[Needed]) -> Result<()> {
    let mut required = Vec::new();
    let mut wanted = Vec::new();
    for needed in needed {
        let name = match needed.found_by {
            Programs(names) => names.join(" or "),
            Library(name) | BesideLlvm(name) => name.to_owned(),
        };
        match needed.find(shell) {
            Some(found) => eprintln!("   {found} is there"),
            None => {
                eprintln!("   {name} is missing: {}", needed.purpose);
                match needed.required {
                    true => required.push(needed.package),
                    false => wanted.push(needed.package),
                }
            }
        }
    }
    if required.is_empty() && wanted.is_empty() {
        return Ok(());
    }
    let Some(installer) = Installer::find(shell) else {
        if !required.is_empty() {
            bail!(
                "please install what is missing (on Debian and Ubuntu: apt-get install {}); there \
                 is no apt-get here, or it needs root and sudo is not there without a password",
                [required, wanted].concat().join(" ")
            );
        }
        say_skipped(&wanted);
        return Ok(());
    };
    let updated = installer.run(shell, &["update"]);
    if !required.is_empty() {
        updated?;
        installer.install(shell, &required)?;
    }
    // All at once, as that is quicker; one package that this system lacks must not cost the others.
    if !wanted.is_empty() && installer.install(shell, &wanted).is_err() {
        wanted.retain(|package| installer.install(shell, &[package]).is_err());
        say_skipped(&wanted);
    }
    Ok(())
}

fn say_skipped(packages: &[&str]) {
    for package in packages {
        eprintln!("   {package} cannot be installed here: what wants it will be left out");
    }
}

impl Needed {
    /// What of it is there.
    fn find(&self, shell: &Shell) -> Option<&'static str> {
        match self.found_by {
            Programs(names) => names.iter().find(|name| is_installed(name)).copied(),
            Library(name) => has_library(shell, name).then_some(name),
            BesideLlvm(name) => is_beside_llvm(shell, name).then_some(name),
        }
    }
}

/// How this user calls `apt-get`.
enum Installer {
    AsRoot,
    BySudo,
}

impl Installer {
    fn find(shell: &Shell) -> Option<Self> {
        if !is_installed("apt-get") {
            return None;
        }
        let user = cmd!(shell, "id --user").quiet().ignore_stderr().read();
        if user.is_ok_and(|id| id == "0") {
            return Some(Self::AsRoot);
        }
        let sudo = cmd!(shell, "sudo --non-interactive true")
            .quiet()
            .ignore_stderr();
        let may = is_installed("sudo") && sudo.run().is_ok();
        may.then_some(Self::BySudo)
    }

    fn install(&self, shell: &Shell, packages: &[&str]) -> Result<()> {
        let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
        arguments.extend(packages);
        self.run(shell, &arguments)
    }

    fn run(&self, shell: &Shell, arguments: &[&str]) -> Result<()> {
        let _no_questions = shell.push_env("DEBIAN_FRONTEND", "noninteractive");
        match self {
            Self::AsRoot => cmd!(shell, "apt-get {arguments...}").run()?,
            Self::BySudo => cmd!(shell, "sudo --non-interactive apt-get {arguments...}").run()?,
        }
        Ok(())
    }
}

/// Whether the C compiler finds the static library `name`.
fn has_library(shell: &Shell, name: &str) -> bool {
    let asked = cmd!(shell, "cc --print-file-name={name}").quiet().read();
    // What it does not find it echoes.
    asked.is_ok_and(|path| Path::new(path.trim()).is_absolute())
}

/// Whether LLVM's folder has the library `name`.
fn is_beside_llvm(shell: &Shell, name: &str) -> bool {
    let asked = cmd!(shell, "llvm-config-22 --libdir").quiet();
    let folder = asked.ignore_stderr().read();
    folder.is_ok_and(|folder| Path::new(folder.trim()).join(name).exists())
}

/// Whether `program` is on the search path.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.with_extension("exe").is_file()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_search_path() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program-anywhere"));
        assert!(!is_program(Path::new("/")), "a folder is no program");
    }

    #[test]
    fn libraries_are_found_where_the_compiler_looks() -> Result<()> {
        let shell = Shell::new()?;
        assert!(has_library(&shell, "libgcc.a"));
        assert!(!has_library(&shell, "libno-such-library.a"));
        Ok(())
    }
}
