//! The benchmarks: built together, run one after the other, gathered in one summary.
//!
//! What fails costs its own figures and no others': the rest is built without it and run, and the failures are
//! told at the end, with an exit code that is not zero.

mod part;

use crate::figures;
use crate::layout::lay_out;
use crate::packages;
use crate::steps::Steps;
use crate::workspace::{root, target_folder};
use anyhow::{Context, Result, bail};
pub(crate) use part::{Part, passed, rows_file};
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
    /// How it is made to take some ten seconds.
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
        quick: &["--quick", "--rounds", "2"],
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
///
/// # Errors
/// At the end, if something has failed: with all that has.
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
    let mut failures = Vec::new();
    let mut ready = Vec::new();
    for benchmark in &wanted {
        let needs = match benchmark.needs {
            Some(needs) => steps.step("what the benchmark needs", needs),
            None => Ok(()),
        };
        match needs {
            Ok(()) => ready.push(*benchmark),
            Err(error) => {
                let reason = format!("{error:#}");
                steps.step("summary", |shell| {
                    part::failed(shell, benchmark, is_quick, &reason)
                })?;
                failures.push(format!("{}: {reason}", benchmark.name));
            }
        }
    }
    failures.extend(build(steps, &ready));
    for benchmark in ready {
        if let Some(features) = benchmark.ember {
            failures.extend(build_ember(steps, &features()));
        }
        let measured = steps.step(benchmark.name, |shell| {
            part::run(shell, benchmark, is_quick, json.as_deref())
        });
        failures.extend(measured.err().map(|error| format!("{error:#}")));
    }
    steps.step("summary", figures::gather)?;
    match failures.is_empty() {
        true => Ok(()),
        false => bail!(
            "what else was to be measured is in the summary, but:\n{}",
            failures.join("\n")
        ),
    }
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

/// Builds the benchmarks with what those of `wanted` want; if that fails, with as much of it as can be built. Says
/// what went wrong.
fn build(steps: &mut Steps, wanted: &[&Benchmark]) -> Vec<String> {
    let mut sets: Vec<&[&str]> = wanted.iter().map(|one| one.features).collect();
    sets.dedup();
    let mut build = |features: &[&str]| {
        steps.step("build the benchmarks in release", |shell| {
            let package = "rekindle-benches";
            let command = cmd!(shell, "cargo build --release --package {package}");
            let features = features.join(",");
            Ok(command.args(["--features", &features]).run()?)
        })
    };
    let Err(error) = build(&sets.concat()) else {
        return Vec::new();
    };
    let mut failures = vec![format!("{error:#}, so peers are left out")];
    let mut built = Vec::new();
    for set in sets.into_iter().filter(|set| !set.is_empty()) {
        let more = [&built[..], set].concat();
        match build(&more) {
            Ok(()) => built = more,
            Err(error) => failures.push(format!("with {}: {error:#}", set.join(","))),
        }
    }
    // What was built last may be from before.
    failures.extend(build(&built).err().map(|error| format!("{error:#}")));
    failures
}

/// Builds ember with `features`, or without. Says what went wrong.
fn build_ember(steps: &mut Steps, features: &[&str]) -> Vec<String> {
    let mut build = |features: &[&str]| {
        steps.step("build ember in release", |shell| {
            let command = cmd!(shell, "cargo build --release --package ember");
            let features = features.join(",");
            Ok(command.args(["--features", &features]).run()?)
        })
    };
    let Err(error) = build(features) else {
        return Vec::new();
    };
    let mut failures = vec![format!("{error:#}")];
    if !features.is_empty() {
        failures.extend(build(&[]).err().map(|error| format!("{error:#}")));
    }
    failures
}
