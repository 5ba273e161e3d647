//! The benchmarks: built together, run one after the other, gathered in one summary.

use crate::figures;
use crate::layout::lay_out;
use crate::packages;
use crate::steps::Steps;
use crate::workspace::{BIN_DIR, root, target_folder};
use anyhow::{Context, Result, bail};
use std::path::Path;
use xshell::{Shell, cmd};

/// A benchmark, and what it wants.
pub(crate) struct Benchmark {
    pub(crate) name: &'static str,
    /// What is built for it and for no other: the peers that take long to build.
    features: &'static [&'static str],
    /// The features of ember that it measures.
    ember: Option<fn() -> Vec<&'static str>>,
    /// Programs and libraries that it uses.
    needs: Option<fn(&Shell) -> Result<()>>,
    /// How it is made to take half a minute.
    quick: &'static [&'static str],
}

impl Benchmark {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            features: &[],
            ember: None,
            needs: None,
            quick: &["--quick"],
        }
    }
}

/// All of them, in the order in which they run. A new one needs a line here.
pub(crate) const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        features: &["peers"],
        needs: Some(packages::install_missing_loaders),
        ..Benchmark::new("loader")
    },
    Benchmark {
        quick: &["--quick", "--rounds", "3"],
        ..Benchmark::new("store")
    },
    Benchmark::new("hooks"),
    Benchmark {
        features: &["end-to-end"],
        needs: Some(packages::install_missing_peers),
        ..Benchmark::new("end-to-end")
    },
    Benchmark {
        ember: Some(Vec::new),
        quick: &["--runs", "3"],
        ..Benchmark::new("first-light")
    },
    Benchmark {
        ember: Some(backends),
        ..Benchmark::new("backends")
    },
    Benchmark {
        features: &["clang"],
        needs: Some(packages::install_missing_clang),
        ..Benchmark::new("clang")
    },
    Benchmark {
        needs: Some(cpp_host),
        ..Benchmark::new("cpp")
    },
];

/// The C++ host with what it is held against, in the folder of the binaries.
const CPP_HOST: &str = "cpp-host/build";

/// Builds the C++ host against the library as it is installed. Without a collector, which ORC's data would have to be
/// told to.
fn cpp_host(shell: &Shell) -> Result<()> {
    packages::install_missing_cpp(shell)?;
    cmd!(shell, "cargo build --release --package rekindle-capi").run()?;
    let binaries = target_folder(shell)?.join("release");
    let (prefix, build) = (binaries.join("cpp-host/prefix"), binaries.join(CPP_HOST));
    lay_out(&root().join("crates/capi"), &binaries, &prefix)?;
    let options = ["-DCPP_HOST_COLLECTOR=OFF", "-DCPP_HOST_ORC=ON"];
    let configure = cmd!(shell, "cmake -S examples/cpp-host -B {build}");
    configure
        .arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()))
        .args(options)
        .run()?;
    Ok(cmd!(shell, "cmake --build {build}").run()?)
}

/// The features of ember that can be built here.
fn backends() -> Vec<&'static str> {
    let mut features = Vec::new();
    if packages::is_installed("llvm-config-22") {
        features.push("llvm");
    }
    if ["clang++-22", "clang++"]
        .into_iter()
        .any(packages::is_installed)
    {
        features.push("clang");
    }
    features
}

/// Runs the benchmarks called `names`, all without any, on what is built in release; their figures go to the
/// summary, and those of a single one to `json` as well.
pub(crate) fn run(
    steps: &mut Steps,
    names: &[String],
    is_quick: bool,
    json: Option<&Path>,
) -> Result<()> {
    let wanted = wanted(names)?;
    // The commands run in the workspace's folder, and the path is the caller's.
    let json = json.map(std::path::absolute).transpose();
    let json = json.context("cannot tell which file `--json` means")?;
    if json.is_some() && wanted.len() != 1 {
        bail!("`--json` is for one benchmark; all of them go to target/bench/summary.json");
    }
    for benchmark in &wanted {
        if let Some(needs) = benchmark.needs {
            steps.step("what the benchmark needs", needs)?;
        }
    }
    steps.step("build the benchmarks in release", |shell| {
        let mut features: Vec<_> = wanted
            .iter()
            .flat_map(|one| one.features)
            .copied()
            .collect();
        features.dedup();
        let features = features.join(",");
        let package = "rekindle-benches";
        let command = cmd!(shell, "cargo build --release --package {package}");
        let command = match features.is_empty() {
            true => command,
            false => command.args(["--features", &features]),
        };
        Ok(command.run()?)
    })?;
    for benchmark in &wanted {
        if let Some(features) = benchmark.ember {
            steps.step("build ember in release", |shell| {
                let features = features().join(",");
                let command = cmd!(shell, "cargo build --release --package ember");
                Ok(command.args(["--features", &features]).run()?)
            })?;
        }
        steps.step(benchmark.name, |shell| {
            one(shell, benchmark, is_quick, json.as_deref())
        })?;
    }
    steps.step("summary", figures::gather)
}

fn wanted(names: &[String]) -> Result<Vec<&'static Benchmark>> {
    if names.is_empty() {
        return Ok(BENCHMARKS.iter().collect());
    }
    let find = |name: &String| {
        let found = BENCHMARKS.iter().find(|one| one.name == name);
        found.with_context(|| {
            let all: Vec<_> = BENCHMARKS.iter().map(|one| one.name).collect();
            format!("there is no benchmark {name}, but {}", all.join(", "))
        })
    };
    names.iter().map(find).collect()
}

fn one(shell: &Shell, benchmark: &Benchmark, is_quick: bool, json: Option<&Path>) -> Result<()> {
    let binaries = target_folder(shell)?.join("release");
    let program = binaries.join("rekindle-benches");
    let _binaries = shell.push_env(BIN_DIR, &binaries);
    let _host = shell.push_env("REKINDLE_CPP_HOST", binaries.join(CPP_HOST));
    let rows = figures::rows_file(shell, benchmark.name)?;
    let name = benchmark.name;
    let quick = if is_quick { benchmark.quick } else { &[] };
    cmd!(shell, "{program} {name} {quick...} --json {rows}").run()?;
    if let Some(json) = json {
        shell.copy_file(&rows, json)?;
    }
    Ok(())
}
