//! What is kept of a definition that was compiled, or found by its analysed form.

use crate::cache::{Backend, Session};
use crate::compilation::Compilation;
use crate::kept::Kept;
use crate::recorder::Recorded;
use crate::watch::Origin;
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{
    Compiled, Dependency, DependencyKind, Hasher, Image, SideTable,
};
use rekindle_cache_core::journal::text_digest;
use rekindle_cache_core::key::{Definition, FormKey};
use rekindle_cache_core::metadata::{
    DependencyRecord, Entry, Manifest, Metadata, NameRecord, NameRole, SideTableRecord,
};
use rekindle_cache_core::store::{NewRecord, Provenance, Record};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A definition whose front end has run.
pub(crate) struct Fresh<'a> {
    pub(crate) definition: &'a Definition<'a>,
    pub(crate) key: FormKey,
    pub(crate) recorded: Recorded,
    /// The digest of its analysed form, if the host gave one.
    pub(crate) canonical: Option<Digest>,
    /// When its front end was started.
    pub(crate) began: Instant,
}

/// Code, and what it was made of beside the unit.
pub(crate) struct Known {
    pub(crate) image: Image,
    /// `None` if a module cannot be told from other builds, so that the code must not be kept.
    dependencies: Option<Vec<Dependency>>,
    side_tables: Vec<SideTableRecord>,
    unit: Digest,
    object: Digest,
    /// What compiling it took, if that was in another process.
    compile_ns: u64,
    /// Who vouches for it.
    provenance: Provenance,
}

impl Known {
    /// The code of a record. `None` if its dependencies are of a newer version, or its image is damaged.
    pub(crate) fn of(record: &Record<'_>) -> Option<Self> {
        let metadata = record.metadata;
        let dependencies = metadata.manifest.code_dependencies();
        let dependencies: Option<_> = dependencies
            .map(rekindle_cache_core::metadata::ArchivedDependencyRecord::to_dependency)
            .collect();
        let image = Image::new(record.image.bytes.to_owned());
        let side_tables = metadata.entry.code_tables();
        let side_tables = side_tables.map(|table| SideTableRecord {
            is_of_host: false,
            name: table.name.as_str().to_owned(),
            bytes: table.bytes.to_vec(),
        });
        let known = Self {
            side_tables: side_tables.collect(),
            dependencies: Some(dependencies?),
            unit: Digest(metadata.entry.unit_digest),
            object: Digest(metadata.entry.object_digest),
            compile_ns: metadata.entry.compile_ns.to_native(),
            provenance: record.provenance,
            image,
        };
        (known.image.checksum == record.image.checksum).then_some(known)
    }
}

impl<B: Backend> Session<B> {
    /// Code that was compiled and loaded just now, bound to `libraries`.
    pub(crate) fn known(
        &self,
        compiled: Compiled,
        image: Image,
        libraries: &[String],
        unit: Digest,
        object: Digest,
    ) -> Known {
        let modules = libraries.iter().map(|library| {
            Some(Dependency {
                kind: DependencyKind::Module,
                name: library.clone(),
                scope: String::new(),
                digest: self.cache.process.identity(library)?,
            })
        });
        let modules: Option<Vec<_>> = modules.collect();
        let dependencies = modules.map(|mut modules| {
            modules.extend(compiled.dependencies);
            modules.sort();
            modules
        });
        Known {
            image,
            dependencies,
            side_tables: (compiled.object.side_tables.iter())
                .map(|table| record(table, false))
                .collect(),
            unit,
            object,
            compile_ns: 0,
            provenance: Provenance::OWN,
        }
    }

    /// Keeps code that was compiled for this definition, to be found by its text and by its analysed form.
    pub(crate) fn keep(
        &self,
        kept: &Kept,
        fresh: Fresh<'_>,
        compilation: &Compilation<()>,
        known: Known,
    ) {
        let (key, canonical) = (fresh.key, fresh.canonical);
        let origin = Origin {
            key,
            image: known.image.checksum,
        };
        let name = fresh.definition.name.to_owned();
        if !self.keep_known(kept, fresh, compilation, known) {
            return;
        }
        kept.note_compiled(&origin);
        let Some(canonical) = canonical else {
            return;
        };
        let pointer = Image::new(key.0.0.to_vec());
        let metadata = Metadata {
            manifest: Manifest::default(),
            entry: Entry {
                name,
                environment: self.cache.environment.digest().0,
                canonical: canonical.0,
                created: seconds_since_1970(),
                image_checksum: pointer.checksum,
                ..Entry::default()
            },
        };
        kept.put(NewRecord {
            key: self.cache.environment.canonical_key(&canonical),
            metadata: &metadata,
            image: pointer.as_ref(),
            provenance: Provenance::OWN,
        });
    }

    /// Keeps code for this definition, to be found by its text; `false` if it must not be kept.
    pub(crate) fn keep_known<U>(
        &self,
        kept: &Kept,
        fresh: Fresh<'_>,
        compilation: &Compilation<U>,
        known: Known,
    ) -> bool {
        let Some(code_dependencies) = known.dependencies else {
            tracing::debug!("not kept: the build of a library cannot be told");
            return false;
        };
        let dependencies = fresh.recorded.dependencies;
        let all: Vec<_> = (dependencies.iter().chain(&code_dependencies).cloned()).collect();
        let elapsed = u64::try_from(fresh.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let object_key = self.cache.environment.object_key(&known.unit, &all);
        let metadata = Metadata {
            manifest: Manifest {
                dependencies: (dependencies.iter().map(DependencyRecord::of_form))
                    .chain(code_dependencies.iter().map(DependencyRecord::of_code))
                    .collect(),
                object_key: object_key.0.0,
            },
            entry: Entry {
                name: fresh.definition.name.to_owned(),
                factory: compilation.factory.clone(),
                names: NameRecord::list(NameRole::Defined, &compilation.defines)
                    .chain(NameRecord::list(
                        NameRole::DefinedLater,
                        &compilation.defines_later,
                    ))
                    .chain(NameRecord::list(
                        NameRole::Referred,
                        &compilation.references,
                    ))
                    .collect(),
                context: fresh.definition.context.to_owned(),
                text_digest: text_digest(fresh.definition.text).0,
                environment: self.cache.environment.digest().0,
                unit_digest: known.unit.0,
                canonical: fresh.canonical.map_or([0; 32], |canonical| canonical.0),
                object_digest: known.object.0,
                compile_ns: elapsed.max(known.compile_ns),
                created: seconds_since_1970(),
                image_checksum: known.image.checksum,
                effects: fresh.recorded.effects,
                side_tables: (known.side_tables.into_iter())
                    .chain(
                        compilation
                            .side_tables
                            .iter()
                            .map(|table| record(table, true)),
                    )
                    .collect(),
            },
        };
        kept.put(NewRecord {
            key: fresh.key,
            metadata: &metadata,
            image: known.image.as_ref(),
            provenance: known.provenance,
        });
        if let Some(explainer) = &self.cache.explainer {
            explainer.note(fresh.definition, &self.cache.environment);
        }
        true
    }
}

fn record(table: &SideTable, is_of_host: bool) -> SideTableRecord {
    SideTableRecord {
        is_of_host,
        name: table.name.clone(),
        bytes: table.bytes.clone(),
    }
}

fn seconds_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}
