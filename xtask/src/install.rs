//! Installing the C library: `cargo xtask install --prefix DIR`.

use crate::layout::lay_out;
use crate::steps::Steps;
use crate::workspace::{root, target_folder};
use anyhow::{Context, Result};
use std::path::Path;
use xshell::cmd;

/// Builds the library in release, and puts it below `prefix` with its headers and the files by which pkg-config and
/// CMake find it. What is there can be moved as a whole.
///
/// # Errors
/// A build that fails, or a folder that cannot be written.
pub(crate) fn run(steps: &mut Steps, prefix: &Path) -> Result<()> {
    // The commands run in the workspace's folder, and the path is the caller's.
    let prefix =
        std::path::absolute(prefix).context("cannot tell which folder `--prefix` means")?;
    steps.step("build the library", |shell| {
        Ok(cmd!(shell, "cargo build --release --package rekindle-capi").run()?)
    })?;
    steps.step("install", |shell| {
        let libraries = target_folder(shell)?.join("release");
        lay_out(&root().join("crates/capi"), &libraries, &prefix)?;
        let pkgconfig = prefix.join("lib/pkgconfig");
        eprintln!("   pkg-config: PKG_CONFIG_PATH={}", pkgconfig.display());
        eprintln!("   CMake: -DCMAKE_PREFIX_PATH={}", prefix.display());
        Ok(())
    })
}
