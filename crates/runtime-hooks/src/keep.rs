//! What is kept of a definition that was compiled, or found by its analysed form: gathered by the evaluating
//! thread, and made a record by the worker.

use crate::asked::{Asked, Copied};
use crate::cache::{Backend, Session};
use crate::compilation::Compilation;
use crate::kept::Kept;
use crate::recorder::Recorded;
use crate::watch::Origin;
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{
    Compiled, Dependency, DependencyKind, Hasher, Image, SideTable,
};
use rekindle_cache_core::key::{Environment, FormKey};
use rekindle_cache_core::metadata::{
    BASE, DependencyRecord, Entry, Manifest, Metadata, NameRecord, NameRole, SideTableRecord,
};
use rekindle_cache_core::store::{NewRecord, Provenance, Record, Store, StoreError};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A definition whose front end has run.
pub(crate) struct Fresh<'a> {
    pub(crate) asked: &'a Asked<'a>,
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
    /// Which compiler made it.
    tier: u8,
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
            tier: metadata.entry.tier,
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
            side_tables: (compiled.object.side_tables.into_iter())
                .map(|table| record(table, false))
                .collect(),
            unit,
            object,
            compile_ns: 0,
            tier: BASE,
            provenance: Provenance::OWN,
        }
    }

    /// Keeps code that was compiled for this definition, to be found by its text and by its analysed form.
    pub(crate) fn keep(
        &self,
        kept: &Kept,
        fresh: Fresh<'_>,
        compilation: Compilation<()>,
        known: Known,
    ) {
        let origin = Origin {
            key: fresh.key,
            image: known.image.checksum,
        };
        let canonical = fresh.canonical;
        let Some(mut unmade) = self.unmade(fresh, compilation, known) else {
            return;
        };
        unmade.pointer = canonical.map(|canonical| {
            let key = self.cache.environment.canonical_key(&canonical);
            (key, canonical)
        });
        kept.put(unmade);
        kept.note_compiled(&origin);
    }

    /// Keeps code that is kept already for this definition as well, to be found by its text.
    pub(crate) fn keep_known(
        &self,
        kept: &Kept,
        fresh: Fresh<'_>,
        compilation: Compilation<()>,
        known: Known,
    ) {
        if let Some(unmade) = self.unmade(fresh, compilation, known) {
            kept.put(unmade);
        }
    }

    /// What a record is made of; `None` if the code must not be kept.
    fn unmade(
        &self,
        fresh: Fresh<'_>,
        compilation: Compilation<()>,
        known: Known,
    ) -> Option<Unmade> {
        if known.dependencies.is_none() {
            tracing::debug!("not kept: the build of a library cannot be told");
            return None;
        }
        if let Some(explainer) = &self.cache.explainer {
            explainer.note(&fresh.asked.definition, &self.cache.environment);
        }
        let elapsed = u64::try_from(fresh.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Some(Unmade {
            environment: Arc::clone(&self.cache.environment),
            definition: fresh.asked.copy(),
            key: fresh.key,
            recorded: fresh.recorded,
            canonical: fresh.canonical,
            compile_ns: elapsed.max(known.compile_ns),
            compilation,
            known,
            pointer: None,
        })
    }
}

/// All that goes into a record.
pub(crate) struct Unmade {
    environment: Arc<Environment>,
    definition: Arc<Copied>,
    key: FormKey,
    recorded: Recorded,
    canonical: Option<Digest>,
    compile_ns: u64,
    compilation: Compilation<()>,
    known: Known,
    /// The key of the record that leads here from the analysed form, if there is to be one, and the form.
    pointer: Option<(FormKey, Digest)>,
}

impl Unmade {
    /// The keys under which something will be found.
    pub(crate) fn keys(&self) -> impl Iterator<Item = FormKey> {
        let pointer = self.pointer.as_ref().map(|(key, _)| *key);
        std::iter::once(self.key).chain(pointer)
    }

    /// About how many bytes it is.
    pub(crate) fn bytes(&self) -> usize {
        let tables = self.compilation.side_tables.iter();
        let tables: usize = tables.map(|table| table.bytes.len()).sum();
        size_of::<Self>() + self.definition.len() + self.known.image.bytes.len() + tables
    }

    /// Makes the record and puts it into the memory of `store`, and then the one that leads to it.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn put_into(self, store: &dyn Store) -> Result<(), StoreError> {
        let Self {
            environment,
            definition: copied,
            key,
            recorded,
            canonical,
            compile_ns,
            compilation,
            known,
            pointer,
        } = self;
        let definition = copied.definition();
        let created = seconds_since_1970();
        let code_dependencies = known.dependencies.unwrap_or_default();
        let dependencies = recorded.dependencies;
        let all = dependencies.iter().chain(&code_dependencies);
        let object_key = environment.object_key(&known.unit, all);
        let own = known.side_tables.into_iter();
        let hosts = compilation.side_tables.into_iter();
        let metadata = Metadata {
            manifest: Manifest {
                dependencies: (dependencies.iter().map(DependencyRecord::of_form))
                    .chain(code_dependencies.iter().map(DependencyRecord::of_code))
                    .collect(),
                object_key: object_key.0.0,
            },
            entry: Entry {
                name: definition.name.to_owned(),
                factory: compilation.factory,
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
                context: definition.context.to_owned(),
                text_digest: copied.text_digest().0,
                environment: environment.digest().0,
                unit_digest: known.unit.0,
                canonical: canonical.map_or([0; 32], |canonical| canonical.0),
                object_digest: known.object.0,
                compile_ns,
                tier: known.tier,
                created,
                image_checksum: known.image.checksum,
                effects: recorded.effects,
                side_tables: own.chain(hosts.map(|table| record(table, true))).collect(),
            },
        };
        store.put_in_memory(NewRecord {
            key,
            metadata: &metadata,
            image: known.image.as_ref(),
            provenance: known.provenance,
        })?;
        let Some((pointer_key, canonical)) = pointer else {
            return Ok(());
        };
        let pointer = Image::new(key.0.0.to_vec());
        let metadata = Metadata {
            manifest: Manifest::default(),
            entry: Entry {
                name: definition.name.to_owned(),
                environment: environment.digest().0,
                canonical: canonical.0,
                created,
                image_checksum: pointer.checksum,
                ..Entry::default()
            },
        };
        store.put_in_memory(NewRecord {
            key: pointer_key,
            metadata: &metadata,
            image: pointer.as_ref(),
            provenance: Provenance::OWN,
        })
    }
}

fn record(table: SideTable, is_of_host: bool) -> SideTableRecord {
    SideTableRecord {
        is_of_host,
        name: table.name,
        bytes: table.bytes,
    }
}

pub(crate) fn seconds_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rekindle_cache_core::key::Definition;

    /// A definition of `name` that was compiled to `code`, whose analysed form is its name.
    pub(crate) fn unmade(name: &str, code: &[u8]) -> Unmade {
        let environment = Arc::new(Environment::new("test").finish());
        let definition = Definition {
            name,
            text: name,
            context: "",
        };
        let key = environment.form_key(&definition);
        let form = Digest::of("form", name.as_bytes());
        let pointer = environment.canonical_key(&form);
        Unmade {
            definition: Arc::new(Copied::of(&definition)),
            key,
            recorded: Recorded {
                dependencies: Vec::new(),
                effects: Vec::new(),
                bypass: None,
            },
            canonical: Some(form),
            compile_ns: 1,
            compilation: Compilation {
                unit: ().into(),
                factory: "factory".to_owned(),
                defines: vec![name.to_owned()],
                defines_later: Vec::new(),
                references: Vec::new(),
                side_tables: Vec::new(),
            },
            known: Known {
                image: Image::new(code.to_vec()),
                dependencies: Some(Vec::new()),
                side_tables: Vec::new(),
                unit: form,
                object: form,
                compile_ns: 0,
                tier: BASE,
                provenance: Provenance::OWN,
            },
            pointer: Some((pointer, form)),
            environment,
        }
    }
}
