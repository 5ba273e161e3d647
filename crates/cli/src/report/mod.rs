//! `rekindle report`: one HTML page that tells a person what the cache is worth, and why.
//!
//! | what | file |
//! | --- | --- |
//! | what is told, from the cache's files | `gather.rs` |
//! | the page | `page.rs`, `sections.rs`, `style.css` |
//! | its charts | `charts.rs`, `course.rs` |
//! | reasons in words | `words.rs` |
//!
//! The page holds all that it shows, runs no script, and forbids itself to load anything. Whatever comes from
//! the cache is text in it: the templates escape.

mod charts;
mod course;
mod gather;
mod page;
mod sections;
mod words;

use crate::arguments::{Place, Report};
use crate::exit::Exit;
use crate::print::Printer;
use anyhow::Context as _;
use gather::Gathered;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

#[derive(Debug, Serialize)]
struct Written {
    file: String,
    bytes: u64,
}

pub(crate) fn run(place: &Place, options: &Report, out: &mut Printer) -> anyhow::Result<Exit> {
    let (folder, store) = place.look()?;
    let gathered = Gathered::of(&folder, &store)?;
    let page = page::page(&gathered).into_string();
    if options.file == Path::new("-") {
        out.raw().write_all(page.as_bytes())?;
        return Ok(Exit::Done);
    }
    let path = std::path::absolute(&options.file)
        .with_context(|| format!("cannot tell where {} is", options.file.display()))?;
    write(&path, &page).with_context(|| format!("cannot write {}", path.display()))?;
    let written = Written {
        file: path.display().to_string(),
        bytes: page.len() as u64,
    };
    out.print(&written, |written, out| writeln!(out, "{}", written.file))?;
    Ok(Exit::Done)
}

/// For this user's eyes, as the cache is: names of definitions may say a lot.
fn write(path: &Path, page: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(page.as_bytes())
}
