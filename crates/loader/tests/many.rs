//! Many images at once: mappings, threads, the helper thread.
//!
//! One test in a program of its own, which counts what belongs to the whole process.

mod compiled;

use compiled::{Host, Outcome, c, function};
use rekindle_cache_core::artifact::Loader;
use rekindle_loader::{NativeLoader, Options};

fn mappings() -> std::io::Result<usize> {
    Ok(std::fs::read_to_string("/proc/self/maps")?.lines().count())
}

/// Names of this process's threads that are a loader's.
fn helpers() -> std::io::Result<usize> {
    let mut count = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        // One may end while it is looked at.
        let name = std::fs::read_to_string(thread?.path().join("comm")).unwrap_or_default();
        count += usize::from(name.starts_with("rekindle"));
    }
    Ok(count)
}

#[test]
fn a_hundred_thousand_images_take_no_more_mappings_than_a_thousand() -> Outcome {
    let object = c(
        "static long n = 41; long test(void) { return ++n; }",
        &["-O2"],
    )?;
    let image = NativeLoader::new().prepare(&object, &["test"])?;
    for (anonymous_memory, count) in [(false, 100_000), (true, 5_000)] {
        let mut options = Options::default();
        options.anonymous_memory = anonymous_memory;
        let loader = NativeLoader::with_options(options);
        assert_eq!(helpers()?, 0, "no thread before anything is loaded");
        let mut codes = Vec::new();
        let mut early = 0;
        for n in 0..count {
            // SAFETY: the image is of the source above.
            codes.push(unsafe { loader.load(image.as_ref(), &Host::default()) }?);
            if n == 1000 {
                early = mappings()?;
                // It gives itself its name, once it runs.
                let start = std::time::Instant::now();
                while helpers()? != 1 {
                    assert!(start.elapsed().as_secs() < 60, "there is no helper");
                    std::thread::yield_now();
                }
            }
        }
        // The heap of the handles may have grown by a few.
        assert!(mappings()? < early + 12, "{early} and then {}", mappings()?);
        for code in &codes {
            assert_eq!(function(code, "test")?(), 42);
        }
        let found = loader.memory_statistics();
        assert_eq!(found.windows, 1);
        assert!(found.unwind_registrations < 60, "{found:?}");

        // The helper's time is counted, and it does nothing more once it has caught up.
        if !anonymous_memory {
            assert!(found.made_ready_ahead > 0 && !found.helper_cpu_time.is_zero());
        }

        // 8 threads, all of whose code works.
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        // SAFETY: the image is of the source above.
                        let code = unsafe { loader.load(image.as_ref(), &Host::default()) };
                        let code = code.expect("there is memory");
                        assert_eq!(function(&code, "test").expect("it is a root")(), 42);
                    }
                });
            }
        });
        drop(loader);
        assert_eq!(helpers()?, 0, "no thread outlives its loader");
        assert_eq!(
            function(codes.first().ok_or("there are some")?, "test")?(),
            43
        );
    }
    Ok(())
}
