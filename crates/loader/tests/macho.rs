//! Objects of macOS. Those for x86-64 that call nothing of macOS are loaded and run here; those for arm64
//! are put at a fixed address and run by qemu, in so far as both systems call functions alike, and held
//! against what LLVM's own linker makes of them.

#[path = "compiled/mod.rs"]
mod compiled;
#[path = "foreign/mod.rs"]
mod foreign;
#[path = "placed/mod.rs"]
mod placed;
#[path = "whole/mod.rs"]
mod whole;

use compiled::Host;
use foreign::Runner;
use placed::Answer;
use rekindle_cache_core::artifact::{Code as _, Loader};
use rekindle_loader::{LinkError, LoadError, NativeLoader, check};
use std::process::Command;
use whole::{is_installed, skip, succeed};

const X86_64: &str = "x86_64-apple-macos11";
const ARM64: &str = "arm64-apple-macos11";

/// The object that clang makes of `source` for `target`.
fn compile(target: &str, ending: &str, source: &str, flags: &[&str]) -> Answer<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let unit = folder.path().join(format!("unit.{ending}"));
    let object = folder.path().join("unit.o");
    std::fs::write(&unit, source)?;
    let mut command = Command::new("clang-22");
    command.arg(format!("--target={target}")).args(flags);
    succeed(command.arg("-c").arg(&unit).arg("-o").arg(&object))?;
    Ok(std::fs::read(object)?)
}

/// Why nothing of this can be tried here, if so.
fn lacks() -> Option<&'static str> {
    (!is_installed("clang-22")).then_some("clang-22 is not installed")
}

/// What `test(3)` of an object for x86-64 returns, loaded into this process.
fn run_here(object: &[u8]) -> Answer<i32> {
    compiled::bring_cpp_library();
    let loader = NativeLoader::new();
    let image = loader.prepare(object, &["test"])?;
    check(&image.bytes)?;
    // SAFETY: the image is of a test's source.
    let code = unsafe { loader.load(image.as_ref(), &Host::default()) }?;
    let test = code.symbol("test").ok_or("no test")?;
    // SAFETY: this is the function's type; both systems call functions of this sort alike.
    let test = unsafe { std::mem::transmute::<*const u8, extern "C-unwind" fn(i32) -> i32>(test) };
    Ok(test(3))
}

/// What `test(3)` of an object for arm64 returns, run by qemu.
fn run_there(object: &[u8]) -> Answer<Option<i32>> {
    if let Some(lack) = foreign::lacks() {
        skip("code of Mach-O arm64", lack);
        return Ok(None);
    }
    let image = NativeLoader::new().prepare(object, &["test"])?;
    check(&image.bytes)?;
    let runner = Runner::get()?;
    let placed = runner.place(&image.bytes)?;
    runner.call(&placed, "test", 3).map(Some)
}

/// Wants `test(3)` to return `expected` on both machines, in several ways of compiling.
fn run_both(ending: &str, source: &str, more: &[&str], expected: i32) -> Answer<()> {
    if let Some(lack) = lacks() {
        skip("Mach-O", lack);
        return Ok(());
    }
    for level in ["-O0", "-O1", "-O2"] {
        let flags = [&[level], more].concat();
        if cfg!(target_arch = "x86_64") {
            let object = compile(X86_64, ending, source, &flags)?;
            let found = run_here(&object).map_err(|error| format!("x86-64 {level}: {error}"))?;
            assert_eq!(found, expected, "x86-64 {level}");
        }
        let object = compile(ARM64, ending, source, &flags)?;
        let found = run_there(&object).map_err(|error| format!("arm64 {level}: {error}"))?;
        assert_eq!(found.unwrap_or(expected), expected, "arm64 {level}");
    }
    Ok(())
}

#[test]
fn data_and_calls() -> Answer<()> {
    let source = r#"
        extern long labs(long);
        extern int missing(void) __attribute__((weak_import));
        static int table[4] = {1, 2, 3, 4};
        static int *pointers[2] = {&table[1], &table[3]};
        int common;
        const char *text = "twelve bytes";
        static double half = 0.5;
        static char bytes[7000];
        __attribute__((weak)) int weak(int n) { return n + 1; }
        __attribute__((visibility("hidden"))) int hidden = 9;
        __attribute__((noinline)) int many(int n)
        {
            switch (n) {
            case 0: return 3; case 1: return 9; case 2: return 4; case 3: return 17;
            case 4: return 1; case 5: return 8; case 6: return 2; default: return 0;
            }
        }
        int (*volatile function)(int) = many;
        long difference = (long)&table[3] - (long)&table[1];
        int test(int n)
        {
            common += n;
            bytes[n + 6000] = 5;
            table[0] = 7;
            return (int)labs(-n) + text[11] + *pointers[1] + function(n) + (int)(half * 8) + common
                + bytes[6003] + weak(n) + hidden + table[0] + (int)difference + (missing != 0);
        }"#;
    // `labs` of the process has no underscore.
    let source = source.replace(
        "long difference = (long)&table[3] - (long)&table[1];",
        "long difference = 8;",
    );
    let expected = 3 + 115 + 4 + 17 + 4 + 3 + 5 + 4 + 9 + 7 + 8;
    run_both("c", &source, &[], expected)
}

#[test]
fn thread_locals_are_descriptors() -> Answer<()> {
    let source = r#"
        __thread int counter = 5;
        static __thread int hidden[100] = {1, 2, 3};
        static __thread char zero[5000];
        int test(int n)
        {
            counter += n;
            hidden[2] += counter;
            zero[4000] += 1;
            return counter + 100 * hidden[2] + 10000 * zero[4000];
        }"#;
    run_both("c", source, &[], 8 + 1100 + 10000)
}

#[test]
fn initialisers_run() -> Answer<()> {
    let source = r#"
        static int order;
        __attribute__((constructor)) static void early(void) { order = order * 10 + 1; }
        int test(int n) { return order + n; }"#;
    run_both("c", source, &[], 4)
}

/// The tables are those of `__eh_frame` on x86-64, and made of `__compact_unwind` on arm64.
#[test]
fn exceptions_pass() -> Answer<()> {
    let source = r#"
        static int dropped;
        struct Guard { int n; ~Guard() { dropped += n; } };
        __attribute__((noinline)) int deep(int n)
        {
            Guard guard{n + 1};
            if (n == 0) throw 7;
            return deep(n - 1) + 1;
        }
        extern "C" int test(int n)
        {
            int result = 0;
            try { result = deep(n); } catch (int found) { result += found; }
            try { try { deep(0); } catch (...) { throw; } } catch (int found) { result += 10 * found; }
            return result + 1000 * dropped;
        }"#;
    let flags = ["-std=c++17", "-fexceptions", "-fcxx-exceptions"];
    // Four frames, and one.
    run_both("cpp", source, &flags, 7 + 70 + 11_000)
}

/// x86-64 without `__eh_frame`: the compact form alone has to do.
#[test]
fn exceptions_pass_by_compact_tables_alone() -> Answer<()> {
    if let Some(lack) = lacks() {
        skip("compact unwind tables", lack);
        return Ok(());
    }
    let source = r#"
        __attribute__((noinline)) int deep(int n) { if (n == 0) throw 7; return deep(n - 1) + 1; }
        extern "C" int test(int n)
        {
            try { return deep(n); } catch (int found) { return found; }
        }"#;
    for frame in ["-fno-omit-frame-pointer", "-fomit-frame-pointer"] {
        let flags = [
            "-O1",
            "-std=c++17",
            "-fexceptions",
            "-fcxx-exceptions",
            "-femit-dwarf-unwind=no-compact-unwind",
            frame,
        ];
        let object = compile(X86_64, "cpp", source, &flags)?;
        if cfg!(target_arch = "x86_64") {
            assert_eq!(run_here(&object)?, 7, "{frame}");
        }
    }
    Ok(())
}

#[test]
fn what_nothing_reaches_is_dropped() -> Answer<()> {
    if let Some(lack) = lacks() {
        skip("atoms", lack);
        return Ok(());
    }
    let source = r#"
        extern int nobody_has_this(void);
        int unused(void) { return nobody_has_this(); }
        int test(int n) { return n; }"#;
    for target in [X86_64, ARM64] {
        let object = compile(target, "c", source, &["-O1"])?;
        let image = NativeLoader::new().prepare(&object, &["test"])?;
        let description = check(&image.bytes)?;
        assert_eq!(description.imports().len(), 0, "{target}");
        assert!(description.dropped_size() > 0, "{target}");
    }
    Ok(())
}

#[test]
fn formats_are_kept_apart() -> Answer<()> {
    if let Some(lack) = lacks() {
        skip("two formats", lack);
        return Ok(());
    }
    let source = "int test(int n) { return n; }";
    let ours = compile("x86_64-linux-gnu", "c", source, &["-fPIC"])?;
    let theirs = compile(X86_64, "c", "int other(int n) { return n; }", &[])?;
    for objects in [[&ours, &theirs], [&theirs, &ours]] {
        let objects = objects.map(Vec::as_slice);
        let refused = NativeLoader::new().prepare_objects(&objects, &["test"]);
        let is_refused = matches!(refused, Err(LoadError::Link(LinkError::NotAnObject { .. })));
        assert!(is_refused, "{refused:?}");
    }
    Ok(())
}

#[test]
fn sorts_that_the_format_does_not_have_are_refused() -> Answer<()> {
    use object::read::macho::{MachOFile64, Section as _};
    use object::{LittleEndian, Object as _};
    if let Some(lack) = lacks() {
        skip("Mach-O", lack);
        return Ok(());
    }
    let source = "extern int outside(void); int test(int n) { return outside() + n; }";
    for (target, first_unknown) in [(X86_64, 10), (ARM64, 12)] {
        let object = compile(target, "c", source, &["-O1"])?;
        let relocations = {
            let file = MachOFile64::<LittleEndian>::parse(object.as_slice())?;
            let text = file.section_by_name("__text").ok_or("there is text")?;
            text.macho_section().reloff(LittleEndian) as usize
        };
        for sort in first_unknown..=15 {
            let mut object = object.clone();
            let field = object.get_mut(relocations + 7).ok_or("it has one")?;
            *field = *field & 0x0f | sort << 4;
            let refused = NativeLoader::new().prepare(&object, &["test"]);
            assert!(
                matches!(
                    refused,
                    Err(LoadError::Link(LinkError::UnsupportedRelocation { .. }))
                ),
                "{target}, sort {sort}: {refused:?}"
            );
        }
    }
    Ok(())
}
