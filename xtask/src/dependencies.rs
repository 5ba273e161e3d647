//! Whether what is depended on may be: licences, bans and sources, as `deny.toml` says.
//!
//! `cargo deny` knows more, advisories above all, and is asked where it is installed. Where it is not, building
//! it takes minutes (`cargo install cargo-deny --locked`); so the rest is looked at here.

use crate::packages::is_installed;
use crate::steps::Steps;
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use xshell::{Shell, cmd};

#[derive(Deserialize)]
struct Policy {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    license: Option<String>,
    /// None for what is in the workspace.
    source: Option<String>,
}

/// Checks all packages of the lock file.
pub(crate) fn check(steps: &mut Steps) -> Result<()> {
    steps.step("dependencies", |shell| {
        if is_installed("cargo-deny") {
            cmd!(shell, "cargo deny check licenses bans sources").run()?;
            // Whoever has no network learns nothing new, and has done nothing wrong.
            if cmd!(shell, "cargo deny fetch db").run().is_err() {
                eprintln!("   advisories are not looked at: their list cannot be fetched");
                return Ok(());
            }
            cmd!(shell, "cargo deny --offline check advisories").run()?;
            return Ok(());
        }
        eprintln!("   advisories are not looked at: cargo-deny is not installed");
        look(shell)
    })
}

fn look(shell: &Shell) -> Result<()> {
    let policy = fs::read_to_string(root().join("deny.toml")).context("cannot read deny.toml")?;
    let policy: Policy = toml::from_str(&policy).context("deny.toml is not as it should be")?;
    let metadata = cmd!(shell, "cargo metadata --format-version 1 --locked").read()?;
    let metadata: Metadata = serde_json::from_str(&metadata)?;
    let wrong: Vec<String> = (metadata.packages.iter())
        .filter_map(|package| policy.objection(package))
        .collect();
    match wrong.is_empty() {
        true => Ok(()),
        false => bail!(
            "what deny.toml does not allow is depended on:\n{}",
            wrong.join("\n")
        ),
    }
}

impl Policy {
    /// What stands against a package, if anything does.
    fn objection(&self, package: &Package) -> Option<String> {
        let name = &package.name;
        if self.bans.deny.iter().any(|banned| banned.name == *name) {
            return Some(format!("{name} is banned"));
        }
        if let Some(source) = &package.source {
            let registry = source.strip_prefix("registry+");
            let allowed = &self.sources.allow_registry;
            if !registry.is_some_and(|registry| allowed.iter().any(|one| one == registry)) {
                return Some(format!("{name} comes from {source}"));
            }
        }
        let exception = self
            .licenses
            .exceptions
            .iter()
            .find(|one| one.name == *name);
        let is_allowed = |license: &str| {
            let allowed = exception.map_or(&[][..], |exception| &exception.allow);
            let mut allowed = self.licenses.allow.iter().chain(allowed);
            allowed.any(|one| one == license)
        };
        let license = package.license.as_deref().unwrap_or_default();
        match satisfied(license, &is_allowed) {
            Some(true) => None,
            Some(false) => Some(format!("{name} has the licence {license}")),
            None => Some(format!(
                "{name} has a licence that cannot be read: {license:?}"
            )),
        }
    }
}

/// Whether a licence expression of SPDX can be satisfied by what is allowed; `None` if it is none. The old `/`
/// means `OR`.
fn satisfied(expression: &str, is_allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    let value = any_of(&mut rest, is_allowed)?;
    rest.is_empty().then_some(value)
}

fn any_of(words: &mut &[&str], is_allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut value = all_of(words, is_allowed)?;
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        value |= all_of(words, is_allowed)?;
    }
    Some(value)
}

fn all_of(words: &mut &[&str], is_allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut value = one_of(words, is_allowed)?;
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        value &= one_of(words, is_allowed)?;
    }
    Some(value)
}

fn one_of(words: &mut &[&str], is_allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let value = any_of(words, is_allowed)?;
            let [")", rest @ ..] = *words else {
                return None;
            };
            *words = rest;
            Some(value)
        }
        [license, "WITH", exception, rest @ ..] => {
            *words = rest;
            Some(is_allowed(&format!("{license} WITH {exception}")))
        }
        ["AND" | "OR" | "WITH" | ")", ..] | [] => None,
        [license, rest @ ..] => {
            *words = rest;
            Some(is_allowed(license))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_read_as_they_are_meant() {
        let allowed = ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"];
        let satisfied = |expression| satisfied(expression, &|one| allowed.contains(&one));
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "MIT AND Zlib",
            "(MIT OR GPL-3.0) AND Zlib",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
            "GPL-3.0 AND GPL-2.0 OR MIT",
        ] {
            assert_eq!(satisfied(good), Some(true), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "Apache-2.0",
            "MIT AND (GPL-3.0 OR GPL-2.0)",
        ] {
            assert_eq!(satisfied(bad), Some(false), "{bad}");
        }
        for none in ["", "MIT OR", "(MIT", "MIT Zlib", "AND", "MIT)"] {
            assert_eq!(satisfied(none), None, "{none}");
        }
    }

    #[test]
    fn what_stands_against_a_package_is_said() -> Result<()> {
        let policy: Policy = toml::from_str(&fs::read_to_string(root().join("deny.toml"))?)?;
        let objection = |name: &str, license: Option<&str>, source: Option<&str>| {
            policy.objection(&Package {
                name: name.to_owned(),
                license: license.map(str::to_owned),
                source: source.map(str::to_owned),
            })
        };
        let registry = Some("registry+https://github.com/rust-lang/crates.io-index");
        assert_eq!(objection("a", Some("MIT"), registry), None);
        assert_eq!(objection("cbindgen", Some("MPL-2.0"), registry), None);
        assert!(objection("a", Some("MPL-2.0"), registry).is_some());
        assert!(objection("a", None, registry).is_some());
        assert!(objection("a", Some("MIT"), Some("git+https://example.org/a")).is_some());
        assert!(objection("ring", Some("MIT"), registry).is_some());
        Ok(())
    }
}
