//! The system's dynamic linker, on a library for each definition that lld linked beforehand.

use super::files;
use super::orc;
use super::peer::{Peer, Place, call, most_mappable};
use crate::language::{Language, RUNTIME, Source};
use crate::loader::dlopen::{error, make_global};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A library is more mappings than so many: headers, code, tables, and what is written to.
const MAPPINGS: usize = 3;

/// Links the objects, and a library with the host's functions and words.
pub(super) fn prepare(place: &Place, budget: Duration) -> Result<usize> {
    host_library(place)?;
    let count = place.count.min(most_mappable(MAPPINGS));
    let (objects, libraries) = (place.folder("plain-objects"), place.folder("libraries"));
    let made = orc::objects(&objects, count, budget, Language::without_unwind_tables)?;
    let linker = first(&["ld.lld-22", "ld.lld", "ld"])?;
    let recipe = format!("1 {linker} {}", orc::recipe()?);
    let there = files::prepare(&libraries, &recipe, made, budget, |number| {
        let mut command = Command::new(linker);
        let flags = ["-shared", "--eh-frame-hdr", "--hash-style=gnu", "-znow"];
        command.args(flags).arg(orc::path(&objects, number));
        run(command.arg("-o").arg(files::path(&libraries, number, "so")))
    })?;
    // Whoever gets past what can be mapped is told that no more were made.
    let is_all = there == count && count < place.count;
    Ok(if is_all { place.count } else { there })
}

/// The library that the others' names are bound to: functions, and symbols that stand for words.
pub(super) fn host_library(place: &Place) -> Result<PathBuf> {
    let folder = place.folder("host");
    std::fs::create_dir_all(&folder)?;
    let mut source = String::from("typedef unsigned long word;\n");
    let bodies = ["a ^ b", "a + b", "a * b", "a < b"];
    for ((name, _), body) in RUNTIME.iter().zip(bodies) {
        let _ = writeln!(source, "word {name}(word a, word b) {{ return {body}; }}");
    }
    let mut words = BTreeMap::new();
    for number in 0..2_000 {
        words.extend(Source::words(number).map(|word| (word.name, word.value)));
    }
    for (name, value) in words {
        let _ = writeln!(
            source,
            "__asm__(\".globl \\\"{name}\\\"\\n.set \\\"{name}\\\", {value}\");"
        );
    }
    let (path, library) = (folder.join("host.c"), folder.join("host.so"));
    if std::fs::read_to_string(&path).ok().as_ref() != Some(&source) || !library.exists() {
        std::fs::write(&path, source)?;
        let mut command = Command::new(first(&["cc", "gcc", "clang"])?);
        command.args(["-O2", "-shared", "-fPIC"]).arg(&path);
        run(command.arg("-o").arg(&library))?;
    }
    Ok(library)
}

/// Opens that library for all that come later.
pub(super) fn open_host_library(place: &Place) -> Result<()> {
    let host = host_library(place)?;
    make_global(&CString::new(host.as_os_str().as_bytes())?)
}

struct Dlopen {
    libraries: PathBuf,
}

pub(super) fn start(place: &Place) -> Result<Box<dyn Peer>> {
    open_host_library(place)?;
    Ok(Box::new(Dlopen {
        libraries: place.folder("libraries"),
    }))
}

impl Peer for Dlopen {
    fn bring_back(&mut self, number: usize) -> Result<u64> {
        let path = files::path(&self.libraries, number, "so");
        ensure!(path.exists(), "no more libraries were prepared");
        let factory = open(&path, &format!("factory_{number}"))?;
        // SAFETY: the library was made of one of the language's definitions.
        Ok(unsafe { call(factory) })
    }
}

/// Opens a library, everything bound at once and symbols local, and finds `symbol` in it.
pub(super) fn open(path: &Path, symbol: &str) -> Result<usize> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let symbol = CString::new(symbol)?;
    // SAFETY: the library is the benchmark's own; it has no initialisers, and is never closed.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        bail!("{}", error());
    }
    // SAFETY: the handle was just given, and the name ends in a zero.
    let entry = unsafe { libc::dlsym(library, symbol.as_ptr()) };
    if entry.is_null() {
        bail!("{}", error());
    }
    Ok(entry as usize)
}

/// The first of `programs` that starts.
pub(super) fn first(programs: &[&'static str]) -> Result<&'static str> {
    let starts = |program: &&&str| {
        let mut command = Command::new(program);
        let command = command.arg("--version").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let found = programs.iter().find(starts).copied();
    found.with_context(|| format!("none of {programs:?} is installed"))
}

pub(super) fn run(command: &mut Command) -> Result<()> {
    let status = command.status();
    let status = status.with_context(|| format!("{command:?} does not start"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
