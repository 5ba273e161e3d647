//! The project's commands, run as `cargo xtask COMMAND`.
//!
//! Continuous integration runs these and nothing else, so what passes here passes there. They print
//! each step with its command, and at the end how long each took.

mod bench;
mod checks;
mod packages;
mod steps;
mod tests;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use steps::Steps;

/// The project's commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the tests need and is missing, build the binaries, run all tests.
    Test {
        /// What `cargo test` is given besides, such as `-p PACKAGE` or the name of a test.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run every check, then the tests.
    Ci {
        /// Run the checks alone.
        #[arg(long)]
        without_tests: bool,
    },
    /// Check that the code is formatted.
    Fmt,
    /// Check that clippy has nothing to say, of code and tests alike.
    Clippy,
    /// Check that the documentation builds and its links lead somewhere.
    Doc,
    /// Run a benchmark, with everything it measures built in release.
    Bench {
        /// The benchmark's name.
        name: String,
        /// Where to write its figures as JSON.
        #[arg(long, value_name = "PATH")]
        json: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let outcome = Steps::new().and_then(|mut steps| {
        let outcome = run(&command, &mut steps);
        steps.report(outcome.is_ok());
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, steps: &mut Steps) -> Result<()> {
    match command {
        Command::Test { arguments } => tests::run(steps, arguments),
        Command::Ci { without_tests } => {
            checks::fmt(steps)?;
            checks::clippy(steps)?;
            checks::doc(steps)?;
            if *without_tests {
                return Ok(());
            }
            tests::run(steps, &[])
        }
        Command::Fmt => checks::fmt(steps),
        Command::Clippy => checks::clippy(steps),
        Command::Doc => checks::doc(steps),
        Command::Bench { name, json } => bench::run(steps, name, json.as_deref()),
    }
}
