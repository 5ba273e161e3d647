//! What is counted in instructions, for builds to be compared by: `cargo xtask regress BASE`.
//!
//! Each work runs in a process of its own under callgrind, which counts within [`rekindle_measured`] alone, on the
//! thread that calls it. What comes before, and what helper threads do, is not in the count. The folder that
//! hits come from is filled by another process under the same tool, since code for the processor that the tool
//! shows is other code.

use crate::end_to_end::rekindle;
use crate::language::{Language, Source};
use anyhow::{Result, ensure};
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{Image, ImageRef, Loader as _};
use rekindle_cache_core::key::FormKey;
use rekindle_cache_core::metadata::{Entry, Manifest, Metadata};
use rekindle_cache_core::store::{FolderStore, Found, NewRecord, Provenance, Store as _};
use rekindle_loader::NativeLoader;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Definitions that are found, linked and loaded.
const MANY: usize = 1_000;

/// Of those that are linked and loaded, so many are compiled.
const DISTINCT: usize = 64;

/// Definitions that are compiled.
const FEW: usize = 50;

/// Bytes of a record's payload.
const PAYLOAD: usize = 256;

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Work {
    /// Nothing, but what hits come from is made.
    Warm,
    /// Definitions taken from the cache.
    Hit,
    /// The same evaluated again.
    Again,
    /// Definitions compiled, run and kept.
    Miss,
    /// Objects linked to images.
    Link,
    /// Images loaded.
    Load,
    /// Records put into the store.
    Put,
    /// Records found in the store.
    Get,
}

/// One count.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    work: Work,
    /// The cache folder that hits come from.
    folder: PathBuf,
}

/// Runs one work.
pub(crate) fn run(options: &Options) -> Result<()> {
    let own = tempfile::tempdir()?;
    match options.work {
        Work::Warm => evaluate(&options.folder, MANY, None, Expected::Anything),
        Work::Hit => evaluate(&options.folder, MANY, Some(0), Expected::Hits),
        Work::Again => evaluate(&options.folder, MANY, Some(1), Expected::Hits),
        Work::Miss => evaluate(own.path(), FEW, Some(0), Expected::Misses),
        Work::Link => load(true),
        Work::Load => load(false),
        Work::Put => store(own.path(), true),
        Work::Get => store(own.path(), false),
    }
}

/// What is counted, under a name that callgrind is told.
#[inline(never)]
#[unsafe(no_mangle)]
fn rekindle_measured(work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    work()
}

/// What the folder has to have.
#[derive(Clone, Copy)]
enum Expected {
    Anything,
    Hits,
    Misses,
}

/// Evaluates definitions, twice if the second time is measured.
fn evaluate(
    folder: &Path,
    count: usize,
    measured: Option<usize>,
    expected: Expected,
) -> Result<()> {
    let mut cache = rekindle::open(folder, true)?;
    for time in 0..=measured.unwrap_or(0) {
        let mut all =
            || (0..count).try_for_each(|number| cache.evaluate(&Source::new(number)).map(drop));
        match Some(time) == measured {
            true => rekindle_measured(&mut all)?,
            false => all()?,
        }
    }
    let hits = cache.hits();
    let is_right = match expected {
        Expected::Anything => true,
        Expected::Hits => hits >= count as u64,
        Expected::Misses => hits == 0,
    };
    ensure!(
        is_right,
        "{hits} hits of {count}: is the folder another build's?"
    );
    cache.flush()
}

/// Links objects, and loads what comes of it.
fn load(counts_linking: bool) -> Result<()> {
    let language = Language::new(true)?;
    // Compiling takes far longer under the tool than what is counted.
    let objects = (0..DISTINCT).map(|number| language.object(number, "factory"));
    let objects: Vec<Vec<u8>> = objects.collect::<Result<_>>()?;
    let objects = || objects.iter().cycle().take(MANY);
    let loader = NativeLoader::new();
    let mut images: Vec<Image> = Vec::new();
    let mut link = || {
        for object in objects() {
            images.push(loader.prepare(object, &["factory"])?);
        }
        Ok(())
    };
    if counts_linking {
        return rekindle_measured(&mut link);
    }
    link()?;
    rekindle_measured(&mut || {
        for image in &images {
            // SAFETY: the images were made just now, and are bound to the words that they were made for.
            drop(unsafe { loader.load(image.as_ref(), &language) }?);
        }
        Ok(())
    })
}

/// Puts records, and looks them up.
fn store(folder: &Path, counts_putting: bool) -> Result<()> {
    let store = FolderStore::open(folder)?;
    let mut metadata = Metadata {
        manifest: Manifest {
            object_key: [7; 32],
            dependencies: Vec::new(),
        },
        entry: Entry {
            name: "user/benchmark".to_owned(),
            factory: "factory".to_owned(),
            compile_ns: 75_000,
            ..Entry::default()
        },
    };
    let image = Image::new(vec![7; PAYLOAD]);
    metadata.entry.image_checksum = image.as_ref().checksum;
    let key = |number: usize| FormKey(Digest::of("instructions", &number.to_le_bytes()));
    let mut put = || {
        for number in 0..MANY {
            let ImageRef { bytes, checksum } = image.as_ref();
            store.put(NewRecord {
                key: key(number),
                metadata: &metadata,
                image: ImageRef { bytes, checksum },
                provenance: Provenance::OWN,
            })?;
        }
        Ok(())
    };
    if counts_putting {
        return rekindle_measured(&mut put);
    }
    put()?;
    store.flush()?;
    let mut found = 0;
    rekindle_measured(&mut || {
        for number in 0..MANY {
            store.get(&key(number), &mut |record| {
                found += usize::from(matches!(record, Found::Record(_)));
                ControlFlow::Break(())
            });
        }
        Ok(())
    })?;
    ensure!(found == MANY, "{found} of {MANY} records were found");
    Ok(())
}
