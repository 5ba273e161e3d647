//! Code for two machines in one folder: the same definitions compiled for both, their records in the same packs,
//! and each machine finds its own and no other.

#[path = "compiled/mod.rs"]
mod compiled;
#[path = "foreign/mod.rs"]
mod foreign;
#[path = "placed/mod.rs"]
mod placed;
#[path = "whole/mod.rs"]
mod whole;

use compiled::{Host, compile, function};
use foreign::{Runner, compilers, lacks};
use placed::Answer;
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{FormatId, Hasher, Image, LoadFailure, Loader};
use rekindle_cache_core::key::{Definition, Environment, FormKey};
use rekindle_cache_core::metadata::{Entry, Manifest, Metadata};
use rekindle_cache_core::store::{FolderStore, Found, NewRecord, Provenance, Store};
use rekindle_loader::{ImageError, LoadError, NativeLoader, check};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use whole::skip;

const DEFINITIONS: usize = 12;
const X86_64: u16 = 62;
const AARCH64: u16 = 183;

/// What compiling for a target depends on, and the machine of its images.
struct Target {
    environment: Environment,
    machine: u16,
}

/// Both targets, of which nothing differs but what has to.
fn targets() -> [Target; 2] {
    let version = NativeLoader::new().format().version;
    let of = |triple: &str, format, machine| Target {
        environment: Environment::new(triple)
            .image_format(FormatId {
                name: format,
                version,
            })
            .compiler(&Digest::of("test", b"a compiler"))
            .abi("host", &Digest::of("test", b"a build"))
            .finish(),
        machine,
    };
    [
        of("x86_64-unknown-linux-gnu", "rekindle-elf-x86_64", X86_64),
        of("aarch64-unknown-linux-gnu", "rekindle-aarch64", AARCH64),
    ]
}

/// A definition, which says when it runs what it is and what machine it was compiled for.
fn text(number: usize) -> String {
    format!(
        "static long table[] = {{ {number}, 2 }};
         #ifdef __aarch64__
         enum {{ machine = {AARCH64} }};
         #else
         enum {{ machine = {X86_64} }};
         #endif
         long test(long argument) {{ return table[0]++ * 1000 + machine; }}"
    )
}

fn key(target: &Target, number: usize) -> FormKey {
    target.environment.form_key(&Definition {
        name: "test",
        text: &text(number),
        context: "",
    })
}

fn put(store: &FolderStore, target: &Target, number: usize, image: &Image) -> Answer<()> {
    let metadata = Metadata {
        manifest: Manifest {
            dependencies: Vec::new(),
            object_key: key(target, number).0.0,
        },
        entry: Entry {
            name: "test".to_owned(),
            factory: "test".to_owned(),
            environment: target.environment.digest().0,
            object_digest: [2; 32],
            compile_ns: 1,
            created: 1,
            image_checksum: image.checksum,
            ..Entry::default()
        },
    };
    Ok(store.put(NewRecord {
        key: key(target, number),
        metadata: &metadata,
        image: image.as_ref(),
        provenance: Provenance::OWN,
    })?)
}

/// The images that are found under a key.
fn found(store: &FolderStore, key: FormKey) -> Answer<Vec<Image>> {
    let mut images = Vec::new();
    let mut damage = None;
    store.get(&key, &mut |found| {
        match found {
            Found::Record(record) => images.push(Image::new(record.image.bytes.to_vec())),
            other => damage = Some(format!("{other:?}")),
        }
        ControlFlow::Continue(())
    });
    match damage {
        None => Ok(images),
        Some(damage) => Err(damage.into()),
    }
}

#[test]
fn each_machine_finds_its_own() -> Answer<()> {
    if let Some(lack) = lacks() {
        skip("two targets in one folder", lack);
        return Ok(());
    }
    let loader = NativeLoader::new();
    let theirs = compilers();
    let theirs = theirs.first().ok_or("there is a compiler")?;
    let (program, first) = theirs.split_first().ok_or("it has a name")?;
    let flags = ["-O1", "-fPIC"];
    let targets = targets();
    let folder = tempfile::tempdir()?;
    let mut keys = BTreeSet::new();
    for number in 0..DEFINITIONS {
        // A process for each definition, so that there are many packs, each with both targets in it.
        let store = FolderStore::open(folder.path())?;
        for target in &targets {
            let object = match target.machine {
                X86_64 => compile("gcc", "c", &text(number), &flags),
                _ => compile(program, "c", &text(number), &[first, &flags[..]].concat()),
            };
            let object = object.map_err(|error| error.to_string())?;
            let image = loader.prepare(&object, &["test"])?;
            assert_eq!(check(&image.bytes)?.machine(), target.machine);
            put(&store, target, number, &image)?;
            assert!(keys.insert(key(target, number)));
        }
        store.flush()?;
    }

    let runner = Runner::get()?;
    for merged in [false, true] {
        let store = FolderStore::open(folder.path())?;
        if merged {
            store.maintain()?;
            store.refresh()?;
        }
        for number in 0..DEFINITIONS {
            for target in &targets {
                let images = found(&store, key(target, number))?;
                let [image] = images.as_slice() else {
                    return Err(format!("{} images of one", images.len()).into());
                };
                assert_eq!(check(&image.bytes)?.machine(), target.machine);
                let expected = number as i64 * 1000 + i64::from(target.machine);
                // SAFETY: the image is of a test's source, if it is for this machine at all.
                let loaded = unsafe { loader.load(image.as_ref(), &Host::default()) };
                if cfg!(target_arch = "x86_64") && target.machine == X86_64 {
                    let test = function(&loaded?, "test").map_err(|error| error.to_string())?;
                    assert_eq!(test(), expected);
                    continue;
                }
                let error = loaded.err().ok_or("it is for another machine")?;
                assert!(error.is_damage());
                let found = match error {
                    LoadError::Image(ImageError::Machine { found, .. }) => found,
                    other => return Err(other.into()),
                };
                assert_eq!(found, AARCH64);
                let placed = runner.place(&image.bytes)?;
                assert_eq!(i64::from(runner.call(&placed, "test", 0)?), expected);
            }
        }
        assert_eq!(store.statistics().records as usize, 2 * DEFINITIONS);
    }
    Ok(())
}
