//! C programs, compiled here in every way that should not matter, do what C says.

mod compiled;

use compiled::{Host, Outcome, c, compilers, function, load, load_with};
use rekindle_cache_core::artifact::{Code, Loader};
use rekindle_loader::{LoadError, NativeLoader, Options};
use std::error::Error;

/// Compiles `source` with every compiler, at both ends of optimisation, with and without stubs and
/// sections of their own, and calls `test`, which has to return `expected`.
fn everywhere(source: &str, expected: i64) -> Outcome {
    for compiler in compilers() {
        for optimisation in ["-O0", "-O2"] {
            for extra in [
                &[][..],
                &["-fno-plt"],
                &["-ffunction-sections", "-fdata-sections"],
                &[
                    "-g",
                    "-fno-asynchronous-unwind-tables",
                    "-fvisibility=hidden",
                ],
            ] {
                let flags = [&["-fPIC", optimisation], extra].concat();
                let object = compiled::compile(compiler, "c", source, &flags)?;
                for anonymous_memory in [false, true] {
                    let mut options = Options::default();
                    options.anonymous_memory = anonymous_memory;
                    let loader = NativeLoader::with_options(options);
                    let code = load_with(&loader, &object, &["test"], &Host::default())
                        .map_err(|error| format!("{compiler} {flags:?}: {error}"))?;
                    let found = function(&code, "test")?();
                    assert_eq!(found, expected, "{compiler} {flags:?} {anonymous_memory}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn calls_within_the_object() -> Outcome {
    everywhere(
        "static __attribute__((noinline)) long add(long a, long b) { return a + b; }
         __attribute__((noinline)) long twice(long a) { return add(a, a); }
         long test(void) { return twice(20) + add(1, 1); }",
        42,
    )
}

#[test]
fn data_bss_common_and_constants() -> Outcome {
    everywhere(
        "static long counter = 30;
         long visible = 5;
         static long zeros[100];
         long common[64] __attribute__((common, aligned(64)));
         const char text[] = \"abcdef\";
         static const long table[] = { 1, 2, 3 };
         static long *pointer = &visible;
         long *past_the_end = &table[3] - 1;
         long test(void) {
             for (int i = 0; i < 100; i++) if (zeros[i]) return -1;
             if ((long)common % 64) return -2;
             counter += *pointer;            /* 35 */
             zeros[99] = 1; common[63] = 2;
             return counter + zeros[99] + common[63] + (text[3] - 'a') + *past_the_end - 2;
         }",
        42,
    )
}

#[test]
fn every_load_has_data_of_its_own() -> Outcome {
    let source = "static long n = 40; long test(void) { return ++n; }";
    let object = c(source, &["-O2"])?;
    let loader = NativeLoader::new();
    let image = loader.prepare(&object, &["test"])?;
    let mut functions = Vec::new();
    for _ in 0..50 {
        // SAFETY: the image is of the source above.
        let code = unsafe { loader.load(image.as_ref(), &Host::default()) }?;
        assert_eq!(code.data().len(), 8);
        assert_eq!(code.size(), code.payload().len() + 8);
        functions.push(function(&code, "test")?);
    }
    for test in &functions {
        assert_eq!((test(), test()), (41, 42));
    }
    Ok(())
}

#[test]
fn tables_of_functions_and_jump_tables() -> Outcome {
    everywhere(
        "static long one(void) { return 1; }
         static long two(void) { return 2; }
         long three(void) { return 3; }
         static long (*const fixed[])(void) = { one, two, three };
         static long (*mutable[])(void) = { three, two, one };
         static const char *const names[] = { \"x\", \"yy\", \"zzz\" };
         __attribute__((noinline)) long pick(int n) {
             switch (n) {
             case 0: return fixed[2]() * 7;
             case 1: return mutable[1]();
             case 2: return 10 + names[2][0];
             case 3: return 11;
             case 4: return n * 3;
             case 5: return 13 - n;
             case 6: return 99;
             default: return 0;
             }
         }
         long test(void) {
             long sum = 0;
             for (int i = 0; i < 8; i++) sum += pick(i);
             return sum;
         }",
        21 + 2 + (10 + i64::from(b'z')) + 11 + 12 + 8 + 99,
    )
}

#[test]
fn calls_to_the_c_library() -> Outcome {
    everywhere(
        "typedef unsigned long size_t;
         size_t strlen(const char *);
         int snprintf(char *, size_t, const char *, ...);
         void qsort(void *, size_t, size_t, int (*)(const void *, const void *));
         void *malloc(size_t); void free(void *);
         extern char **environ;
         static int compare(const void *a, const void *b) {
             return *(const int *)a - *(const int *)b;
         }
         static int (*volatile by_pointer)(const void *, const void *) = compare;
         size_t (*volatile length)(const char *) = strlen;
         long test(void) {
             int numbers[] = { 9, 3, 7, 1 };
             qsort(numbers, 4, sizeof *numbers, by_pointer);
             char *text = malloc(32);
             snprintf(text, 32, \"%d%d%d%d:%s\", numbers[0], numbers[1], numbers[2], numbers[3],
                      environ ? \"yes\" : \"no\");
             long result = length(text) * 100 + (text[0] == '1') * 10 + (text[3] == '9');
             free(text);
             return result;
         }",
        811,
    )
}

#[test]
fn tail_calls_and_addresses_of_what_is_in_the_object() -> Outcome {
    everywhere(
        "long value = 40;
         __attribute__((noinline)) long target(long a) { return a + value; }
         __attribute__((noinline)) long tail(long a) { return target(a + 1); }
         long (*address(void))(long) { return target; }
         long *where(void) { return &value; }
         long test(void) {
             long (*volatile by_address)(long) = address();
             if (by_address != target || *where() != 40) return -1;
             return by_address(tail(1) - 40);
         }",
        42,
    )
}

#[test]
fn weak_symbols() -> Outcome {
    everywhere(
        "extern long nowhere(void) __attribute__((weak));
         extern long nowhere_data __attribute__((weak));
         __attribute__((weak)) long here(void) { return 40; }
         long test(void) {
             if (nowhere) return nowhere();
             return here() + (&nowhere_data == 0) * 2;
         }",
        42,
    )
}

#[test]
fn alignment_of_data_is_kept() -> Outcome {
    everywhere(
        "static const char a[3] __attribute__((aligned(4096))) = \"ab\";
         static char b[3] __attribute__((aligned(256))) = \"cd\";
         static char c[70000] __attribute__((aligned(128)));
         const char *volatile x = a; char *volatile y = b; char *volatile z = c;
         long test(void) {
             z[69999] = 1;
             return (long)x % 4096 + (long)y % 256 + (long)z % 128 + x[0] + y[1];
         }",
        i64::from(b'a') + i64::from(b'd'),
    )
}

#[test]
fn initialisers_run_in_the_order_of_their_priorities() -> Outcome {
    everywhere(
        "static long log;
         __attribute__((constructor)) static void last(void) { log = log * 10 + 4; }
         __attribute__((constructor(300))) static void third(void) { log = log * 10 + 3; }
         __attribute__((constructor(101))) static void first(void) { log = log * 10 + 1; }
         __attribute__((constructor(200))) static void second(void) { log = log * 10 + 2; }
         __attribute__((destructor)) static void never(void) { log = 0; }
         long test(void) { return log; }",
        1234,
    )
}

#[test]
fn a_host_gives_functions_data_and_plain_words() -> Outcome {
    extern "C" fn host_add(a: i64, b: i64) -> i64 {
        a + b
    }
    static HOST_NUMBER: i64 = 7;
    let source = "long host_add(long, long);
        extern const long host_number;
        extern char host_word[];
        long strlen(const char *);
        long test(void) { return host_add(host_number, (long)host_word) + strlen(\"x\"); }";
    for flags in [&["-O0"][..], &["-O2"], &["-O2", "-fno-plt"]] {
        let object = c(source, flags)?;
        let host = Host(
            [
                ("host_add", host_add as *const () as u64),
                ("host_number", (&raw const HOST_NUMBER) as u64),
                // Not an address at all.
                ("host_word", u64::MAX - 5),
            ]
            .into(),
        );
        let code = load_with(&NativeLoader::new(), &object, &["test"], &host)?;
        assert_eq!(function(&code, "test")?(), 7 - 6 + 1);

        // What the host knows does not come from the process; strlen may, unless gcc computes it.
        let mut from_process = code.process_imports().map(|import| import.name());
        assert!(from_process.all(|name| name == "strlen"));
    }
    Ok(())
}

#[test]
fn what_the_process_gave_is_told_with_its_module() -> Outcome {
    let object = c(
        "int puts(const char *); int host(void); long test(void) { return puts(\"\") + host(); }",
        &["-O2"],
    )?;
    let host = Host([("host", 1)].into());
    let code = load_with(&NativeLoader::new(), &object, &["test"], &host)?;
    let imports: Vec<_> = code.process_imports().collect();
    let [puts] = imports.as_slice() else {
        return Err(format!("{imports:?}").into());
    };
    assert_eq!(puts.name(), "puts");
    let module = puts.module().ok_or("puts is in a module")?;
    assert!(module.path().to_string_lossy().contains("libc"));
    Ok(())
}

#[test]
fn an_unknown_symbol_is_named_and_costs_nothing() -> Outcome {
    let object = c(
        "long nobody_has_this(void); static long data[1000]; 
         long test(void) { data[0] = 1; return nobody_has_this(); }",
        &["-O2"],
    )?;
    let loader = NativeLoader::new();
    let refused = load_with(&loader, &object, &["test"], &Host::default());
    let Err(LoadError::UnresolvedSymbol { symbol }) = refused else {
        return Err("the symbol does not exist".into());
    };
    assert_eq!(symbol, "nobody_has_this");
    assert_eq!(loader.memory_used(), 0);
    Ok(())
}

#[test]
fn only_what_the_roots_reach_is_kept() -> Outcome {
    let source = "long nobody_has_this(void);
        static const char huge[100000] = { 1 };
        const char *unused(void) { return huge + nobody_has_this(); }
        static __attribute__((noinline)) long used(void) { return 42; }
        long test(void) { return used(); }
        long other(void) { return 1; }";
    let object = c(source, &["-O2", "-ffunction-sections", "-fdata-sections"])?;
    let loader = NativeLoader::new();
    let small = loader.prepare(&object, &["test"])?;
    assert!(small.bytes.len() < 1000, "{}", small.bytes.len());
    let description = rekindle_loader::check(&small.bytes)?;
    assert_eq!(description.imports().len(), 0);
    assert_eq!(description.exports().collect::<Vec<_>>(), ["test"]);

    let both = loader.prepare(&object, &["other", "test"])?;
    // SAFETY: the image is of the source above.
    let code = unsafe { loader.load(both.as_ref(), &Host::default()) }?;
    assert_eq!(function(&code, "test")?() + function(&code, "other")?(), 43);
    assert!(code.symbol("used").is_none(), "only roots are exported");
    assert!(code.text().contains(&(function(&code, "test")? as usize)));

    let all = loader.prepare(&object, &["unused"])?;
    assert!(all.bytes.len() > 100_000);
    Ok(())
}

#[test]
fn preparing_gives_the_same_bytes_every_time() -> Outcome {
    let source = "#include <stdio.h>
        #include <stdlib.h>
        static int n = 3; int *p = &n;
        int test(void) { char *a = malloc(9); puts(a); printf(\"%d\", *p); free(a); return rand(); }";
    let object = c(source, &["-O2"])?;
    let image = NativeLoader::new().prepare(&object, &["test"])?;
    // At another alignment of the input, too.
    let shifted = [&[0], object.as_slice()].concat();
    let again = NativeLoader::new().prepare(shifted.get(1..).unwrap_or_default(), &["test"])?;
    assert_eq!(image, again);
    Ok(())
}

#[test]
fn an_image_without_writable_data_says_so() -> Outcome {
    // Pointers that only relocations write are no writable data.
    let source = "int puts(const char *);
        static int (*const table[])(const char *) = { puts };
        int test(int n) { return table[n](\"\"); }";
    let object = c(source, &["-O0"])?;
    let image = NativeLoader::new().prepare(&object, &["test"])?;
    assert_eq!(rekindle_loader::check(&image.bytes)?.data_size(), 0);
    let code = load(&object, &["test"])?;
    assert!(code.data().is_empty());
    Ok(())
}

#[test]
fn many_threads_load_and_run_at_once() -> Outcome {
    let source = "static long n = 1; long seven(void);
        long test(void) { for (int i = 0; i < 41; i++) n++; return n + seven() - 7; }";
    extern "C" fn seven() -> i64 {
        7
    }
    let object = c(source, &["-O1"])?;
    let loader = NativeLoader::new();
    let image = loader.prepare(&object, &["test"])?;
    std::thread::scope(|scope| {
        let run = || -> Result<(), String> {
            let host = Host([("seven", seven as *const () as u64)].into());
            for _ in 0..500 {
                // SAFETY: the image is of the source above.
                let code = unsafe { loader.load(image.as_ref(), &host) };
                let code = code.map_err(|error| error.to_string())?;
                let found = function(&code, "test").map_err(|error| error.to_string())?();
                assert_eq!(found, 42);
            }
            Ok(())
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })
    .map_err(|error: String| -> Box<dyn Error> { error.into() })
}

#[test]
fn a_host_may_load_while_it_is_asked_for_a_symbol() -> Outcome {
    struct Lazy<'a> {
        loader: &'a NativeLoader,
        object: Vec<u8>,
    }
    impl rekindle_cache_core::artifact::Symbols for Lazy<'_> {
        fn address(&self, _hash: u64, name: &str) -> Option<u64> {
            let code = load_with(self.loader, &self.object, &[name], &Host::default()).ok()?;
            Some(code.symbol(name)? as u64)
        }
    }
    let loader = NativeLoader::new();
    let lazy = Lazy {
        loader: &loader,
        object: c(
            "static long n = 41; long inner(void) { return n; }",
            &["-O2"],
        )?,
    };
    let outer = c(
        "static long m = 1; long inner(void); long test(void) { return inner() + m; }",
        &["-O2"],
    )?;
    let code = load_with(&loader, &outer, &["test"], &lazy)?;
    assert_eq!(function(&code, "test")?(), 42);
    Ok(())
}
