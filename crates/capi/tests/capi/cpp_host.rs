//! Hosts in C++: the layer over the header, with exceptions and without, and libraries that hosts open.

use crate::build::{Linked, compile, installed, succeed};
use std::process::Command;

const CPP: &[&str] = &["-std=c++20", "-pthread"];

#[test]
fn the_layer_keeps_exceptions_caches_and_threads_apart() {
    for compiler in ["c++", "clang++-22"] {
        let Some(compiler) = installed(&[compiler]) else {
            continue;
        };
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let program = folder.path().join("layer");
        compile(compiler, CPP, &["layer.cpp"], Linked::Shared, &program);
        let written = succeed(Command::new(&program).arg(folder.path()));
        assert_eq!(written, "all well\n");
    }
}

#[test]
fn hosts_without_exceptions_get_values() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let program = folder.path().join("no_exceptions");
    let flags = ["-std=c++20", "-fno-exceptions"];
    compile(
        "c++",
        &flags,
        &["no_exceptions.cpp"],
        Linked::Shared,
        &program,
    );
    succeed(&mut Command::new(&program));
}

/// The library stays in the process once it has opened a cache, since there is code that calls it and a
/// thread that runs in it.
#[test]
fn libraries_that_use_the_cache_are_opened_and_closed() {
    for linked in [Linked::Shared, Linked::Static] {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let (host, plugin) = (
            folder.path().join("host"),
            folder.path().join("libplugin.so"),
        );
        let flags = ["-std=c++20", "-shared", "-fPIC", "-Wl,--build-id"];
        compile("c++", &flags, &["plugin.cpp"], linked, &plugin);
        compile("cc", &["-std=c11"], &["plugin_host.c"], Linked::None, &host);
        for expected in ["4 hits\n", "6 hits\n"] {
            let mut command = Command::new(&host);
            let written = succeed(command.arg(&plugin).arg(folder.path().join("cache")));
            assert_eq!(written, expected);
        }
    }
}

#[test]
fn text_is_compiled_by_clang_and_its_headers_are_dependencies() {
    if installed(&["clang++-22"]).is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let program = folder.path().join("sources");
    compile("c++", CPP, &["sources.cpp"], Linked::Shared, &program);
    let header = |value: &str| {
        let text = format!("#define OWN {value}\n");
        std::fs::write(folder.path().join("own.hpp"), text).expect("it can be written");
    };
    let run = || succeed(Command::new(&program).arg(folder.path()));
    header("3");
    assert!(run().starts_with("6 miss: no record"));
    assert_eq!(run(), "6 hit\n");
    header("4");
    let changed = run();
    assert!(
        changed.starts_with("7 miss: ") && changed.contains("own.hpp"),
        "{changed}"
    );
}

#[test]
fn warming_compiles_on_all_threads_and_runs_what_macros_need_and_no_more() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let program = folder.path().join("warm");
    compile("c++", CPP, &["warm.cpp"], Linked::Shared, &program);
    let cache = folder.path().join("cache");
    let run = |how: &str| succeed(Command::new(&program).arg(how).arg(&cache));
    assert_eq!(run("warm"), "0 found, 6 compiled\n");
    assert_eq!(run("run"), "6 hits\n");
    assert_eq!(run("again"), "6 found, 0 compiled\n");
}

#[test]
fn what_is_put_off_runs_in_its_place_or_not_at_all() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let program = folder.path().join("order");
    compile("c++", CPP, &["order.cpp"], Linked::Shared, &program);
    let written = succeed(Command::new(&program).arg(folder.path()));
    assert_eq!(written, "all well\n");
}

#[test]
fn hits_are_verified_while_hosts_throw_and_close() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let program = folder.path().join("verify");
    compile("c++", CPP, &["verify.cpp"], Linked::Shared, &program);
    let mut command = Command::new(&program);
    let written = succeed(command.env("REKINDLE_VERIFY", "1").arg(folder.path()));
    assert_eq!(written, "all well\n");
}

#[test]
fn listeners_last_as_long_as_somebody_may_call_them() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let program = folder.path().join("listeners");
    compile("c++", CPP, &["listeners.cpp"], Linked::Shared, &program);
    let written = succeed(Command::new(&program).arg(folder.path()));
    assert_eq!(written, "all well\n");
}

#[test]
fn better_code_is_made_in_idle_time_and_told_of() {
    let ways = match installed(&["clang++-22"]) {
        Some(_) => &["object", "source"][..],
        None => &["object"],
    };
    for way in ways {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let program = folder.path().join("better");
        compile("c++", CPP, &["better.cpp"], Linked::Shared, &program);
        let run = |more: &[&str]| {
            let mut command = Command::new(&program);
            succeed(command.arg(folder.path()).arg(way).args(more))
        };
        assert_eq!(run(&[]), "1, then 2\n", "{way}");
        assert_eq!(run(&["again"]), "2, then 2\n", "{way}");
    }
}
