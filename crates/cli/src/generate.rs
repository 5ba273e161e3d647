//! Completions and manual pages, made of the command line's own description.

use crate::arguments::Arguments;
use crate::exit::Exit;
use crate::print::Printer;
use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::path::Path;

pub(crate) fn completions(shell: Shell, out: &mut Printer) -> anyhow::Result<Exit> {
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, "rekindle", out.raw());
    Ok(Exit::Done)
}

pub(crate) fn manual(folder: &Path, out: &mut Printer) -> anyhow::Result<Exit> {
    let folder = folder
        .canonicalize()
        .with_context(|| format!("no manual pages go to {}", folder.display()))?;
    clap_mangen::generate_to(Arguments::command(), &folder)
        .with_context(|| format!("no manual pages can be written to {}", folder.display()))?;
    let folder = folder.display().to_string();
    out.print(&folder, |folder, out| {
        writeln!(out, "manual pages in {folder}")
    })?;
    Ok(Exit::Done)
}
