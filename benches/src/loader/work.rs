//! What is loaded, and who loads it.

use anyhow::{Context, Result};
use std::ffi::CString;
use std::path::PathBuf;

/// A shape: units that are loaded one after the other in a round.
pub(super) struct Work {
    pub(super) name: &'static str,
    pub(super) units: Vec<Unit>,
    pub(super) rounds: usize,
    /// How often each unit is loaded in a round, one load right after the other.
    pub(super) burst: usize,
}

impl Work {
    /// Loads of a round.
    pub(super) fn loads(&self) -> usize {
        self.units.len() * self.burst
    }

    /// The number of the unit that is loaded by a round's load with number `load`.
    pub(super) fn number(&self, load: usize) -> usize {
        load / self.burst
    }

    /// That unit.
    pub(super) fn unit(&self, load: usize) -> Result<&Unit> {
        let unit = self.units.get(self.number(load));
        unit.context("no such unit")
    }

    /// Whether a load comes right after another subject's work, of a shape where that is told apart.
    pub(super) fn is_first(&self, load: usize) -> bool {
        self.burst > 1 && load.is_multiple_of(self.burst)
    }
}

/// One object, and the same as a shared library.
pub(super) struct Unit {
    /// The name of its factory.
    pub(super) entry: String,
    /// The same, for those who take it with a zero behind.
    pub(super) symbol: CString,
    pub(super) object: Vec<u8>,
    /// Without relocations that may be relaxed.
    #[cfg_attr(
        not(feature = "peers"),
        expect(dead_code, reason = "for a peer that is not there")
    )]
    pub(super) plain_object: Vec<u8>,
    /// The file of `object`, for a linker.
    pub(super) object_file: PathBuf,
    /// Equal files, so that `dlopen` takes each for another library.
    pub(super) libraries: Vec<PathBuf>,
}

/// A loader that is measured.
pub(super) trait Subject {
    /// Gets ready for a round of `work`; not measured.
    fn begin(&mut self, work: &Work) -> Result<()>;

    /// Gets ready for loading a unit that the round has loaded already; not measured.
    fn again(&mut self, _work: &Work) -> Result<()> {
        Ok(())
    }

    /// Loads the unit of a round's load with number `load`, looks its factory up by name and calls it
    /// with 0. Measured.
    fn load_and_call(&mut self, work: &Work, load: usize) -> Result<i64>;

    /// Cleans up after a round where the loader can; not measured.
    fn end(&mut self) -> Result<()>;

    /// Bytes of memory that one loaded unit takes up, where the loader tells.
    fn bytes_per_entry(&self) -> Option<u64> {
        None
    }
}

/// Calls a factory with 0.
///
/// # Safety
/// `address` is that of a loaded `long factory(long)`.
pub(super) unsafe fn call(address: usize) -> i64 {
    // SAFETY: the caller vouches for it.
    let factory = unsafe { std::mem::transmute::<usize, extern "C" fn(i64) -> i64>(address) };
    factory(0)
}
