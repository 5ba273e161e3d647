//! Where things are: the workspace's folder and the folder of what is built.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Names the folder of the project's binaries to the tests and benchmarks that start them.
pub(crate) const BIN_DIR: &str = "REKINDLE_BIN_DIR";

/// The workspace's folder.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The folder that cargo builds into, which the user's settings may have moved.
pub(crate) fn target_folder(shell: &Shell) -> Result<PathBuf> {
    let metadata = cmd!(shell, "cargo metadata --no-deps --format-version 1")
        .quiet()
        .read()?;
    let metadata: serde_json::Value =
        serde_json::from_str(&metadata).context("`cargo metadata` did not answer in JSON")?;
    let folder = metadata
        .get("target_directory")
        .and_then(|folder| folder.as_str());
    let folder = folder.context("`cargo metadata` named no target folder")?;
    Ok(PathBuf::from(folder))
}
