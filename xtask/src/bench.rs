//! The benchmarks.

use crate::packages;
use crate::steps::Steps;
use crate::workspace::{BIN_DIR, target_folder};
use anyhow::{Context, Result};
use std::path::Path;
use xshell::cmd;

/// The benchmark of loaders beside each other.
const LOADER: &str = "loader";

/// Runs the benchmark `name` on binaries built in release; its figures go to `json` as well.
pub(crate) fn run(steps: &mut Steps, name: &str, json: Option<&Path>) -> Result<()> {
    // The commands run in the workspace's folder, and the path is the caller's.
    let json = match json {
        Some(path) => {
            let path = std::path::absolute(path);
            Some(path.context("cannot tell which file `--json` means")?)
        }
        None => None,
    };
    // The peers that are built for long are built for the benchmark that has them, and for no other.
    let mut features: &[&str] = &[];
    match name {
        LOADER => {
            steps.step(
                "what the benchmark needs",
                packages::install_missing_loaders,
            )?;
            features = &["--features", "peers"];
        }
        // They measure no program but themselves.
        "store" | "hooks" => {}
        _ => steps.step("build ember in release", |shell| {
            Ok(cmd!(shell, "cargo build --release --package ember").run()?)
        })?,
    }
    steps.step("benchmark", |shell| {
        let _binaries = shell.push_env(BIN_DIR, target_folder(shell)?.join("release"));
        let mut command = cmd!(
            shell,
            "cargo run --release --package rekindle-benches {features...} -- {name}"
        );
        if let Some(path) = &json {
            command = command.arg("--json").arg(path);
        }
        Ok(command.run()?)
    })
}
