//! Whether the crates could be published: each is packaged, and what is in the packages builds without the rest
//! of the project; and each builds with its features one by one.

use crate::steps::Steps;
use crate::workspace::{root, target_folder};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use xshell::{Shell, cmd};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    description: Option<String>,
    license: Option<String>,
    rust_version: Option<String>,
    features: BTreeMap<String, Vec<String>>,
    /// Empty for what is not to be published.
    publish: Option<Vec<String>>,
}

impl Package {
    fn is_published(&self) -> bool {
        self.publish.is_none()
    }
}

fn packages(shell: &Shell) -> Result<Vec<Package>> {
    let metadata = cmd!(
        shell,
        "cargo metadata --no-deps --format-version 1 --locked"
    )
    .read()?;
    let metadata: Metadata = serde_json::from_str(&metadata)?;
    Ok(metadata.packages)
}

/// Checks that each crate builds without its features and with each of them alone. Those that link LLVM are
/// checked with it, where it is installed.
pub(crate) fn features(steps: &mut Steps) -> Result<()> {
    steps.step("features one by one", |shell| {
        for package in packages(shell)? {
            let name = &package.name;
            let alone = package.features.keys().filter(|feature| {
                let links_llvm =
                    feature.starts_with("ir") || *feature == "any-ir" || *feature == "llvm";
                *feature != "default" && !links_llvm
            });
            let none = package.is_published().then_some("");
            let sets: Vec<&str> = none.into_iter().chain(alone.map(String::as_str)).collect();
            if package.features.is_empty() || name == "rekindle-benches" {
                continue;
            }
            for features in sets {
                let chosen = ["--no-default-features", "--features", features];
                cmd!(
                    shell,
                    "cargo clippy --quiet --package {name} {chosen...} -- -D warnings"
                )
                .run()?;
            }
        }
        Ok(())
    })
}

/// Checks that each crate that is to be published can be packaged, and that the packages build by themselves.
pub(crate) fn package(steps: &mut Steps) -> Result<()> {
    steps.step("packages", |shell| {
        let mut published = packages(shell)?;
        published.retain(Package::is_published);
        for package in &published {
            let has_all = package.description.is_some()
                && package.license.is_some()
                && package.rust_version.is_some();
            if !has_all {
                bail!(
                    "{} lacks a description, a licence or its rust-version",
                    package.name
                );
            }
        }
        let chosen: Vec<&str> = (published.iter())
            .flat_map(|package| ["--package", &package.name])
            .collect();
        // cargo would build each with all that it depends on once more, which takes minutes.
        cmd!(
            shell,
            "cargo package --quiet --no-verify --allow-dirty {chosen...}"
        )
        .run()?;
        let target = target_folder(shell)?;
        let folder = target.join("packaged");
        unpack(shell, &published, &target.join("package"), &folder)?;
        let manifest = folder.join("Cargo.toml");
        // In the same target folder: what others made is built already.
        cmd!(
            shell,
            "cargo check --quiet --workspace --manifest-path {manifest} --target-dir {target}"
        )
        .run()?;
        Ok(())
    })
}

/// Makes a workspace of what is in the packages alone, each found by the others as from the registry.
fn unpack(shell: &Shell, published: &[Package], packages: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let (mut members, mut patches) = (String::new(), String::new());
    // Files of packages are of 2006, and cargo would take what it built of other ones to be of these: so they are
    // touched.
    for Package { name, version, .. } in published {
        let package = packages.join(format!("{name}-{version}.crate"));
        cmd!(
            shell,
            "tar --extract --touch --gzip --file {package} --directory {folder}"
        )
        .quiet()
        .run()?;
        let unpacked = format!("{name}-{version}");
        // Each has a lock file of its own, of which a workspace wants none.
        let _ = fs::remove_file(folder.join(&unpacked).join("Cargo.lock"));
        let _ = write!(members, "{unpacked:?}, ");
        let _ = writeln!(patches, "{name} = {{ path = {unpacked:?} }}");
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    let profiles = manifest
        .find("[profile.")
        .and_then(|place| manifest.get(place..))
        .context("the workspace has no profiles")?;
    let text = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n[patch.crates-io]\n{patches}\n{profiles}"
    );
    fs::write(folder.join("Cargo.toml"), text)?;
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}
