//! Frames are found for every function of every image, and throwing stays cheap.
//!
//! A program of its own, as unwind tables are the whole process's.

mod compiled;

use compiled::{Host, Outcome, bring_cpp_library, compile};
use rekindle_cache_core::artifact::{Code as _, Image, Loader};
use rekindle_loader::{Code, NativeLoader, Options};
use std::error::Error;
use std::ffi::c_void;

unsafe extern "C" {
    /// The unwinder's own way to find the table of an address.
    fn _Unwind_Find_FDE(code: *const c_void, bases: *mut [usize; 3]) -> *const c_void;
}

/// The first address of the function that the unwinder finds at `address`.
fn function_at(address: usize) -> Option<usize> {
    let mut bases = [0; 3];
    // SAFETY: any address may be asked for, and the three bases have their place.
    let found = unsafe { _Unwind_Find_FDE(address as *const c_void, &raw mut bases) };
    (!found.is_null()).then_some(bases[2])
}

const FUNCTIONS: [&str; 4] = ["test", "raise", "second", "third"];

fn image(loader: &NativeLoader) -> Result<Image, Box<dyn Error>> {
    bring_cpp_library();
    let object = compile(
        "g++",
        "cpp",
        r#"
        extern "C" __attribute__((noinline)) long raise(long n) { if (n >= 0) throw n; return 1; }
        extern "C" long second(long n) { return raise(n) * 2; }
        extern "C" long third(long n) { return raise(n) * 3; }
        extern "C" long test() { try { return raise(42); } catch (long n) { return n; } }
        "#,
        &["-fPIC", "-O1"],
    )?;
    Ok(loader.prepare(&object, &FUNCTIONS)?)
}

fn load(loader: &NativeLoader, image: &Image) -> Result<Code, Box<dyn Error>> {
    // SAFETY: the image is of the source above.
    Ok(unsafe { loader.load(image.as_ref(), &Host::default()) }?)
}

fn check(codes: &[Code]) -> Outcome {
    for code in codes {
        for name in FUNCTIONS {
            let start = code.symbol(name).ok_or("it is a root")? as usize;
            assert_eq!(function_at(start), Some(start));
            assert_eq!(function_at(start + 1), Some(start));
        }
        assert_eq!(compiled::function(code, "test")?(), 42);
    }
    Ok(())
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

#[test]
fn every_function_is_found_whatever_was_loaded_and_unloaded_before() -> Outcome {
    for anonymous_memory in [false, true] {
        let mut options = Options::default();
        options.anonymous_memory = anonymous_memory;
        let loaders = [
            NativeLoader::with_options(options),
            NativeLoader::with_options(options),
        ];
        let image = image(&loaders[0])?;
        let mut codes = [Vec::new(), Vec::new()];
        let mut numbers = Numbers(if anonymous_memory { 5 } else { 7 });
        for step in 0..4000 {
            let which = numbers.below(2);
            codes[which].push(load(&loaders[which], &image)?);
            if numbers.below(3) == 0 {
                let code = numbers.below(codes[which].len());
                let code = codes[which].swap_remove(code);
                // SAFETY: nothing of the code is used any more.
                unsafe { loaders[which].unload(code) }?;
            }
            if step % 500 == 0 {
                check(&codes[0])?;
                check(&codes[1])?;
            }
        }
        check(&codes[0])?;
        check(&codes[1])?;
        let found = loaders[0].memory_statistics();
        assert!(found.unwind_tables >= codes[0].len());
        assert!(found.unwind_registrations < 60, "{found:?}");
    }
    Ok(())
}

#[test]
fn every_function_is_found_while_other_threads_load_and_throw() -> Outcome {
    let loader = NativeLoader::new();
    let image = image(&loader)?;
    let loaded = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| -> Result<Vec<Code>, String> {
                    let mut codes = Vec::new();
                    for _ in 0..1500 {
                        let code = load(&loader, &image).map_err(|error| error.to_string())?;
                        // It throws while the others register, merge and sort.
                        let test = compiled::function(&code, "test");
                        assert_eq!(test.map_err(|error| error.to_string())?(), 42);
                        codes.push(code);
                    }
                    Ok(codes)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.collect::<Result<Vec<_>, _>>()
    });
    let loaded = loaded.map_err(|_| "a thread panicked")?;
    let mut count = 0;
    for codes in loaded {
        let codes = codes?;
        check(&codes)?;
        count += codes.len();
    }
    let found = loader.memory_statistics();
    assert_eq!(found.unwind_tables, count);
    assert!(found.unwind_registrations < 60, "{found:?}");
    Ok(())
}

#[test]
fn code_that_outlives_its_loader_is_still_found() -> Outcome {
    let loader = NativeLoader::new();
    let image = image(&loader)?;
    let codes = (0..100)
        .map(|_| load(&loader, &image))
        .collect::<Result<Vec<_>, _>>()?;
    drop(loader);
    // Memory that the loader has freed is used by others.
    let others: Vec<Vec<usize>> = (0..100).map(|n| vec![usize::MAX; n * 3]).collect();
    check(&codes)?;
    assert_eq!(others.len(), 100);
    Ok(())
}
