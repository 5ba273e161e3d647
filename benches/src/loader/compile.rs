//! Compiles and links the benchmark's C++, and keeps the results in `target/bench` for the next run.

use super::sources;
use super::work::{Unit, Work};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

const COMPILER: &str = "clang++-22";

/// `dlopen` knows a file again, and a C++ library may refuse to go: each load needs a file of its own.
const COPIES: usize = 40;

/// A shape of the benchmark: how its units are made, and how often they are measured.
pub(super) struct Shape {
    pub(super) work: &'static str,
    units: usize,
    level: &'static str,
    source: fn(usize) -> String,
    pub(super) rounds: usize,
}

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        work: "small",
        units: 300,
        level: "-O2",
        source: sources::small,
        rounds: 10,
    },
    Shape {
        work: "large-o2",
        units: 1,
        level: "-O2",
        source: |_| sources::large(1, true),
        rounds: COPIES,
    },
    Shape {
        work: "large-o0",
        units: 1,
        level: "-O0",
        source: |_| sources::large(9, false),
        rounds: COPIES,
    },
    Shape {
        work: "comdat-chain",
        units: 1,
        level: "-O1",
        source: |_| sources::comdat_chain(2000),
        rounds: COPIES,
    },
    Shape {
        work: "comdat-chain-500",
        units: 1,
        level: "-O1",
        source: |_| sources::comdat_chain(500),
        rounds: COPIES,
    },
    Shape {
        work: "comdat-chain-8000",
        units: 1,
        level: "-O1",
        source: |_| sources::comdat_chain(8000),
        rounds: COPIES,
    },
];

/// The work of `shape`, made now or found in `folder`.
pub(super) fn work(shape: &Shape, folder: &Path) -> Result<Work> {
    let folder = folder.join(shape.work);
    let sources: Vec<String> = (0..shape.units).map(shape.source).collect();
    let flags = [shape.level, "-std=c++20", "-fPIC"];
    // The recipe and every source: anything else makes everything again.
    let recipe = format!("3 {COMPILER} {flags:?} {COPIES} {}", sources.concat());
    let stamp = format!("{:016x}", xxh3_64(recipe.as_bytes()));
    let stamp_file = folder.join("stamp");
    if std::fs::read_to_string(&stamp_file).ok().as_deref() != Some(&stamp) {
        eprintln!("compiling {} ...", shape.work);
        make(&folder, &sources, &flags)?;
        std::fs::write(&stamp_file, &stamp)?;
    }
    let link_ns = std::fs::read_to_string(folder.join("link-ns"))?;
    let units = (0..shape.units).map(|number| unit(&folder, number, shape.units));
    Ok(Work {
        name: shape.work,
        units: units.collect::<Result<_>>()?,
        rounds: shape.rounds,
        link_ns: link_ns.lines().map_while(|line| line.parse().ok()).collect(),
    })
}

fn make(folder: &Path, sources: &[String], flags: &[&str]) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let mut link_ns = String::new();
    for (number, source) in sources.iter().enumerate() {
        let path = folder.join(format!("{number}.cc"));
        std::fs::write(&path, source)?;
        let object = folder.join(format!("{number}.o"));
        run(Command::new(COMPILER).args(flags).arg("-c").arg(&path).arg("-o").arg(&object))?;
        // For loaders that do not know the relocations which invite a linker to relax them.
        let plain = folder.join(format!("{number}.plain.o"));
        let no_relaxing = "-Wa,-mrelax-relocations=no";
        let mut compile = Command::new(COMPILER);
        run(compile.args(flags).arg(no_relaxing).arg("-c").arg(&path).arg("-o").arg(&plain))?;
        let library = library(folder, number, 0);
        let began = Instant::now();
        run(Command::new(COMPILER)
            .args(["-shared", "-fuse-ld=lld", "--ld-path=ld.lld-22"])
            .arg(&object)
            .arg("-o")
            .arg(&library))?;
        link_ns.push_str(&format!("{}\n", began.elapsed().as_nanos()));
        if sources.len() == 1 {
            for copy in 1..COPIES {
                std::fs::copy(&library, self::library(folder, number, copy))?;
            }
        }
    }
    std::fs::write(folder.join("link-ns"), link_ns)?;
    Ok(())
}

fn unit(folder: &Path, number: usize, units: usize) -> Result<Unit> {
    let read = |name: String| {
        let path = folder.join(name);
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let copies = if units == 1 { COPIES } else { 1 };
    let entry = format!("factory_{number}");
    Ok(Unit {
        symbol: CString::new(entry.clone())?,
        entry,
        object: read(format!("{number}.o"))?,
        plain_object: read(format!("{number}.plain.o"))?,
        libraries: (0..copies).map(|copy| library(folder, number, copy)).collect(),
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
