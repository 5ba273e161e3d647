//! A child made by `fork` goes on loading without a trace in its parent.
//!
//! One test in a program of its own: forking a process with many threads is asking for trouble.

mod compiled;

use compiled::{Host, Outcome, c, function, load_with};
use rekindle_cache_core::artifact::{Code, Loader, Symbols};
use rekindle_loader::{LoadError, NativeLoader};

/// Has this child killed if it hangs, for whoever waits for it.
fn end_in_time() {
    // SAFETY: the signal that comes in the end has no handler.
    unsafe { libc::alarm(60) };
}

/// Runs `child` in a forked child, and says whether it returned true.
fn in_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the test has no other threads that hold locks, and the child ends with `_exit`.
    match unsafe { libc::fork() } {
        0 => {
            end_in_time();
            let right = child();
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(i32::from(!right)) }
        }
        pid => {
            let mut status = -1;
            // SAFETY: `status` is a place for the child's status.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
            waited == pid && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

struct Forking(std::cell::Cell<Option<bool>>);

impl Symbols for Forking {
    fn address(&self, _hash: u64, _name: &str) -> Option<u64> {
        // SAFETY: as in `in_child`; the child ends in the test below.
        match unsafe { libc::fork() } {
            0 => {
                end_in_time();
                self.0.set(None);
            }
            pid => {
                let mut status = -1;
                // SAFETY: `status` is a place for the child's status.
                unsafe { libc::waitpid(pid, &raw mut status, 0) };
                self.0.set(Some(
                    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
                ));
            }
        }
        Some(42)
    }
}

struct Panicking(Forking);

impl Symbols for Panicking {
    fn address(&self, hash: u64, name: &str) -> Option<u64> {
        let address = self.0.address(hash, name);
        match self.0.0.get() {
            // Not `panic!`, whose hook writes to where the parent writes.
            None => std::panic::resume_unwind(Box::new("the child has enough")),
            Some(_) => address,
        }
    }
}

#[test]
fn a_child_has_fresh_windows() -> Outcome {
    let counter = c(
        "static long n = 40; long test(void) { return ++n; }",
        &["-O2"],
    )?;
    let loader = NativeLoader::new();
    let image = loader.prepare(&counter, &["test"])?;
    // SAFETY: the image is of the source above.
    let load = || unsafe { loader.load(image.as_ref(), &Host::default()) };
    let before = load()?;
    assert_eq!(function(&before, "test")?(), 41);
    let used = loader.memory_used();

    let child = in_child(|| {
        let (Ok(own), Ok(old)) = (load(), function(&before, "test")) else {
            return false;
        };
        let Ok(new) = function(&own, "test") else {
            return false;
        };
        let apart = own.text().start.abs_diff(before.text().start) > 1 << 20;
        apart && old() == 42 && new() == 41 && loader.memory_used() == used
    });
    assert!(child);
    assert_eq!(loader.memory_used(), used);
    let after = load()?;
    assert_eq!(function(&after, "test")?(), 41);
    assert_eq!(
        function(&before, "test")?(),
        42,
        "the child counted for itself"
    );

    // A fork while an image is being loaded: the parent's load goes on, the child's fails.
    let asking = c(
        "extern char given[]; char *test(void) { return given; }",
        &["-O2"],
    )?;
    let forking = Forking(std::cell::Cell::new(None));
    let loaded = load_with(&loader, &asking, &["test"], &forking);
    let Some(child_was_right) = forking.0.get() else {
        // This is the child.
        let right = matches!(loaded, Err(LoadError::Forked)) && load().is_ok();
        // SAFETY: as in `in_child`.
        unsafe { libc::_exit(i32::from(!right)) }
    };
    assert!(child_was_right);
    let loaded = loaded?;
    assert_eq!(function(&loaded, "test")?(), 42);
    assert!(loaded.symbol("test").is_some());

    // The child panics instead, so that what the load had taken is given back in passing.
    let panicking = Panicking(Forking(std::cell::Cell::new(None)));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        load_with(&loader, &asking, &["test"], &panicking).is_ok()
    }));
    let Some(child_was_right) = panicking.0.0.get() else {
        let right = result.is_err() && load().is_ok();
        // SAFETY: as in `in_child`.
        unsafe { libc::_exit(i32::from(!right)) }
    };
    assert!(child_was_right && result.is_ok_and(|loaded| loaded));
    let last = load()?;
    assert_eq!(function(&last, "test")?(), 41);
    Ok(())
}
