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
//! A definition's text is compared to the byte. What is kept of its code is written down once
//! (`shared/account.rs`), and lives as long as the session, as its code does at least.

mod account;

pub(crate) use account::SharedCode;

use crate::arena::{Arena, Piece};
use crate::cache::{Backend, Session};
use crate::evaluate::{Loaded, Running};
use crate::host::Host;
use crate::lanes::{Apart, LANES, Lanes, lane};
use crate::names::NamesRef;
use crate::table::Table;
use rekindle_cache_core::artifact::{Code, DependencyKind};
use rekindle_cache_core::key::Definition;
use rekindle_cache_core::metadata::ArchivedMetadata;
use rustc_hash::FxHasher;
use std::cell::Cell;
use std::hash::Hasher;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

/// How many entries one thread may have: what remains of a number in the table, of which its lane takes a part.
const MOST: u32 = u32::MAX >> LANE_BITS;

/// Bits that the numbers of lanes have.
const LANE_BITS: u32 = LANES.ilog2();

/// The code of a session that may be shared, by a hash of the definition. What is not there is found to be so without
/// a lock.
#[derive(Default)]
pub(crate) struct Shared {
    /// Where entries are: the lane's number in the low bits, and its place among those of the lane, from 1.
    table: Table,
    /// Held by who adds to the table.
    adding: Apart<Mutex<()>>,
    /// A thread adds to its own.
    entries: Lanes<Mutex<Vec<Entry>>>,
    /// The same.
    accounts: Lanes<Arena>,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    stamp: Stamp,
    account: Account,
}

/// Where an account is kept.
#[derive(Debug, Clone, Copy)]
struct Account {
    lane: usize,
    piece: Piece,
}

/// A definition whose code may be there.
pub(crate) struct Sought<'d> {
    definition: &'d Definition<'d>,
    hash: u64,
    /// Some code was there, or nobody has looked.
    may_be_there: Cell<bool>,
}

/// The numbers that stand as long as nothing that code was checked against has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    host: u64,
    verdicts: u64,
    epoch: u64,
}

/// Code that an evaluation has, alone or with others.
pub(crate) enum Held<'s, B: Backend> {
    Own(Box<Loaded<B>>),
    Shared(SharedCode<'s>),
}

impl<B: Backend> Held<'_, B> {
    pub(crate) fn factory(&self) -> *const u8 {
        match self {
            Self::Own(loaded) => loaded.factory,
            Self::Shared(shared) => shared.factory(),
        }
    }

    pub(crate) fn names(&self) -> NamesRef<'_> {
        match self {
            Self::Own(loaded) => loaded.names.as_ref(),
            Self::Shared(shared) => shared.names(),
        }
    }

    /// Which compiler made it.
    pub(crate) fn tier(&self) -> u8 {
        match self {
            Self::Own(loaded) => loaded.tier,
            Self::Shared(shared) => shared.tier(),
        }
    }

    pub(crate) fn symbol(&self, name: &str) -> Option<*const u8> {
        match self {
            Self::Shared(shared) => shared.symbol(name),
            Self::Own(loaded) => match &loaded.running {
                Running::Kept(code) => code.symbol(name),
                Running::Unkept(code) => code.symbol(name),
            },
        }
    }
}

impl<'d> Sought<'d> {
    /// `None` if `host` does not vouch for its answers, so that nothing is shared.
    #[inline]
    pub(crate) fn new(definition: &'d Definition<'d>, host: &dyn Host) -> Option<Self> {
        host.generation()?;
        // Accounts are compared to the byte, so that the hash may be a weak one.
        let mut hasher = FxHasher::default();
        hasher.write(definition.text.as_bytes());
        hasher.write(definition.name.as_bytes());
        Some(Self {
            definition,
            hash: hasher.finish(),
            may_be_there: Cell::new(true),
        })
    }
}

impl Sought<'_> {
    /// Whether some code was there, or nobody has looked.
    pub(crate) fn may_be_there(&self) -> bool {
        self.may_be_there.get()
    }
}

impl Shared {
    /// Gives `then` the entry of a definition, and what that makes of it. `None` if there is none.
    #[inline]
    fn entry<R>(&self, sought: &Sought<'_>, then: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let mut then = Some(then);
        self.table.find(sought.hash as u32, |number| {
            let lane = self.entries.of(number as usize % LANES)?;
            let mut entries = crate::lock(lane);
            let place = (number >> LANE_BITS).checked_sub(1)?;
            let entry = entries.get_mut(place as usize)?;
            (entry.hash == sought.hash).then(|| then.take().map(|then| then(entry)))?
        })
    }

    /// Has `account` be what is found for a definition.
    fn enter(&self, sought: &Sought<'_>, stamp: Stamp, account: Account) {
        let replace = |entry: &mut Entry| (entry.stamp, entry.account) = (stamp, account);
        // What is not found is added, by somebody else as well perhaps: then one of the two is found from now on.
        if sought.may_be_there() && self.entry(sought, replace).is_some() {
            return;
        }
        let number = {
            let mut entries = crate::lock(self.entries.mine());
            let place = u32::try_from(entries.len() + 1).unwrap_or(u32::MAX);
            if place > MOST {
                return;
            }
            entries.push(Entry {
                hash: sought.hash,
                stamp,
                account,
            });
            place << LANE_BITS | lane() as u32
        };
        let _adding = crate::lock(&self.adding.0);
        self.table.enter(sought.hash as u32, number);
    }

    /// The code that an account is of.
    #[inline]
    fn read(&self, account: Account) -> Option<SharedCode<'_>> {
        SharedCode::read(self.accounts.of(account.lane)?.get(account.piece))
    }

    /// The code of a definition, if it was checked at `now`.
    #[inline]
    fn find(&self, sought: &Sought<'_>, now: Stamp) -> Option<SharedCode<'_>> {
        let Some(account) = self.entry(sought, |entry| {
            (entry.stamp == now).then_some(entry.account)
        }) else {
            sought.may_be_there.set(false);
            return None;
        };
        let account = account?;
        let code = self.read(account)?;
        code.is_of(sought.definition).then_some(code)
    }

    /// The code of a definition, kept by the record of `metadata`, which has been checked again at `checked`.
    fn check_again(
        &self,
        sought: &Sought<'_>,
        checked: Stamp,
        metadata: &ArchivedMetadata,
    ) -> Option<SharedCode<'_>> {
        if !sought.may_be_there.get() {
            return None;
        }
        let check_again = |entry: &mut Entry| {
            if entry.stamp.host != checked.host {
                return None;
            }
            let code = self.read(entry.account)?;
            let is_it = code.is_of_record(metadata) && code.is_of(sought.definition);
            is_it.then(|| {
                entry.stamp = checked;
                code
            })
        };
        self.entry(sought, check_again)?
    }
}

impl<B: Backend> Session<B> {
    /// The numbers of this moment; `None` if the host does not vouch for its answers.
    #[inline]
    pub(crate) fn stamp(&self, host: &dyn Host) -> Option<Stamp> {
        Some(Stamp {
            host: host.generation()?,
            verdicts: self.verdicts.load(Ordering::Acquire),
            epoch: self.outside.epoch(),
        })
    }

    /// The code of an equal definition, if nothing has changed since that was checked. Its tables are given
    /// and its effects repeated.
    #[inline]
    pub(crate) fn share(&self, sought: &Sought<'_>, host: &dyn Host) -> Option<SharedCode<'_>> {
        let code = self.shared.find(sought, self.stamp(host)?)?;
        // Otherwise the look-up goes on to say what could not be repeated.
        code.repeat(host).then_some(code)
    }

    /// The code of an equal definition whose dependencies have been checked since `checked`, if it is that of
    /// this record.
    pub(crate) fn share_checked(
        &self,
        sought: &Sought<'_>,
        checked: Stamp,
        metadata: &ArchivedMetadata,
    ) -> Option<SharedCode<'_>> {
        self.shared.check_again(sought, checked, metadata)
    }

    /// Lets `loaded` be shared by equal definitions from now on, if it can be: what it hangs on was looked
    /// at since `checked`.
    pub(crate) fn let_share(
        &self,
        sought: &Sought<'_>,
        loaded: Loaded<B>,
        checked: Stamp,
        metadata: &ArchivedMetadata,
        host: &dyn Host,
    ) -> Held<'_, B> {
        // Whoever loads a module of the same name may make a dependency on it void, which no number tells.
        let has_module = (metadata.manifest.dependencies.iter())
            .any(|dependency| dependency.kind() == Some(DependencyKind::Module));
        if has_module || self.stamp(host) != Some(checked) {
            return Held::Own(Box::new(loaded));
        }
        let kept = match &loaded.running {
            Running::Kept(code) if code.may_be_shared() => account::write(
                self.shared.accounts.mine(),
                sought.definition,
                code,
                loaded.factory,
                loaded.names.as_ref(),
                metadata,
            ),
            _ => None,
        };
        let code = kept.and_then(|(piece, absent)| {
            if let Some((absent, kept)) = absent.zip(self.cache.kept.as_ref()) {
                kept.make_present_soon(absent);
            }
            let account = Account {
                lane: lane(),
                piece,
            };
            Some((account, self.shared.read(account)?))
        });
        let Some((account, code)) = code else {
            return Held::Own(Box::new(loaded));
        };
        self.shared.enter(sought, checked, account);
        Held::Shared(code)
    }
}
