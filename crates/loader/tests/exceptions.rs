//! C++ in loaded code: exceptions, statics, type information, unwind tables that were edited.

mod compiled;

use compiled::{Host, Outcome, bring_cpp_library, compile, function, load_with};
use rekindle_cache_core::artifact::Loader;
use rekindle_loader::{NativeLoader, Options};
use std::error::Error;

fn cpp(source: &str, flags: &[&str]) -> Result<Vec<u8>, Box<dyn Error>> {
    bring_cpp_library();
    compile("g++", "cpp", source, &[&["-fPIC"], flags].concat())
}

const THROWING: &str = r#"
    #include <stdexcept>
    #include <string>
    struct Mine { int n; virtual ~Mine() {} };
    struct Derived : Mine { };
    static int destroyed = 0;
    struct Guard { ~Guard() { destroyed++; } };
    __attribute__((noinline)) static int raise(int n) {
        Guard guard;
        if (n == 1) throw std::runtime_error("thirty");
        if (n == 2) { Derived d; d.n = 10; throw d; }
        if (n == 3) throw 2;
        return n;
    }
    static int unused(int n) { Guard g; return raise(n); }
    int (*never_reached)(int) = unused;
    extern "C" long test() {
        long sum = 0;
        for (int i = 0; i < 4; i++) {
            try { sum += raise(i); }
            catch (const std::exception &e) { sum += std::string(e.what()) == "thirty" ? 30 : 0; }
            catch (const Mine &m) { sum += m.n; }
            catch (int n) { sum += n; }
        }
        return sum * 10 + destroyed;
    }
"#;

#[test]
fn exceptions_are_thrown_and_caught_inside() -> Outcome {
    for anonymous_memory in [false, true] {
        let mut options = Options::default();
        options.anonymous_memory = anonymous_memory;
        let loader = NativeLoader::with_options(options);
        for flags in [
            &["-O0"][..],
            &["-O2"],
            &["-O2", "-ffunction-sections", "-fdata-sections", "-fno-plt"],
        ] {
            let object = cpp(THROWING, flags)?;
            let code = load_with(&loader, &object, &["test"], &Host::default())?;
            assert_eq!(function(&code, "test")?(), 424, "{flags:?}");
        }
    }
    Ok(())
}

#[test]
fn exceptions_pass_from_one_image_through_the_host_to_another() -> Outcome {
    let loader = NativeLoader::new();
    let thrower = cpp("extern \"C\" long thrower() { throw 42L; }", &["-O2"])?;
    let thrower = load_with(&loader, &thrower, &["thrower"], &Host::default())?;
    // Between them: a function without anything to unwind, in an image of its own.
    let between = compile(
        "gcc",
        "c",
        "long thrower(void); long between(void) { return thrower() + 1; }",
        &["-fPIC", "-O2", "-fexceptions"],
    )?;
    let host = Host(
        [(
            "thrower",
            function(&thrower, "thrower")? as *const () as u64,
        )]
        .into(),
    );
    let between = load_with(&loader, &between, &["between"], &host)?;
    let catcher = cpp(
        "extern \"C\" long between();
         extern \"C\" long test() { try { return between(); } catch (long n) { return n; } }",
        &["-O2"],
    )?;
    let host = Host(
        [(
            "between",
            function(&between, "between")? as *const () as u64,
        )]
        .into(),
    );
    let catcher = load_with(&loader, &catcher, &["test"], &host)?;
    assert_eq!(function(&catcher, "test")?(), 42);
    Ok(())
}

#[test]
fn statics_with_constructors_and_destructors() -> Outcome {
    let object = cpp(
        r#"
        #include <map>
        #include <string>
        static std::map<std::string, long> numbers = { { "two", 2 }, { "forty", 40 } };
        static std::string &lazy() { static std::string text("forty"); return text; }
        extern "C" long test() { return numbers.at(lazy()) + numbers.at("two"); }
        "#,
        &["-O1"],
    )?;
    let code = load_with(&NativeLoader::new(), &object, &["test"], &Host::default())?;
    // Their destructors are registered with the process, through `__dso_handle`, and run at its end.
    assert_eq!(function(&code, "test")?(), 42);
    Ok(())
}

#[test]
fn type_information_and_virtual_calls() -> Outcome {
    let object = cpp(
        r#"
        struct Shape { virtual long area() const = 0; virtual ~Shape() {} };
        struct Square : Shape { long side; Square(long s) : side(s) {} long area() const override { return side * side; } };
        struct Line : Shape { long area() const override { return 0; } };
        __attribute__((noinline)) static long measure(const Shape &shape) {
            return shape.area() + (dynamic_cast<const Square *>(&shape) ? 6 : 0);
        }
        extern "C" long test() { return measure(Square(6)) + measure(Line()); }
        "#,
        &["-O0"],
    )?;
    let loader = NativeLoader::new();
    let image = loader.prepare(&object, &["test"])?;
    // Virtual tables and type information are written by relocations alone.
    assert_eq!(rekindle_loader::check(&image.bytes)?.data_size(), 0);
    let code = load_with(&loader, &object, &["test"], &Host::default())?;
    assert_eq!(function(&code, "test")?(), 42);
    Ok(())
}

#[test]
fn unwind_tables_of_dropped_functions_are_dropped() -> Outcome {
    let mut source = String::from("void outside(void);\n");
    for n in 0..50 {
        source += &format!("void unused{n}(void) {{ outside(); outside(); }}\n");
    }
    source += "long test(void) { return 42; }";
    let object = compile(
        "gcc",
        "c",
        &source,
        &["-fPIC", "-O2", "-ffunction-sections"],
    )?;
    let loader = NativeLoader::new();
    let image = loader.prepare(&object, &["test"])?;
    let description = rekindle_loader::check(&image.bytes)?;
    assert_eq!(description.imports().len(), 0);
    // One CIE and one FDE.
    assert!(description.payload_size() - description.text_size() < 100);
    Ok(())
}

#[test]
fn panics_pass_through_loaded_code_and_run_its_destructors() -> Outcome {
    extern "C-unwind" fn panics() -> i64 {
        // Without the message that a panic hook would print.
        std::panic::resume_unwind(Box::new("through"));
    }
    let object = cpp(
        r#"
        extern "C" long panics();
        static long destroyed = 0;
        struct Guard { ~Guard() { destroyed++; } };
        __attribute__((noinline)) static long inner() { Guard guard; return panics() + 1; }
        extern "C" long outer() { Guard guard; return inner() + 1; }
        extern "C" long count() { return destroyed; }
        "#,
        &["-O1"],
    )?;
    for anonymous_memory in [false, true] {
        let mut options = Options::default();
        options.anonymous_memory = anonymous_memory;
        let loader = NativeLoader::with_options(options);
        let host = Host([("panics", panics as *const () as u64)].into());
        let code = load_with(&loader, &object, &["outer", "count"], &host)?;
        let outer = function(&code, "outer")? as *const ();
        // SAFETY: the function's type is the same, but that it may unwind.
        let outer =
            unsafe { std::mem::transmute::<*const (), extern "C-unwind" fn() -> i64>(outer) };
        let caught = std::panic::catch_unwind(|| outer());
        let payload = caught.err().ok_or("it should have panicked")?;
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"through"));
        assert_eq!(function(&code, "count")?(), 2);
    }
    Ok(())
}

#[test]
fn what_an_initialiser_throws_goes_on_to_whoever_loads() -> Outcome {
    extern "C-unwind" fn panics() -> i64 {
        std::panic::resume_unwind(Box::new("early"));
    }
    let object = cpp(
        r#"
        extern "C" long panics();
        static long first = panics();
        extern "C" long test() { return first; }
        "#,
        &["-O1"],
    )?;
    let calm = cpp("extern \"C\" long test() { return 42; }", &["-O1"])?;
    let loader = NativeLoader::new();
    let host = Host([("panics", panics as *const () as u64)].into());
    for _ in 0..3 {
        let loading =
            std::panic::AssertUnwindSafe(|| load_with(&loader, &object, &["test"], &host));
        let payload = std::panic::catch_unwind(loading).err();
        let payload = payload.ok_or("it should have panicked")?;
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"early"));
        let code = load_with(&loader, &calm, &["test"], &host)?;
        assert_eq!(function(&code, "test")?(), 42);
    }
    Ok(())
}

#[test]
fn exceptions_out_of_loaded_code_unwind_the_host() -> Outcome {
    struct Guard<'a>(&'a std::cell::Cell<u32>);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    thread_local! {
        static DROPPED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
        static THROWER: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }
    /// The host between two images: an exception passes, and its destructors run.
    extern "C-unwind" fn between() -> i64 {
        DROPPED.with(|dropped| {
            let _guard = Guard(dropped);
            // SAFETY: the address is of a function of this type.
            let thrower = unsafe {
                std::mem::transmute::<usize, extern "C-unwind" fn() -> i64>(THROWER.get())
            };
            thrower() + 1
        })
    }
    let loader = NativeLoader::new();
    let object = cpp("extern \"C\" long thrower() { throw 42L; }", &["-O2"])?;
    let thrower = load_with(&loader, &object, &["thrower"], &Host::default())?;
    THROWER.set(function(&thrower, "thrower")? as *const () as usize);
    let object = cpp(
        "extern \"C\" long between();
         extern \"C\" long test() { try { return between(); } catch (long n) { return n; } }",
        &["-O2"],
    )?;
    let host = Host([("between", between as *const () as u64)].into());
    let catcher = load_with(&loader, &object, &["test"], &host)?;
    assert_eq!(function(&catcher, "test")?(), 42);
    assert_eq!(DROPPED.get(), 1);
    Ok(())
}
