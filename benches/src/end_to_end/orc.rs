//! LLVM's ORC with a cache of objects, a file each. What `ObjectCache` wants besides, the module in LLVM's IR
//! that the object was made of, is left out.

use super::files;
use super::peer::{Peer, Place, call};
use crate::language::{Language, RUNTIME, Source};
use crate::orc::{Jit, Library, Setup};
use anyhow::{Context, Result};
use rekindle_cache_core::checksum;
use rekindle_loader_peers::LLVM_22;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is made of each definition, by the same compiler as Rekindle's.
pub(super) fn prepare(place: &Place, budget: Duration) -> Result<usize> {
    objects(&place.folder("objects"), place.count, budget, || {
        Language::new(true)
    })
}

/// Makes the objects of `count` definitions below `folder`.
pub(super) fn objects(
    folder: &Path,
    count: usize,
    budget: Duration,
    language: impl Fn() -> Result<Language> + Sync,
) -> Result<usize> {
    files::prepare(folder, &recipe()?, count, budget, |number| {
        thread_local! {
            static LANGUAGE: OnceCell<Language> = const { OnceCell::new() };
        }
        LANGUAGE.with(|known| {
            if known.get().is_none() {
                let _ = known.set(language()?);
            }
            let language = known.get().context("it was made just now")?;
            let object = language.object(number, &factory(number))?;
            Ok(std::fs::write(path(folder, number), object)?)
        })
    })
}

/// What the objects are like, by one of them.
pub(super) fn recipe() -> Result<String> {
    let object = Language::new(true)?.object(7, "factory")?;
    Ok(format!("1 {:016x}", checksum(&object)))
}

/// The file of an object.
pub(super) fn path(folder: &Path, number: usize) -> PathBuf {
    files::path(folder, number, "o")
}

/// A name of its own, so that one JITDylib can have all of them.
fn factory(number: usize) -> String {
    format!("factory_{number}")
}

struct Orc {
    jit: Jit,
    common: Option<Library>,
    objects: PathBuf,
    runtime: Vec<(CString, u64)>,
}

pub(super) fn jitlink(place: &Place) -> Result<Box<dyn Peer>> {
    start(place, false, false)
}

pub(super) fn jitlink_shared(place: &Place) -> Result<Box<dyn Peer>> {
    start(place, false, true)
}

pub(super) fn rtdyld(place: &Place) -> Result<Box<dyn Peer>> {
    start(place, true, false)
}

fn start(place: &Place, rtdyld: bool, shared: bool) -> Result<Box<dyn Peer>> {
    let mut jit = Jit::new(Setup {
        library: LLVM_22,
        rtdyld,
        shared,
    })?;
    jit.start()?;
    let functions = RUNTIME.map(|(name, function)| (name, function as usize as u64));
    let functions = functions.map(|(name, address)| Ok((CString::new(name)?, address)));
    let runtime = functions.into_iter().collect::<Result<Vec<_>>>()?;
    let mut common = None;
    if shared {
        let library = jit.library()?;
        let mut words = BTreeMap::new();
        // Definitions refer to a few words in turns.
        for number in 0..place.count.min(2_000) {
            for word in Source::words(number) {
                words.insert(CString::new(word.name)?, word.value);
            }
        }
        words.extend(runtime.iter().cloned());
        jit.define(library, &words.into_iter().collect::<Vec<_>>())?;
        common = Some(library);
    }
    Ok(Box::new(Orc {
        jit,
        common,
        objects: place.folder("objects"),
        runtime,
    }))
}

impl Peer for Orc {
    fn bring_back(&mut self, number: usize) -> Result<u64> {
        let object = std::fs::read(path(&self.objects, number))?;
        let library = match self.common {
            Some(library) => library,
            None => {
                let mut words = self.runtime.clone();
                for word in Source::words(number) {
                    words.push((CString::new(word.name)?, word.value));
                }
                words.sort_unstable();
                words.dedup();
                let library = self.jit.library()?;
                self.jit.define(library, &words)?;
                library
            }
        };
        self.jit.add(library, &object)?;
        let factory = self.jit.look_up(library, &CString::new(factory(number))?)?;
        // SAFETY: the object was made of one of the language's definitions.
        Ok(unsafe { call(factory) })
    }
}
