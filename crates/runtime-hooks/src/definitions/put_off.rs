//! Definitions whose factories have not run yet: warming compiles a program without running it.
//!
//! A name that is put off has code, or will have it, and no value. It counts as uncertain, so nothing that
//! reaches it has a behaviour digest, until its factory has run after all. Two things need that:
//!
//! - Something that reaches the name runs at compile time, or a record says that it did.
//! - A name that it reaches is about to be defined anew: its value is made of what that was before.
//! - It is about to be defined anew itself: a value that comes later must not give way to the one before it.
//!
//! So every factory that does run finds what it would have found in its place in the program, and the graph
//! goes the same course, with the same digests, as if all of them had run in order.

use super::{Definitions, NameId, Standing};
use rekindle_cache_core::Digest;
use std::collections::BTreeSet;

/// A definition that was put off, by its place among those of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(u64);

/// What is put off in a session.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    next: u64,
    /// How many names wait.
    names: usize,
    /// Names whose behaviour was asked for and could not be told, as something that they reach waits.
    wanted: Vec<NameId>,
}

impl Waiting {
    /// One name less waits.
    pub(super) fn forget(&mut self) {
        self.names = self.names.saturating_sub(1);
    }
}

impl Definitions {
    /// Notes that `names` have code whose factory has not run. What [`needed_before`](Self::needed_before)
    /// gave has run.
    pub(crate) fn put_off(&mut self, names: &[NameId], references: &[NameId]) -> Ordinal {
        let ordinal = Ordinal(self.waiting.next);
        self.waiting.next += 1;
        for &name in names {
            // The digest is not looked at before the factory has run.
            self.define(name, Digest([0; 32]), references, Standing::Determined);
            self.nodes[name.index()].put_off = Some(ordinal);
            self.waiting.names += 1;
            self.forget_verdicts(name);
        }
        ordinal
    }

    /// Notes that the factory of `ordinal` has run: `names` have its code, `object`.
    pub(crate) fn caught_up(
        &mut self,
        ordinal: Ordinal,
        names: &[NameId],
        object: Digest,
        standing: Standing,
    ) {
        for &name in names {
            let node = &mut self.nodes[name.index()];
            if node.put_off != Some(ordinal) {
                // Its factory itself has defined it anew, or what was called by it.
                continue;
            }
            node.put_off = None;
            node.object = Some(object);
            node.volatile = standing == Standing::Volatile;
            node.forget_leaf();
            self.waiting.forget();
            self.forget_verdicts(name);
        }
    }

    /// What has to run before something that runs `name` is told from its code, in order.
    pub(crate) fn needed_by(&mut self, name: NameId) -> Vec<Ordinal> {
        let mut needed = BTreeSet::new();
        if self.waiting.names > 0 {
            self.add_needed(name, &mut needed);
        }
        needed.into_iter().collect()
    }

    /// Whether the factory of `ordinal`, which defines `names`, would take the place of what one of them has been
    /// defined as since. Then it cannot run any more.
    pub(crate) fn is_superseded(&self, ordinal: Ordinal, names: &[NameId]) -> bool {
        let is_other = |name: &NameId| self.nodes[name.index()].put_off != Some(ordinal);
        names.iter().any(is_other)
    }

    /// Whether anything is put off.
    pub(crate) fn has_put_off(&self) -> bool {
        self.waiting.names > 0
    }

    /// What has to run before `name` is defined by code that refers to `references`, in order: itself, and values
    /// that are made of what the name is now.
    pub(crate) fn needed_before(&mut self, name: NameId, references: &[NameId]) -> Vec<Ordinal> {
        let mut needed = BTreeSet::new();
        if self.waiting.names == 0 {
            return Vec::new();
        }
        self.link();
        let referrers = self.reach(name, |node| &node.referrers);
        for &referrer in referrers.get(1..).unwrap_or_default() {
            if self.nodes[referrer.index()].put_off.is_some() {
                self.add_needed(referrer, &mut needed);
            }
        }
        let is_put_off = self.nodes[name.index()].put_off.is_some();
        let is_held = is_put_off || referrers.len() > 1 || references.contains(&name);
        self.reached = referrers;
        if is_held {
            self.add_needed(name, &mut needed);
        }
        needed.into_iter().collect()
    }

    /// Notes that the behaviour of `name` was asked for and could not be told.
    pub(crate) fn want(&mut self, name: NameId) {
        if self.waiting.names > 0 {
            self.waiting.wanted.push(name);
        }
    }

    /// What has to run for the behaviours to be told that were asked for since the last call, in order.
    pub(crate) fn take_wanted(&mut self) -> Vec<Ordinal> {
        let mut needed = BTreeSet::new();
        for name in std::mem::take(&mut self.waiting.wanted) {
            self.add_needed(name, &mut needed);
        }
        needed.into_iter().collect()
    }

    fn add_needed(&mut self, name: NameId, needed: &mut BTreeSet<Ordinal>) {
        let reached = self.reach(name, |node| &node.references);
        needed.extend(
            reached
                .iter()
                .filter_map(|id| self.nodes[id.index()].put_off),
        );
        self.reached = reached;
    }
}
