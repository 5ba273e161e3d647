//! What a record says beside its image: the manifest and the entry, used as they lie on disk.
//!
//! The types are archived by rkyv with little-endian, aligned primitives and 32-bit relative pointers,
//! and validated by bytecheck each time, on a copy whose checksum was right. Each list and each longer
//! string costs the validation some 70 instructions even if it is empty, on every look-up: so lists of
//! the same type are one list, whose elements say what they are.

use crate::artifact::{Dependency, DependencyKind};
use crate::digest::Digest;
use crate::key::ObjectKey;
use rkyv::rancor;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

/// The version of the archived types below: a record of another version is a miss.
pub const METADATA_VERSION: u32 = 4;

/// The [tier](Entry::tier) of code that the environment's compiler made.
pub const BASE: u8 = 0;

/// The [tier](Entry::tier) of code that the environment's better compiler made.
pub const BETTER: u8 = 1;

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
    /// What the host's front end looked at on its way from the text to the unit, sorted; then what the code
    /// was made of beside the unit, sorted: the compiler's own dependencies, and the modules that it was
    /// bound to.
    pub dependencies: Vec<DependencyRecord>,
    /// The object key: see [`ObjectKey`].
    pub object_key: [u8; 32],
}

/// A [`Dependency`] as it is kept.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(derive(Debug))]
pub struct DependencyRecord {
    /// The number of its kind; unknown numbers make the record stale.
    pub kind: u8,
    /// Whether the code depends on it, and not only the way from the text to the unit.
    pub is_of_code: bool,
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
    /// The names of definitions that it has to do with.
    pub names: Vec<NameRecord>,
    /// The context that the form key holds.
    pub context: String,
    /// The [digest](crate::journal::text_digest) of the text that the form key holds.
    pub text_digest: [u8; 32],
    /// The digest of the [`Environment`](crate::key::Environment) that the form key holds.
    pub environment: [u8; 32],
    /// The digest of the unit, or one that its analysed form led to.
    pub unit_digest: [u8; 32],
    /// The digest of the definition's analysed form, by which it may be found where its text is not; all
    /// zeros if the host gave none.
    pub canonical: [u8; 32],
    /// The digest of the object by which the code's behaviour is known: the one that the image was linked from,
    /// and for better code the one that it stands in for.
    pub object_digest: [u8; 32],
    /// Nanoseconds from the start of the host's compile closure to the prepared image; for better code, of the
    /// one that it stands in for: what is spared by either.
    pub compile_ns: u64,
    /// Which of the environment's compilers made it: [`BASE`] or [`BETTER`].
    pub tier: u8,
    /// Seconds since 1970 when it was compiled.
    pub created: u64,
    /// The [`checksum`](crate::checksum) of the image.
    pub image_checksum: u64,
    /// What compiling did besides making code, in the order in which it did it.
    pub effects: Vec<EffectRecord>,
    /// The compiler's tables, which belong to the code, and then the host's, which belong to the text.
    pub side_tables: Vec<SideTableRecord>,
}

/// What a definition has to do with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[rkyv(derive(Debug, Clone, Copy, PartialEq, Eq))]
#[repr(u8)]
pub enum NameRole {
    /// Running the factory defines it.
    Defined,
    /// The code may define it later, when it is called, with values that nothing records.
    DefinedLater,
    /// The code refers to it.
    Referred,
}

/// A name of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[rkyv(derive(Debug))]
pub struct NameRecord {
    /// What the definition has to do with it.
    pub role: NameRole,
    /// The name itself, qualified as the host does.
    pub name: String,
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
    /// Whether it is the host's.
    pub is_of_host: bool,
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

impl NameRecord {
    /// The records of `names`, which all have this role.
    pub fn list(role: NameRole, names: &[String]) -> impl Iterator<Item = Self> + use<'_> {
        let record = move |name: &String| Self {
            role,
            name: name.clone(),
        };
        names.iter().map(record)
    }
}

impl ArchivedEntry {
    /// The names that have this role.
    pub fn names(&self, role: NameRole) -> impl Iterator<Item = &str> {
        let wanted = ArchivedNameRole::from(role);
        let names = self.names.iter().filter(move |name| name.role == wanted);
        names.map(|name| name.name.as_str())
    }

    /// The compiler's tables.
    pub fn code_tables(&self) -> impl Iterator<Item = &ArchivedSideTableRecord> {
        self.side_tables.iter().filter(|table| !table.is_of_host)
    }

    /// Whether the record only leads from an analysed form to the record that has its code.
    pub fn is_pointer(&self) -> bool {
        self.factory.is_empty()
    }
}

impl From<NameRole> for ArchivedNameRole {
    fn from(role: NameRole) -> Self {
        match role {
            NameRole::Defined => Self::Defined,
            NameRole::DefinedLater => Self::DefinedLater,
            NameRole::Referred => Self::Referred,
        }
    }
}

impl ArchivedManifest {
    /// What the code was made of beside the unit.
    pub fn code_dependencies(&self) -> impl Iterator<Item = &ArchivedDependencyRecord> + Clone {
        let all = self.dependencies.iter();
        all.filter(|dependency| dependency.is_of_code)
    }

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

impl ArchivedMetadata {
    /// The metadata as it was before it was archived.
    ///
    /// # Errors
    /// None that is known for metadata that is valid.
    pub fn to_metadata(&self) -> Result<Metadata, rancor::Error> {
        rkyv::deserialize::<Metadata, rancor::Error>(self)
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

impl DependencyRecord {
    /// What is kept of a dependency of the way from the text to the unit.
    pub fn of_form(dependency: &Dependency) -> Self {
        Self {
            kind: dependency.kind.number(),
            is_of_code: false,
            name: dependency.name.clone(),
            scope: dependency.scope.clone(),
            digest: dependency.digest.0,
        }
    }

    /// The dependency; `None` if this version does not know its kind.
    pub fn dependency(&self) -> Option<Dependency> {
        Some(Dependency {
            kind: DependencyKind::from_number(self.kind)?,
            name: self.name.clone(),
            scope: self.scope.clone(),
            digest: Digest(self.digest),
        })
    }

    /// What is kept of a dependency of the code.
    pub fn of_code(dependency: &Dependency) -> Self {
        Self {
            is_of_code: true,
            ..Self::of_form(dependency)
        }
    }
}
