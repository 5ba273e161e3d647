//! What a record says beside its image: the manifest and the entry, used as they lie on disk.
//!
//! The types are archived by rkyv with little-endian, aligned primitives and 32-bit relative pointers,
//! and validated by bytecheck each time, on a copy whose checksum was right.

use crate::artifact::{Dependency, DependencyKind};
use crate::digest::Digest;
use crate::key::ObjectKey;
use rkyv::rancor;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

/// The version of the archived types below: a record of another version is a miss.
pub const METADATA_VERSION: u32 = 2;

/// Everything that a record holds beside its key and its image.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(derive(Debug))]
pub struct Metadata {
    /// What the code depended on, and the object key that this led to.
    pub manifest: Manifest,
    /// What was compiled.
    pub entry: Entry,
}

/// The dependencies that were recorded, and the object key they led to.
#[derive(Debug, Clone, Default, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(derive(Debug))]
pub struct Manifest {
    /// What the host's front end looked at on its way from the text to the unit, sorted.
    pub dependencies: Vec<DependencyRecord>,
    /// What the code was made of beside the unit: the compiler's own dependencies, and the modules that
    /// it was bound to; sorted.
    pub code_dependencies: Vec<DependencyRecord>,
    /// The object key: see [`ObjectKey`].
    pub object_key: [u8; 32],
}

/// A [`Dependency`] as it is kept.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(derive(Debug))]
pub struct DependencyRecord {
    /// The number of its kind; unknown numbers make the record stale.
    pub kind: u8,
    /// See [`Dependency::name`].
    pub name: String,
    /// See [`Dependency::scope`].
    pub scope: String,
    /// See [`Dependency::digest`].
    pub digest: [u8; 32],
}

/// What was compiled, and what a host has to know of it without reading it again.
#[derive(Debug, Clone, Default, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(derive(Debug))]
pub struct Entry {
    /// The definition's name; empty for a form that defines nothing by itself.
    pub name: String,
    /// The exported symbol that returns the definition's value.
    pub factory: String,
    /// Names that running the factory defines.
    pub defines: Vec<String>,
    /// Names that the code may define later, when it is called, with values that nothing records.
    pub defines_later: Vec<String>,
    /// Names of definitions that the code refers to.
    pub references: Vec<String>,
    /// The context that the form key holds.
    pub context: String,
    /// The [digest](crate::journal::text_digest) of the text that the form key holds.
    pub text_digest: [u8; 32],
    /// The digest of the [`Environment`](crate::key::Environment) that the form key holds.
    pub environment: [u8; 32],
    /// The digest of the unit.
    pub unit_digest: [u8; 32],
    /// The digest of the definition's analysed form, by which it may be found where its text is not; all
    /// zeros if the host gave none.
    pub canonical: [u8; 32],
    /// The digest of the object that the image was linked from.
    pub object_digest: [u8; 32],
    /// Nanoseconds from the start of the host's compile closure to the prepared image.
    pub compile_ns: u64,
    /// Seconds since 1970 when it was compiled.
    pub created: u64,
    /// The [`checksum`](crate::checksum) of the image.
    pub image_checksum: u64,
    /// What compiling did besides making code, in the order in which it did it.
    pub effects: Vec<EffectRecord>,
    /// The compiler's tables, which belong to the code.
    pub side_tables: Vec<SideTableRecord>,
    /// The host's tables, which belong to the text.
    pub host_tables: Vec<SideTableRecord>,
}

/// Something that compiling did besides making code, and that the host repeats on a hit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
#[rkyv(derive(Debug))]
pub struct EffectRecord {
    /// The host's word for what was done.
    pub kind: String,
    /// What it was done with, as the host encodes it.
    pub payload: Vec<u8>,
}

/// A side table as it is kept: see [`SideTable`](crate::artifact::SideTable).
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(derive(Debug))]
pub struct SideTableRecord {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Metadata {
    /// The archived bytes, aligned to 16.
    ///
    /// # Errors
    /// More than 2 GiB of metadata, which 32-bit relative pointers cannot span.
    pub fn to_bytes(&self) -> Result<AlignedVec, rancor::Error> {
        rkyv::to_bytes::<rancor::Error>(self)
    }

    /// Validates `bytes` and gives a view of them.
    ///
    /// # Errors
    /// Bytes that are no archived metadata, or are not aligned to 16.
    pub fn access(bytes: &[u8]) -> Result<&ArchivedMetadata, rancor::Error> {
        rkyv::access::<ArchivedMetadata, rancor::Error>(bytes)
    }
}

impl ArchivedEntry {
    /// Whether the record only leads from an analysed form to the record that has its code.
    pub fn is_pointer(&self) -> bool {
        self.factory.is_empty()
    }
}

impl ArchivedManifest {
    /// The object key that the dependencies led to.
    pub fn object_key(&self) -> ObjectKey {
        ObjectKey(Digest(self.object_key))
    }
}

impl ArchivedDependencyRecord {
    /// The kind, if this version knows it.
    pub fn kind(&self) -> Option<DependencyKind> {
        DependencyKind::from_number(self.kind)
    }

    /// The digest that the dependency had.
    pub fn digest(&self) -> Digest {
        Digest(self.digest)
    }
}

impl ArchivedDependencyRecord {
    /// The dependency as it was recorded; `None` if this version does not know its kind.
    pub fn to_dependency(&self) -> Option<Dependency> {
        Some(Dependency {
            kind: self.kind()?,
            name: self.name.as_str().to_owned(),
            scope: self.scope.as_str().to_owned(),
            digest: self.digest(),
        })
    }
}

impl From<&Dependency> for DependencyRecord {
    fn from(dependency: &Dependency) -> Self {
        Self {
            kind: dependency.kind.number(),
            name: dependency.name.clone(),
            scope: dependency.scope.clone(),
            digest: dependency.digest.0,
        }
    }
}
