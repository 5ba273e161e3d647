//! The long variants of all tests, for a night or a release.

use crate::fuzz;
use crate::packages;
use crate::steps::Steps;
use crate::workspace::{BIN_DIR, target_folder};
use anyhow::Result;
use std::time::Duration;
use xshell::cmd;

/// Tells the tests to use their long counts and times.
const SOAK: &str = "REKINDLE_SOAK";

/// Runs all tests with their long counts, in release, then fuzzes for `hours`.
pub(crate) fn run(steps: &mut Steps, hours: f64) -> Result<()> {
    steps.step("what the tests need", packages::install_missing)?;
    steps.step("build in release", |shell| {
        Ok(cmd!(shell, "cargo build --release --bins --examples").run()?)
    })?;
    let tests = steps.step("long tests", |shell| {
        let _binaries = shell.push_env(BIN_DIR, target_folder(shell)?.join("release"));
        let _long = shell.push_env(SOAK, "1");
        Ok(cmd!(shell, "cargo test --release --no-fail-fast").run()?)
    });
    // Fuzzing is worth its time even after a test failed.
    fuzz::run(steps, Duration::from_secs_f64(hours * 3600.0))?;
    tests
}
