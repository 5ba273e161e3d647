//! A process with little to spend: loading goes another way, or fails with the system's reason.
//!
//! One test in a program of its own, as limits are the whole process's.

mod compiled;

use compiled::{Host, Outcome, c, function};
use rekindle_cache_core::artifact::{LoadFailure, Loader};
use rekindle_loader::{LoadError, NativeLoader};

fn limit(resource: libc::__rlimit_resource_t, bytes: u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a place for two numbers; only the soft limit is lowered.
    let set = unsafe {
        libc::getrlimit(resource, &raw mut limit);
        limit.rlim_cur = limit.rlim_max.min(bytes);
        libc::setrlimit(resource, &raw const limit)
    };
    assert_eq!(set, 0);
}

#[test]
fn limits_are_met_without_dying() -> Outcome {
    let object = c(
        "static long n = 41; long test(void) { return ++n; }",
        &["-O2"],
    )?;
    let image = NativeLoader::new().prepare(&object, &["test"])?;
    // SAFETY: the image is of the source above.
    let load = |loader: &NativeLoader| unsafe { loader.load(image.as_ref(), &Host::default()) };

    // A memfd larger than this would be a deadly signal.
    limit(libc::RLIMIT_FSIZE, 4096);
    let code = load(&NativeLoader::new())?;
    assert_eq!(function(&code, "test")?(), 42);
    limit(libc::RLIMIT_FSIZE, libc::RLIM_INFINITY);

    let before = NativeLoader::new();
    load(&before)?;
    limit(libc::RLIMIT_AS, 1 << 20);
    let refused = load(&NativeLoader::new());
    // A window that is there goes on serving.
    let served = load(&before);
    limit(libc::RLIMIT_AS, libc::RLIM_INFINITY);
    let error = refused.err().ok_or("there was no address space")?;
    assert!(
        matches!(error, LoadError::Memory { .. }) && !error.is_damage(),
        "{error}"
    );
    assert_eq!(function(&served?, "test")?(), 42);
    Ok(())
}
