//! Which code each definition of this session has, and what all it can reach: behaviour digests.
//!
//! A definition that runs at compile time (a macro, and every helper that it calls) is recorded by its
//! *behaviour digest*: a digest over the set of all definitions that it can reach by name, each with the
//! digest of its object. The set needs no edges, because an object names what it refers to, so equal
//! objects have equal edges; and a set has no trouble with cycles.
//!
//! A value is made when its definition runs, from what it reached *then*. If something that it reaches is
//! defined anew, the set alone would say that the value came from the new code. So whatever reached a
//! name that changes takes the name's old behaviour into its *past*, which is a part of its digest until
//! it is defined again itself. The past is a function of the program's course, so the same program has
//! the same digests in every process, while two courses that could have made different values differ.
//!
//! A definition is *volatile* when the value it has is not determined by its code and what the code can
//! reach: its factory read mutable state or the outside world, failed half-way, or some running code
//! may give the name another value at any time; and so is what had reached it, until that is defined
//! again. Nothing that reaches a volatile definition has a behaviour digest, so what it did at compile
//! time makes a bypass. The same holds for a name whose factory is running at this moment.

mod nodes;
mod numbers;
mod put_off;
mod verdicts;

pub(crate) use numbers::Numbers;
pub use put_off::Ordinal;
pub(crate) use verdicts::Verdicts;

use nodes::Parts;
use put_off::Waiting;
use rekindle_cache_core::{Digest, DigestBuilder};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The number of a name in this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub(crate) struct NameId(u32);

/// What a name refers to, or what refers to it: few as a rule.
type Edges = SmallVec<[NameId; 4]>;

/// What evaluating a definition did to the names that it defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The values follow from the code.
    Determined,
    /// The values follow from something that nothing recorded.
    Volatile,
}

/// The names of a session and the code behind them.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    numbers: Arc<Numbers>,
    /// Of the names that have been met here; of others on [`admit`](Self::admit).
    nodes: Parts<Node>,
    /// Marks the nodes of the walk under way.
    walk: u32,
    /// What the last walk reached, kept for its memory.
    reached: Vec<NameId>,
    waiting: Waiting,
    /// Names that are missing among the referrers of what they refer to, [`MOST_UNLINKED`] at most. A program that is
    /// being loaded defines one thing after the other, and mostly nobody asks who refers to what.
    unlinked: Vec<NameId>,
    /// Counts the verdicts that were given up: as long as it stays, each that was asked for stands.
    verdicts: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Node {
    object: Option<Digest>,
    volatile: bool,
    /// What it was made from has been volatile, and it has not been defined since.
    made_from_volatile: bool,
    /// Some code may set the name when it is called: no later definition makes it certain again.
    set_by_calls: bool,
    /// Its factory has not run yet.
    put_off: Option<Ordinal>,
    /// How many factories that define it are running.
    running: u32,
    /// Bytes of the code that defined it; of several names the first has them all.
    code_bytes: usize,
    references: Edges,
    /// Without those that are not linked.
    referrers: Edges,
    /// Something has referred to it.
    is_referred: bool,
    /// Most definitions of a program are reached by nothing that runs at compile time, and have none.
    digests: Option<Box<Digests>>,
    visited: u32,
}

/// What a name's behaviour is made of.
#[derive(Debug, Default)]
struct Digests {
    /// The behaviours that names had which it reached, and which have changed since it was defined.
    past: Option<Digest>,
    leaf: Option<Digest>,
    /// The behaviour, or the volatile definition that stands against one, if it is known.
    verdict: Option<Result<Digest, NameId>>,
}

/// How many names are not linked at most: whoever asks first waits for some tenths of a millisecond.
const MOST_UNLINKED: usize = if cfg!(test) { 3 } else { 4096 };

impl Definitions {
    /// The number of `name`, which is new if nobody asked before.
    pub(crate) fn number(&mut self, name: &str) -> NameId {
        let id = self.numbers.number(name);
        self.admit();
        id
    }

    /// The names, whose numbers can be asked for without asking for the definitions.
    pub(crate) fn numbers(&self) -> Arc<Numbers> {
        Arc::clone(&self.numbers)
    }

    /// Takes in all names that have numbers: to be called before any is used here that somebody was given by
    /// [`Numbers`] itself.
    #[inline]
    pub(crate) fn admit(&mut self) {
        while self.nodes.len() < self.numbers.count() {
            self.nodes.push(Node::default());
        }
    }

    /// The names of these numbers, for people.
    pub(crate) fn names_of(&self, ids: &[NameId]) -> String {
        let names: Vec<_> = ids.iter().map(|id| self.numbers.name(*id)).collect();
        names.join(", ")
    }

    /// The count of verdicts that were given up, to be looked at without asking for the definitions.
    pub(crate) fn verdicts(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.verdicts)
    }

    /// Notes that a factory which defines `name` is about to run.
    pub(crate) fn begin(&mut self, name: NameId) {
        self.nodes[name.index()].running += 1;
        self.forget_verdicts(name);
    }

    /// Notes that a factory which [began](Self::begin) for `names` has ended: they now have the code
    /// `object`, which refers to `references`.
    pub(crate) fn end(
        &mut self,
        names: &[NameId],
        object: Digest,
        references: &[NameId],
        standing: Standing,
    ) {
        for name in names {
            let node = &mut self.nodes[name.index()];
            node.running = node.running.saturating_sub(1);
        }
        for &name in names {
            self.define(name, object, references, standing);
            self.forget_verdicts(name);
        }
    }

    fn define(&mut self, name: NameId, object: Digest, references: &[NameId], standing: Standing) {
        let volatile = standing == Standing::Volatile;
        // Otherwise nothing has been made of what it was, as with most definitions of a program that is
        // being loaded, and digesting that would be in vain.
        let is_reached = self.has_referrers(name) || references.contains(&name);
        let node = &self.nodes[name.index()];
        let is_new = !node.has_been_something();
        if !is_reached && node.references[..] == *references && node.put_off.is_none() {
            // As before, at most with another object: no edge changes, and no past but its own.
            let node = &mut self.nodes[name.index()];
            node.become_value(object, volatile);
            return;
        }
        if is_reached || !node.references.is_empty() {
            self.link();
        }
        // Even the same code gives a new value, which is not the old one to whoever compares them.
        let was = is_reached.then(|| self.pass_on(name));
        let held = self.hand_down(name, references);
        self.unrefer(name);
        self.refer(name, held);
        // A value that is made from the name's previous one, as in `(def x (inc x))`.
        let is_made_of_itself = is_reached && !is_new && self.reaches_itself(name);
        let node = &mut self.nodes[name.index()];
        node.become_value(object, volatile);
        if node.put_off.take().is_some() {
            self.waiting.forget();
        }
        if let Some(was) = was
            && is_made_of_itself
        {
            node.remember(was);
        }
    }

    /// Before `name` gets other references: whoever refers to it may hold a value that it had, whose code
    /// goes on reaching what it reached, and so takes that over. Gives the references that the name has
    /// from now on, which are more than its new code's if that refers to the name itself.
    fn hand_down(&mut self, name: NameId, references: &[NameId]) -> Edges {
        let node = &self.nodes[name.index()];
        let mut own = Edges::from_slice(references);
        if node.references.is_empty() {
            return own;
        }
        let (reached, holders) = (node.references.clone(), node.referrers.clone());
        if own.contains(&name) {
            add_missing(&mut own, &reached);
        }
        for holder in holders {
            let added = add_missing(&mut self.nodes[holder.index()].references, &reached);
            for reference in added {
                let node = &mut self.nodes[reference.index()];
                node.is_referred = true;
                node.referrers.push(holder);
            }
        }
        own
    }

    /// `name`, which is linked to nothing, refers to these from now on.
    fn refer(&mut self, name: NameId, references: Edges) {
        for &reference in &references {
            let node = &mut self.nodes[reference.index()];
            // Others read the same memory as long as nobody writes to it.
            if !node.is_referred {
                node.is_referred = true;
            }
        }
        let is_any = !references.is_empty();
        self.nodes[name.index()].references = references;
        if is_any {
            self.unlinked.push(name);
            if self.unlinked.len() >= MOST_UNLINKED {
                self.link();
            }
        }
    }

    /// Completes the referrers of all names.
    fn link(&mut self) {
        let mut unlinked = std::mem::take(&mut self.unlinked);
        for name in unlinked.drain(..) {
            let references = std::mem::take(&mut self.nodes[name.index()].references);
            for reference in &references {
                let referrers = &mut self.nodes[reference.index()].referrers;
                if referrers.last() != Some(&name) {
                    referrers.push(name);
                }
            }
            self.nodes[name.index()].references = references;
        }
        self.unlinked = unlinked;
    }

    /// Whether anything refers to `name`. If so, all referrers are complete.
    fn has_referrers(&mut self, name: NameId) -> bool {
        if !self.nodes[name.index()].is_referred {
            return false;
        }
        self.link();
        !self.nodes[name.index()].referrers.is_empty()
    }

    /// Takes back that `name` refers to anything.
    fn unrefer(&mut self, name: NameId) {
        for reference in std::mem::take(&mut self.nodes[name.index()].references) {
            self.nodes[reference.index()]
                .referrers
                .retain(|&mut referrer| referrer != name);
        }
    }

    /// Notes how large the code is that defines `names` from now on, and gives the size of that in whose
    /// place it comes, if there was any. Shared code may come in its own place. To be called before the names
    /// are entered.
    pub(crate) fn replace_code(
        &mut self,
        names: &[NameId],
        object: Digest,
        bytes: usize,
        is_shared: bool,
    ) -> Option<u64> {
        let mut left = 0;
        let first = names.first().map(|name| &self.nodes[name.index()]);
        if is_shared && first.is_some_and(|node| node.object == Some(object)) {
            return None;
        }
        for (place, name) in names.iter().enumerate() {
            let bytes = if place == 0 { bytes } else { 0 };
            let node = &mut self.nodes[name.index()];
            left += std::mem::replace(&mut node.code_bytes, bytes) as u64;
        }
        (left > 0).then_some(left)
    }

    /// Notes that code which is now in the process may set `name` whenever it is called.
    pub(crate) fn set_by_calls(&mut self, name: NameId) {
        if !std::mem::replace(&mut self.nodes[name.index()].set_by_calls, true) {
            self.forget_verdicts(name);
        }
    }

    /// Notes that the host gave `name` another value, which follows from nothing that was recorded.
    pub(crate) fn change(&mut self, name: NameId) {
        let _was = self.pass_on(name);
        self.nodes[name.index()].volatile = true;
        self.forget_verdicts(name);
    }

    /// The behaviour digest of `name`.
    ///
    /// # Errors
    /// The name of the volatile definition that `name` reaches.
    pub(crate) fn behaviour(&mut self, name: NameId) -> Result<Digest, String> {
        self.verdict(name).map_err(|id| self.numbers.name(id))
    }

    fn verdict(&mut self, name: NameId) -> Result<Digest, NameId> {
        if let Some(verdict) = self.nodes[name.index()].verdict() {
            return verdict;
        }
        let reached = self.reach(name, |node| &node.references);
        let verdict = match reached
            .iter()
            .find(|id| self.nodes[id.index()].is_uncertain())
        {
            Some(&id) => Err(id),
            None => {
                let mut leaves: Vec<Digest> = reached.iter().map(|&id| self.leaf(id)).collect();
                leaves.sort_unstable();
                let mut builder = DigestBuilder::new("rekindle behaviour");
                builder.text(&self.numbers.name(name));
                builder.list(leaves.len());
                for leaf in &leaves {
                    builder.digest(leaf);
                }
                Ok(builder.finish())
            }
        };
        self.reached = reached;
        self.nodes[name.index()].digests_mut().verdict = Some(verdict);
        verdict
    }

    /// The digest of one name with its object and its past. A name without an object is the host's own,
    /// and belongs to the environment, or is not defined yet.
    fn leaf(&mut self, id: NameId) -> Digest {
        let node = &mut self.nodes[id.index()];
        if let Some(leaf) = node.digests.as_ref().and_then(|digests| digests.leaf) {
            return leaf;
        }
        let mut builder = DigestBuilder::new("rekindle definition");
        builder.text(&self.numbers.name(id));
        for part in [node.object.as_ref(), node.past()] {
            match part {
                Some(digest) => builder.number(1).digest(digest),
                None => builder.number(0),
            };
        }
        let leaf = builder.finish();
        node.digests_mut().leaf = Some(leaf);
        leaf
    }

    /// Before `name` changes: makes what it was a part of the past of all that reached it, and gives it.
    fn pass_on(&mut self, name: NameId) -> Result<Digest, NameId> {
        self.link();
        self.give_up(name);
        let was = self.verdict(name);
        // Nobody has been told.
        self.nodes[name.index()].take_verdict();
        let referrers = self.reach(name, |node| &node.referrers);
        for &id in referrers.get(1..).unwrap_or_default() {
            self.give_up(id);
            self.nodes[id.index()].remember(was);
        }
        self.reached = referrers;
        was
    }

    /// Whether the code of `name` can come back to the name.
    fn reaches_itself(&mut self, name: NameId) -> bool {
        let reached = self.reach(name, |node| &node.references);
        let comes_back = |id: &NameId| self.nodes[id.index()].references.contains(&name);
        let found = reached.iter().any(comes_back);
        self.reached = reached;
        found
    }

    fn forget_verdicts(&mut self, name: NameId) {
        if !self.has_referrers(name) {
            self.give_up(name);
            return;
        }
        let referrers = self.reach(name, |node| &node.referrers);
        for &id in &referrers {
            self.give_up(id);
        }
        self.reached = referrers;
    }

    fn give_up(&mut self, id: NameId) {
        if self.nodes[id.index()].take_verdict().is_some() {
            self.verdicts.fetch_add(1, Ordering::Release);
        }
    }

    /// `start` and all that follows from it by `edges`, `start` first. The caller gives the memory back
    /// as `self.reached`.
    fn reach(&mut self, start: NameId, edges: impl Fn(&Node) -> &[NameId]) -> Vec<NameId> {
        self.walk = self.walk.wrapping_add(1);
        if self.walk == 0 {
            self.nodes.iter_mut().for_each(|node| node.visited = 0);
            self.walk = 1;
        }
        let mut reached = std::mem::take(&mut self.reached);
        reached.clear();
        reached.push(start);
        self.nodes[start.index()].visited = self.walk;
        let mut next = 0;
        while let Some(&id) = reached.get(next) {
            next += 1;
            for position in 0..edges(&self.nodes[id.index()]).len() {
                let neighbour = edges(&self.nodes[id.index()])[position];
                let visited = &mut self.nodes[neighbour.index()].visited;
                if std::mem::replace(visited, self.walk) != self.walk {
                    reached.push(neighbour);
                }
            }
        }
        reached
    }
}

impl Node {
    fn become_value(&mut self, object: Digest, volatile: bool) {
        self.object = Some(object);
        self.volatile = volatile;
        self.made_from_volatile = false;
        if let Some(digests) = &mut self.digests {
            digests.past = None;
            digests.leaf = None;
        }
    }

    fn past(&self) -> Option<&Digest> {
        self.digests.as_ref()?.past.as_ref()
    }

    fn verdict(&self) -> Option<Result<Digest, NameId>> {
        self.digests.as_ref()?.verdict
    }

    fn take_verdict(&mut self) -> Option<Result<Digest, NameId>> {
        self.digests.as_mut()?.verdict.take()
    }

    fn forget_leaf(&mut self) {
        if let Some(digests) = &mut self.digests {
            digests.leaf = None;
        }
    }

    fn digests_mut(&mut self) -> &mut Digests {
        self.digests.get_or_insert_default()
    }

    /// Takes what it was made from, and is no more, into its past.
    fn remember(&mut self, was: Result<Digest, NameId>) {
        self.forget_leaf();
        self.take_verdict();
        match was {
            Ok(behaviour) => {
                let mut builder = DigestBuilder::new("rekindle past");
                if let Some(past) = self.past() {
                    builder.digest(past);
                }
                let past = builder.digest(&behaviour).finish();
                self.digests_mut().past = Some(past);
            }
            Err(_) => self.made_from_volatile = true,
        }
    }

    fn has_been_something(&self) -> bool {
        self.object.is_some() || self.volatile || self.made_from_volatile || self.past().is_some()
    }

    fn is_uncertain(&self) -> bool {
        self.volatile
            || self.made_from_volatile
            || self.set_by_calls
            || self.put_off.is_some()
            || self.running > 0
    }
}

/// Adds what is not in a list yet, and gives it.
fn add_missing(list: &mut Edges, more: &[NameId]) -> Edges {
    let before = list.len();
    for id in more {
        if !list.contains(id) {
            list.push(*id);
        }
    }
    Edges::from_slice(list.split_at(before).1)
}

impl NameId {
    fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests;
