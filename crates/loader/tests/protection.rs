//! Nothing is writable and executable at once, and what is constant cannot be written.
//!
//! One test in a program of its own, as it forks.

mod compiled;

use compiled::{Host, Outcome, c, function, load_with};
use rekindle_cache_core::artifact::Code as _;
use rekindle_loader::{NativeLoader, Options};
use std::error::Error;

/// The rights of the mapping that `address` lies in: `rwx`, with `-` for what may not be done.
fn rights(address: usize) -> Result<String, Box<dyn Error>> {
    for line in std::fs::read_to_string("/proc/self/maps")?.lines() {
        let (range, rest) = line.split_once(' ').ok_or("a strange line")?;
        let (start, end) = range.split_once('-').ok_or("a strange range")?;
        let number = |text| usize::from_str_radix(text, 16);
        if (number(start)?..number(end)?).contains(&address) {
            return Ok(rest.get(..3).ok_or("no rights")?.to_owned());
        }
    }
    Err(format!("nothing is mapped at {address:#x}").into())
}

/// Whether a child that writes to `address` dies of it.
fn is_deadly_to_write(address: usize) -> bool {
    // SAFETY: the program has one test and the threads of loaders, whose locks the child does not need.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: nothing in the child lives on, whatever the write does; the signal that comes in
            // the end has no handler.
            unsafe {
                libc::signal(libc::SIGSEGV, libc::SIG_DFL);
                libc::alarm(60);
                (address as *mut u8).write_volatile(1);
                libc::_exit(0)
            }
        }
        pid => {
            let mut status = -1;
            // SAFETY: `status` is a place for the child's status.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
            assert_eq!(waited, pid);
            libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV
        }
    }
}

#[test]
fn rights_are_as_few_as_can_be() -> Outcome {
    let object = c(
        r#"
        const long constant = 40;
        long variable = 2, zero;
        extern long labs(long);
        long (*const pointer)(long) = labs;
        long test(void) { return pointer(-constant) + variable + zero; }
        "#,
        &["-O1"],
    )?;
    let roots = ["test", "constant", "variable", "zero", "pointer"];
    for anonymous_memory in [false, true] {
        let mut options = Options::default();
        options.anonymous_memory = anonymous_memory;
        let loader = NativeLoader::with_options(options);
        // The second lies beside the first, which must not become writable for it.
        let first = load_with(&loader, &object, &roots, &Host::default())?;
        let second = load_with(&loader, &object, &roots, &Host::default())?;
        for code in [&first, &second] {
            assert_eq!(function(code, "test")?(), 42);
            let at = |name| code.symbol(name).map(|at| at as usize).ok_or("a root");
            for name in ["test", "constant", "pointer"] {
                assert_eq!(rights(at(name)?)?, "r-x", "{name}");
                assert!(is_deadly_to_write(at(name)?), "{name}");
            }
            for name in ["variable", "zero"] {
                assert_eq!(rights(at(name)?)?, "rw-", "{name}");
                assert!(!is_deadly_to_write(at(name)?), "{name}");
            }
        }
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        let both = maps.lines().find(|line| line.contains(" rwx"));
        assert_eq!(both, None);
    }
    Ok(())
}
