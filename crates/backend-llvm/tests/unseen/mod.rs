//! What clang's choice hangs on and clang does not report: files that are not there, the order in which folders are
//! searched, and what tells clang its defaults.

use crate::installed::{Place, call, clang, installed};
use crate::{is_fresh, reads};
use rekindle_backend_llvm::clang::{ClangCompiler, Error, Options, Unit};
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{Compiled, Compiler};
use std::fs;
use std::os::unix::fs::symlink;

fn compiler(options: &Options) -> ClangCompiler {
    ClangCompiler::new(options).expect("clang is there")
}

fn compile(compiler: &ClangCompiler, text: &str) -> Compiled {
    compiler.compile(&Unit::new(text)).expect("it compiles")
}

/// What `text` gives where it is compiled now, by a new compiler, and by which fingerprint.
fn now(options: &Options, text: &str) -> (Digest, i64) {
    let compiler = compiler(options);
    let compiled = compile(&compiler, text);
    (
        compiler.fingerprint(),
        call(&compiled.object.bytes, "run", 0),
    )
}

const RUN: &str = "\nextern \"C\" long run(long n) { return n + x(); }\n";

/// A place with `x.hpp` in the second of two folders, and a compiler's options that name both, relative to it.
fn two_folders() -> (Place, Options) {
    let place = Place::new();
    place.write("early/unrelated.hpp", "");
    place.write("late/x.hpp", "inline long x() { return 1; }\n");
    let options = place.options().directory(place.path(""));
    (place, options.flag("-Iearly").flag("-Ilate"))
}

#[test]
fn directives_are_seen_however_they_are_written() {
    let Some(()) = installed() else { return };
    let (place, options) = two_folders();
    let compiler = compiler(&options);
    for text in [
        "#include/* of folders */<x.hpp>",
        "#include /* of */ /* folders */ \"x.hpp\"",
        "#/**/include <x.hpp>",
        "#inc\\\nlude <x.hpp>",
        "#include <x\\\n.hpp>",
        "#include \\ \n <x.hpp>",
        "#define NAME <x.hpp>\n#include NAME",
        "#define NAME <x.hpp>\n#/**/include/**/NAME",
        "#define $NAME <x.hpp>\n#include $NAME",
        "#define NÄME \"x.hpp\"\n#include NÄME",
    ] {
        let compiled = compile(&compiler, &format!("{text}{RUN}"));
        assert!(is_fresh(&compiled), "{text}");
        let earlier = place.write("early/x.hpp", "");
        assert!(!is_fresh(&compiled), "{text}");
        fs::remove_file(earlier).expect("it is there");
    }
    for text in [
        "#if __has_include/**/( /**/ <y.hpp>)\n#endif",
        "#if __has_incl\\\nude(<y.hpp>)\n#endif",
        "#define asked __has_include\n#if asked(<y.hpp>)\n#endif",
        "#define asked(name) __has_include(name)\n#if asked(<y.hpp>)\n#endif",
        "#if __has_include(/* of\nlines */<y.hpp>)\n#endif",
    ] {
        let compiled = compile(&compiler, text);
        let earlier = place.write("early/y.hpp", "");
        assert!(!is_fresh(&compiled), "{text}");
        fs::remove_file(earlier).expect("it is there");
    }
    let compiled = compile(
        &compiler,
        "#if defined(__has_include) && 1\nint x;\n#endif\n",
    );
    assert!(is_fresh(&compiled) && compiled.dependencies.is_empty());
}

#[test]
fn a_computed_name_is_looked_for_beside_who_asks() {
    let Some(()) = installed() else { return };
    let (place, options) = two_folders();
    place.write("late/deep/asks.hpp", "#include NAME\n");
    let text = format!("#define NAME \"x.hpp\"\n#include <deep/asks.hpp>{RUN}");
    let compiled = compile(&compiler(&options), &text);
    for name in ["late/deep/x.hpp", "early/x.hpp"] {
        let earlier = place.write(name, "");
        assert!(!is_fresh(&compiled), "{name}");
        fs::remove_file(earlier).expect("it is there");
        assert!(is_fresh(&compiled), "{name} is gone again");
    }
}

#[test]
fn headers_that_flags_include_are_looked_for_as_well() {
    let Some(()) = installed() else { return };
    for flags in [
        &["-include", "x.hpp"][..],
        &["--include=x.hpp"],
        &["-imacros", "x.hpp"],
    ] {
        let (place, options) = two_folders();
        place.write("late/x.hpp", "#define X 1\n");
        let options = flags.iter().fold(options, |all, flag| all.flag(*flag));
        let text = "extern \"C\" long run(long n) { return n + X; }";
        let compiled = compile(&compiler(&options), text);
        assert_eq!(call(&compiled.object.bytes, "run", 0), 1);
        assert!(is_fresh(&compiled), "{flags:?}");
        for name in ["x.hpp", "early/x.hpp"] {
            let earlier = place.write(name, "#define X 2\n");
            assert!(!is_fresh(&compiled), "{flags:?} {name}");
            fs::remove_file(earlier).expect("it is there");
        }
        if flags[0] != "-imacros" {
            place.write("x.hpp.pch", "");
            assert!(!is_fresh(&compiled), "{flags:?} as a precompiled header");
        }
    }
}

#[test]
fn what_is_embedded_is_looked_for_where_that_is() {
    let Some(()) = installed() else { return };
    let (place, options) = two_folders();
    place.write("first/unrelated", "");
    place.write("second/data", "a");
    let options = ["--embed-dir=first", "--embed-dir=second"]
        .iter()
        .fold(options, |all, flag| all.flag(*flag));
    let text = "const char data[] = {\n#embed <data>\n};\n\
                extern \"C\" long run(long n) { return n + data[0]; }";
    let Ok(compiled) = compiler(&options).compile(&Unit::new(text)) else {
        eprintln!("left out: this clang does not know #embed");
        return;
    };
    assert!(is_fresh(&compiled) && reads(&compiled, &place.path("second/data")));
    place.write("first/data", "b");
    assert!(!is_fresh(&compiled));
}

#[test]
fn what_the_assembler_includes_is_never_fresh() {
    let Some(()) = installed() else { return };
    let (place, options) = two_folders();
    let data = place.write("data", "abc");
    let compiler = compiler(&options);
    for word in ["incbin", "include"] {
        place.write("data", &format!(".{}\n", "globl nothing"));
        let text = format!("__asm__(\".{word} \\\"{}\\\"\");", data.display());
        assert!(!is_fresh(&compile(&compiler, &text)), "{word}");
    }
}

#[test]
fn a_folder_that_was_missing_counts_within_a_process_too() {
    let Some(()) = installed() else { return };
    let (place, options) = two_folders();
    fs::remove_dir_all(place.path("early")).expect("it is there");
    let compiler = compiler(&options);
    let text = format!("#include <x.hpp>{RUN}");
    let compiled = compile(&compiler, &text);
    assert!(is_fresh(&compiled));
    place.write("early/x.hpp", "inline long x() { return 2; }\n");
    assert!(!is_fresh(&compiled));
    let compiled = compile(&compiler, &text);
    assert_eq!(call(&compiled.object.bytes, "run", 0), 2);
    assert!(!is_fresh(&compiled), "the compiler is one of another path");
    assert_eq!(now(&options, &text).1, 2);
}

#[test]
fn a_folder_where_a_header_could_be_counts() {
    let Some(()) = installed() else { return };
    let (place, options) = two_folders();
    let hidden = place.path("early/x.hpp");
    fs::create_dir(&hidden).expect("it can be made");
    let compiled = compile(&compiler(&options), &format!("#include <x.hpp>{RUN}"));
    assert!(is_fresh(&compiled));
    place.write("early/x.hpp/inside", "");
    assert!(is_fresh(&compiled), "what is in it does not count");
    fs::remove_dir_all(&hidden).expect("it is there");
    place.write("early/x.hpp", "inline long x() { return 2; }\n");
    assert!(!is_fresh(&compiled));
}

#[test]
fn a_link_that_leads_to_another_folder_makes_another_path() {
    let Some(()) = installed() else { return };
    let place = Place::new();
    for folder in ["first", "other", "last"] {
        place.write(&format!("{folder}/unrelated.hpp"), "");
    }
    place.write("other/x.hpp", "inline long x() { return 2; }\n");
    place.write("last/x.hpp", "inline long x() { return 1; }\n");
    // The folder that is searched already, so that clang leaves it out.
    symlink(place.path("first"), place.path("link")).expect("it can be made");
    let options = ["first", "link", "last"]
        .iter()
        .fold(place.options(), |all, name| {
            all.flag(place.flag("-I", name))
        });
    let text = format!("#include <x.hpp>{RUN}");
    let (before, value) = now(&options, &text);
    assert_eq!(value, 1);
    assert_eq!(now(&options, &text), (before, 1));
    fs::remove_file(place.path("link")).expect("it is there");
    symlink(place.path("other"), place.path("link")).expect("it can be made");
    let (after, value) = now(&options, &text);
    assert_eq!(value, 2);
    assert_ne!(after, before);
}

#[test]
fn a_header_of_the_prelude_that_a_unit_reads_again_is_what_it_was() {
    let Some(()) = installed() else { return };
    let place = Place::new();
    place.write("include/x.inc", "VALUE(1)\n");
    let options = place.options().flag(place.flag("-I", "include")).prelude(
        "#define VALUE(n) inline long x() { return n; }\n#include <x.inc>\n#undef VALUE\n",
    );
    let text = "#define VALUE(n) inline long y() { return n; }\n#include <x.inc>\n\
                extern \"C\" long run(long n) { return n + y(); }";
    let compiler = compiler(&options);
    assert!(is_fresh(&compile(&compiler, text)));
    // Of the same size, which clang takes for the same.
    place.write("include/x.inc", "VALUE(2)\n");
    if let Ok(compiled) = compiler.compile(&Unit::new(text)) {
        assert_eq!(call(&compiled.object.bytes, "run", 0), 2);
        assert!(!is_fresh(&compiled));
    }
    place.write("include/x.inc", "VALUE(1)\n");
    let compiled = compile(&compiler, text);
    assert_eq!(call(&compiled.object.bytes, "run", 0), 1);
    assert!(is_fresh(&compiled));
}

/// A clang in a folder of its own, beside which files with its defaults may lie.
fn own_clang(place: &Place) -> Options {
    let program = place.write("bin/clang++", "");
    let copied = std::process::Command::new("cp")
        .arg("-L")
        .args([clang(), &place.path("bin/copy")])
        .status();
    assert!(copied.expect("cp is there").success());
    fs::rename(place.path("bin/copy"), &program).expect("it can be moved");
    place.options().compiler(program)
}

#[test]
fn files_with_clangs_defaults_count_when_they_come_change_and_go() {
    let Some(()) = installed() else { return };
    let place = Place::new();
    let options = own_clang(&place);
    let text = "#ifndef X\n#define X 0\n#endif\nextern \"C\" long run(long n) { return n + X; }";
    let (without, value) = now(&options, text);
    assert_eq!(value, 0);
    let old = compiler(&options);

    let path = place.write("bin/clang++.cfg", "-DX=1\n");
    let (first, value) = now(&options, text);
    if value == 0 {
        eprintln!("left out: this clang reads no files with its defaults");
        return;
    }
    assert_eq!(value, 1);
    assert_ne!(first, without);
    assert!(matches!(
        old.compile(&Unit::new(text)),
        Err(Error::Replaced { .. })
    ));

    // By way of another.
    place.write("bin/clang++.cfg", "# deep\n@deep/one.rsp\n");
    let deep = place.write("bin/deep/one.rsp", "@two.rsp");
    place.write("bin/deep/two.rsp", "-DX=2");
    let (second, value) = now(&options, text);
    assert_eq!((value, second == first), (2, false));
    assert_eq!(now(&options, text), (second, 2));
    place.write("bin/deep/two.rsp", "-DX=3");
    let (third, value) = now(&options, text);
    assert_eq!((value, third == second), (3, false));
    assert!(deep.exists());
    fs::remove_file(path).expect("it is there");
    assert_eq!(now(&options, text), (without, 0));
}

#[test]
fn a_script_that_finds_its_clang_by_the_path_is_asked_again_for_another_path() {
    let Some(()) = installed() else { return };
    // A child, as the environment is the process's.
    let place = Place::new();
    for (folder, value) in [("one", 1), ("two", 2)] {
        let real = place.script(
            &format!("{folder}-clang"),
            &format!("exec {} -DX={value} \"$@\"", clang().display()),
        );
        fs::create_dir(place.path(folder)).expect("it can be made");
        fs::rename(real, place.path(&format!("{folder}/real-clang"))).expect("it can be moved");
    }
    let program = place.script("program", "exec real-clang \"$@\"");
    let run = |folder: &str| {
        let path = format!("{}:/usr/bin:/bin", place.path(folder).display());
        let output = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "unseen::a_process_with_another_path",
                "--nocapture",
            ])
            .env("PATH", path)
            .env("REKINDLE_CLANG", &program)
            .env("REKINDLE_TEST_PATH_FOLDER", place.folder())
            .output();
        let output = output.expect("it starts");
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = said.lines().find_map(|line| line.split_once("found: "));
        line.expect("it says so").1.to_owned()
    };
    let one = run("one");
    assert!(one.ends_with(" 1"), "{one}");
    assert_eq!(run("one"), one);
    let two = run("two");
    assert!(two.ends_with(" 2"), "{two}");
    assert_ne!(two[..32], one[..32]);
}

/// A child of the test before; by itself it does nothing.
#[test]
fn a_process_with_another_path() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_PATH_FOLDER") else {
        return;
    };
    let options = Options::default().folder(folder);
    let text = "extern \"C\" long run(long n) { return n + X; }";
    let (fingerprint, value) = now(&options, text);
    println!("\nfound: {fingerprint} {value}");
}
