//! What is one per process, although every image that needs it has a copy.
//!
//! The canonical copy of a variable is the host's, if it has one: what its `Symbols` give, then what a
//! module of the process exports. Else it is that of the image that was loaded first, which then stays
//! for good. A later image uses it if name, size and contents are the same. Where they are not, code
//! was compiled from different sources, and the image keeps to its own copy.
//!
//! The lock is held from the decision that a copy becomes canonical until it is in place, so that
//! nobody uses it before; and at no time while the host is asked for anything.

use crate::error::LoadError;
use crate::image::format::Shared;
use crate::image::read::{Description, ImportedName};
use crate::memory::process::{ProcessImport, ProcessSymbols, second_hash};
use crate::modules::{Modules, Query, size_of_symbol};
use crate::resolve::Host;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What variables of loaded images turned out to be. Every load counts, each variable once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SharingStatistics {
    /// Another image's or the host's copy is used.
    pub shared: u64,
    /// The image's copy became the canonical one, so that the image stays for good.
    pub canonical: u64,
    /// There is a canonical copy of another size or of other contents: the image keeps to its own.
    pub private: u64,
}

/// The canonical copies of a loader, by the hashes of their names.
#[derive(Default)]
pub(crate) struct Registry {
    known: Mutex<FxHashMap<u64, Known>>,
    modules: Modules,
    shared: AtomicU64,
    canonical: AtomicU64,
    private: AtomicU64,
}

#[derive(Clone, Copy)]
struct Known {
    /// Of the name: see [`process`](crate::memory::process).
    second_hash: u64,
    size: u32,
    /// `None` for a module's, whose initial contents are gone.
    content: Option<u64>,
    address: u64,
    source: Source,
}

/// Where a copy is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Host,
    Module,
    /// The image with this base.
    Image(u64),
}

/// What a variable of an image turns out to be.
#[derive(Clone, Copy)]
struct Choice {
    source: Option<Source>,
    address: u64,
    /// Not the canonical one, as that is something else.
    differs: bool,
    /// It is in the registry, so that it need not be put there.
    is_known: bool,
}

const OPEN: Choice = Choice {
    source: None,
    address: 0,
    differs: false,
    is_known: false,
};

impl Registry {
    /// What a child goes on with: all that was canonical when it was made, if nobody was just changing it.
    pub(crate) fn inherited(&self) -> Self {
        let known = self.known.try_lock().map(|known| known.clone());
        Self {
            known: Mutex::new(known.unwrap_or_default()),
            ..Self::default()
        }
    }

    /// The counts so far.
    pub(crate) fn statistics(&self) -> SharingStatistics {
        SharingStatistics {
            shared: self.shared.load(Ordering::Relaxed),
            canonical: self.canonical.load(Ordering::Relaxed),
            private: self.private.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<u64, Known>> {
        // Nothing is left half-done by a panic in here.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the canonical copies of an image's variables, as far as there are some: the part that may
    /// ask the host.
    pub(crate) fn find(
        &self,
        description: &Description<'_>,
        host: &Host<'_>,
        process: Option<&ProcessSymbols>,
        from_process: &mut Vec<&'static ProcessImport>,
    ) -> Result<Found, LoadError> {
        let table = description.shared();
        let mut choices = vec![OPEN; table.len()];
        {
            let known = self.lock();
            for (choice, shared) in choices.iter_mut().zip(table) {
                if let Some(import) = description.import(shared.import.get()) {
                    *choice = choose(&known, &import, shared);
                }
            }
        }
        let mut queries = Vec::new();
        for (index, (choice, shared)) in choices.iter_mut().zip(table).enumerate() {
            let Some(import) = description.import(shared.import.get()) else {
                continue;
            };
            if choice.source.is_some() || choice.differs {
                continue;
            }
            match host.canonical(import.hash, import.name)? {
                Some(address) => {
                    choice.source = Some(Source::Host);
                    choice.address = address;
                }
                None if process.is_some() => {
                    queries.push((index, import, Query::new(import.name)));
                }
                None => {}
            }
        }
        let Some(process) = process else {
            return Ok(Found { choices });
        };
        self.ask_modules(&mut queries);
        for (index, import, query) in queries {
            let found = query.maybe.then(|| process.find(import.hash, import.name));
            let (Some(Some(found)), Some(choice)) = (found, choices.get_mut(index)) else {
                continue;
            };
            let address = found.address() as u64;
            let size = table.get(index).map_or(0, |shared| shared.size.get());
            let its_size = size_of_symbol(found.address());
            if its_size.is_some_and(|its_size| its_size != u64::from(size)) {
                choice.differs = true;
                continue;
            }
            choice.source = Some(Source::Module);
            choice.address = address;
            from_process.push(found);
        }
        Ok(Found { choices })
    }

    fn ask_modules(&self, queries: &mut [(usize, ImportedName<'_>, Query)]) {
        if queries.is_empty() {
            return;
        }
        let mut plain: Vec<Query> = queries.iter().map(|(_, _, query)| *query).collect();
        self.modules.ask(&mut plain);
        for ((_, _, query), answer) in queries.iter_mut().zip(plain) {
            *query = answer;
        }
    }

    /// Decides what each variable is, and writes the addresses of those copies to `addresses`. What
    /// becomes canonical is seen by nobody before [`Decided::publish`].
    pub(crate) fn decide<'r>(
        &'r self,
        description: &Description<'_>,
        mut found: Found,
        base: u64,
        addresses: &mut [u64],
    ) -> Decided<'r> {
        let table = description.shared();
        let known = self.lock();
        let choices = &mut found.choices;
        for (choice, shared) in choices.iter_mut().zip(table) {
            let own = base.wrapping_add(shared.place.get().into());
            if choice.source.is_none() && !choice.differs {
                // Another thread may have been faster.
                if let Some(import) = description.import(shared.import.get()) {
                    *choice = choose(&known, &import, shared);
                }
            }
            if choice.source.is_none() {
                choice.source = Some(Source::Image(base));
                choice.address = own;
            }
        }
        let mut decided = Decided {
            registry: self,
            known,
            pending: Vec::new(),
            counts: SharingStatistics::default(),
        };
        for (choice, shared) in choices.iter().zip(table) {
            // A guard and its variable are from one place, or both the image's own.
            let partner = choices.get(shared.partner.get() as usize);
            let partner = partner.copied().unwrap_or(OPEN);
            let agree = choice.source == partner.source && !choice.differs && !partner.differs;
            let address = match agree {
                true => choice.address,
                false => base.wrapping_add(shared.place.get().into()),
            };
            if let Some(address_of) = addresses.get_mut(shared.import.get() as usize) {
                *address_of = address;
            }
            let content = match choice.source {
                Some(source) if agree && source == Source::Image(base) => {
                    decided.counts.canonical += 1;
                    Some(shared.content.get())
                }
                Some(Source::Module) if agree => {
                    decided.counts.shared += 1;
                    None
                }
                _ => {
                    let count = match agree {
                        true => &mut decided.counts.shared,
                        false => &mut decided.counts.private,
                    };
                    *count += 1;
                    continue;
                }
            };
            if choice.is_known {
                continue;
            }
            let import = description.import(shared.import.get());
            if let (Some(import), Some(source)) = (import, choice.source) {
                let known = Known {
                    second_hash: second_hash(import.name),
                    size: shared.size.get(),
                    content,
                    address,
                    source,
                };
                decided.pending.push((import.hash, known));
            }
        }
        decided
    }
}

/// What `known` has for a variable.
fn choose(known: &FxHashMap<u64, Known>, import: &ImportedName<'_>, shared: &Shared) -> Choice {
    let Some(entry) = known.get(&import.hash) else {
        return OPEN;
    };
    let same = entry.second_hash == second_hash(import.name)
        && entry.size == shared.size.get()
        && entry
            .content
            .is_none_or(|content| content == shared.content.get());
    Choice {
        source: same.then_some(entry.source),
        address: entry.address,
        differs: !same,
        is_known: true,
    }
}

/// The canonical copies that there are.
pub(crate) struct Found {
    choices: Vec<Choice>,
}

/// What is decided, and not yet seen by others.
pub(crate) struct Decided<'r> {
    registry: &'r Registry,
    known: MutexGuard<'r, FxHashMap<u64, Known>>,
    pending: Vec<(u64, Known)>,
    counts: SharingStatistics,
}

impl Decided<'_> {
    /// Lets other images use what is in place now. Returns whether they may: then the image stays.
    pub(crate) fn publish(mut self) -> bool {
        for (hash, known) in self.pending {
            self.known.entry(hash).or_insert(known);
        }
        let counts = self.counts;
        for (counter, count) in [
            (&self.registry.shared, counts.shared),
            (&self.registry.canonical, counts.canonical),
            (&self.registry.private, counts.private),
        ] {
            counter.fetch_add(count, Ordering::Relaxed);
        }
        counts.canonical != 0
    }
}
