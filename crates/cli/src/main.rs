//! `rekindle`: looks into a code cache, checks it, keeps it small, and moves it.
//!
//! A subcommand is a file of its own: it reads what it tells of into a type that serialises, and prints
//! that type for people or, with `--json`, for programs. `docs/command.md` has the shapes and the exit
//! codes.

mod arguments;
mod bundles;
mod clear;
mod disassembly;
mod doctor;
mod exit;
mod generate;
mod image;
mod keys;
mod list;
mod pack;
mod place;
mod print;
mod progress;
mod prune;
mod records;
mod report;
mod select;
mod show;
mod status;
mod units;
mod verify;
mod why;

use arguments::{Arguments, Command};
use clap::Parser as _;
use exit::{Exit, exit_of, in_words};
use print::Printer;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    warn_on_stderr();
    let mut out = Printer::new(arguments.json);
    let outcome = run(&arguments, &mut out).and_then(|exit| {
        out.finish()?;
        Ok(exit)
    });
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = exit_of(&error);
            if exit != Exit::Done {
                eprintln!("rekindle: {}", in_words(&error));
            }
            exit.into()
        }
    }
}

fn run(arguments: &Arguments, out: &mut Printer) -> anyhow::Result<Exit> {
    let place = &arguments.place;
    match &arguments.command {
        Command::Status => status::run(place, out),
        Command::List(options) => list::run(place, options, out),
        Command::Show(options) => show::run(place, options, out),
        Command::Why(options) => why::run(place, options, out),
        Command::Report(options) => report::run(place, options, out),
        Command::Verify(options) => verify::run(place, options, out),
        Command::Prune(options) => prune::run(place, options, out),
        Command::Pack => pack::run(place, out),
        Command::Export(options) => bundles::export(place, options, out),
        Command::Import(options) => bundles::import(place, options, out),
        Command::Clear(options) => clear::run(place, options, out),
        Command::Doctor => doctor::run(place, out),
        Command::Key(key) => keys::run(place, key, out),
        Command::Completions { shell } => generate::completions(*shell, out),
        Command::Man { folder } => generate::manual(folder, out),
    }
}

/// Shows what `REKINDLE_LOG` asks for; without it nothing, as the command says what it finds itself.
fn warn_on_stderr() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("REKINDLE_LOG")
        .with_default_directive(tracing_subscriber::filter::LevelFilter::OFF.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .init();
}
