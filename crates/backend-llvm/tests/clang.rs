//! Texts compiled by the system's clang, loaded by the project's own loader, and run.
#![cfg(feature = "clang")]

mod installed;
mod unseen;

use installed::{Place, call, installed};
use rekindle_backend_llvm::clang::{ClangCompiler, Error, Language, Options, Severity, Unit};
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{
    Compiled, Compiler, Dependency, file_digest, file_set_digest, is_absence,
};
use std::path::Path;
use std::time::Duration;

/// What a hit would compare: the digest that a set of files has now.
fn now(dependency: &Dependency) -> Digest {
    file_set_digest(dependency.name.lines().map(|path| {
        match std::fs::read(path) {
            Ok(content) => file_digest(Some(&content)),
            Err(error) if is_absence(error.kind()) => file_digest(None),
            // A folder, say: nothing was ever read there.
            Err(error) => Digest::of("test", error.to_string().as_bytes()),
        }
    }))
}

fn is_fresh(compiled: &Compiled) -> bool {
    compiled
        .dependencies
        .iter()
        .all(|one| now(one) == one.digest)
}

fn reads(compiled: &Compiled, path: &Path) -> bool {
    let path = path.display().to_string();
    let mut dependencies = compiled.dependencies.iter();
    dependencies.any(|one| one.name.lines().any(|line| line == path))
}

const VECTOR: &str = "
#include <vector>
#include <numeric>
extern \"C\" long run(long n) {
    std::vector<long> all(n);
    std::iota(all.begin(), all.end(), 1);
    return std::accumulate(all.begin(), all.end(), 0L);
}";

#[test]
fn cpp_and_c_compile_load_and_run() {
    let Some(()) = installed() else { return };
    let place = Place::new();
    let cpp = ClangCompiler::new(&place.options()).expect("clang is there");
    let compiled = cpp.compile(&Unit::new(VECTOR)).expect("it compiles");
    assert_eq!(call(&compiled.object.bytes, "run", 100), 5050);
    assert!(compiled.dependencies[0].name.contains("/vector"));
    assert!(is_fresh(&compiled));
    assert!(cpp.target().contains('-') && cpp.version().contains("clang version"));

    let c = ClangCompiler::new(&place.options().language(Language::C)).expect("clang is there");
    let unit = Unit::new("long run(long n) { int class = 2; return n * class; }");
    let compiled = c.compile(&unit).expect("it compiles");
    assert_eq!(call(&compiled.object.bytes, "run", 21), 42);
    assert!(compiled.dependencies.is_empty(), "it reads nothing");
    assert_ne!(c.fingerprint(), cpp.fingerprint());
    assert!(place.has_no_temporary_files());
}

#[test]
fn messages_come_back_with_their_positions() {
    let Some(()) = installed() else { return };
    let place = Place::new();
    let compiler = ClangCompiler::new(&place.options().flag("-Wall")).expect("clang is there");
    let error = compiler.compile(&Unit::new(
        "\n#line 7 \"user.em\"\nint f() { return nope; }\nint g( {\n",
    ));
    let Err(Error::Refused {
        diagnostics,
        output,
    }) = error
    else {
        panic!("{error:?}");
    };
    let first = &diagnostics[0];
    assert_eq!(
        (first.file.as_str(), first.line, first.column),
        ("user.em", 7, 18)
    );
    assert_eq!(first.severity, Severity::Error);
    assert!(
        first.message.contains("undeclared identifier 'nope'"),
        "{first}"
    );
    assert!(output.contains("return nope;"));
    assert!(diagnostics.len() >= 2);

    let error = compiler.compile(&Unit::new("#include \"nope/nope.hpp\"\n"));
    let Err(Error::Refused { diagnostics, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(diagnostics[0].severity, Severity::Fatal);
    assert_eq!(diagnostics[0].line, 1);

    let unit = Unit::new("extern \"C\" long run(long n) { int unused; return n; }");
    let translated = compiler.translate(&unit).expect("a warning is no error");
    assert_eq!(translated.diagnostics.len(), 1);
    assert!(
        translated.diagnostics[0].message.contains("unused"),
        "{:?}",
        translated.diagnostics
    );
    assert_eq!(call(&translated.compiled.object.bytes, "run", 3), 3);
    assert!(place.has_no_temporary_files());
}

#[test]
fn flags_that_are_not_the_callers_are_refused() {
    for flag in [
        "-o",
        "-ofile",
        "-E",
        "-xc",
        "-MD",
        "@file",
        "-fplugin=x.so",
        "-fmodules",
        "",
    ] {
        let refused = ClangCompiler::new(&Options::default().flag(flag));
        assert!(matches!(refused, Err(Error::Flag { .. })), "{flag:?}");
    }
    let relative = ClangCompiler::new(&Options::default().directory("here"));
    assert!(matches!(relative, Err(Error::Directory { .. })));
}

#[test]
fn edited_headers_make_code_stale() {
    let Some(()) = installed() else { return };
    let place = Place::new();
    let header = place.write("include/x.hpp", "#pragma once\n#include \"y.hpp\"\n");
    let inner = place.write("include/y.hpp", "inline long x() { return 1; }\n");
    let compiler =
        ClangCompiler::new(&place.options().flag(place.flag("-I", "include"))).expect("clang");
    let unit = Unit::new("#include <x.hpp>\nextern \"C\" long run(long n) { return n + x(); }");
    let compiled = compiler.compile(&unit).expect("it compiles");
    assert!(reads(&compiled, &header) && reads(&compiled, &inner) && is_fresh(&compiled));
    assert_eq!(call(&compiled.object.bytes, "run", 1), 2);

    let other = compiler.compile(&Unit::new("extern \"C\" long run(long n) { return n; }"));
    place.write("include/y.hpp", "inline long x() { return 2; }\n");
    assert!(!is_fresh(&compiled));
    assert!(
        is_fresh(&other.expect("it compiles")),
        "it includes nothing"
    );
    let compiled = compiler.compile(&unit).expect("it compiles");
    assert_eq!(call(&compiled.object.bytes, "run", 1), 3);
    assert!(is_fresh(&compiled));
    place.write("include/y.hpp", "inline long x() { return 2; }\n");
    assert!(is_fresh(&compiled), "written again as it was");
    std::fs::remove_file(&header).expect("it is there");
    assert!(!is_fresh(&compiled));
}

#[test]
fn headers_that_begin_to_exist_earlier_make_code_stale() {
    let Some(()) = installed() else { return };
    let place = Place::new();
    place.write("late/x.hpp", "#include \"deep/y.hpp\"\n");
    place.write(
        "late/deep/y.hpp",
        "#include MACRO_OF_THE_UNIT\ninline long x() { return 1; }\n",
    );
    place.write("late/named.hpp", "");
    place.write("early/unrelated.hpp", "");
    place.write("quoted/unrelated.hpp", "");
    let options = place
        .options()
        .directory(place.path("quoted"))
        .flag(place.flag("-I", "early"))
        .flag(place.flag("-I", "late"));
    let compiler = ClangCompiler::new(&options).expect("clang is there");
    let unit = Unit::new(
        "#define MACRO_OF_THE_UNIT <named.hpp>\n#include \"x.hpp\"\n\
         #if __has_include(<wished.hpp>)\n#include <wished.hpp>\n#endif\n\
         extern \"C\" long run(long n) { return n + x(); }",
    );
    let compiled = compiler.compile(&unit).expect("it compiles");
    assert_eq!(call(&compiled.object.bytes, "run", 0), 1);
    assert!(is_fresh(&compiled));
    let earlier = [
        "quoted/x.hpp",     // beside the text
        "early/x.hpp",      // earlier on the path
        "early/named.hpp",  // by a macro's value
        "early/wished.hpp", // asked for in vain
        "late/wished.hpp",
    ];
    for name in earlier {
        let path = place.write(name, "");
        assert!(!is_fresh(&compiled), "{name}");
        std::fs::remove_file(path).expect("it is there");
        assert!(is_fresh(&compiled), "{name} is gone again");
    }
    place.write("late/late.hpp", "");
    assert!(is_fresh(&compiled), "nobody asks for it");
}

#[test]
fn an_asked_for_header_counts_without_being_read() {
    let Some(()) = installed() else { return };
    let place = Place::new();
    let asked = place.write("include/asked.hpp", "#error not to be read\n");
    let compiler =
        ClangCompiler::new(&place.options().flag(place.flag("-I", "include"))).expect("clang");
    let unit = Unit::new(
        "#if __has_include(<asked.hpp>)\nextern \"C\" long run(long) { return 5; }\n#endif",
    );
    let compiled = compiler.compile(&unit).expect("it compiles");
    assert!(reads(&compiled, &asked) && is_fresh(&compiled));
    std::fs::remove_file(asked).expect("it is there");
    assert!(!is_fresh(&compiled));
    // By a macro's value nobody can follow it: such code is never fresh.
    let unit = Unit::new("#define NAME <asked.hpp>\n#if __has_include(NAME)\n#endif\nint x;");
    assert!(!is_fresh(&compiler.compile(&unit).expect("it compiles")));
}

#[test]
fn a_prelude_is_compiled_once_and_again_when_its_headers_change() {
    let Some(()) = installed() else { return };
    let place = Place::new();
    let header = place.write("include/x.hpp", "inline long x() { return 1; }\n");
    let early = place.write("early/unrelated.hpp", "");
    let options = place
        .options()
        .flag(place.flag("-I", "early"))
        .flag(place.flag("-I", "include"))
        .prelude("#include <vector>\n#include <x.hpp>\n");
    let unit = Unit::new(
        "extern \"C\" long run(long n) { return std::vector<long>(n, x()).size() + x(); }",
    );
    let run = || {
        let compiler = ClangCompiler::new(&options).expect("the prelude compiles");
        let compiled = compiler.compile(&unit).expect("it compiles");
        assert!(
            compiled.dependencies.is_empty(),
            "the prelude counts by the fingerprint"
        );
        (
            compiler.fingerprint(),
            call(&compiled.object.bytes, "run", 10),
        )
    };
    let (first, value) = run();
    assert_eq!(value, 11);
    let made = place.precompiled();
    assert_eq!(made.len(), 1);
    assert_eq!(run(), (first, 11));
    assert_eq!(place.precompiled(), made, "it was not made again");
    // Touched, and not changed.
    place.write("include/x.hpp", "inline long x() { return 1; }\n");
    assert_eq!(run(), (first, 11));
    assert_eq!(place.precompiled(), made);

    // Changed while a compiler is there: it says so, and another one goes on.
    let old = ClangCompiler::new(&options).expect("the prelude is there");
    place.write("include/x.hpp", "inline long x() { return 22; }\n");
    assert!(matches!(old.compile(&unit), Err(Error::Refused { .. })));
    let (second, value) = run();
    assert_eq!(value, 32);
    assert_ne!(second, first);
    drop(old);
    place.write("early/x.hpp", "inline long x() { return 333; }\n");
    let (third, value) = run();
    assert_eq!(value, 343, "the header that is earlier on the path");
    assert_ne!(third, second);
    assert!(header.exists() && early.exists());
    assert_eq!(
        place.precompiled().len(),
        1,
        "older ones that nobody uses are gone"
    );
    assert!(place.has_no_temporary_files());
}

#[test]
fn damaged_precompiled_headers_and_lists_are_made_again() {
    let Some(()) = installed() else { return };
    let place = Place::new();
    let options = place.options().prelude("#include <cstdlib>\n");
    let unit = Unit::new("extern \"C\" long run(long n) { return std::abs(n); }");
    let run = || {
        let compiler = ClangCompiler::new(&options).expect("the prelude compiles");
        let compiled = compiler.compile(&unit).expect("it compiles");
        assert_eq!(call(&compiled.object.bytes, "run", -4), 4);
    };
    run();
    for cut in ["pch", "list", "probe"] {
        for path in place.kept(cut) {
            let content = std::fs::read(&path).expect("it is there");
            std::fs::write(&path, &content[..content.len() / 2]).expect("it can be written");
        }
        run();
    }
    for path in place.kept("pch") {
        std::fs::remove_file(path).expect("it is there");
    }
    run();
}

#[test]
fn many_processes_make_one_precompiled_header() {
    let Some(()) = installed() else { return };
    let place = Place::new();
    let runs = place.path("runs");
    let program = place.script(
        "counting",
        &format!(
            "case \"$*\" in *-header*) echo run >> {runs} ;; esac\nexec {clang} \"$@\"",
            runs = runs.display(),
            clang = installed::clang().display(),
        ),
    );
    let children: Vec<_> = (0..6)
        .map(|_| {
            std::process::Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", "a_process_of_many", "--nocapture"])
                .env("REKINDLE_TEST_PRELUDE_FOLDER", place.folder())
                .env("REKINDLE_CLANG", &program)
                .spawn()
                .expect("it starts")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    let runs = std::fs::read_to_string(runs).expect("somebody ran");
    assert_eq!(runs.lines().count(), 1, "one of all made it");
    assert_eq!(place.precompiled().len(), 1);
    assert!(place.has_no_temporary_files());
}

/// A child of the test before; by itself it does nothing.
#[test]
fn a_process_of_many() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_PRELUDE_FOLDER") else {
        return;
    };
    std::thread::scope(|scope| {
        for number in 0..2 {
            let folder = &folder;
            scope.spawn(move || {
                let options = Options::default().folder(folder).prelude("#include <map>\n");
                let compiler = ClangCompiler::new(&options).expect("the prelude compiles");
                let unit = format!("extern \"C\" long run(long n) {{ return std::map<long, long>{{{{n, {number}}}}}[n]; }}");
                let compiled = compiler.compile(&Unit::new(unit)).expect("it compiles");
                assert_eq!(call(&compiled.object.bytes, "run", 7), number);
            });
        }
    });
}

#[test]
fn a_compiler_that_crashes_hangs_is_replaced_or_is_absent() {
    let Some(()) = installed() else { return };
    let place = Place::new();
    let clang = installed::clang().display();
    let mode = place.write("mode", "good");
    let program = place.script(
        "sometimes",
        &format!(
            "case \"$*\" in *-c*-*) read -r mode < {mode} ;; esac\n\
             case \"$mode\" in\n\
             crash) echo half > \"$TMPDIR/left\"; kill -SEGV $$ ;;\n\
             hang) sleep 1000 & sleep 1000 ;;\n\
             mute) exit 1 ;;\n\
             esac\n\
             exec {clang} \"$@\"",
            mode = mode.display(),
        ),
    );
    std::fs::write(&mode, "good\n").expect("it can be written");
    let options = place
        .options()
        .compiler(&program)
        .time_limit(Duration::from_secs(5));
    let compiler = ClangCompiler::new(&options).expect("it is good still");
    let unit = Unit::new("extern \"C\" long run(long n) { return n; }");
    let compile = |mode_now: &str| {
        std::fs::write(&mode, format!("{mode_now}\n")).expect("it can be written");
        compiler.compile(&unit)
    };
    match compile("crash") {
        Err(Error::Failed { status, .. }) => assert!(status.contains("signal"), "{status}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(compile("mute"), Err(Error::Failed { .. })));
    assert!(matches!(compile("hang"), Err(Error::TimedOut { .. })));
    assert!(place.has_no_temporary_files());
    assert_eq!(
        call(&compile("good").expect("good again").object.bytes, "run", 9),
        9
    );

    // Replaced by another one in the same place.
    let before = compiler.fingerprint();
    place.script(
        "sometimes",
        &format!("# of another build\nexec {clang} \"$@\""),
    );
    assert!(matches!(
        compiler.compile(&unit),
        Err(Error::Replaced { .. })
    ));
    let other = ClangCompiler::new(&options).expect("it is a clang");
    assert_ne!(other.fingerprint(), before);
    std::fs::remove_file(&program).expect("it is there");
    assert!(matches!(other.compile(&unit), Err(Error::Replaced { .. })));
    match ClangCompiler::new(&options) {
        Err(Error::NotFound { tried }) => assert_eq!(tried, [program.display().to_string()]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_text_that_is_no_clang_or_an_old_one_is_refused() {
    let place = Place::new();
    let answers = [
        "echo 'gcc version 12.2.0' >&2",
        "echo 'clang version 3.9.1 (tags/RELEASE_391/rc2)' >&2",
    ];
    for (number, answer) in answers.iter().enumerate() {
        let program = place.script(&format!("fake{number}"), answer);
        let refused = ClangCompiler::new(&place.options().compiler(&program));
        match refused {
            Err(Error::NoClang { path, said }) => {
                assert_eq!(path, program);
                assert!(said.contains("version"), "{said}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn folders_that_others_can_write_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let Some(()) = installed() else { return };
    let place = Place::new();
    let open = place.path("open");
    std::fs::create_dir(&open).expect("it can be made");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).expect("it is ours");
    let refused = ClangCompiler::new(&Options::default().folder(&open));
    assert!(matches!(refused, Err(Error::Folder { .. })), "{refused:?}");
}

#[test]
fn the_environment_does_not_reach_the_code() {
    let Some(()) = installed() else { return };
    // A child, as the environment is the process's.
    let place = Place::new();
    place.write("sneaky/x.hpp", "");
    let run = |test: &str| {
        let status = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--nocapture"])
            .env("REKINDLE_TEST_SNEAKY", place.path("sneaky"))
            .env("CPATH", place.path("sneaky"))
            .env("CPLUS_INCLUDE_PATH", place.path("sneaky"))
            .status();
        assert!(status.expect("it starts").success(), "{test}");
    };
    run("a_process_with_search_paths_in_its_environment");
}

/// A child of the test before; by itself it does nothing.
#[test]
fn a_process_with_search_paths_in_its_environment() {
    if std::env::var_os("REKINDLE_TEST_SNEAKY").is_none() {
        return;
    }
    let place = Place::new();
    let unit = Unit::new("#include <x.hpp>\n");
    let plain = ClangCompiler::new(&place.options()).expect("clang is there");
    assert!(matches!(plain.compile(&unit), Err(Error::Refused { .. })));
    let told = place.options().variable("CPATH");
    let told = ClangCompiler::new(&told).expect("clang is there");
    assert!(
        told.compile(&unit).is_ok(),
        "it was named, and is in the key"
    );
    assert_ne!(told.fingerprint(), plain.fingerprint());
}
