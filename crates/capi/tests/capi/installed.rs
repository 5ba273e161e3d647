//! What is installed: found by pkg-config and CMake wherever it was moved, and enough to build the C++ host against.

use crate::build::{installed, libraries, package, succeed};
use crate::layout::lay_out;
use rekindle_cache_core::bundle::{self, Export, SigningKey};
use rekindle_cache_core::store::FolderStore;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The library as users have it, installed once for all tests, and moved after that.
pub(crate) fn prefix() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let folder =
            FOLDER.get_or_init(|| tempfile::tempdir().expect("there is room for a folder"));
        let (first, moved) = (folder.path().join("first"), folder.path().join("moved"));
        // Twice: an installation replaces another.
        for _ in 0..2 {
            lay_out(&package(""), &libraries(), &first).expect("it can be laid out");
        }
        std::fs::rename(first, &moved).expect("it can be moved");
        moved
    })
}

/// The project's C++ host, built with CMake and some of its options; `None` where something that it needs is missing.
pub(crate) fn cpp_host(folder: &Path, options: &[&str]) -> Option<PathBuf> {
    installed(&["cmake"])?;
    installed(&["clang++-22"])?;
    let source = package("../../examples/cpp-host");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(source).arg("-B").arg(folder);
    configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix().display()));
    succeed(configure.arg("-DCMAKE_CXX_FLAGS=-Werror").args(options));
    succeed(Command::new("cmake").arg("--build").arg(folder));
    Some(folder.join("cpp-host"))
}

#[test]
fn pkg_config_finds_the_shared_and_the_static_library() {
    if installed(&["pkg-config"]).is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room for a folder");
    for is_static in [false, true] {
        let mut asked = Command::new("pkg-config");
        asked.env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"));
        asked.args(["--cflags", "--libs", "rekindle"]);
        let flags = succeed(asked.args(is_static.then_some("--static")));
        let program = folder.path().join("program");
        let mut compile = Command::new("c++");
        compile
            .arg("-std=c++20")
            .arg(package("tests/programs/no_exceptions.cpp"));
        compile.arg("-fno-exceptions").arg("-o").arg(&program);
        if is_static {
            let archive = prefix().join("lib/librekindle.a");
            let without = flags.replace("-lrekindle", &archive.display().to_string());
            compile.args(without.split_whitespace());
        } else {
            compile.args(flags.split_whitespace());
        }
        succeed(&mut compile);
        let library = if is_static {
            Path::new("/")
        } else {
            &prefix().join("lib")
        };
        succeed(Command::new(&program).env("LD_LIBRARY_PATH", library));
    }
}

#[test]
fn cmake_refuses_another_version() {
    if installed(&["cmake"]).is_none() {
        return;
    }
    for (wanted, is_there) in [
        ("0.1", true),
        ("0.1.0", true),
        ("0", false),
        ("0.2", false),
        ("1.0", false),
    ] {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let project = format!(
            "cmake_minimum_required(VERSION 3.20)\nproject(wants LANGUAGES CXX)\n\
             find_package(rekindle {wanted} QUIET)\n\
             if(rekindle_FOUND)\nmessage(STATUS \"it is there\")\nendif()\n"
        );
        std::fs::write(folder.path().join("CMakeLists.txt"), project).expect("it can be written");
        let mut configure = Command::new("cmake");
        configure
            .arg("-S")
            .arg(folder.path())
            .arg("-B")
            .arg(folder.path().join("build"));
        configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix().display()));
        assert_eq!(
            succeed(&mut configure).contains("it is there"),
            is_there,
            "{wanted}"
        );
    }
}

/// What a run of the host printed, and its line of statistics.
fn run(host: &Path, arguments: &[&OsStr]) -> (String, String) {
    let mut command = Command::new(host);
    let output = crate::build::output(command.args(arguments).arg("--stats"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{errors}",
        output.status
    );
    (String::from_utf8_lossy(&output.stdout).into_owned(), errors)
}

fn programs() -> [PathBuf; 2] {
    ["calc.lisp", "tour.lisp"].map(|name| package("../../examples/cpp-host/programs").join(name))
}

/// What the two programs print.
const PRINTED: &str = "complex-calc 26.5\nhello 1 (2.5 three :four (five six))\n3628800 (6 7 8)\n\
                       caught: division by zero\ncaught: from the program\ncaught: not a number: \"ten\"\n\
                       true false\n1 2 12\n1/3 1 0.5 true\n";

#[test]
fn the_cpp_host_runs_its_programs_cold_and_warm_and_collects_around_loaded_code() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let Some(host) = cpp_host(&folder.path().join("build"), &[]) else {
        return;
    };
    let cache = folder.path().join("cache");
    let [calc, tour] = programs();
    let arguments: [&OsStr; 4] = [
        "--cache".as_ref(),
        cache.as_ref(),
        calc.as_ref(),
        tour.as_ref(),
    ];
    let (printed, stats) = run(&host, &arguments);
    assert_eq!(printed, PRINTED);
    assert!(
        stats.starts_with("22 definitions: 0 hits, 22 misses, 0 bypasses"),
        "{stats}"
    );
    let (printed, stats) = run(&host, &arguments);
    assert_eq!(printed, PRINTED);
    assert!(
        stats.starts_with("22 definitions: 22 hits, 0 misses, 0 bypasses"),
        "{stats}"
    );
    let collecting: [&OsStr; 4] = [
        "--cache".as_ref(),
        cache.as_ref(),
        "--collect".as_ref(),
        "10000".as_ref(),
    ];
    for outcome in ["0 hits, 20 misses", "20 hits, 0 misses"] {
        let (printed, stats) = run(&host, &collecting);
        assert!(
            printed.starts_with("10000 collections, 20 constants, 10 unloaded"),
            "{printed}"
        );
        assert!(stats.contains(outcome), "{stats}");
    }
    // An error of clang's is the user's to read, with clang's own words; the next form goes on.
    let mut command = Command::new(&host);
    let output = crate::build::output(command.args(["-e", "(no-such-function 1)"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing is called no-such-function"));
}

/// The second folder gets what it has by a bundle, as another machine would.
#[test]
fn what_the_cpp_host_has_warmed_is_found_by_its_run_here_and_elsewhere() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let Some(host) = cpp_host(&folder.path().join("build"), &[]) else {
        return;
    };
    let path = |name: &str| folder.path().join(name);
    let [calc, tour] = programs();
    let warm = |cache: &str, more: &[&OsStr]| {
        let mut command = Command::new(&host);
        command.arg("--cache").arg(path(cache)).args(more);
        succeed(command.arg("warm").args([&calc, &tour]))
    };
    let is_warm = |cache: &str| {
        let cache = path(cache);
        let (printed, stats) = run(
            &host,
            &[
                "--cache".as_ref(),
                cache.as_ref(),
                calc.as_ref(),
                tour.as_ref(),
            ],
        );
        assert_eq!(printed, PRINTED);
        assert!(
            stats.starts_with("22 definitions: 22 hits, 0 misses"),
            "{stats}"
        );
    };
    // Nothing is printed: nothing of the programs runs.
    let counted = |found: u32, compiled: u32| {
        format!("22 definitions: {found} found, {compiled} compiled, 0 bypasses, 0 failed, 0 run\n")
    };
    assert_eq!(warm("here", &[]), counted(0, 22));
    is_warm("here");
    assert_eq!(warm("here", &[]), counted(22, 0));

    let key = SigningKey::generate().expect("there is randomness");
    let (store, bundle) = (
        FolderStore::open_read_only(path("here")),
        path("all.rekindle"),
    );
    let export = Export { key: Some(&key) };
    let exported = bundle::export(&store.expect("it is a store"), &bundle, export, &mut |_| {
        true
    });
    assert_eq!(exported.expect("it can be written").records, 22);
    let key = key.public_key().to_string();
    let trusting: [&OsStr; 4] = [
        "--bundle".as_ref(),
        bundle.as_ref(),
        "--trust".as_ref(),
        key.as_ref(),
    ];
    let taken = format!("22 taken over, 0 there already\n{}", counted(22, 0));
    assert_eq!(warm("elsewhere", &trusting), taken);
    is_warm("elsewhere");
    let mut untrusting = Command::new(&host);
    untrusting.env("REKINDLE_TRUSTED_KEYS", "");
    untrusting
        .arg("--cache")
        .arg(path("third"))
        .args(&trusting[..2]);
    let output = crate::build::output(untrusting.arg("warm").arg(&calc));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn the_cpp_host_is_clean_under_the_address_sanitizer() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    // Leaks are looked for without the collector, whose memory the sanitizer does not see.
    for collector in ["ON", "OFF"] {
        let collector_option = format!("-DCPP_HOST_COLLECTOR={collector}");
        let options = [
            "-DCMAKE_BUILD_TYPE=Debug",
            "-DCMAKE_CXX_FLAGS=-fsanitize=address",
            &collector_option,
        ];
        let Some(host) = cpp_host(&folder.path().join(collector), &options) else {
            return;
        };
        let [calc, tour] = programs();
        for _ in 0..2 {
            let mut command = Command::new(&host);
            command
                .arg("--cache")
                .arg(folder.path().join("cache"))
                .args([&calc, &tour]);
            if collector == "ON" {
                command.args(["--collect", "300"]);
                // The collector looks for pointers on the stack as it is.
                command.env(
                    "ASAN_OPTIONS",
                    "detect_leaks=0:detect_stack_use_after_return=0",
                );
            }
            let printed = succeed(&mut command);
            assert!(printed.starts_with(PRINTED), "{printed}");
        }
        let mut command = Command::new(&host);
        if collector == "ON" {
            let options = "detect_leaks=0:detect_stack_use_after_return=0";
            command.env("ASAN_OPTIONS", options);
        }
        command
            .arg("--cache")
            .arg(folder.path().join("warmed").join(collector))
            .arg("warm");
        let printed = succeed(command.args([&calc, &tour]));
        assert!(
            printed.starts_with("22 definitions: 0 found, 22 compiled"),
            "{printed}"
        );
    }
}

#[test]
fn the_cpp_host_is_clean_under_valgrind() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    if installed(&["valgrind"]).is_none() {
        return;
    }
    let options = ["-DCMAKE_BUILD_TYPE=Debug", "-DCPP_HOST_COLLECTOR=OFF"];
    let Some(host) = cpp_host(&folder.path().join("build"), &options) else {
        return;
    };
    let cache = folder.path().join("cache");
    let [calc, tour] = programs();
    for _ in 0..2 {
        let mut command = Command::new("valgrind");
        command.args([
            "--quiet",
            "--smc-check=all",
            "--error-exitcode=99",
            "--trace-children=no",
        ]);
        command
            .arg(&host)
            .arg("--cache")
            .arg(&cache)
            .args([&calc, &tour]);
        assert_eq!(succeed(&mut command), PRINTED);
    }
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--smc-check=all", "--error-exitcode=99"]);
    command
        .arg(&host)
        .arg("--cache")
        .arg(folder.path().join("warmed"));
    let printed = succeed(command.arg("warm").arg(&tour));
    assert!(
        printed.contains(" compiled, 0 bypasses, 0 failed, 0 run"),
        "{printed}"
    );
}
