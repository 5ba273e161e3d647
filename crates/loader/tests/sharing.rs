//! What C++ wants once per process is there once, across images and the host.

mod compiled;

use compiled::{Host, Outcome, bring, bring_cpp_library, compile, function, load_with};
use rekindle_loader::NativeLoader;
use std::error::Error;
use std::ffi::CString;
use std::process::Command;

fn compilers() -> Vec<&'static str> {
    let there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    ["g++", "clang++", "clang++-22"]
        .into_iter()
        .filter(there)
        .collect()
}

/// Loads a shared library of C++ into the process, visible to all.
fn library(source: &str) -> Outcome {
    let folder = tempfile::tempdir()?;
    let (file, library) = (
        folder.path().join("host.cpp"),
        folder.path().join("libhost.so"),
    );
    std::fs::write(&file, source)?;
    let mut command = Command::new("g++");
    let made = command
        .args(["-shared", "-fPIC", "-O1"])
        .arg(&file)
        .arg("-o")
        .arg(&library);
    assert!(made.status()?.success());
    let path = CString::new(library.to_string_lossy().as_bytes())?;
    bring(&path);
    Ok(())
}

fn cpp(compiler: &str, source: &str, flags: &[&str]) -> Result<Vec<u8>, Box<dyn Error>> {
    compile(
        compiler,
        "cpp",
        source,
        &[&["-fPIC", "-std=c++17"], flags].concat(),
    )
}

const HEADER: &str = r#"
    extern "C" int puts(const char *);
    struct Base { long n; virtual ~Base() {} virtual long get() const { return n; } };
    struct Derived : Base { long get() const override { return n + 1; } };
    struct Constructed { long n; Constructed() : n(0) { n += 10; } };
    inline long inline_variable = 1;
    inline Constructed inline_constructed;
    inline long &function_static() { static Constructed once; return once.n; }
    template <class T> struct Holder { static long held; };
    template <class T> long Holder<T>::held = 5;
    inline long *addresses(int n) {
        switch (n) {
        case 0: return &inline_variable;
        case 1: return &inline_constructed.n;
        case 2: return &function_static();
        default: return &Holder<int>::held;
        }
    }
"#;

#[test]
fn variables_of_headers() -> Outcome {
    bring_cpp_library();
    for compiler in compilers() {
        for flags in [&["-O0"][..], &["-O2"], &["-O2", "-fdata-sections"]] {
            let source = format!(
                "{HEADER} extern \"C\" long address(int n) {{ return (long)addresses(n); }}
                extern \"C\" long zero() {{ return address(0); }}
                extern \"C\" long one() {{ return address(1); }}
                extern \"C\" long two() {{ ++function_static(); return address(2); }}
                extern \"C\" long three() {{ return address(3); }}"
            );
            let roots = ["zero", "one", "two", "three"];
            let object = cpp(compiler, &source, flags)?;
            // Another unit with the same header.
            let source =
                format!("static long unrelated[9] = {{ 1 }}; long *p = unrelated; {source}");
            let other = cpp(compiler, &source, flags)?;
            let loader = NativeLoader::new();
            let first = load_with(&loader, &object, &roots, &Host::default())?;
            assert_eq!(loader.sharing_statistics().shared, 0);
            let canonical = loader.sharing_statistics().canonical;
            assert!(canonical >= 4, "{canonical}");
            let second = load_with(&loader, &other, &roots, &Host::default())?;
            for root in roots {
                let (a, b) = (function(&first, root)?(), function(&second, root)?());
                assert_eq!(a, b, "{compiler} {flags:?} {root}");
            }
            // Constructed once, and counted by both.
            let counted = function(&second, "two")?() as *const i64;
            // SAFETY: it is the address of the static.
            assert_eq!(unsafe { counted.read() }, 13);
            let statistics = loader.sharing_statistics();
            assert_eq!((statistics.canonical, statistics.private), (canonical, 0));
            assert!(statistics.shared >= 4);

            // Another loader has its own.
            let apart = load_with(&NativeLoader::new(), &other, &roots, &Host::default())?;
            assert_ne!(function(&apart, "zero")?(), function(&first, "zero")?());
        }
    }
    Ok(())
}

#[test]
fn hidden_and_different_ones_are_private() -> Outcome {
    let loader = NativeLoader::new();
    let load = |source: &str, flags: &[&str]| -> Result<i64, Box<dyn Error>> {
        let object = cpp("g++", source, flags)?;
        let code = load_with(&loader, &object, &["test"], &Host::default())?;
        Ok(function(&code, "test")?())
    };
    let source = "inline long shared = 1; extern \"C\" long test() { return (long)&shared; }";
    let first = load(source, &["-O2"])?;
    assert_eq!(load(source, &["-O0"])?, first);
    let differing = [
        source.replace("= 1", "= 2"),
        source.replace("inline long", "inline int"),
    ];
    for (count, source) in (1..).zip(differing) {
        assert_ne!(load(&source, &["-O2"])?, first);
        assert_eq!(loader.sharing_statistics().private, count);
    }
    let hidden = load(source, &["-O2", "-fvisibility=hidden"])?;
    assert_ne!(hidden, first);
    assert_ne!(load(source, &["-O2", "-fvisibility=hidden"])?, hidden);

    // A static that differs keeps its own guard, or it would never be constructed.
    let source = "struct S { long n; S() : n(42) {} };
        inline long &get() { static S s; return s.n; } extern \"C\" long test() { return get(); }";
    assert_eq!(load(source, &["-O1"])?, 42);
    let larger = source.replace("struct S { long n;", "struct S { long n, m = 1;");
    assert_eq!(load(&larger, &["-O1"])?, 42);
    Ok(())
}

#[test]
fn a_class_that_is_defined_again_runs_its_own_functions() -> Outcome {
    bring_cpp_library();
    let loader = NativeLoader::new();
    let source = "struct Shape { virtual long area() { return 1; } virtual ~Shape() {} };
        extern \"C\" Shape *make() { return new Shape; }
        extern \"C\" long test() { return make()->area(); }";
    for (source, expected) in [
        (source.to_owned(), 1),
        (source.replace("return 1", "return 2"), 2),
    ] {
        let object = cpp("g++", &source, &["-O0"])?;
        let code = load_with(&loader, &object, &["test"], &Host::default())?;
        assert_eq!(function(&code, "test")?(), expected);
    }
    Ok(())
}

#[test]
fn casts_and_catches_across_images_and_the_host() -> Outcome {
    bring_cpp_library();
    // Names of their own, as the library stays visible to the other tests.
    let header = format!("namespace hosted {{ {HEADER} }} using namespace hosted;");
    library(&format!("{header} extern \"C\" Base *host_make() {{ Base *b = new Derived; b->n = 40; inline_variable = 77; return b; }}
        extern \"C\" void host_throw() {{ Derived d; d.n = 7; throw d; }}
        extern \"C\" long *host_address(int n) {{ return addresses(n); }}
        extern \"C\" long host_catch(void (*f)()) {{ try {{ f(); }} catch (Base &b) {{ return b.get(); }} return 0; }}"))?;
    for compiler in compilers() {
        let loader = NativeLoader::new();
        let image = cpp(compiler, &format!("{header}
            extern \"C\" Base *host_make(); extern \"C\" void host_throw(); extern \"C\" long *host_address(int);
            extern \"C\" long host_catch(void (*)());
            extern \"C\" void thrower() {{ Derived d; d.n = 9; throw d; }}
            extern \"C\" long test() {{
                Derived *d = dynamic_cast<Derived *>(host_make());
                long sum = d ? d->get() : -1000;                               /* 41 */
                try {{ host_throw(); }} catch (Base &b) {{ sum += b.get(); }}   /* 8 */
                sum += host_catch(thrower);                                     /* 10 */
                for (int n = 0; n < 4; n++) if (host_address(n) != addresses(n)) sum += 1000 << n;
                return sum + inline_variable;
            }}"), &["-O1"])?;
        let code = load_with(&loader, &image, &["test", "thrower"], &Host::default())?;
        assert_eq!(function(&code, "test")?(), 41 + 8 + 10 + 77, "{compiler}");
        let thrower = function(&code, "thrower")? as *const () as u64;
        let second = cpp(compiler, &format!("{header} extern \"C\" void thrower();
            extern \"C\" long test() {{ try {{ thrower(); }} catch (Base &b) {{ return b.get(); }} return 0; }}"), &["-O1"])?;
        let host = Host([("thrower", thrower)].into());
        let second = load_with(&loader, &second, &["test"], &host)?;
        assert_eq!(function(&second, "test")?(), 10);
    }
    Ok(())
}
