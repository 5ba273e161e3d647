//! The command line.

use crate::units::{parse_age, parse_bytes, parse_count};
use clap::{Args, Parser, Subcommand, ValueEnum};
use rekindle_cache_core::bundle::PublicKey;
use std::path::PathBuf;
use std::time::Duration;

/// What `--help` says at its end, and the manual page.
const EXIT_CODES: &str = "Exit codes:
  0  done
  1  something could not be done
  2  the command line is wrong
  3  damage or a problem was found
  4  no record was found
  5  refused: a folder, key or bundle that is not to be trusted
  6  another process is at it";

/// Looks into the code cache of JIT runtimes, checks it, keeps it small, and moves it.
#[derive(Debug, Parser)]
#[command(
    name = "rekindle",
    version,
    arg_required_else_help = true,
    after_help = EXIT_CODES
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Print JSON, one value, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cache.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The cache's folder. Without it, the one that REKINDLE_DIR names, else the user's own.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say where the cache is, how much is in it, and what it is worth.
    Status,
    /// List the records.
    List(List),
    /// Tell everything of a definition's record, and disassemble its code.
    Show(Show),
    /// Say how the records of a definition differ, and so why one may not have been used.
    Why(Why),
    /// Write a page for the browser: time saved, outcomes, costs, growth, one process's start.
    Report(Report),
    /// Read every byte and check it.
    Verify(Verify),
    /// Remove what is worth least, down to the limits.
    Prune(Prune),
    /// Merge the packs into few, in the order of loading.
    Pack,
    /// Write records to a bundle: one file, signed, to be taken elsewhere.
    Export(Export),
    /// Take over the records of a bundle.
    Import(Import),
    /// Remove records, all of them unless some are chosen.
    Clear(Clear),
    /// Look for what keeps the cache from working, and say the command that mends it.
    Doctor,
    /// Make, show, trust and revoke the keys that sign bundles.
    #[command(subcommand)]
    Key(Key),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages to a folder.
    #[command(hide = true)]
    Man {
        /// The folder, which has to be there.
        folder: PathBuf,
    },
}

/// Which records.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct Selection {
    /// Names, in which `*` stands for anything. Without any, all.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Only those of the environment whose digest starts like this.
    #[arg(long, value_name = "HEX")]
    pub(crate) environment: Option<String>,
    /// Only those from there: `own`, `unsigned`, or a public key.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// What comes first.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sort: Sort,
    /// Not more than so many.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) limit: Option<usize>,
    /// Look into this bundle instead of the cache.
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
}

/// Orders of `rekindle list`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// By name.
    #[default]
    Name,
    /// The largest first.
    Size,
    /// What took longest to compile first.
    Cost,
    /// The most used first.
    Hits,
    /// The youngest first.
    Age,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The definition's name, or the start of a form key (8 digits or more).
    #[arg(value_name = "NAME|KEY")]
    pub(crate) what: String,
    /// Leave out the disassembly.
    #[arg(long)]
    pub(crate) no_code: bool,
    /// Show all records, and not only the newest.
    #[arg(long)]
    pub(crate) all: bool,
    /// Look into this bundle instead of the cache.
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The definition's name, or the start of a form key (8 digits or more).
    #[arg(value_name = "NAME|KEY")]
    pub(crate) what: String,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The file to be written; `-` for standard output.
    #[arg(default_value = "rekindle-report.html")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Set damaged packs aside, and keep what is intact in them.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Check this bundle instead of the cache.
    #[arg(long, value_name = "FILE", conflicts_with = "repair")]
    pub(crate) bundle: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Bytes to keep, such as 500M or 2G; otherwise REKINDLE_MAX_BYTES, else 4G.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) max_bytes: Option<u64>,
    /// Records to keep; otherwise REKINDLE_MAX_ENTRIES, else 4,000,000.
    #[arg(long, value_name = "NUMBER", value_parser = parse_count)]
    pub(crate) max_entries: Option<u64>,
    /// Remove records compiled longer ago than this, such as 30d or 12h, whatever the limits.
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub(crate) older_than: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The bundle to be written.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// The key that signs it; otherwise the one that `rekindle key new` made.
    #[arg(long, value_name = "FILE", conflicts_with = "unsigned")]
    pub(crate) key: Option<PathBuf>,
    /// Do not sign it: it is then refused unless whoever imports it asks for nobody's word.
    #[arg(long)]
    pub(crate) unsigned: bool,
    /// Also export records that came from elsewhere: your key then vouches for them.
    #[arg(long)]
    pub(crate) all_sources: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The bundle.
    pub(crate) file: PathBuf,
    /// Take it even if nobody signed it, or somebody who is not trusted: you know where it comes from.
    #[arg(long)]
    pub(crate) allow_unsigned: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Clear {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Do not ask. Needed where there is nobody to ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Keys of bundles.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key that signs bundles, and print its public half.
    New {
        /// Where to keep it; otherwise in the user's configuration folder.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the public half of your own key.
    Show {
        /// Where it is kept, if not in the user's configuration folder.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// List the keys that are trusted or were revoked.
    List,
    /// Trust a key: bundles that it signed can be imported.
    Trust {
        /// The public key, `ed25519:` and 64 digits.
        key: PublicKey,
        /// Whose it is.
        #[arg(long, value_name = "TEXT", default_value = "")]
        comment: String,
    },
    /// Revoke a key for good, and drop every record that came with it.
    Revoke {
        /// The public key, `ed25519:` and 64 digits.
        key: PublicKey,
        /// Why.
        #[arg(long, value_name = "TEXT", default_value = "")]
        comment: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
