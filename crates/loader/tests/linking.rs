//! What linkers do beside relocations: several objects, indirect functions, bounds of sections, old and
//! new arrays of functions, what is kept and dropped; and the code model whose distances are of 64 bits.

mod compiled;

use compiled::{
    Host, Outcome, assembly, bring_cpp_library, c, compile, compilers, function, load, load_with,
};
use rekindle_cache_core::artifact::{Code, Loader};
use rekindle_loader::{Code as Loaded, LinkError, LoadError, NativeLoader, Options};
use std::error::Error;
use std::process::Command;

fn load_all(objects: &[Vec<u8>], roots: &[&str]) -> Result<Loaded, LoadError> {
    let loader = NativeLoader::new();
    let objects: Vec<&[u8]> = objects.iter().map(Vec::as_slice).collect();
    let image = loader.prepare_objects(&objects, roots)?;
    // SAFETY: the image is of objects that a compiler made of a test's sources.
    unsafe { loader.load(image.as_ref(), &Host::default()) }
}

#[test]
fn objects_find_each_other_and_the_strong_wins() -> Outcome {
    let sources = [
        "long second(void); extern long data; long common[2] __attribute__((common));
         __attribute__((weak)) long chosen(void) { return 1000; }
         extern long nobody __attribute__((weak)); static long local(void) { return 1; }
         long test(void) { common[1] = 7; return second() + data + chosen() + local() + (&nobody != 0); }",
        "static long local(void) { return 2; } long common[9] __attribute__((common, aligned(64)));
         long second(void) { return local() + common[1] + ((long)common % 64 ? 1000 : 0); }",
        "long data = 20; long chosen(void) { return 12; }
         extern long hidden __attribute__((visibility(\"hidden\"))); long *p(void) { return &hidden; }",
        "long hidden = 1; __attribute__((weak)) long chosen(void) { return 2000; }",
    ];
    for compiler in compilers() {
        for flag in ["-O0", "-O2"] {
            let mut objects = Vec::new();
            for source in sources {
                objects.push(compile(compiler, "c", source, &["-fPIC", flag])?);
            }
            for turn in 0..objects.len() {
                objects.rotate_left(1);
                let code = load_all(&objects, &["test", "p"])
                    .map_err(|error| format!("{compiler} {flag} {turn}: {error}"))?;
                assert_eq!(function(&code, "test")?(), 42, "{compiler} {flag} {turn}");
            }
        }
    }
    Ok(())
}

#[test]
fn of_groups_with_one_signature_one_is_kept() -> Outcome {
    let header =
        "struct S { long n; S(long n) : n(n) {} virtual long get() { return n; } virtual ~S() {} };
        inline long count() { static long n = 0; return ++n; }
        template <class T> T twice(T t) { if (t < 0) throw t; return t + t; }";
    let sources = [
        format!("{header} extern \"C\" long other(); extern \"C\" long test() {{
            S s(twice(10)); long caught = 0; try {{ twice(-1); }} catch (int n) {{ caught = n; }}
            return s.get() + other() + count() + caught; }}"),
        format!("{header} extern \"C\" long other() {{
            S s(twice(10)); try {{ twice(-1); }} catch (int n) {{ return s.get() + count() + n + 1; }} return 0; }}"),
    ];
    bring_cpp_library();
    for flag in ["-O0", "-O2"] {
        let mut objects = Vec::new();
        for source in &sources {
            objects.push(compile("g++", "cpp", source, &["-fPIC", flag])?);
        }
        let code = load_all(&objects, &["test"])?;
        assert_eq!(function(&code, "test")?(), 20 + (20 + 1) + 2 - 1);
        objects.reverse();
        let code = load_all(&objects, &["test"])?;
        assert_eq!(function(&code, "test")?(), 42);
    }
    Ok(())
}

#[test]
fn indirect_functions() -> Outcome {
    let source = "
        static long first(long n) { return n + 1; }
        static long second(long n) { return n + 2; }
        static long which = 2; static long calls = 0;
        static long (*resolve(void))(long) { calls++; return which == 2 ? second : first; }
        long chosen(long) __attribute__((ifunc(\"resolve\")));
        static long (*resolve_local(void))(long) { return first; }
        static long local(long) __attribute__((ifunc(\"resolve_local\")));
        long (*table[])(long) = { chosen, local };
        static long before = 0;
        __attribute__((constructor)) static void start(void) { before = chosen(0); }
        long test(void) {
            long (*volatile pointer)(long) = chosen;
            if (pointer != table[0]) return -1;
            if (calls != 1) return -calls;
            return chosen(10) + table[0](10) + table[1](10) + local(3) + before + pointer(-3) - 2;
        }";
    for compiler in compilers() {
        for flags in [
            &["-O0"][..],
            &["-O2"],
            &["-O2", "-fno-plt"],
            &["-O2", "-mcmodel=large"],
        ] {
            let object = compile(compiler, "c", source, &[&["-fPIC"], flags].concat())?;
            for anonymous_memory in [false, true] {
                let mut options = Options::default();
                options.anonymous_memory = anonymous_memory;
                let loader = NativeLoader::with_options(options);
                let code = load_with(&loader, &object, &["test", "chosen"], &Host::default())
                    .map_err(|error| format!("{compiler} {flags:?}: {error}"))?;
                assert_eq!(
                    function(&code, "test")?(),
                    12 + 12 + 11 + 4 + 2 - 1 - 2 + 4 - 4,
                    "{compiler} {flags:?}"
                );
                let chosen = code.symbol("chosen").ok_or("it is a root")?;
                // SAFETY: that is its type.
                let chosen: extern "C" fn(i64) -> i64 = unsafe { std::mem::transmute(chosen) };
                assert_eq!(chosen(40), 42);
            }
        }
    }
    Ok(())
}

#[test]
fn functions_for_several_processors() -> Outcome {
    let source = "
        __attribute__((target_clones(\"avx2\", \"sse4.2\", \"default\"))) long sum(const int *p, int n) {
            long sum = 0; for (int i = 0; i < n; i++) sum += p[i]; return sum; }
        long test(void) { int a[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 6 }; return sum(a, 9); }";
    let code = load(&c(source, &["-O3"])?, &["test"])?;
    assert_eq!(function(&code, "test")?(), 42);
    Ok(())
}

#[test]
fn the_large_code_model() -> Outcome {
    let source = "
        #include <string.h>
        #include <stdlib.h>
        extern int absent __attribute__((weak));
        static long local = 1; long visible = 2; static long zeros[100]; const char text[] = \"abc\";
        static __attribute__((noinline)) long add(long a, long b) { return a + b; }
        __attribute__((noinline)) long twice(long a) { return add(a, a); }
        static long (*const table[])(long) = { twice };
        long test(void) {
            char *copy = malloc(10); strcpy(copy, text); long length = strlen(copy); free(copy);
            local++; zeros[7] += visible;
            return table[0](15) + local + zeros[7] + length + add(2, 3) + (&absent ? 100 : 0);
        }";
    for compiler in compilers() {
        for flags in [
            &["-O0"][..],
            &["-O2"],
            &["-O2", "-fno-plt"],
            &["-O1", "-fvisibility=hidden"],
        ] {
            for model in ["-mcmodel=large", "-mcmodel=medium"] {
                let flags = [&["-fPIC", model], flags].concat();
                let object = compile(compiler, "c", source, &flags)?;
                let code = load(&object, &["test"])
                    .map_err(|error| format!("{compiler} {flags:?}: {error}"))?;
                assert_eq!(function(&code, "test")?(), 42, "{compiler} {flags:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn bounds_of_sections() -> Outcome {
    let source = "
        #define IN __attribute__((section(\"numbers\"), used)) static
        IN long a = 10; IN long b = 20; long unrelated = 99; IN long c = 10;
        extern long __start_numbers[], __stop_numbers[];
        extern long __start_absent[] __attribute__((weak)), __stop_absent[] __attribute__((weak));
        long test(void) {
            long sum = 0, n = 0;
            for (long *p = __start_numbers; p < __stop_numbers; p++, n++) sum += *p;
            return sum + n + (__stop_absent - __start_absent) - SUBTRACT;
        }";
    for compiler in compilers() {
        for flags in [
            &["-O0"][..],
            &["-O2"],
            &["-O2", "-fdata-sections", "-fvisibility=hidden"],
        ] {
            let one = compile(
                compiler,
                "c",
                source,
                &[&["-fPIC", "-DSUBTRACT=1"], flags].concat(),
            )?;
            assert_eq!(function(&load(&one, &["test"])?, "test")?(), 42);
            // In two objects, with sections of others between them.
            let one = compile(
                compiler,
                "c",
                source,
                &[&["-fPIC", "-DSUBTRACT=22"], flags].concat(),
            )?;
            let more = c(
                "__attribute__((section(\"numbers\"), used)) static long d = 20; long more;",
                &[],
            )?;
            let code = load_all(&[one, more], &["test"])?;
            assert_eq!(function(&code, "test")?(), 42, "{compiler} {flags:?}");
        }
    }
    Ok(())
}

#[test]
fn old_and_new_initialisers_in_their_order() -> Outcome {
    let object = assembly(
        ".text
         .globl test
         test: movq log(%rip), %rax; ret
         .macro step n
         s\\n: imulq $10, log(%rip), %rax
            addq $\\n, %rax
            movq %rax, log(%rip)
            ret
         .endm
         step 1
         step 2
         step 3
         step 4
         step 5
         .bss
         log: .zero 8
         .section .ctors,\"aw\"
         .quad s5, s4
         .section .ctors.65435,\"aw\"
         .quad s2
         .section .init_array.00050,\"aw\",@init_array
         .quad s1
         .section .init_array.00200,\"aw\",@init_array
         .quad s3",
    )?;
    assert_eq!(function(&load(&object, &["test"])?, "test")?(), 12345);
    Ok(())
}

#[test]
fn an_image_says_what_was_kept_and_dropped() -> Outcome {
    let source = "static const char huge[100000] = { 1 }; const char *unused(void) { return huge; }
        static char zeros[1000]; char *test(void) { return zeros; }";
    let object = c(
        source,
        &["-O2", "-g", "-ffunction-sections", "-fdata-sections"],
    )?;
    let loader = NativeLoader::new();
    let sizes = |roots: &[&str]| -> Result<(usize, usize), Box<dyn Error>> {
        let image = loader.prepare(&object, roots)?;
        let description = rekindle_loader::check(&image.bytes)?;
        Ok((description.kept_size(), description.dropped_size()))
    };
    let (kept, dropped) = sizes(&["test"])?;
    assert!((1000..1200).contains(&kept), "{kept}");
    assert!((100_000..100_400).contains(&dropped), "{dropped}");
    let (all, nothing) = sizes(&["test", "unused"])?;
    assert_eq!(all + nothing, kept + dropped);
    assert!(nothing < 100, "{nothing}");
    Ok(())
}

#[test]
fn narrow_fields_and_sizes() -> Outcome {
    let source = ".text
        .globl test
        test:
            movq size(%rip), %rax           # 24
            movl short_size(%rip), %ecx     # 24
            addq %rcx, %rax
            movsbq near(%rip), %rcx         # -4
            addq %rcx, %rax
            movswq farther(%rip), %rcx      # -6
            addq %rcx, %rax
            movzbq byte(%rip), %rcx         # 4
            addq %rcx, %rax
            ret
        .section .rodata
        anchor: .zero 4
        near: .byte anchor - .
              .byte 0
        farther: .short anchor - .
        size: .quad object@SIZE
        short_size: .long object@SIZE
        byte: .byte absolute
        .globl absolute
        .set absolute, 4
        .data
        .globl object
        .type object, @object
        .size object, 24
        object: .zero 24";
    let code = load(&assembly(source)?, &["test"])?;
    assert_eq!(function(&code, "test")?(), 42);
    Ok(())
}

/// A fresh field for each kind of relocation that there may be, against all sorts of symbols: none may
/// end in a panic, and an error has a name for it.
#[test]
fn every_number_of_a_kind_is_linked_or_refused() -> Outcome {
    let source = ".text
        .globl test, global, inside, own
        test: nop
        global: nop; nop; nop
        .quad SYMBOL, 0
        .data
        inside: .quad 0
        .section .tdata,\"awT\",@progbits
        .type own, @object
        own: .quad 0
        .globl absolute
        .set absolute, 5
        .comm common, 8, 8
        .text
        .globl indirect
        .type indirect, @gnu_indirect_function
        indirect: ret
        ";
    let mut linked = 0;
    for symbol in [
        "outside",
        "global",
        "inside",
        "own",
        "absolute",
        "common",
        "indirect",
        "_GLOBAL_OFFSET_TABLE_",
        "__dso_handle",
        "_TLS_MODULE_BASE_",
        "__start_nothing",
    ] {
        let object = assembly(&source.replace("SYMBOL", symbol))?;
        // The record of the one relocation: its offset (4), then kind and symbol.
        let entry = object
            .windows(8)
            .position(|bytes| bytes == 4u64.to_le_bytes())
            .ok_or("the relocation")?;
        for kind in (0..300).chain([u32::MAX]) {
            let mut object = object.clone();
            let field = object.get_mut(entry + 8..entry + 12).ok_or("a kind")?;
            field.copy_from_slice(&kind.to_le_bytes());
            match NativeLoader::new().prepare(&object, &["test"]) {
                Ok(image) => {
                    rekindle_loader::check(&image.bytes)?;
                    linked += 1;
                }
                Err(LoadError::Link(LinkError::Malformed { what, .. })) => {
                    return Err(format!("{symbol} {kind}: {what}").into());
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(
                        error.contains(".text+0x4") && error.contains(symbol),
                        "{kind}: {error}"
                    );
                }
            }
        }
    }
    assert!(linked > 100, "{linked}");
    Ok(())
}

#[test]
fn emulated_thread_locals_of_every_compiler_that_has_them() -> Outcome {
    for compiler in ["clang", "clang-22", "clang-19", "clang-14"] {
        if Command::new(compiler).arg("--version").output().is_err() {
            continue;
        }
        let source = "static __thread long a = 40; __thread char z[100]; long test(void) { return ++a + ++z[50]; }";
        let object = compile(compiler, "c", source, &["-fPIC", "-O2", "-femulated-tls"])?;
        let test = function(&load(&object, &["test"])?, "test")?;
        for _ in 0..3 {
            let thread = std::thread::spawn(move || (test(), test()));
            assert_eq!(thread.join().map_err(|_| "it panicked")?, (42, 44));
        }
    }
    Ok(())
}

/// The time of linking follows the number of groups. Not measured here, but ten times the groups of a
/// chain would take a hundred times as long if it did not, which is a minute.
#[test]
fn chains_of_groups() -> Outcome {
    for count in [2_000, 20_000] {
        let mut source = String::from(".text\n.globl test\ntest: xorl %eax, %eax\n jmp f0@PLT\n");
        for n in 0..count {
            source += &format!(
                ".section .text.f{n},\"axG\",@progbits,f{n},comdat\n.weak f{n}\nf{n}:\n.cfi_startproc\n incl %eax\n"
            );
            source += &match n + 1 < count {
                true => format!(" jmp f{}@PLT\n.cfi_endproc\n", n + 1),
                false => " ret\n.cfi_endproc\n".to_owned(),
            };
        }
        let object = assembly(&source)?;
        assert_eq!(
            function(&load(&object, &["test"])?, "test")?() as i32,
            count
        );
    }
    Ok(())
}

#[test]
fn a_host_may_keep_the_process_out() -> Outcome {
    let source = "inline long shared = 1;
        extern \"C\" int getpid(); extern \"C\" long test() { return getpid() + shared; }";
    let object = compile("g++", "cpp", source, &["-fPIC", "-O0", "-std=c++17"])?;
    let mut options = Options::default();
    options.host_symbols_only = true;
    let loader = NativeLoader::with_options(options);
    let refused = load_with(&loader, &object, &["test"], &Host::default());
    let Err(LoadError::UnresolvedSymbol { symbol }) = refused else {
        return Err("the host has nothing".into());
    };
    assert_eq!(symbol, "getpid");
    let getpid = libc::getpid as *const () as u64;
    let host = Host([("getpid", getpid)].into());
    let code = load_with(&loader, &object, &["test"], &host)?;
    assert_eq!(code.process_imports().len(), 0);
    assert_eq!(
        function(&code, "test")?(),
        i64::from(std::process::id()) + 1
    );
    Ok(())
}
