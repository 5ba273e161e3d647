//! Code that is in the process already, for a definition that is evaluated again.
//!
//! Loading the image again would give the same code where nothing of it can differ: the image has no
//! memory of its own and runs nothing when it is loaded, and each word that it is bound to is what it was. The
//! first the loader knows; of the second the registered table and the process's modules are sure, and the host says
//! so by its [generation](crate::Host::generation), without which nothing is shared. The generation also vouches for
//! the host's other answers, so that dependencies are known to stand as long as three numbers do:
//! the host's generation, the session's (no digest of a behaviour that somebody asked for was given up)
//! and the validation epoch's. Then the hit takes neither a key nor a look at the store.
//!
//! If only the host's number stands, dependencies are checked as on any hit, and the code is shared after
//! that. Tables are given and effects are repeated each time.
//!
//! A definition's text is compared to the byte, and what is kept here lives as long as its code would.

use crate::cache::{Backend, Session};
use crate::evaluate::{Loaded, Names, Running};
use crate::host::Host;
use rekindle_cache_core::artifact::{Code, DependencyKind, Loader};
use rekindle_cache_core::checksum;
use rekindle_cache_core::key::Definition;
use rekindle_cache_core::metadata::ArchivedMetadata;
use rustc_hash::FxHashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// The code of a session that may be shared, by a hash of its definition.
pub(crate) struct Shared<B: Backend> {
    entries: Mutex<FxHashMap<u64, Entry<B>>>,
}

struct Entry<B: Backend> {
    stamp: Stamp,
    code: Arc<SharedCode<B>>,
}

/// Code, and what is done with it each time.
pub(crate) struct SharedCode<B: Backend> {
    pub(crate) code: <B::Loader as Loader>::Code,
    /// The address of the factory.
    pub(crate) factory: usize,
    pub(crate) names: Names,
    /// The name, the text, the context; then side tables and effects, as pairs.
    said: Fields,
    tables: u32,
    compile_ns: u64,
    tier: u8,
}

/// The numbers that stand as long as nothing that code was checked against has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    host: u64,
    verdicts: u64,
    epoch: u64,
}

/// Code that an evaluation has, alone or with others.
pub(crate) enum Held<B: Backend> {
    Own(Loaded<B>),
    Shared(Arc<SharedCode<B>>),
}

impl<B: Backend> Held<B> {
    pub(crate) fn factory(&self) -> *const u8 {
        match self {
            Self::Own(loaded) => loaded.factory,
            Self::Shared(shared) => shared.factory as *const u8,
        }
    }

    pub(crate) fn names(&self) -> &Names {
        match self {
            Self::Own(loaded) => &loaded.names,
            Self::Shared(shared) => &shared.names,
        }
    }

    /// Which compiler made it.
    pub(crate) fn tier(&self) -> u8 {
        match self {
            Self::Own(loaded) => loaded.tier,
            Self::Shared(shared) => shared.tier,
        }
    }

    pub(crate) fn symbol(&self, name: &str) -> Option<*const u8> {
        match self {
            Self::Shared(shared) => shared.code.symbol(name),
            Self::Own(loaded) => match &loaded.running {
                Running::Kept(code) => code.symbol(name),
                Running::Unkept(code) => code.symbol(name),
            },
        }
    }
}

impl<B: Backend> Default for Shared<B> {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
        }
    }
}

impl<B: Backend> Shared<B> {
    /// The code of `definition`, if `is_right` says so of when it was checked.
    fn find(
        &self,
        definition: &Definition<'_>,
        is_right: impl FnOnce(&mut Entry<B>) -> bool,
    ) -> Option<Arc<SharedCode<B>>> {
        let mut entries = crate::lock(&self.entries);
        let entry = entries.get_mut(&hash(definition))?;
        let is_it = is_right(entry) && entry.code.is_of(definition);
        is_it.then(|| Arc::clone(&entry.code))
    }
}

/// Finds a definition's entry. Entries are compared to the byte, so that it may be a weak one.
fn hash(definition: &Definition<'_>) -> u64 {
    checksum(definition.text.as_bytes()) ^ checksum(definition.name.as_bytes()).rotate_left(32)
}

impl<B: Backend> Session<B> {
    /// The numbers of this moment; `None` if the host does not vouch for its answers.
    pub(crate) fn stamp(&self, host: &dyn Host) -> Option<Stamp> {
        Some(Stamp {
            host: host.generation()?,
            verdicts: self.verdicts.load(Ordering::Acquire),
            epoch: self.outside.epoch(),
        })
    }

    /// The code of an equal definition, if nothing has changed since that was checked. Its tables are given
    /// and its effects repeated.
    pub(crate) fn share(
        &self,
        definition: &Definition<'_>,
        host: &dyn Host,
    ) -> Option<Arc<SharedCode<B>>> {
        let now = self.stamp(host)?;
        let code = self.shared.find(definition, |entry| entry.stamp == now)?;
        // Otherwise the look-up goes on to say what could not be repeated.
        code.repeat(host).then_some(code)
    }

    /// The code of an equal definition whose dependencies have been checked since `checked`, made of the
    /// object of this record.
    pub(crate) fn share_checked(
        &self,
        definition: &Definition<'_>,
        checked: Stamp,
        metadata: &ArchivedMetadata,
    ) -> Option<Arc<SharedCode<B>>> {
        self.shared.find(definition, |entry| {
            let is_right = entry.stamp.host == checked.host
                && entry.code.names.object.0 == metadata.entry.object_digest
                && entry.code.tier == metadata.entry.tier;
            if is_right {
                entry.stamp = checked;
            }
            is_right
        })
    }

    /// Lets `loaded` be shared by equal definitions from now on, if it can be: what it hangs on was looked
    /// at since `checked`.
    pub(crate) fn let_share(
        &self,
        definition: &Definition<'_>,
        loaded: Loaded<B>,
        checked: Stamp,
        metadata: &ArchivedMetadata,
        host: &dyn Host,
    ) -> Held<B> {
        // Whoever loads a module of the same name may make a dependency on it void, which no number tells.
        let has_module = (metadata.manifest.dependencies.iter())
            .any(|dependency| dependency.kind() == Some(DependencyKind::Module));
        if has_module || self.stamp(host) != Some(checked) {
            return Held::Own(loaded);
        }
        let code = match loaded.running {
            Running::Kept(code) if code.may_be_shared() => code,
            running => return Held::Own(Loaded { running, ..loaded }),
        };
        let (factory, names) = (loaded.factory as usize, loaded.names);
        let code = Arc::new(SharedCode::new(definition, code, factory, names, metadata));
        let entry = Entry {
            stamp: checked,
            code: Arc::clone(&code),
        };
        crate::lock(&self.shared.entries).insert(hash(definition), entry);
        Held::Shared(code)
    }
}

impl<B: Backend> SharedCode<B> {
    fn new(
        definition: &Definition<'_>,
        code: <B::Loader as Loader>::Code,
        factory: usize,
        names: Names,
        metadata: &ArchivedMetadata,
    ) -> Self {
        let entry = &metadata.entry;
        let of_definition = [definition.name, definition.text, definition.context];
        let of_definition = of_definition.into_iter().map(str::as_bytes);
        let tables = (entry.side_tables.iter())
            .flat_map(|table| [table.name.as_bytes(), table.bytes.as_slice()]);
        let effects = (entry.effects.iter())
            .flat_map(|effect| [effect.kind.as_bytes(), effect.payload.as_slice()]);
        Self {
            code,
            factory,
            names,
            said: Fields::new(of_definition.chain(tables).chain(effects)),
            tables: u32::try_from(entry.side_tables.len()).unwrap_or(u32::MAX),
            compile_ns: entry.compile_ns.to_native(),
            tier: entry.tier,
        }
    }

    /// What compiling it took, when it was compiled.
    pub(crate) fn compile_ns(&self) -> u64 {
        self.compile_ns
    }

    fn is_of(&self, definition: &Definition<'_>) -> bool {
        let of_definition = [definition.name, definition.text, definition.context];
        let mut said = self.said.iter();
        (of_definition.iter()).all(|field| said.next() == Some(field.as_bytes()))
    }

    /// Gives the tables and repeats the effects; `false` if one of these could not be repeated.
    pub(crate) fn repeat(&self, host: &dyn Host) -> bool {
        let mut said = self.said.iter().skip(3);
        let mut pair = || {
            let name = std::str::from_utf8(said.next()?).ok()?;
            Some((name, said.next()?))
        };
        for _ in 0..self.tables {
            if let Some((name, bytes)) = pair() {
                host.side_table(name, bytes);
            }
        }
        while let Some((kind, payload)) = pair() {
            if !host.replay(kind, payload) {
                return false;
            }
        }
        true
    }
}

/// Byte strings in one piece of memory, each after its length, in groups of seven bits from the lowest.
struct Fields(Box<[u8]>);

impl Fields {
    fn new<'f>(fields: impl Iterator<Item = &'f [u8]> + Clone) -> Self {
        let groups =
            |length: usize| (usize::BITS - (length | 1).leading_zeros()).div_ceil(7) as usize;
        let length = fields
            .clone()
            .map(|field| groups(field.len()) + field.len());
        let mut bytes = Vec::with_capacity(length.sum());
        for field in fields {
            let mut length = field.len();
            while length >= 0x80 {
                bytes.push(length as u8 | 0x80);
                length >>= 7;
            }
            bytes.push(length as u8);
            bytes.extend_from_slice(field);
        }
        Self(bytes.into_boxed_slice())
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let mut length = 0;
            for shift in (0..usize::BITS).step_by(7) {
                let (&group, after) = rest.split_first()?;
                rest = after;
                length |= usize::from(group & 0x7f) << shift;
                if group < 0x80 {
                    break;
                }
            }
            let (field, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(field)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were() {
        let fields: [&[u8]; 6] = [b"one", b"", b"three", &[1; 127], &[2; 128], &[3; 70_000]];
        let packed = Fields::new(fields.into_iter());
        assert!(packed.iter().eq(fields));
        assert_eq!(Fields::new([].into_iter()).iter().count(), 0);
    }
}
