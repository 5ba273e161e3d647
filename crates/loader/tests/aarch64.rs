//! Programs for AArch64, of both compilers: linked here, put in place by a small program, run by qemu.

#[path = "foreign/mod.rs"]
mod foreign;
#[path = "placed/mod.rs"]
mod placed;
#[path = "whole/mod.rs"]
mod whole;

use foreign::{Runner, compilers, lacks};
use placed::Answer;
use rekindle_cache_core::artifact::Loader;
use rekindle_loader::{ImageError, LoadError, NativeLoader, check};
use std::process::Command;
use whole::{skip, succeed};

/// Ways of compiling that give different relocations.
const WAYS: &[&[&str]] = &[
    &["-fPIC", "-O0"],
    &["-fPIC", "-O2", "-ffunction-sections", "-fdata-sections"],
    &["-fpic", "-O1"],
    &["-fPIC", "-O2", "-mno-outline-atomics", "-fno-plt"],
];

/// The object that `compiler` makes of `source` in the language of `ending`.
fn compile(compiler: &[&str], ending: &str, source: &str, flags: &[&str]) -> Answer<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let unit = folder.path().join(format!("unit.{ending}"));
    let object = folder.path().join("unit.o");
    std::fs::write(&unit, source)?;
    let (program, first) = compiler.split_first().ok_or("no compiler")?;
    // The cross compiler for C knows the language by the ending.
    let mut command = Command::new(program);
    command.args(first).args(flags).arg("-c").arg(&unit);
    succeed(command.arg("-o").arg(&object))?;
    Ok(std::fs::read(object)?)
}

/// Runs `test` of each source in all ways, and wants it to return `expected`.
fn run_all(ending: &str, source: &str, more: &[&str], expected: i32) -> Answer<()> {
    if let Some(lack) = lacks() {
        skip("programs for AArch64", lack);
        return Ok(());
    }
    let runner = Runner::get()?;
    let loader = NativeLoader::new();
    for compiler in compilers() {
        for way in WAYS {
            let flags = [way, more].concat();
            let object = compile(&compiler, ending, source, &flags)?;
            let image = loader.prepare(&object, &["test"])?;
            check(&image.bytes)?;
            let placed = runner.place(&image.bytes)?;
            let found = runner
                .call(&placed, "test", 3)
                .map_err(|error| format!("{compiler:?} {flags:?}: {error}"))?;
            assert_eq!(found, expected, "{compiler:?} {flags:?}");
        }
    }
    Ok(())
}

#[test]
fn data_and_calls() -> Answer<()> {
    let source = r#"
        extern int outside_data;
        extern int outside_function(int);
        extern unsigned long outside_length(const char *);
        extern int missing(void) __attribute__((weak));
        static int table[4] = {1, 2, 3, 4};
        static int *pointers[2] = {&table[1], &table[3]};
        int common;
        const char *text = "twelve bytes";
        static double half = 0.5;
        static char bytes[70000];
        __attribute__((noinline)) int many(int n)
        {
            switch (n) {
            case 0: return 3; case 1: return 9; case 2: return 4; case 3: return 17;
            case 4: return 1; case 5: return 8; case 6: return 2; default: return 0;
            }
        }
        int (*volatile function)(int) = many;
        int test(int n)
        {
            common += n;
            bytes[n + 60000] = 5;
            if (missing) return -1;
            return outside_data + outside_function(n) + (int)outside_length(text) + *pointers[1]
                + function(n) + (int)(half * 8) + common + bytes[60003];
        }"#;
    run_all("c", source, &[], 42 + 4 + 12 + 4 + 17 + 4 + 3 + 5)
}

#[test]
fn thread_locals_of_all_models() -> Answer<()> {
    let source = r#"
        __thread int counter = 5;
        static __thread int hidden[100] = {1, 2, 3};
        static __thread char zero[5000];
        extern __thread int outside_local[2];
        extern int outside_thread(int (*)(int));
        __attribute__((noinline)) int step(int n)
        {
            counter += n;
            hidden[2] += counter;
            zero[4000] += 1;
            return counter + hidden[2] + zero[4000] + outside_local[1];
        }
        int test(int n)
        {
            int first = step(n);
            /* Another thread begins from the beginning. */
            int other = outside_thread(step);
            return first + 1000 * other;
        }"#;
    let first = 8 + (3 + 8) + 1 + 43;
    let other = 5 + (3 + 5) + 1 + 43;
    run_all("c", source, &[], first + 1000 * other)
}

#[test]
fn resolvers_initialisers_and_finalisers() -> Answer<()> {
    let source = r#"
        static int order;
        static int one(void) { return 1; }
        static int (*pick(void))(void) { return one; }
        int chosen(void) __attribute__((ifunc("pick")));
        __attribute__((constructor(101))) static void early(void) { order = order * 10 + 1; }
        __attribute__((constructor)) static void late(void) { order = order * 10 + 2; }
        int test(int n) { int (*volatile same)(void) = chosen; return order * 10 + same() + chosen() + n; }"#;
    run_all("c", source, &[], 120 + 5)
}

#[test]
fn exceptions_of_cpp() -> Answer<()> {
    let source = r#"
        extern "C" unsigned long outside_length(const char *);
        struct Base { virtual ~Base() {} virtual int size() const { return 1; } };
        struct Derived : Base { int n; Derived(int n) : n(n) {} int size() const override { return n; } };
        static int dropped;
        struct Guard { ~Guard() { ++dropped; } };
        inline int &shared() { static int value = outside_length("four"); return value; }
        __attribute__((noinline)) int deep(int n)
        {
            Guard guard;
            if (n == 0) throw Derived(7);
            if (n == 100) throw "a text";
            return deep(n - 1) + 1;
        }
        extern "C" int test(int n)
        {
            int result = 0;
            try { deep(n); } catch (const Base &base) { result += base.size(); }
            try { deep(100); } catch (const char *text) { result += 10 * (int)outside_length(text); }
            try { try { deep(0); } catch (...) { throw; } } catch (Derived &derived) { result += 100 * derived.n; }
            Base *base = new Derived(3);
            Derived *same = dynamic_cast<Derived *>(base);
            result += 1000 * same->n;
            delete base;
            return result + 10000 * dropped + 100000 * shared();
        }"#;
    // Four frames, one, and one.
    let expected = 7 + 60 + 700 + 3000 + 60_000 + 400_000;
    run_all("cpp", source, &["-std=c++17"], expected)
}

#[test]
fn several_objects_are_one_image() -> Answer<()> {
    if let Some(lack) = lacks() {
        skip("several objects for AArch64", lack);
        return Ok(());
    }
    let runner = Runner::get()?;
    let parts = [
        "int other(int); int weak(void) { return 30; } int test(int n) { return other(n) + weak(); }",
        "__attribute__((weak)) int weak(void) { return 1; } int other(int n) { return 2 * n + weak(); }",
    ];
    for compiler in compilers() {
        let objects = parts.map(|part| compile(&compiler, "c", part, &["-fPIC", "-O1"]));
        let [first, second] = objects;
        let (first, second) = (first?, second?);
        let image = NativeLoader::new().prepare_objects(&[&first, &second], &["test"])?;
        let placed = runner.place(&image.bytes)?;
        assert_eq!(runner.call(&placed, "test", 3)?, 66, "{compiler:?}");
    }
    Ok(())
}

#[test]
fn machines_are_kept_apart() -> Answer<()> {
    if let Some(lack) = lacks() {
        skip("images for another machine", lack);
        return Ok(());
    }
    let source = "int test(int n) { return n; }";
    let theirs = compile(&["aarch64-linux-gnu-gcc"], "c", source, &["-fPIC"])?;
    let ours = compile(&["gcc"], "c", source, &["-fPIC"])?;
    let loader = NativeLoader::new();
    let mixed = loader.prepare_objects(&[&theirs, &ours], &["test"]);
    assert!(matches!(mixed, Err(LoadError::Link(_))), "{mixed:?}");

    // It is described here, and refused before any of it is in place.
    let image = loader.prepare(&theirs, &["test"])?;
    assert_eq!(check(&image.bytes)?.machine(), 183);
    struct Nothing;
    impl rekindle_cache_core::artifact::Symbols for Nothing {
        fn address(&self, _hash: u64, _name: &str) -> Option<u64> {
            None
        }
    }
    if cfg!(target_arch = "x86_64") {
        // SAFETY: it is of the source above, and does not run.
        let refused = unsafe { loader.load(image.as_ref(), &Nothing) };
        let expected = ImageError::Machine {
            found: 183,
            expected: 62,
        };
        assert!(matches!(refused, Err(LoadError::Image(error)) if error == expected));
        assert_eq!(loader.memory_used(), 0);
    }
    Ok(())
}

/// The target that the loader is compiled for, to run on AArch64 itself.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// The example `run_object` for AArch64, or why there is none.
fn loader_for_aarch64() -> Answer<Result<std::path::PathBuf, &'static str>> {
    if let Some(lack) = lacks() {
        return Ok(Err(lack));
    }
    let root = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()?;
    let root = String::from_utf8(root.stdout)?;
    let library = std::path::Path::new(root.trim())
        .join("lib/rustlib")
        .join(TARGET);
    if !library.join("lib").is_dir() {
        return Ok(Err(
            "no standard library (rustup target add aarch64-unknown-linux-gnu)",
        ));
    }
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "build",
        "--quiet",
        "--package",
        "rekindle-loader",
        "--target",
        TARGET,
    ]);
    command.args(["--example", "run_object", "--message-format", "json"]);
    command.env(
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
        "aarch64-linux-gnu-gcc",
    );
    let built = command.current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned().into());
    }
    let messages = String::from_utf8(built.stdout)?;
    let path = messages.lines().find_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split_once('"').map(|(path, _)| path)
    });
    Ok(Ok(path.ok_or("no run_object was built")?.into()))
}

/// Not the linker alone: memory, caches, unwind tables and thread-locals as on a machine of that sort.
#[test]
fn the_loader_itself_runs_there() -> Answer<()> {
    let program = match loader_for_aarch64()? {
        Ok(program) => program,
        Err(lack) => {
            skip("the loader on AArch64", lack);
            return Ok(());
        }
    };
    let source = r#"
        #include <cstdio>
        #include <map>
        #include <stdexcept>
        #include <string>
        #include <thread>
        thread_local int local = 5;
        static std::map<std::string, int> table{{"a", 1}, {"b", 2}};
        __attribute__((noinline)) int deep(int n)
        {
            if (n == 0) throw std::runtime_error("deep");
            return deep(n - 1) + 1;
        }
        int main()
        {
            local++;
            int other = 0;
            std::thread thread([&] { other = local; });
            thread.join();
            try { deep(5); } catch (const std::exception &error) {
                std::printf("%s %d %d %d\n", error.what(), local, other, table["b"]);
            }
            return 3;
        }"#;
    for model in ["-mtls-dialect=desc", "-mtls-dialect=trad"] {
        let flags = ["-fPIC", "-O1", model];
        let object = compile(&["aarch64-linux-gnu-g++"], "cpp", source, &flags)?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("unit.o");
        std::fs::write(&file, object)?;
        let mut command = Command::new("qemu-aarch64");
        command.args(["-L", "/usr/aarch64-linux-gnu"]).arg(&program);
        command.args(["-l", "libstdc++.so.6"]).arg(&file).arg("--");
        let ended = whole::end_of(&mut command, "")?;
        assert_eq!(ended.stdout, "deep 6 5 2\n", "{model}: {ended:?}");
        assert_eq!(ended.status, "exit status: 3", "{model}");
    }
    Ok(())
}
