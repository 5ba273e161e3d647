//! What a real gdb makes of loaded code: it stops at functions by name, and knows where each frame is in the
//! source, of images that are told of alone and in batches.
//!
//! gdb runs this very program, with the one test that is nothing without it.

mod compiled;
#[path = "whole/mod.rs"]
mod whole;

use compiled::{Host, compile, compilers, function, load_with};
use rekindle_cache_core::artifact::Loader;
use rekindle_loader::{NativeLoader, Options, check};
use std::path::Path;
use std::process::Command;
use whole::{Answer, Ended, end_of, is_installed, skip};

/// The folder with the debuggee's objects.
const FOLDER: &str = "REKINDLE_TEST_DEBUGGEE";

/// So many images are loaded that some have become a batch.
const IMAGES: usize = 70;

/// The source of an image. Each has a function of its own, and one that all have by the same name.
fn source(number: usize) -> String {
    format!(
        "struct pair {{ long first, second; }};
static __attribute__((noinline)) long inner_{number}(struct pair *p) {{
    p->first += {number};
    return p->first + p->second; /* line 4 */
}}
__attribute__((noinline)) long outer_{number}(long n) {{
    struct pair p = {{ n, 2 }};
    long result = inner_{number}(&p);
    return result - 1; /* line 9 */
}}
long test(void) {{ return outer_{number}({number}) + 1; }}
"
    )
}

/// Nothing but what gdb looks at, and therefore nothing without it.
#[test]
fn debuggee() -> compiled::Outcome {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return Ok(());
    };
    let mut options = Options::default();
    options.gdb = true;
    let loader = NativeLoader::with_options(options);
    let mut all = Vec::new();
    for number in 0..IMAGES {
        let object = std::fs::read(Path::new(&folder).join(format!("{number}.o")))?;
        all.push(load_with(&loader, &object, &["test"], &Host::default())?);
    }
    // Of the batch, and of the rest; the last one is alone.
    let last = all.pop().ok_or("there are some")?;
    for index in [3, 40] {
        let code = all.get(index).ok_or("it was loaded")?;
        function(code, "test")?();
    }
    function(&last, "test")?();
    let first = all.remove(0);
    // SAFETY: nobody is in it or comes there.
    unsafe { loader.unload(first)? };
    let code = all.first().ok_or("it was loaded")?;
    function(code, "test")?();
    Ok(())
}

/// What gdb says of the debuggee, given `commands`.
fn debug(folder: &Path, commands: &[&str]) -> Answer<Ended> {
    let mut command = Command::new("gdb");
    // Neither anybody's settings nor a download.
    command.args(["-nx", "-batch", "-iex", "set debuginfod enabled off"]);
    for line in [
        "set pagination off",
        "set breakpoint pending on",
        "set width 0",
    ] {
        command.args(["-ex", line]);
    }
    for line in commands {
        command.args(["-ex", line]);
    }
    command.arg("--args").arg(std::env::current_exe()?);
    command.args(["debuggee", "--exact", "--nocapture", "--test-threads=1"]);
    end_of(command.env(FOLDER, folder), "")
}

#[test]
fn gdb_breaks_by_name_and_shows_positions() -> Answer<()> {
    if !is_installed("gdb") {
        skip("what gdb makes of loaded code", "gdb is not installed");
        return Ok(());
    }
    let ways = [
        &["-O0"][..],
        &["-O1", "-gdwarf-4", "-fomit-frame-pointer"],
        &["-O2"],
    ];
    // Each compiler at least once, as far as there are ways.
    for (compiler, flags) in compilers().into_iter().cycle().zip(ways) {
        let flags = [&["-g", "-fPIC"], flags].concat();
        let folder = tempfile::tempdir()?;
        for number in 0..IMAGES {
            let object = compile(compiler, "c", &source(number), &flags)
                .map_err(|error| error.to_string())?;
            std::fs::write(folder.path().join(format!("{number}.o")), object)?;
        }
        let mut commands = Vec::new();
        for _ in 0..4 {
            commands.extend(["continue", "backtrace 4"]);
        }
        let commands = [
            &[
                "break inner_3",
                "break inner_40",
                "break inner_69",
                "break inner_1",
                "run",
                "backtrace 4",
                "print *p",
                "info symbol inner_0",
            ],
            commands.as_slice(),
        ]
        .concat();
        let said = debug(folder.path(), &commands)?;
        let what = format!("{compiler} {flags:?}:\n{}\n{}", said.stdout, said.stderr);
        for number in [3, 40, 69, 1] {
            let frames = [
                format!("#0  inner_{number} ("),
                format!("in outer_{number} ("),
                "in test () at ".to_owned(),
            ];
            let mut rest = said.stdout.as_str();
            for frame in frames {
                let at = rest
                    .find(&frame)
                    .ok_or_else(|| format!("no `{frame}`: {what}"))?;
                rest = rest.get(at..).unwrap_or_default();
                let line = rest.lines().next().unwrap_or_default();
                assert!(line.contains("unit.c:"), "{line}, {what}");
            }
        }
        if flags.contains(&"-O0") {
            assert!(said.stdout.contains("{first = 3, second = 2}"), "{what}");
        }
        assert!(said.stdout.contains("exited normally"), "{what}");
    }
    Ok(())
}

#[test]
fn debug_information_is_kept_only_where_it_is_asked_for() -> Answer<()> {
    let object = compile("gcc", "c", &source(1), &["-g", "-fPIC", "-O1"])
        .map_err(|error| error.to_string())?;
    let usual = NativeLoader::new().prepare(&object, &["test"])?;
    assert_eq!(check(&usual.bytes)?.side_tables().len(), 0);
    let mut options = Options::default();
    options.gdb = true;
    let loader = NativeLoader::with_options(options);
    let kept = loader.prepare(&object, &["test"])?;
    let description = check(&kept.bytes)?;
    let names: Vec<&str> = description.side_tables().collect();
    for name in [".debug_info", ".debug_line", ".debug_abbrev", ".debug_str"] {
        assert_eq!(
            names.iter().filter(|other| **other == name).count(),
            1,
            "{names:?}"
        );
    }
    let plain = check(&usual.bytes)?;
    assert_eq!(description.text_size(), plain.text_size());
    assert_eq!(description.kept_size(), plain.kept_size());
    assert_eq!(description.dropped_size(), plain.dropped_size());
    Ok(())
}
