//! `rekindle`: looks into a code cache.
//!
//! Nothing here changes a cache: it is opened for reading.

mod report;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use rekindle_cache_core::folder::default_folder;
use rekindle_cache_core::store::FolderStore;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Looks into the code cache of JIT runtimes.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say where the cache is and how much is in it.
    Status(Place),
    /// List the records: start of the key, size of the image, time it took to compile, name.
    List(Place),
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The cache's folder. Without it, the one that REKINDLE_DIR names, else the user's own.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads, such as `head`, has had enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rekindle: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match command {
        Command::Status(place) => {
            let (folder, store) = place.open()?;
            report::status(&mut out, &folder, &store)?;
        }
        Command::List(place) => report::list(&mut out, &place.open()?.1)?,
    }
    out.flush()?;
    Ok(())
}

impl Place {
    fn open(&self) -> anyhow::Result<(PathBuf, FolderStore)> {
        let folder = match &self.dir {
            Some(dir) => dir.clone(),
            None => default_folder()?,
        };
        let store = FolderStore::open_read_only(&folder)
            .with_context(|| format!("no cache can be read in {}", folder.display()))?;
        Ok((folder, store))
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
