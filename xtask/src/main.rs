//! The project's commands, run as `cargo xtask COMMAND`.
//!
//! Continuous integration runs these and nothing else, so what passes here passes there. They print
//! each step with its command, and at the end how long each took.

mod bench;
mod book;
mod checks;
mod dependencies;
mod figures;
mod fuzz;
mod header;
mod install;
mod layout;
mod llvm;
mod packages;
mod publishing;
mod regress;
mod soak;
mod steps;
mod tests;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
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
    /// Run every check, fuzz for a minute, then run the tests.
    Ci {
        /// Run the checks alone, fuzzing included.
        #[arg(long)]
        without_tests: bool,
    },
    /// Check that the code is formatted.
    Fmt,
    /// Check that clippy has nothing to say, of code and tests alike.
    Clippy,
    /// Check that the documentation builds and its links lead somewhere.
    Doc,
    /// Build the book of `docs/` into `target/book` and follow its links.
    Book,
    /// Check that licences and sources of all that is depended on are allowed.
    Dependencies,
    /// Check that each crate builds with each of its features alone.
    Features,
    /// Check that the crates can be published: packaged, and built from the packages alone.
    Package,
    /// Make the C header of `crates/capi` from its source.
    Header {
        /// See whether it is up to date, and change nothing.
        #[arg(long)]
        check: bool,
    },
    /// Build the C library and put it below a folder, with headers and the files of pkg-config and CMake.
    Install {
        /// The folder: `include` and `lib` are made below it.
        #[arg(long, value_name = "DIR")]
        prefix: PathBuf,
    },
    /// Fuzz what takes foreign bytes: linking objects, validating images.
    Fuzz {
        /// For how long in total.
        #[arg(long, default_value_t = FUZZ_SECONDS)]
        seconds: u64,
    },
    /// Run the long variants of all tests, then fuzz for hours.
    ///
    /// Sets REKINDLE_SOAK=1 and runs all tests in release. Of the loader that means: all 200
    /// generated programs by two compilers at two levels instead of 12; a million changed objects and
    /// a million changed images instead of 10,000 each; and long counts and times of everything else
    /// that has them. Then the fuzz targets share the hours. Findings of the fuzzer stay in
    /// fuzz/artifacts, what it learnt in fuzz/corpus. A single long test is run by
    /// `REKINDLE_SOAK=1 cargo test --release -p PACKAGE --test NAME`.
    #[command(verbatim_doc_comment)]
    Soak {
        /// How long to fuzz; the tests take as long as they take.
        #[arg(long, default_value_t = 1.0, value_parser = hours)]
        hours: f64,
    },
    /// Run benchmarks beside the peers, with everything they measure built in release.
    ///
    /// Without a name all of them. What they find goes to target/bench/summary.json, with a table and charts
    /// beside it; of what was not run now, what it found when it last ran.
    #[command(verbatim_doc_comment)]
    Bench {
        /// Names of benchmarks.
        names: Vec<String>,
        /// Fewer samples and smaller sizes: under three minutes, once built and prepared.
        #[arg(long)]
        quick: bool,
        /// Where to write the figures of one benchmark as JSON, too.
        #[arg(long, value_name = "PATH")]
        json: Option<PathBuf>,
    },
    /// Compare this build with another commit's by the instructions that they take, under valgrind.
    Regress {
        /// The other commit.
        base: String,
        /// How many percent more are let pass.
        #[arg(long, default_value_t = 2.0)]
        tolerance: f64,
        /// Count these alone: hit, again, miss, link, load, put, get.
        #[arg(long, value_name = "WORK", value_delimiter = ',', value_parser = regress::WORKS)]
        only: Vec<String>,
    },
    /// Keep the last summary of the benchmarks in docs/, and make the tables of README and docs of it.
    Figures {
        /// Leave the summary that is kept as it is, and make the tables of it.
        #[arg(long)]
        kept: bool,
        /// See whether the tables are those of the summary that is kept, and change nothing.
        #[arg(long, conflicts_with = "kept")]
        check: bool,
    },
}

/// How long continuous integration fuzzes.
const FUZZ_SECONDS: u64 = 60;

fn hours(text: &str) -> Result<f64, String> {
    let hours: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match hours.is_finite() && (0.0..=10_000.0).contains(&hours) {
        true => Ok(hours),
        false => Err("between 0 and 10,000, please".to_owned()),
    }
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
            header::run(steps, true)?;
            figures::tables(steps, true)?;
            book::run(steps)?;
            dependencies::check(steps)?;
            publishing::features(steps)?;
            publishing::package(steps)?;
            fuzz::run(steps, Duration::from_secs(FUZZ_SECONDS))?;
            if *without_tests {
                return Ok(());
            }
            tests::run(steps, &[])
        }
        Command::Fmt => checks::fmt(steps),
        Command::Clippy => checks::clippy(steps),
        Command::Doc => checks::doc(steps),
        Command::Book => book::run(steps),
        Command::Dependencies => dependencies::check(steps),
        Command::Features => publishing::features(steps),
        Command::Package => publishing::package(steps),
        Command::Install { prefix } => install::run(steps, prefix),
        Command::Header { check } => header::run(steps, *check),
        Command::Fuzz { seconds } => fuzz::run(steps, Duration::from_secs(*seconds)),
        Command::Soak { hours } => soak::run(steps, *hours),
        Command::Bench { names, quick, json } => bench::run(steps, names, *quick, json.as_deref()),
        Command::Regress {
            base,
            tolerance,
            only,
        } => regress::run(steps, base, *tolerance, only),
        Command::Figures { kept, check } => {
            if !kept && !check {
                figures::keep(steps)?;
            }
            figures::tables(steps, *check)
        }
    }
}
