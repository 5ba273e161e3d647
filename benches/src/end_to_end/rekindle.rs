//! Rekindle: a cache folder of the definitions, or an empty one.

use super::peer::{ARGUMENTS, Function, Peer, Place};
use crate::language::{Language, Source, symbols};
use anyhow::{Result, ensure};
use rekindle_runtime_hooks::Ran;
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache, CraneliftSession};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A process of a host: its language, and a session.
pub(crate) struct Rekindle {
    session: CraneliftSession,
    language: Language,
    is_warm: bool,
    /// Definitions that came before those that are measured.
    before: u64,
    brought_back: u64,
}

/// Fills a folder with as many definitions, by a build of this program.
pub(super) fn prepare(place: &Place, _budget: Duration) -> Result<usize> {
    let folder = folder(place);
    // What another build has kept is no use to this one.
    for _ in 0..2 {
        let mut peer = open(&folder, true)?;
        for number in 0..place.count {
            peer.bring_back(number)?;
        }
        let is_warm = peer.finish().is_ok();
        peer.session.cache().flush()?;
        if is_warm {
            return Ok(place.count);
        }
        if peer.session.statistics().hits > 0 {
            drop(peer);
            std::fs::remove_dir_all(&folder)?;
        }
    }
    // Twice in a row with hits of neither kind: the processes that are measured will tell.
    Ok(place.count)
}

fn folder(place: &Place) -> std::path::PathBuf {
    place.folder(&format!("rekindle-{}", place.count))
}

pub(super) fn warm(place: &Place) -> Result<Box<dyn Peer>> {
    Ok(Box::new(open(&folder(place), true)?))
}

pub(super) fn cold(place: &Place) -> Result<Box<dyn Peer>> {
    Ok(Box::new(open(&place.own, false)?))
}

/// Opens `folder` and evaluates the library. All that comes then is to be a hit, or nothing.
pub(crate) fn open(folder: &Path, is_warm: bool) -> Result<Rekindle> {
    std::fs::create_dir_all(folder)?;
    let builder = CraneliftCache::builder(Cranelift::new()?);
    let cache = builder.folder(folder).symbols(symbols()).open()?;
    let mut peer = Rekindle {
        session: Arc::new(cache).session(),
        language: Language::new(true)?,
        is_warm,
        before: 0,
        brought_back: 0,
    };
    for source in Source::library() {
        peer.evaluate(&source)?;
    }
    peer.before = peer.session.statistics().hits;
    Ok(peer)
}

impl Rekindle {
    /// Evaluates a definition; gives its function.
    pub(crate) fn evaluate(&mut self, source: &Source) -> Result<Function> {
        let language = &self.language;
        let evaluated = self
            .session
            .eval_def(&source.definition(), language, |recorder| {
                language.compile(source, recorder)
            })?;
        // SAFETY: the language makes factories of this type, which do nothing but give an address.
        let factory: extern "C" fn() -> Function =
            unsafe { std::mem::transmute(evaluated.factory()) };
        let function = factory();
        evaluated.finish(Ran::Pure);
        Ok(function)
    }
}

impl Rekindle {
    /// How many definitions were hits since the library.
    pub(crate) fn hits(&self) -> u64 {
        self.session.statistics().hits - self.before
    }

    /// Has all that was kept on the disk.
    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.session.cache().flush()?)
    }
}

impl Peer for Rekindle {
    fn bring_back(&mut self, number: usize) -> Result<u64> {
        let function = self.evaluate(&Source::new(number))?;
        self.brought_back += 1;
        let (left, right) = ARGUMENTS;
        Ok(function(left, right))
    }

    fn finish(&mut self) -> Result<()> {
        let hits = self.hits();
        let expected = if self.is_warm { self.brought_back } else { 0 };
        ensure!(hits == expected, "{hits} hits instead of {expected}");
        Ok(())
    }
}
