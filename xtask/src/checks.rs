//! The checks that run nothing of the project: format, lints, documentation.

use crate::llvm;
use crate::steps::Steps;
use anyhow::Result;
use xshell::cmd;

/// Checks that the code is formatted, the benchmarks' included.
pub(crate) fn fmt(steps: &mut Steps) -> Result<()> {
    steps.step("format", |shell| {
        Ok(cmd!(shell, "cargo fmt --all --check").run()?)
    })
}

/// Checks that clippy has nothing to say of code, tests and examples.
///
/// The benchmarks come by themselves: they are no default member, and their peers are features that
/// stay off, so that the check does not build other people's compilers.
pub(crate) fn clippy(steps: &mut Steps) -> Result<()> {
    steps.step("clippy", |shell| {
        Ok(cmd!(shell, "cargo clippy --all-targets -- -D warnings").run()?)
    })?;
    steps.step("clippy of the other loaders", |shell| {
        let package = [
            "--package",
            "rekindle-loader-peers",
            "--features",
            "orc,dlopen",
        ];
        let command = cmd!(
            shell,
            "cargo clippy {package...} --all-targets -- -D warnings"
        );
        Ok(command.run()?)
    })?;
    steps.step("clippy of the benchmarks", |shell| {
        let package = "rekindle-benches";
        Ok(cmd!(
            shell,
            "cargo clippy --package {package} --all-targets -- -D warnings"
        )
        .run()?)
    })?;
    llvm::clippy(steps)
}

/// Checks that the documentation builds without a warning.
pub(crate) fn doc(steps: &mut Steps) -> Result<()> {
    steps.step("documentation", |shell| {
        let _flags = shell.push_env("RUSTDOCFLAGS", "-D warnings");
        Ok(cmd!(shell, "cargo doc --no-deps").run()?)
    })?;
    llvm::doc(steps)
}
