//! What a subject of the benchmark is, and which there are.

use super::{clang, dlopen, numba, orc, rekindle};
#[cfg(feature = "end-to-end")]
use super::{cranelift, wasmtime};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The arguments that each function is called with.
pub(super) const ARGUMENTS: (u64, u64) = (3, 5);

/// Something that brings definitions back, in a process that was started for it.
pub(super) trait Peer {
    /// Brings definition `number` back and calls its function with [`ARGUMENTS`].
    fn bring_back(&mut self, number: usize) -> Result<u64>;

    /// Says whether all was done in the way that is measured; not measured.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A function as the language has them.
pub(super) type Function = extern "C" fn(u64, u64) -> u64;

/// Calls a factory, and the function whose address it gives.
///
/// # Safety
/// `factory` is the address of a factory of one of the language's definitions.
pub(super) unsafe fn call(factory: usize) -> u64 {
    let (left, right) = ARGUMENTS;
    // SAFETY: the caller vouches for it.
    let factory = unsafe { std::mem::transmute::<usize, extern "C" fn() -> Function>(factory) };
    factory()(left, right)
}

/// Where a subject keeps what it was prepared with.
pub(super) struct Place {
    /// For all that is made beforehand, and kept for the next run.
    pub(super) folder: PathBuf,
    /// For what one process alone makes.
    pub(super) own: PathBuf,
    /// How many definitions there are to bring back.
    pub(super) count: usize,
}

impl Place {
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// How a subject's processes are made.
pub(super) enum Start {
    /// This program, which makes the peer.
    Here(fn(&Place) -> Result<Box<dyn Peer>>),
    /// A script of Python's, which prints what this program would.
    Python(&'static str),
}

/// A subject by its name.
pub(super) struct Subject {
    pub(super) name: &'static str,
    /// Makes what the subject will find, for so long at most, and says for how many definitions it is there.
    pub(super) prepare: fn(&Place, Duration) -> Result<usize>,
    pub(super) start: Start,
}

/// Nothing is made beforehand.
fn unprepared(place: &Place, _: Duration) -> Result<usize> {
    Ok(place.count)
}

#[cfg(not(feature = "end-to-end"))]
fn not_built(_: &Place, _: Duration) -> Result<usize> {
    anyhow::bail!("this program was built without the feature `end-to-end`")
}

#[cfg(not(feature = "end-to-end"))]
fn no_peer(_: &Place) -> Result<Box<dyn Peer>> {
    anyhow::bail!("this program was built without the feature `end-to-end`")
}

const fn here(
    name: &'static str,
    prepare: fn(&Place, Duration) -> Result<usize>,
    start: fn(&Place) -> Result<Box<dyn Peer>>,
) -> Subject {
    Subject {
        name,
        prepare,
        start: Start::Here(start),
    }
}

/// All of them.
pub(super) const SUBJECTS: &[Subject] = &[
    here("rekindle", rekindle::prepare, rekindle::warm),
    here("rekindle-cold", unprepared, rekindle::cold),
    here("orc-jitlink", orc::prepare, orc::jitlink),
    here("orc-jitlink-shared", orc::prepare, orc::jitlink_shared),
    here("orc-rtdyld", orc::prepare, orc::rtdyld),
    here("dlopen", dlopen::prepare, dlopen::start),
    #[cfg(feature = "end-to-end")]
    here("wasmtime", wasmtime::prepare_files, wasmtime::from_files),
    #[cfg(not(feature = "end-to-end"))]
    here("wasmtime", not_built, no_peer),
    #[cfg(feature = "end-to-end")]
    here(
        "wasmtime-cache",
        wasmtime::prepare_cache,
        wasmtime::from_cache,
    ),
    Subject {
        name: "numba",
        prepare: numba::prepare,
        start: Start::Python(numba::SCRIPT),
    },
    #[cfg(feature = "end-to-end")]
    here("cranelift-jit", unprepared, cranelift::start),
    here("clang", clang::prepare, clang::start),
];

/// The subject called `name`.
pub(super) fn find(name: &str) -> Option<&'static Subject> {
    SUBJECTS.iter().find(|subject| subject.name == name)
}

/// How many definitions can be brought back at most if each takes `each` mappings or more: others need not
/// be prepared, as the kernel refuses before.
pub(super) fn most_mappable(each: usize) -> usize {
    let limit = std::fs::read_to_string(Path::new("/proc/sys/vm/max_map_count"));
    let limit = limit.ok().and_then(|text| text.trim().parse().ok());
    let limit: usize = limit.unwrap_or(65_530);
    limit / each
}
