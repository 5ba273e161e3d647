//! Code that is not position-independent, in the low 2 GiB: C and C++ of both compilers, the large model,
//! what cannot be had, and a process without low addresses.
#![cfg(target_arch = "x86_64")]

mod compiled;

use compiled::{Host, Outcome, bring_cpp_library, compile, compilers, function, load_with};
use rekindle_cache_core::artifact::{Image, LoadFailure, Loader};
use rekindle_loader::{Code, LinkError, LoadError, NativeLoader, Options, check};
use std::collections::HashMap;
use std::error::Error;

const NO_PIC: &[&str] = &["-fno-pic", "-fno-pie"];

/// A loader that takes such code.
fn loader(anonymous_memory: bool) -> NativeLoader {
    let mut options = Options::default();
    options.position_dependent = true;
    options.anonymous_memory = anonymous_memory;
    NativeLoader::with_options(options)
}

/// Wants all of `code` to be low.
fn is_low(code: &Code) -> bool {
    let end = 1 << 31;
    code.payload().end < end && code.data().end < end
}

/// Compiles `source` in every way, without position-independence, and calls `test`.
fn everywhere(ending: &str, source: &str, more: &[&str], expected: i64) -> Outcome {
    for compiler in compilers() {
        for level in ["-O0", "-O2"] {
            let flags = [NO_PIC, &[level], more].concat();
            let object = compile(compiler, ending, source, &flags)?;
            for anonymous_memory in [false, true] {
                let loader = loader(anonymous_memory);
                let code = load_with(&loader, &object, &["test"], &Host::default())
                    .map_err(|error| format!("{compiler} {flags:?}: {error}"))?;
                assert!(is_low(&code), "{code:?}");
                let found = function(&code, "test")?();
                assert_eq!(found, expected, "{compiler} {flags:?} {anonymous_memory}");
            }
        }
    }
    Ok(())
}

const TABLES: &str = "
    #include <stdio.h>
    #include <string.h>
    static long table[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    static const char *const names[] = { \"a\", \"bb\", \"ccc\" };
    static int (*compare)(const char *, const char *) = strcmp;
    struct calls { size_t (*length)(const char *); };
    __attribute__((noinline)) static size_t call(struct calls *calls, const char *text) { return calls->length(text); }
    __attribute__((noinline)) static long pick(int n) {
        switch (n) {
        case 0: return 3; case 1: return strlen(names[2]); case 2: return 77; case 3: return table[n];
        case 4: return 12; case 5: return -n; default: return 0;
        }
    }
    long test(void) {
        struct calls calls;
        calls.length = strlen;
        long sum = 0;
        for (int i = 0; i < 8; i++) sum += table[i] * pick(i);
        if (compare(\"a\", \"a\")) return -1;
        fputs(names[0] + 1, stderr);
        return sum + call(&calls, names[1]);
    }";

#[test]
fn tables_and_functions_of_both_sides() -> Outcome {
    let sum = 3 + 2 * 3 + 3 * 77 + 4 * 4 + 5 * 12 - 6 * 5;
    everywhere("c", TABLES, &[], sum + 2)
}

#[test]
fn the_large_model_has_addresses_in_its_text() -> Outcome {
    let sum = 3 + 2 * 3 + 3 * 77 + 4 * 4 + 5 * 12 - 6 * 5;
    everywhere("c", TABLES, &["-mcmodel=large"], sum + 2)
}

/// Types of the library are named by addresses in four bytes, which cannot reach them.
#[test]
fn exceptions_find_types_of_the_library() -> Outcome {
    bring_cpp_library();
    let source = "
        #include <stdexcept>
        #include <string>
        namespace { struct Own { int n; }; }
        struct Base { virtual ~Base() {} virtual int f() { return 1; } };
        struct Derived : Base { int f() override { return 2; } };
        static int dropped;
        struct Guard { ~Guard() { dropped++; } };
        __attribute__((noinline)) void raise_number() { throw 7; }
        __attribute__((noinline)) static int raise(int n) {
            Guard guard;
            if (n == 0) raise_number();
            if (n == 1) throw std::runtime_error(\"fifteen letters\");
            if (n == 2) throw Own{n};
            if (n == 3) throw std::string(\"four\");
            return n;
        }
        static int caught(int n) {
            try { return raise(n); }
            catch (int found) { return found; }
            catch (const Own &own) { return 100 * own.n; }
            catch (const std::exception &error) { return std::string(error.what()).size(); }
            catch (...) { return 5; }
        }
        extern \"C\" long test() {
            static Derived derived;
            Base *base = &derived;
            dropped = 0;
            long sum = caught(0) + caught(1) + caught(2) + caught(3) + caught(4);
            return 10 * (sum + dropped) + dynamic_cast<Derived *>(base)->f();
        }";
    everywhere("cpp", source, &[], 10 * (7 + 15 + 200 + 5 + 4 + 5) + 2)
}

#[test]
fn it_is_refused_where_nobody_asked_for_it() -> Outcome {
    let object = compile("gcc", "c", TABLES, &[NO_PIC, &["-O2"]].concat())?;
    let refused = NativeLoader::new().prepare(&object, &["test"]);
    assert!(
        matches!(
            refused,
            Err(LoadError::Link(LinkError::NotPositionIndependent { .. }))
        ),
        "{refused:?}"
    );
    // Who asks gets it for such code alone.
    let image = loader(false).prepare(&object, &["test"])?;
    assert!(check(&image.bytes)?.is_low());
    let object = compiled::c(TABLES, &["-O2"])?;
    let image = loader(false).prepare(&object, &["test"])?;
    assert!(!check(&image.bytes)?.is_low());
    // A stored image runs in any loader.
    let object = compile("gcc", "c", TABLES, &[NO_PIC, &["-O2"]].concat())?;
    let image = loader(false).prepare(&object, &["test"])?;
    // SAFETY: the image is of the source above.
    let code = unsafe { NativeLoader::new().load(image.as_ref(), &Host::default()) }?;
    assert!(is_low(&code) && function(&code, "test")?() > 0);
    Ok(())
}

static OUTSIDE: [i64; 2] = [40, 42];

#[test]
fn data_from_outside_that_is_indexed_has_to_be_low() -> Outcome {
    let source = "extern long outside[2]; static volatile long n = 1; long test(void) { return outside[n]; }";
    let host = Host(HashMap::from([("outside", &raw const OUTSIDE as u64)]));
    for (compiler, level) in [("gcc", "-O2"), ("gcc", "-O0")] {
        let object = compile(compiler, "c", source, &[NO_PIC, &[level]].concat())?;
        let refused = load_with(&loader(false), &object, &["test"], &host);
        let error = refused.err().ok_or("it was loaded")?;
        assert!(!error.is_damage());
        assert!(
            matches!(&error, LoadError::OutOfLowReach { symbol } if symbol == "outside"),
            "{error}"
        );
    }
    // As that of a host is that is itself linked to low addresses.
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
    );
    // SAFETY: a new mapping, which stays.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED);
    // SAFETY: the page is large enough, and nobody else knows it.
    unsafe { page.cast::<[i64; 2]>().write(OUTSIDE) };
    let host = Host(HashMap::from([("outside", page as u64)]));
    // With an addend, as what has none may be a function, which would have a stub.
    let source = "extern long outside[2]; static volatile long n; long test(void) { return outside[n + 1]; }";
    for level in ["-O2", "-O1"] {
        let object = compile("gcc", "c", source, &[NO_PIC, &[level]].concat())?;
        let code = load_with(&loader(false), &object, &["test"], &host)?;
        assert_eq!(function(&code, "test")?(), 42, "{level}");
    }
    Ok(())
}

#[test]
fn memory_is_used_again_and_apart_from_other_windows() -> Outcome {
    let source = "static volatile long i = 1, n[2] = { 0, 41 }; long test(void) { return ++n[i]; }";
    let object = compile("gcc", "c", source, &[NO_PIC, &["-O0"]].concat())?;
    let loader = loader(false);
    let image = loader.prepare(&object, &["test"])?;
    let other = loader.prepare(&compiled::c(source, &["-O0"])?, &["test"])?;
    let rounds = 10_000;
    for _ in 0..rounds {
        // SAFETY: the images are of the source above.
        let low = unsafe { loader.load(image.as_ref(), &Host::default()) }?;
        // SAFETY: as before.
        let high = unsafe { loader.load(other.as_ref(), &Host::default()) }?;
        assert!(is_low(&low) && !is_low(&high));
        assert_eq!(function(&low, "test")?() + function(&high, "test")?(), 84);
        // SAFETY: nothing of them is used any more.
        unsafe {
            loader.unload(low)?;
            loader.unload(high)?;
        }
    }
    let counts = loader.memory_statistics();
    assert_eq!((counts.windows, counts.loaded), (2, 2 * rounds));
    assert!(counts.barriers >= 2, "{counts:?}");
    let once = image.bytes.len() + other.bytes.len();
    assert!(counts.used < once * rounds as usize / 2, "{counts:?}");
    Ok(())
}

/// In a child, as nothing low can be mapped there any more.
#[test]
fn without_low_addresses_it_is_an_error() -> Result<(), Box<dyn Error>> {
    let object = compile("gcc", "c", TABLES, &[NO_PIC, &["-O2"]].concat())?;
    let image = loader(false).prepare(&object, &["test"])?;
    // SAFETY: the child uses nothing that another thread of this process may have held in the middle of
    // something, but for the allocator, which glibc sees to; it ends without running anybody's handlers.
    match unsafe { libc::fork() } {
        -1 => return Err(std::io::Error::last_os_error().into()),
        0 => {
            let loader = loader(false);
            let load =
                // SAFETY: the image is of the source above.
                || unsafe { loader.load(image.as_ref(), &Host::default()) };
            take_all_low_addresses();
            let is_told = matches!(load(), Err(LoadError::NoLowMemory { .. }));
            // SAFETY: it takes any number.
            unsafe { libc::_exit(if is_told { 42 } else { 1 }) }
        }
        child => {
            let mut status = 0;
            // SAFETY: `status` is a place for a number.
            let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(ended, child);
            assert!(libc::WIFEXITED(status), "{status:#x}");
            assert_eq!(libc::WEXITSTATUS(status), 42);
        }
    }
    Ok(())
}

fn take_all_low_addresses() {
    let mut size = 1 << 30;
    while size >= 4096 {
        for start in (0..1usize << 31).step_by(size) {
            let flags = libc::MAP_PRIVATE
                | libc::MAP_ANONYMOUS
                | libc::MAP_NORESERVE
                | libc::MAP_FIXED_NOREPLACE;
            // SAFETY: what is there stays.
            unsafe { libc::mmap(start as *mut _, size, libc::PROT_NONE, flags, -1, 0) };
        }
        size = if size > 1 << 20 { size / 4 } else { 0 };
    }
}

#[test]
fn constants_of_libraries_are_no_functions() -> Outcome {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("constants.c");
    let library = folder.path().join("constants.so");
    std::fs::write(
        &source,
        "const int rekindle_low_table[4] = { 1, 2, 3, 42 };",
    )?;
    // Its constants are beside its code, in pages that can be executed.
    let made = std::process::Command::new("gcc")
        .args(["-shared", "-fPIC", "-Wl,-z,noseparate-code", "-o"])
        .args([&library, &source])
        .status()?;
    assert!(made.success());
    compiled::bring(&std::ffi::CString::new(library.to_str().ok_or("a path")?)?);
    let object = compiled::assembly(
        ".globl test; test: movl $3, %eax; movl rekindle_low_table(, %rax, 4), %eax; ret",
    )?;
    let refused = load_with(&loader(false), &object, &["test"], &Host::default());
    assert!(
        matches!(refused, Err(LoadError::OutOfLowReach { .. })),
        "{refused:?}"
    );
    Ok(())
}

/// What `source` in assembler is linked to.
fn prepare(source: &str) -> Result<Result<Image, LinkError>, Box<dyn Error>> {
    let object = compiled::assembly(source)?;
    match loader(false).prepare(&object, &["test"]) {
        Ok(image) => Ok(Ok(image)),
        Err(LoadError::Link(error)) => Ok(Err(error)),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn narrow_addresses_are_for_what_stays_as_it_is() -> Outcome {
    for field in [
        ".reloc ., R_X86_64_32, absent + 4",
        ".reloc ., R_X86_64_PC32, absent",
    ] {
        let source = format!(
            ".globl test; test: leaq field(%rip), %rax; ret; .data; field: {field}; .long 0"
        );
        let refused = prepare(&source)?;
        assert!(
            matches!(refused, Err(LinkError::DirectReference { .. })),
            "{field}: {refused:?}"
        );
    }
    Ok(())
}

#[test]
fn addresses_without_a_sign_are_not_below_zero() -> Outcome {
    let load = |addend: &str| {
        prepare(&format!(
            ".globl test; .weak absent
             test: pushq %rbx; cmpl $absent {addend}, %eax; popq %rbx; ret"
        ))
    };
    let refused = load("- 8")?;
    assert!(
        matches!(refused, Err(LinkError::DirectReference { .. })),
        "{refused:?}"
    );
    check(&load("+ 8")?.map_err(|error| error.to_string())?.bytes)?;
    // The base may be taken off what is already far below.
    let far = "test: leaq field(%rip), %rax; ret
        .section .rodata; field: .reloc ., R_X86_64_PC32, absent - 0x70000000; .long 0";
    let refused = prepare(&format!(".globl test; .weak absent; {far}"))?;
    assert!(
        matches!(refused, Err(LinkError::OutOfReach { .. })),
        "{refused:?}"
    );
    Ok(())
}

#[test]
fn the_highest_address_has_a_sign_that_is_positive() -> Outcome {
    let at = |offset: usize| {
        let source =
            format!(".globl test; test: movq $data + {offset}, %rax; ret; .data; data: .quad 1");
        prepare(&source)
    };
    let image = at(0)?.map_err(|error| error.to_string())?;
    let end = check(&image.bytes)?.data_size() + (1 << 20);
    assert!(at(end - 1)?.is_ok());
    assert!(matches!(at(end)?, Err(LinkError::OutOfReach { .. })));
    Ok(())
}

#[test]
fn a_function_has_one_address_in_an_image() -> Outcome {
    let source = "
        #include <stdio.h>
        int (*table[2])(const char *) = { puts, 0 };
        int (*volatile chosen)(const char *);
        __attribute__((noinline)) static int is(int (*function)(const char *)) { return function == puts; }
        long test(void) {
            chosen = puts;
            int i = chosen == 0;
            return is(table[i]) + 2 * is(puts) + 4 * is(chosen) + 8 * (chosen == table[i])
                + 16 * (table[i](\"\") >= 0);
        }";
    everywhere("c", source, &[], 31)?;
    // With code of both sorts in one image.
    let other = "#include <stdio.h>
        int (*other(void))(const char *) { return puts; }";
    let source = "#include <stdio.h>
        int (*other(void))(const char *);
        long test(void) { return other() == puts; }";
    for level in ["-O0", "-O2"] {
        let low = compile("gcc", "c", source, &[NO_PIC, &[level]].concat())?;
        let high = compiled::c(other, &[level])?;
        let loader = loader(false);
        let image = loader.prepare_objects(&[&low, &high], &["test"])?;
        // SAFETY: the image is of the sources above.
        let code = unsafe { loader.load(image.as_ref(), &Host::default()) }?;
        assert_eq!(function(&code, "test")?(), 1, "{level}");
    }
    Ok(())
}

/// Landing pads that are not counted from the function's beginning: their tables begin with where.
#[test]
fn tables_of_types_that_are_not_known_are_refused() -> Outcome {
    bring_cpp_library();
    let source = "
        #include <stdexcept>
        int fail(int);
        extern \"C\" long test() {
            try { return fail(1); } catch (const std::runtime_error &) { return 2; } catch (int n) { return n; }
        }
        __attribute__((noinline)) int fail(int n) { if (n) throw n; return 0; }";
    for compiler in compilers() {
        if !compiler.starts_with("clang") {
            continue;
        }
        let sections = &["-O2", "-fbasic-block-sections=all"];
        let object = compile(compiler, "cpp", source, &[NO_PIC, sections].concat())?;
        let refused = loader(false).prepare(&object, &["test"]);
        assert!(
            matches!(
                refused,
                Err(LoadError::Link(LinkError::UnsupportedSection { .. }))
            ),
            "{compiler}: {refused:?}"
        );
    }
    Ok(())
}
