//! Programs that the tests call, and the system's packages that bring them.

use anyhow::{Result, bail};
use std::env;
use std::path::Path;
use xshell::{Shell, cmd};

/// A program that the tests call.
struct Needed {
    /// Any one of these will do.
    programs: &'static [&'static str],
    /// What it is for.
    purpose: &'static str,
    /// The Debian package that has it.
    package: &'static str,
}

const NEEDED: &[Needed] = &[
    Needed {
        programs: &["cc", "gcc", "clang"],
        purpose: "a C compiler: links everything, and makes objects for the loader's tests",
        package: "gcc",
    },
    Needed {
        programs: &["c++", "g++", "clang++"],
        purpose: "a C++ compiler: makes objects for the loader's tests",
        package: "g++",
    },
    Needed {
        programs: &["setpriv"],
        purpose: "runs tests of file permissions as another user, since root ignores them",
        package: "util-linux",
    },
];

/// Installs what is missing with `apt-get`, where this user may, and says what it does.
pub(crate) fn install_missing(shell: &Shell) -> Result<()> {
    let mut packages = Vec::new();
    for needed in NEEDED {
        let name = needed.programs.join(" or ");
        match needed.programs.iter().find(|program| is_installed(program)) {
            Some(program) => eprintln!("   {program} is there"),
            None => {
                eprintln!("   {name} is missing: {}", needed.purpose);
                packages.push(needed.package);
            }
        }
    }
    if packages.is_empty() {
        return Ok(());
    }
    let Some(install) = Installer::find(shell) else {
        bail!(
            "please install what is missing (on Debian and Ubuntu: apt-get install {}); \
             there is no apt-get here, or it needs root and sudo is not there without a password",
            packages.join(" ")
        );
    };
    install.run(shell, &["update"])?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(&packages);
    install.run(shell, &arguments)
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

    fn run(&self, shell: &Shell, arguments: &[&str]) -> Result<()> {
        let _no_questions = shell.push_env("DEBIAN_FRONTEND", "noninteractive");
        match self {
            Self::AsRoot => cmd!(shell, "apt-get {arguments...}").run()?,
            Self::BySudo => cmd!(shell, "sudo --non-interactive apt-get {arguments...}").run()?,
        }
        Ok(())
    }
}

/// Whether `program` is on the search path.
fn is_installed(program: &str) -> bool {
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
}
