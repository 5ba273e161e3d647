//! Eight threads that load, run, throw in and unload code at once, for a while.
//!
//! Ten seconds as a rule, a minute with `REKINDLE_SOAK`. A program of its own, as it counts mappings.

mod compiled;
#[path = "programs/random.rs"]
mod random;

use compiled::{Host, Outcome, bring_cpp_library, c, compile, function};
use random::Random;
use rekindle_cache_core::artifact::{Image, Loader};
use rekindle_loader::{Code, NativeLoader, Options, UnloadError};
use std::error::Error;
use std::time::{Duration, Instant};

const THREADS: u64 = 8;

/// How many images a thread has at a time.
const LIVE: usize = 200;

/// An image whose function returns 42 when it is called for the first time.
struct Work {
    image: Image,
    /// Others may share what it has.
    stays: bool,
}

fn all_work(loader: &NativeLoader) -> Result<Vec<Work>, Box<dyn Error>> {
    bring_cpp_library();
    let throwing = r#"
        static long state = 40, pad[30];
        __attribute__((noinline)) static long raise() { pad[3]++; throw state + pad[3]; }
        extern "C" long test() { try { return raise(); } catch (long n) { return ++state * 0 + n + 1; } }
    "#;
    let shared = r#"
        struct Named { virtual ~Named() {} virtual long get() { return 42; } };
        inline long &once() { static long n = 42; return n; }
        extern "C" long test() { Named named, *at = &named; asm("" : "+r"(at)); return at->get() + once() - 42; }
    "#;
    let local = "static _Thread_local long n = 41; long test(void) { return ++n; }";
    let plain = "long labs(long); long test(void) { volatile long n = -42; return labs(n); }";
    let with_end = "static long n; __attribute__((destructor)) static void end(void) { n = 0; }
        __attribute__((constructor)) static void start(void) { n = 42; }
        long test(void) { return n; }";
    let objects = [
        (compile("g++", "cpp", throwing, &["-fPIC", "-O1"])?, false),
        (compile("g++", "cpp", shared, &["-fPIC", "-O1"])?, true),
        (c(local, &["-O2"])?, false),
        (c(plain, &["-O2"])?, false),
        (c(with_end, &["-O2"])?, false),
    ];
    let work = objects.into_iter().map(|(object, stays)| {
        let image = loader.prepare(&object, &["test"])?;
        Ok(Work { image, stays })
    });
    work.collect()
}

fn mappings() -> std::io::Result<usize> {
    Ok(std::fs::read_to_string("/proc/self/maps")?.lines().count())
}

/// What one thread does until `end`; what it has left.
fn churn(
    loader: &NativeLoader,
    work: &[Work],
    seed: u64,
    end: Instant,
) -> Result<Vec<(usize, Code)>, String> {
    let mut random = Random::new(seed);
    let mut live: Vec<(usize, Code)> = Vec::new();
    while Instant::now() < end {
        let which = random.within(0, work.len() as u64 - 1) as usize;
        let image = &work[which].image;
        // SAFETY: the image is of a source above.
        let code = unsafe { loader.load(image.as_ref(), &Host::default()) };
        let code = code.map_err(|error| error.to_string())?;
        let test = function(&code, "test").map_err(|error| error.to_string())?;
        let found = test();
        if found != 42 {
            return Err(format!("image {which} returned {found}"));
        }
        live.push((which, code));
        if live.len() > LIVE {
            let gone = random.within(0, LIVE as u64) as usize;
            let (which, code) = live.swap_remove(gone);
            // SAFETY: nothing of the code is used any more.
            match unsafe { loader.unload(code) } {
                Ok(()) => {}
                Err(UnloadError::Shared) if work[which].stays => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
    Ok(live)
}

#[test]
fn eight_threads_load_run_throw_and_unload() -> Outcome {
    let seconds = match std::env::var_os("REKINDLE_SOAK") {
        Some(_) => 60,
        None => 10,
    };
    // Anonymous memory for a part of it.
    for (anonymous_memory, part) in [(false, 7), (true, 3)] {
        let mut options = Options::default();
        options.anonymous_memory = anonymous_memory;
        let loader = NativeLoader::with_options(options);
        let work = all_work(&loader)?;
        let end = Instant::now() + Duration::from_secs(seconds) * part / 10;
        let before = mappings()?;
        let left = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|seed| {
                    let (loader, work) = (&loader, &work);
                    scope.spawn(move || churn(loader, work, seed, end))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
                .collect::<Result<Vec<_>, String>>()
        })?;
        let found = loader.memory_statistics();
        let live: usize = left.iter().map(Vec::len).sum();
        assert!(live > LIVE * 4, "{live}");
        assert!(found.loaded > 2 * LIVE as u64 * THREADS, "{found:?}");
        assert!(found.unloaded > found.loaded / 2, "{found:?}");
        // Stacks and heaps of the threads, and the windows.
        let limit = before + 16 * THREADS as usize + 8 * found.windows;
        if !anonymous_memory {
            assert!(mappings()? < limit, "{before} then {}", mappings()?);
        }
        assert!(found.unwind_registrations < 100, "{found:?}");
        for (which, code) in left.iter().flatten() {
            let again = function(code, "test")?();
            assert!((42..=44).contains(&again), "image {which} returned {again}");
        }
    }
    Ok(())
}
