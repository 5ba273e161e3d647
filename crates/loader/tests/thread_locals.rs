//! Thread-locals of images and of the host, in every model that compilers have for them.

mod compiled;

use compiled::{Host, Outcome, bring, compile, compilers, function, load_with};
use rekindle_cache_core::artifact::{Code, Loader};
use rekindle_loader::{LoadError, NativeLoader};
use std::ffi::CString;
use std::process::Command;

const SOURCE: &str = "
    static __thread long counter = 30;
    static __thread char zeros[300];
    __thread long visible __attribute__((aligned(64))) = 5;
    static __thread long *pointer;
    long other = 7;
    static __thread long *initialised = &other;
    long test(void) {
        if ((long)&visible % 64) return -1;
        for (int i = 0; i < 300; i++) if (zeros[i]) return -2;
        if (pointer) return -3;
        pointer = &counter;
        return ++*pointer + visible++ + zeros[7] + *initialised - 1;
    }
    long again(void) { return counter * 100 + visible; }";

#[test]
fn every_thread_has_its_own() -> Outcome {
    for compiler in compilers() {
        for flags in [
            &["-O0"][..],
            &["-O2"],
            &["-O2", "-fno-plt"],
            &["-O2", "-mtls-dialect=gnu2"],
            &["-O0", "-mtls-dialect=gnu2"],
            &["-O2", "-femulated-tls"],
            &["-O2", "-mcmodel=large"],
            &["-O2", "-ftls-model=local-dynamic"],
        ] {
            let flags = [&["-fPIC"], flags].concat();
            let Ok(object) = compile(compiler, "c", SOURCE, &flags) else {
                // Older versions of clang have no descriptors, and gcc does not emulate where it need not.
                let optional = ["-mtls-dialect=gnu2", "-femulated-tls"];
                assert!(
                    flags.iter().any(|flag| optional.contains(flag)),
                    "{compiler} {flags:?}"
                );
                continue;
            };
            let loader = NativeLoader::new();
            let code = load_with(&loader, &object, &["test", "again"], &Host::default())
                .map_err(|error| format!("{compiler} {flags:?}: {error}"))?;
            let (test, again) = (function(&code, "test")?, function(&code, "again")?);
            let run = || assert_eq!((test(), again()), (42, 3106), "{compiler} {flags:?}");
            run();
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(run);
                }
            });
            assert_eq!(again(), 3106);
        }
    }
    Ok(())
}

#[test]
fn many_images_and_many_threads() -> Outcome {
    let object = compile("gcc", "c", SOURCE, &["-fPIC", "-O2"])?;
    let loader = NativeLoader::new();
    let image = loader.prepare(&object, &["test", "again"])?;
    let mut images = Vec::new();
    for _ in 0..300 {
        // SAFETY: the image is of the source above.
        let code = unsafe { loader.load(image.as_ref(), &Host::default()) }?;
        images.push((function(&code, "test")?, function(&code, "again")?));
    }
    for _ in 0..4 {
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for (test, again) in &images {
                        assert_eq!((test(), again()), (42, 3106));
                    }
                });
            }
        });
    }
    Ok(())
}

#[test]
fn descriptors_leave_every_register_alone() -> Outcome {
    // Registers of all sorts hold values across the first access, which allocates.
    let source = "
        __thread long t = 40;
        long test(void) {
            register long a asm(\"rdx\") = 1, b asm(\"rcx\") = 2, c asm(\"rsi\") = 3, d asm(\"rdi\") = 4;
            register long e asm(\"r8\") = 5, f asm(\"r9\") = 6, g asm(\"r10\") = 7, h asm(\"r11\") = 8;
            register double x asm(\"xmm0\") = 1.5, y asm(\"xmm15\") = 2.5;
            asm volatile(\"\" : \"+r\"(a), \"+r\"(b), \"+r\"(c), \"+r\"(d), \"+r\"(e), \"+r\"(f), \"+r\"(g), \"+r\"(h), \"+x\"(x), \"+x\"(y));
            long found;
            asm volatile(\"leaq t@tlsdesc(%%rip), %%rax\\n call *t@tlscall(%%rax)\\n movq %%fs:(%%rax), %0\"
                : \"=a\"(found), \"+r\"(a), \"+r\"(b), \"+r\"(c), \"+r\"(d), \"+r\"(e), \"+r\"(f), \"+r\"(g), \"+r\"(h), \"+x\"(x), \"+x\"(y));
            if (a != 1 || b != 2 || c != 3 || d != 4 || e != 5 || f != 6 || g != 7 || h != 8) return -1;
            return found + (long)(x * 4 + y * 4) - 14 + t - t;
        }";
    let object = compile(
        "gcc",
        "c",
        source,
        &["-fPIC", "-O1", "-mtls-dialect=gnu2", "-mno-red-zone"],
    )?;
    let code = load_with(&NativeLoader::new(), &object, &["test"], &Host::default())?;
    let test = function(&code, "test")?;
    for _ in 0..20 {
        let thread = std::thread::spawn(move || (test(), test()));
        assert_eq!(thread.join().map_err(|_| "it panicked")?, (42, 42));
    }
    Ok(())
}

/// Loads a shared library of `source` into the process, visible to all.
fn library(source: &str, flags: &[&str]) -> Outcome {
    let folder = tempfile::tempdir()?;
    let (file, library) = (
        folder.path().join("host.c"),
        folder.path().join("libhost.so"),
    );
    std::fs::write(&file, source)?;
    let made = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O1"])
        .args(flags)
        .arg(&file)
        .arg("-o")
        .arg(&library)
        .status()?;
    assert!(made.success());
    let path = CString::new(library.to_string_lossy().as_bytes())?;
    bring(&path);
    Ok(())
}

#[test]
fn those_of_the_host() -> Outcome {
    library(
        "__thread long before = 1; __thread long rekindle_host_tls = 40;
         long rekindle_host_get(void) { return rekindle_host_tls + before - 1; }",
        &[],
    )?;
    let source = "extern __thread long rekindle_host_tls; long rekindle_host_get(void);
        extern __thread long rekindle_absent __attribute__((weak));
        long test(void) { rekindle_host_tls++; return rekindle_host_get() + 1 + (&rekindle_absent != 0); }";
    for flags in [&["-O2"][..], &["-O2", "-mtls-dialect=gnu2"], &["-O0"]] {
        let object = compile("gcc", "c", source, &[&["-fPIC"], flags].concat())?;
        let code = load_with(&NativeLoader::new(), &object, &["test"], &Host::default())?;
        let test = function(&code, "test")?;
        let thread = std::thread::spawn(move || (test(), test()));
        assert_eq!(
            thread.join().map_err(|_| "it panicked")?,
            (42, 43),
            "{flags:?}"
        );
    }
    // Its block came later, and lies somewhere else in every thread.
    let source = source.replace("(&rekindle_absent != 0)", "0");
    let object = compile(
        "gcc",
        "c",
        &source,
        &["-fPIC", "-O2", "-ftls-model=initial-exec"],
    )?;
    let refused = load_with(&NativeLoader::new(), &object, &["test"], &Host::default());
    let Err(LoadError::ThreadLocalDistance { symbol }) = refused else {
        return Err("it has no fixed distance".into());
    };
    assert_eq!(symbol, "rekindle_host_tls");
    Ok(())
}

#[test]
fn those_of_the_host_at_a_fixed_distance() -> Outcome {
    // The C library was there when the program started, and has its `errno` in every thread.
    for model in ["initial-exec", "local-exec", "global-dynamic"] {
        let source = "extern __thread int number asm(\"errno\"); int *__errno_location(void);
            long test(void) { *__errno_location() = 41; number++; return *__errno_location(); }";
        let flag = format!("-ftls-model={model}");
        let object = compile("gcc", "c", source, &["-fPIC", "-O2", &flag])?;
        let code = load_with(&NativeLoader::new(), &object, &["test"], &Host::default())
            .map_err(|error| format!("{model}: {error}"))?;
        let test = function(&code, "test")?;
        assert_eq!(test(), 42);
        let thread = std::thread::spawn(move || test());
        assert_eq!(thread.join().map_err(|_| "it panicked")?, 42);
    }
    Ok(())
}

#[test]
fn an_unknown_one_is_named() -> Outcome {
    let source = "extern __thread int nobody_has_this; int test(void) { return nobody_has_this; }";
    for flag in ["-O2", "-mtls-dialect=gnu2", "-ftls-model=initial-exec"] {
        let object = compile("gcc", "c", source, &["-fPIC", flag])?;
        let refused = load_with(&NativeLoader::new(), &object, &["test"], &Host::default());
        let Err(LoadError::UnresolvedSymbol { symbol }) = refused else {
            return Err("the symbol does not exist".into());
        };
        assert_eq!(symbol, "nobody_has_this");
    }
    Ok(())
}

#[test]
fn destructors_of_cpp_run_at_the_end_of_their_thread() -> Outcome {
    let source = r#"
        static long destroyed = 0;
        static thread_local long late = 1;
        struct Counter {
            long n;
            Counter() : n(40) {}
            ~Counter() { __atomic_add_fetch(&destroyed, n + late, __ATOMIC_SEQ_CST); }
        };
        static thread_local Counter counter;
        extern "C" long test() { return ++counter.n + late++; }
        extern "C" long total() { return __atomic_load_n(&destroyed, __ATOMIC_SEQ_CST); }
    "#;
    for compiler in ["g++", "clang++", "clang++-22"] {
        if Command::new(compiler).arg("--version").output().is_err() {
            continue;
        }
        for flags in [
            &["-O0"][..],
            &["-O2"],
            &["-O2", "-femulated-tls"],
            &["-O2", "-mtls-dialect=gnu2"],
        ] {
            let Ok(object) = compile(compiler, "cpp", source, &[&["-fPIC"], flags].concat()) else {
                continue;
            };
            let code = load_with(
                &NativeLoader::new(),
                &object,
                &["test", "total"],
                &Host::default(),
            )
            .map_err(|error| format!("{compiler} {flags:?}: {error}"))?;
            let (test, total) = (function(&code, "test")?, function(&code, "total")?);
            for done in 0..5 {
                assert_eq!(total(), done * 43);
                let thread = std::thread::spawn(move || test());
                assert_eq!(thread.join().map_err(|_| "it panicked")?, 42);
            }
            assert!(code.symbol("test").is_some());
        }
    }
    Ok(())
}
