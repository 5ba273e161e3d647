//! Compiles and links the benchmark's C++, and keeps the results for the next run.

use super::sources;
use super::work::{Unit, Work};
use anyhow::{Context, Result, bail, ensure};
use rekindle_cache_core::checksum;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// `dlopen` knows a file again, and a C++ library may refuse to go: each load needs a file of its own.
/// For units that come in hundreds it has to do with one, which goes where the compiler is clang.
const COPIES: usize = 30;

/// So many units have one library each.
const MANY: usize = 100;

/// Libraries that are linked again to see how long it takes.
const LINKED_AGAIN: usize = 10;

/// A shape of the benchmark: how its units are made, and how often they are measured.
pub(super) struct Shape {
    pub(super) work: &'static str,
    units: usize,
    level: &'static str,
    source: fn(usize) -> String,
    rounds: usize,
    burst: usize,
}

/// Loads of one unit right after each other: the first finds in no cache what it needs and is told
/// apart, the others show a loader that goes on loading, as a round of small units does.
const BURST: usize = 11;

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        work: "small",
        units: 300,
        level: "-O2",
        source: sources::small,
        rounds: 12,
        burst: 1,
    },
    Shape {
        work: "large-o2",
        units: 1,
        level: "-O2",
        source: |number| sources::large(number, 1, true),
        rounds: 40,
        burst: BURST,
    },
    Shape {
        work: "large-o0",
        units: 1,
        level: "-O0",
        source: |number| sources::large(number, 9, false),
        rounds: 40,
        burst: 1,
    },
    chain("comdat-chain", |_| sources::comdat_chain(2000)),
    chain("comdat-chain-500", |_| sources::comdat_chain(500)),
    chain("comdat-chain-1000", |_| sources::comdat_chain(1000)),
    chain("comdat-chain-4000", |_| sources::comdat_chain(4000)),
];

const fn chain(work: &'static str, source: fn(usize) -> String) -> Shape {
    Shape {
        work,
        units: 1,
        level: "-O1",
        source,
        rounds: 30,
        burst: 1,
    }
}

/// The compiler and linker of the benchmark: the versions that its bars are about, or others.
pub(super) struct Tools {
    compiler: &'static str,
    linker: &'static str,
}

impl Tools {
    /// Looks for them.
    pub(super) fn find() -> Result<Self> {
        let tools = Self {
            compiler: first(&["clang++-22", "clang++", "c++", "g++"])?,
            linker: first(&["ld.lld-22", "ld.lld", "ld"])?,
        };
        if tools.compiler != "clang++-22" || tools.linker != "ld.lld-22" {
            eprintln!(
                "left out: clang++-22 and ld.lld-22; {} and {} do it",
                tools.compiler, tools.linker
            );
        }
        Ok(tools)
    }

    /// Compiles `source` with `flags` to `object`.
    pub(super) fn compile(&self, source: &Path, flags: &[&str], object: &Path) -> Result<()> {
        let mut command = Command::new(self.compiler);
        run(command
            .args(flags)
            .arg("-c")
            .arg(source)
            .arg("-o")
            .arg(object))
    }

    /// Compiles `source` with `flags` to assembler code.
    fn assembly(&self, source: &Path, flags: &[&str], assembly: &Path) -> Result<()> {
        let mut command = Command::new(self.compiler);
        let command = command.args(flags).arg("-S").arg(source);
        run(command.arg("-o").arg(assembly))
    }

    /// Links `object` to a shared library. What it needs is in the process already.
    fn link(&self, object: &Path, library: &Path) -> Result<()> {
        let flags = ["-shared", "--eh-frame-hdr", "--hash-style=gnu"];
        let mut command = Command::new(self.linker);
        run(command.args(flags).arg(object).arg("-o").arg(library))
    }

    /// How long it takes to link units of `work`, each by a process of the linker's.
    pub(super) fn link_times(&self, work: &Work) -> Result<Vec<u64>> {
        let folder = tempfile::tempdir()?;
        let library = folder.path().join("linked.so");
        let units = work.units.iter().cycle().take(LINKED_AGAIN);
        let time = |unit: &Unit| {
            let began = Instant::now();
            self.link(&unit.object_file, &library)?;
            Ok(began.elapsed().as_nanos() as u64)
        };
        units.map(time).collect()
    }
}

/// The first of `programs` that starts.
fn first(programs: &[&'static str]) -> Result<&'static str> {
    let starts = |program: &&&str| {
        let mut command = Command::new(program);
        let command = command.arg("--version").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let found = programs.iter().find(starts).copied();
    found.with_context(|| format!("none of {programs:?} is installed"))
}

/// The work of `shape`, made now or found in `folder`.
pub(super) fn work(shape: &Shape, tools: &Tools, folder: &Path) -> Result<Work> {
    let folder = folder.join(shape.work);
    let sources: Vec<String> = (0..shape.units).map(shape.source).collect();
    let flags = [shape.level, "-std=c++20", "-fPIC"];
    // The recipe and every source: anything else makes everything again.
    let Tools { compiler, linker } = tools;
    let recipe = format!(
        "5 {compiler} {linker} {flags:?} {COPIES} {}",
        sources.concat()
    );
    let stamp = format!("{:016x}", checksum(recipe.as_bytes()));
    let stamp_file = folder.join("stamp");
    if std::fs::read_to_string(&stamp_file).ok().as_deref() != Some(&stamp) {
        eprintln!("compiling {} ...", shape.work);
        make(tools, &folder, &sources, &flags)?;
        std::fs::write(&stamp_file, &stamp)?;
    }
    let units = (0..shape.units).map(|number| unit(&folder, number, shape.units));
    Ok(Work {
        name: shape.work,
        units: units.collect::<Result<_>>()?,
        rounds: shape.rounds,
        burst: shape.burst,
    })
}

fn make(tools: &Tools, folder: &Path, sources: &[String], flags: &[&str]) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    for (number, source) in sources.iter().enumerate() {
        let path = folder.join(format!("{number}.cc"));
        std::fs::write(&path, source)?;
        let assembly = folder.join(format!("{number}.s"));
        tools.assembly(&path, flags, &assembly)?;
        let object = folder.join(format!("{number}.o"));
        tools.compile(&assembly, &[], &object)?;
        // For loaders that do not know the relocations which invite a linker to relax them.
        let plain = folder.join(format!("{number}.plain.o"));
        tools.compile(&assembly, &["-Wa,-mrelax-relocations=no"], &plain)?;
        let library = library(folder, number, 0);
        tools.link(&object, &library)?;
        if sources.len() < MANY {
            for copy in 1..COPIES {
                std::fs::copy(&library, self::library(folder, number, copy))?;
            }
        }
    }
    Ok(())
}

fn unit(folder: &Path, number: usize, units: usize) -> Result<Unit> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let copies = if units < MANY { COPIES } else { 1 };
    let entry = format!("factory_{number}");
    let object_file = folder.join(format!("{number}.o"));
    Ok(Unit {
        symbol: CString::new(entry.clone())?,
        entry,
        object: read(&object_file)?,
        plain_object: read(&folder.join(format!("{number}.plain.o")))?,
        object_file,
        libraries: (0..copies)
            .map(|copy| library(folder, number, copy))
            .collect(),
    })
}

fn library(folder: &Path, number: usize, copy: usize) -> PathBuf {
    folder.join(format!("{number}.{copy}.so"))
}

fn run(command: &mut Command) -> Result<()> {
    let status = match command.status() {
        Ok(status) => status,
        Err(error) => bail!(
            "{} does not start ({error}): `cargo xtask bench loader` installs it where it may",
            command.get_program().display()
        ),
    };
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
