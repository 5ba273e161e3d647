//! Records to put, and what comes back.

use rekindle_cache_core::artifact::{Dependency, DependencyKind, ImageRef};
use rekindle_cache_core::key::{FormKey, ObjectKey};
use rekindle_cache_core::metadata::{
    ArchivedMetadata, DependencyRecord, EffectRecord, Entry, Manifest, Metadata, NameRecord,
    NameRole, SideTableRecord,
};
use rekindle_cache_core::store::{
    Damage, FolderStore, Found, Limits, NewRecord, Options, Provenance, Store, StoreError,
};
use rekindle_cache_core::{Digest, checksum};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The key of records called `name`.
pub(crate) fn key(name: &str) -> FormKey {
    FormKey(Digest::of("test", name.as_bytes()))
}

/// A record of some name and version, with all of its metadata and image following from those.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) key: FormKey,
    pub(crate) metadata: Metadata,
    pub(crate) image: Vec<u8>,
}

impl Sample {
    pub(crate) fn new(name: &str, version: u64, size: usize) -> Self {
        let mut state = version.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let image: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .flatten()
        .take(size)
        .collect();
        let dependency = Dependency {
            kind: DependencyKind::Resolution,
            name: "inc".to_owned(),
            scope: "user".to_owned(),
            digest: Digest::of("test", b"dependency"),
        };
        Self {
            key: key(name),
            metadata: Metadata {
                manifest: Manifest {
                    dependencies: vec![DependencyRecord::of_form(&dependency)],
                    object_key: ObjectKey(Digest::of("test", &version.to_le_bytes())).0.0,
                },
                entry: Entry {
                    name: name.to_owned(),
                    factory: "make".to_owned(),
                    names: [
                        (NameRole::Defined, name),
                        (NameRole::Referred, "user/other"),
                    ]
                    .map(|(role, name)| NameRecord {
                        role,
                        name: name.to_owned(),
                    })
                    .to_vec(),
                    environment: [8; 32],
                    object_digest: [9; 32],
                    compile_ns: version,
                    created: 0,
                    image_checksum: checksum(&image),
                    effects: vec![EffectRecord {
                        kind: "intern".to_owned(),
                        payload: name.as_bytes().to_owned(),
                    }],
                    side_tables: vec![SideTableRecord {
                        is_of_host: false,
                        name: "traps".to_owned(),
                        bytes: vec![1, 2, 3],
                    }],
                    ..Entry::default()
                },
            },
            image,
        }
    }

    pub(crate) fn put(&self, store: &dyn Store) -> Result<(), StoreError> {
        self.put_from(store, Provenance::OWN)
    }

    pub(crate) fn put_from(
        &self,
        store: &dyn Store,
        provenance: Provenance,
    ) -> Result<(), StoreError> {
        store.put(NewRecord {
            key: self.key,
            metadata: &self.metadata,
            image: ImageRef {
                bytes: &self.image,
                checksum: self.metadata.entry.image_checksum,
            },
            provenance,
        })
    }
}

/// Opens a store without bounds.
pub(crate) fn open(folder: &Path) -> FolderStore {
    open_with(folder, Limits::NONE)
}

pub(crate) fn open_with(folder: &Path, limits: Limits) -> FolderStore {
    let options = Options {
        limits,
        ..Options::default()
    };
    FolderStore::open_with(folder, options).expect("opens")
}

pub(crate) fn put(store: &FolderStore, name: &str, version: u64, size: usize) {
    Sample::new(name, version, size).put(store).expect("put");
}

/// The names of all records, in the order in which a store shows them.
pub(crate) fn names(store: &FolderStore) -> Vec<String> {
    let all = Seen::all(store).records;
    all.into_iter()
        .map(|record| record.metadata.entry.name)
        .collect()
}

/// What a look-up showed.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) records: Vec<SeenRecord>,
    pub(crate) damage: Vec<Damage>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct SeenRecord {
    pub(crate) key: FormKey,
    pub(crate) metadata: Metadata,
    pub(crate) image: Vec<u8>,
    /// Whether the image has the checksum that a loader would hold it against.
    pub(crate) image_is_right: bool,
}

impl Seen {
    pub(crate) fn of(store: &dyn Store, name: &str) -> Self {
        let mut seen = Self::default();
        store.get(&key(name), &mut |found| seen.note(&found));
        seen
    }

    pub(crate) fn all(store: &dyn Store) -> Self {
        let mut seen = Self::default();
        store.for_each(&mut |found| seen.note(&found));
        seen
    }

    /// The versions that were given to [`Sample::new`], in the order in which they were shown.
    pub(crate) fn versions(&self) -> Vec<u64> {
        self.records
            .iter()
            .map(|record| record.metadata.entry.compile_ns)
            .collect()
    }

    fn note(&mut self, found: &Found<'_>) -> ControlFlow<()> {
        match found {
            Found::Record(record) => self.records.push(SeenRecord {
                key: record.key,
                metadata: owned(record.metadata),
                image: record.image.bytes.to_vec(),
                image_is_right: checksum(record.image.bytes) == record.image.checksum,
            }),
            Found::Damaged(damage) => self.damage.push((*damage).clone()),
            _ => panic!("neither record nor damage"),
        }
        ControlFlow::Continue(())
    }
}

fn owned(metadata: &ArchivedMetadata) -> Metadata {
    rkyv::deserialize::<Metadata, rkyv::rancor::Error>(metadata).expect("valid metadata")
}

/// The files in the folder of the store's version that end in `extension`.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder.join("v3"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}
