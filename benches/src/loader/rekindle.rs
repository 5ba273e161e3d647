//! This project's loader: from a stored image, or from the object.

use super::work::{Subject, Work, call};
use anyhow::{Context, Result};
use rekindle_cache_core::artifact::{Code as _, Image, Loader, Symbols};
use rekindle_loader::{Code, NativeLoader};

/// A host without symbols of its own: all come from the process.
pub(super) struct NoSymbols;

impl Symbols for NoSymbols {
    fn address(&self, _hash: u64, _name: &str) -> Option<u64> {
        None
    }
}

/// Where the loader begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// A stored image.
    Image,
    /// The object: linked, then loaded.
    Object,
}

/// Rekindle's own loader, into memory that its helper thread has made ready, as in use.
pub(super) struct Rekindle {
    from: From,
    loader: NativeLoader,
    images: Vec<Image>,
    loaded: Vec<Code>,
    bytes: u64,
    count: u64,
}

impl Rekindle {
    pub(super) fn new(from: From) -> Self {
        Self {
            from,
            loader: NativeLoader::new(),
            images: Vec::new(),
            loaded: Vec::new(),
            bytes: 0,
            count: 0,
        }
    }
}

/// The images of all units.
pub(super) fn images(loader: &NativeLoader, work: &Work) -> Result<Vec<Image>> {
    let image = |unit: &super::work::Unit| Ok(loader.prepare(&unit.object, &[&unit.entry])?);
    work.units.iter().map(image).collect()
}

impl Subject for Rekindle {
    fn begin(&mut self, work: &Work) -> Result<()> {
        self.loaded.reserve(work.loads());
        if self.from == From::Image && self.images.is_empty() {
            self.images = images(&self.loader, work)?;
        }
        Ok(())
    }

    fn load_and_call(&mut self, work: &Work, load: usize) -> Result<i64> {
        let unit = work.unit(load)?;
        let made;
        let image = match self.images.get(work.number(load)) {
            Some(image) => image,
            None => {
                made = self.loader.prepare(&unit.object, &[&unit.entry])?;
                &made
            }
        };
        // SAFETY: the image is made from an object that the benchmark compiled.
        let code = unsafe { self.loader.load(image.as_ref(), &NoSymbols) }?;
        let entry = code.symbol(&unit.entry).context("no such root")?;
        // SAFETY: it is the unit's factory.
        let answer = unsafe { call(entry as usize) };
        self.loaded.push(code);
        Ok(answer)
    }

    fn end(&mut self) -> Result<()> {
        // The code stays, and the next round goes into fresh memory, as in use.
        for code in self.loaded.drain(..) {
            self.bytes += code.size() as u64;
            self.count += 1;
        }
        Ok(())
    }

    fn bytes_per_entry(&self) -> Option<u64> {
        self.bytes.checked_div(self.count)
    }
}
