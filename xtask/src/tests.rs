//! The tests, and all that they need beforehand.

use crate::llvm;
use crate::packages;
use crate::steps::Steps;
use crate::workspace::{BIN_DIR, target_folder};
use anyhow::Result;
use xshell::cmd;

/// Installs what is missing, builds the binaries, and runs `cargo test` with `arguments`.
pub(crate) fn run(steps: &mut Steps, arguments: &[String]) -> Result<()> {
    steps.step("what the tests need", packages::install_missing)?;
    // Tests start the binaries and examples as processes, which `cargo test` alone does not build for them.
    steps.step("build", |shell| {
        Ok(cmd!(shell, "cargo build --bins --examples").run()?)
    })?;
    steps.step("test", |shell| {
        let _binaries = shell.push_env(BIN_DIR, target_folder(shell)?.join("debug"));
        Ok(cmd!(shell, "cargo test {arguments...}").run()?)
    })?;
    // Who asks for one package or test means that one.
    if !arguments.is_empty() {
        return Ok(());
    }
    llvm::test(steps)?;
    steps.step("test of the other loaders", |shell| {
        let package = [
            "--package",
            "rekindle-loader-peers",
            "--features",
            "orc,dlopen",
        ];
        Ok(cmd!(shell, "cargo test {package...}").run()?)
    })
}
