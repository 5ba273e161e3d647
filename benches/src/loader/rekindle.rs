//! This project's loader: from a stored image, from an image into fresh memory, from the object.

use super::work::{Subject, Work, call};
use anyhow::{Context, Result};
use rekindle_cache_core::artifact::{Code as _, Image, Loader, Symbols};
use rekindle_loader::{Code, NativeLoader};
use std::time::Duration;

/// A host without symbols of its own: all come from the process.
struct NoSymbols;

impl Symbols for NoSymbols {
    fn address(&self, _hash: u64, _name: &str) -> Option<u64> {
        None
    }
}

/// Where the loader begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// An image, in memory that was made ready ahead, as in use.
    Image,
    /// An image, by a loader that has loaded nothing yet: windows are made, pages touched first.
    ImageFresh,
    /// The object: linked, then loaded.
    Object,
}

/// Rekindle's own loader.
pub(super) struct Rekindle {
    from: From,
    loader: NativeLoader,
    images: Vec<Image>,
    fresh: Vec<NativeLoader>,
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
            fresh: Vec::new(),
            loaded: Vec::new(),
            bytes: 0,
            count: 0,
        }
    }
}

impl Subject for Rekindle {
    fn begin(&mut self, work: &Work) -> Result<()> {
        self.loaded.reserve(work.units.len());
        if self.from == From::Object {
            return Ok(());
        }
        if self.images.is_empty() {
            for unit in &work.units {
                self.images.push(self.loader.prepare(&unit.object, &[&unit.entry])?);
            }
        }
        if self.from == From::ImageFresh {
            self.fresh = work.units.iter().map(|_| NativeLoader::new()).collect();
        } else {
            // What a process does between hits: the helper thread gets to run.
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn load_and_call(&mut self, work: &Work, index: usize) -> Result<i64> {
        let unit = work.units.get(index).context("no such unit")?;
        let loader = self.fresh.get(index).unwrap_or(&self.loader);
        let made;
        let image = match self.images.get(index) {
            Some(image) => image,
            None => {
                made = loader.prepare(&unit.object, &[&unit.entry])?;
                &made
            }
        };
        // SAFETY: the image is made from an object that the benchmark compiled.
        let code = unsafe { loader.load(image.as_ref(), &NoSymbols) }?;
        let entry = code.symbol(&unit.entry).context("no such root")?;
        // SAFETY: it is the unit's factory.
        let answer = unsafe { call(entry as usize) };
        self.loaded.push(code);
        Ok(answer)
    }

    fn end(&mut self) -> Result<()> {
        for code in self.loaded.drain(..) {
            self.bytes += code.size() as u64;
            self.count += 1;
        }
        // Windows stay with their code; what the fresh loaders hold beside is let go.
        self.fresh.clear();
        Ok(())
    }

    fn bytes_per_entry(&self) -> Option<u64> {
        self.bytes.checked_div(self.count)
    }
}
