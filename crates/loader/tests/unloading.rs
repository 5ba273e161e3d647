//! Code that is taken out of the process again: finalisers, unwind tables, memory.

mod compiled;

use compiled::{Host, Outcome, bring_cpp_library, c, compile, function, load_with};
use rekindle_cache_core::artifact::Loader;
use rekindle_loader::{Code, NativeLoader, Options, UnloadError};
use std::sync::Mutex;

/// The long counts are for soaking.
fn often(usual: usize, soaking: usize) -> usize {
    match std::env::var_os("REKINDLE_SOAK") {
        Some(_) => soaking,
        None => usual,
    }
}

static NOTES: Mutex<Vec<i32>> = Mutex::new(Vec::new());

extern "C" fn note(n: i32) {
    NOTES.lock().expect("nothing panics here").push(n);
}

#[test]
fn finalisers_run_in_reverse_and_once() -> Outcome {
    bring_cpp_library();
    let object = compile(
        "g++",
        "cpp",
        r#"
        #include <cstdlib>
        extern "C" void note(int n);
        struct Noted { int n; Noted(int n) : n(n) { note(n); } ~Noted() { note(-n); } };
        static Noted first(1), second(2);
        static void at_exit() { note(-4); }
        __attribute__((destructor(200))) static void early() { note(-20); }
        __attribute__((destructor(300))) static void late() { note(-30); }
        extern "C" long test() { static Noted lazy(3); std::atexit(at_exit); return lazy.n; }
        "#,
        &["-fPIC", "-O1"],
    )?;
    for anonymous in [false, true] {
        let mut options = Options::default();
        options.anonymous_memory = anonymous;
        let loader = NativeLoader::with_options(options);
        let host = Host([("note", note as *const () as u64)].into());
        let other = load_with(&loader, &object, &["test"], &host)?;
        let code = load_with(&loader, &object, &["test"], &host)?;
        assert_eq!(function(&code, "test")?(), 3);
        NOTES.lock().expect("nothing panics here").clear();
        // SAFETY: nothing of the code is used any more.
        unsafe { loader.unload(code) }?;
        let notes = std::mem::take(&mut *NOTES.lock().expect("nothing panics here"));
        assert_eq!(notes, [-4, -3, -2, -1, -30, -20]);
        // The other is untouched.
        assert_eq!(function(&other, "test")?(), 3);
        // SAFETY: nothing of the code is used any more.
        unsafe { loader.unload(other) }?;
    }
    Ok(())
}

#[test]
fn code_of_another_loader_is_refused() -> Outcome {
    let object = c("long test(void) { return 42; }", &["-O2"])?;
    let (one, other) = (NativeLoader::new(), NativeLoader::new());
    let code = load_with(&one, &object, &["test"], &Host::default())?;
    let test = function(&code, "test")?;
    // SAFETY: it is refused.
    let refused = unsafe { other.unload(code) };
    assert!(matches!(refused, Err(UnloadError::Elsewhere)));
    assert_eq!(test(), 42);
    assert_eq!(one.memory_statistics().unloaded, 0);
    Ok(())
}

fn throwing(n: usize) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    bring_cpp_library();
    let source = format!(
        "static long state = {n}; long pad[{n}];
         extern \"C\" __attribute__((noinline)) long raise() {{ pad[0]++; if (state >= 0) throw state; return 1; }}
         extern \"C\" long test() {{ try {{ return raise(); }} catch (long n) {{ return n + pad[0]++; }} }}"
    );
    compile("g++", "cpp", &source, &["-fPIC", "-O1"])
}

#[test]
fn memory_stays_flat_and_exceptions_are_caught_whatever_comes_and_goes() -> Outcome {
    let objects = [throwing(1)?, throwing(7)?, throwing(90)?];
    for anonymous in [false, true] {
        let mut options = Options::default();
        options.anonymous_memory = anonymous;
        let loader = NativeLoader::with_options(options);
        let images = objects
            .iter()
            .map(|object| loader.prepare(object, &["test"]))
            .collect::<Result<Vec<_>, _>>()?;
        let mut seed = 1u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        let mut live: Vec<(usize, Code)> = Vec::new();
        let mut most = 0;
        let rounds = often(10_000, 500_000);
        for round in 0..rounds {
            if live.len() > 300 {
                let (_, code) = live.swap_remove(random(live.len()));
                // SAFETY: nothing of the code is used any more.
                unsafe { loader.unload(code) }?;
            }
            let which = random(images.len());
            // SAFETY: the images are of the sources above.
            let code = unsafe { loader.load(images[which].as_ref(), &Host::default()) }?;
            // Data is fresh, whoever had the memory before.
            assert_eq!(function(&code, "test")?(), [1, 7, 90][which] + 1);
            live.push((which, code));
            if round == rounds / 2 {
                most = loader.memory_used();
            }
        }
        for (which, code) in &live {
            assert!(function(code, "test")?() > [1, 7, 90][*which]);
        }
        let found = loader.memory_statistics();
        assert!(
            found.used < most + most / 4 + (256 << 10),
            "{most} then {found:?}"
        );
        assert_eq!(found.windows, 1);
        assert_eq!((found.loaded - found.unloaded) as usize, live.len());
        assert!(found.loaded_into_used_memory > 0 && found.barriers > 0 && found.lost == 0);
        assert!(found.unwind_registrations < 60, "{found:?}");
    }
    Ok(())
}

#[test]
fn a_load_and_an_unload_again_and_again_take_the_same_memory() -> Outcome {
    let object = c("long n; long test(void) { return ++n; }", &["-O2"])?;
    let loader = NativeLoader::new();
    let image = loader.prepare(&object, &["test"])?;
    for _ in 0..often(10_000, 1_000_000) {
        // SAFETY: the image is of the source above.
        let code = unsafe { loader.load(image.as_ref(), &Host::default()) }?;
        assert_eq!(function(&code, "test")?(), 1);
        // SAFETY: nothing of the code is used any more.
        unsafe { loader.unload(code) }?;
    }
    let found = loader.memory_statistics();
    assert!(found.used <= 1 << 20, "{found:?}");
    assert_eq!((found.windows, found.loaded), (1, found.unloaded));
    Ok(())
}
