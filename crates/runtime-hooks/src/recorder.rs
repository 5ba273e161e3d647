//! What a host tells while it compiles: the recording context.

use crate::definitions::Definitions;
use crate::host::Host;
use crate::outcome::BypassReason;
use crate::outside::{Outside, variable_digest};
use rekindle_cache_core::artifact::{Dependency, DependencyKind, file_digest};
use rekindle_cache_core::metadata::EffectRecord;
use rustc_hash::FxHashSet;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::sync::Mutex;

/// Gathers what a definition's compilation depends on.
///
/// The host tells it of everything outside the definition's text that it looked at or ran, and of what it
/// did besides making code. What is not told is not checked on the next look-up, and not repeated on a
/// hit, so a host that cannot tell has to call [`bypass`](Self::bypass).
pub struct Recorder<'a> {
    host: &'a dyn Host,
    definitions: &'a Mutex<Definitions>,
    outside: &'a Outside,
    gathered: RefCell<Gathered>,
}

#[derive(Default)]
struct Gathered {
    dependencies: FxHashSet<Dependency>,
    effects: Vec<EffectRecord>,
    bypass: Option<BypassReason>,
}

/// What a [`Recorder`] gathered.
pub(crate) struct Recorded {
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) effects: Vec<EffectRecord>,
    pub(crate) bypass: Option<BypassReason>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(
        host: &'a dyn Host,
        definitions: &'a Mutex<Definitions>,
        outside: &'a Outside,
    ) -> Self {
        Self {
            host,
            definitions,
            outside,
            gathered: RefCell::default(),
        }
    }

    /// Notes that the definition `name` ran while compiling: a macro that was expanded, a function that was
    /// called to fold a constant. It counts with all that it can reach.
    ///
    /// That holds for what definitions made. Where the host itself gave a name another value, it has to
    /// have said so by [`Session::changed`](crate::Session::changed).
    pub fn ran(&self, name: &str) {
        let mut definitions = crate::lock(self.definitions);
        let id = definitions.number(name);
        let needed = definitions.needed_by(id);
        if !needed.is_empty() {
            // These run, and ask for definitions themselves.
            drop(definitions);
            self.host.catch_up(&needed);
            definitions = crate::lock(self.definitions);
        }
        match definitions.behaviour(id) {
            Ok(digest) => self.depend(DependencyKind::Behaviour, name, "", digest),
            Err(reaches) => {
                let reason = BypassReason::Volatile {
                    ran: name.to_owned(),
                    reaches,
                };
                self.set_bypass(reason);
            }
        }
    }

    /// Notes that `symbol` was looked up in `namespace`, whatever it was found to mean. To be called
    /// before the compilation itself changes the answer.
    pub fn resolved(&self, namespace: &str, symbol: &str) {
        match self.host.resolution(namespace, symbol) {
            Some(digest) => self.depend(DependencyKind::Resolution, symbol, namespace, digest),
            None => self.bypass(&format!("the host cannot tell what {symbol} means")),
        }
    }

    /// Notes that the definition `name` was read while compiling, and did not run: its arities, its type. It
    /// counts by what [`Host::interface`] says of it, so that an edit of its body alone changes nothing. A
    /// function that was inlined was read as a whole, which [`ran`](Self::ran) covers.
    pub fn read(&self, name: &str) {
        match self.host.interface(name) {
            Some(digest) => self.depend(DependencyKind::Interface, name, "", digest),
            None => self.bypass(&format!("the host cannot tell the interface of {name}")),
        }
    }

    /// Notes that a file was looked for while compiling, and what it held: `None` if there was none. `name`
    /// is what [`Host::locate`] finds it by.
    pub fn file(&self, name: &str, content: Option<&[u8]>) {
        self.depend(DependencyKind::File, name, "", file_digest(content));
    }

    /// Notes that several files were read while compiling: a set of headers. They are looked at now, and
    /// count as one dependency.
    pub fn files(&self, names: &[&str]) {
        if let Some(name) = names.iter().find(|name| name.contains('\n')) {
            return self.bypass(&format!(
                "{name:?} has two lines, which no list of files holds"
            ));
        }
        let located = names.iter().map(|name| self.host.locate(name));
        match self.outside.files(located) {
            Some(digest) => self.depend(DependencyKind::FileSet, &names.join("\n"), "", digest),
            None => self.bypass("one of the files that were read cannot be read again"),
        }
    }

    /// Notes that an environment variable was looked at while compiling, and its value: `None` if it was
    /// not set.
    pub fn variable(&self, name: &str, value: Option<&OsStr>) {
        let digest = variable_digest(value);
        self.depend(DependencyKind::Variable, name, "", digest);
    }

    /// Notes that something of a sort of the host's own was looked at while compiling. It counts by what
    /// [`Host::dependency`] says of it.
    pub fn host(&self, kind: &str, name: &str) {
        match self.host.dependency(kind, name) {
            Some(digest) => self.depend(DependencyKind::Host, name, kind, digest),
            None => self.bypass(&format!("the host cannot tell the state of {kind} {name}")),
        }
    }

    /// Notes that compiling did something besides making code, which [`Host::replay`] does again on a hit,
    /// after the code is in the process and before its factory runs. Effects are repeated in the order in
    /// which they are told.
    pub fn effect(&self, kind: &str, payload: &[u8]) {
        let effect = EffectRecord {
            kind: kind.to_owned(),
            payload: payload.to_owned(),
        };
        self.gathered.borrow_mut().effects.push(effect);
    }

    /// Declares that the code must not be kept, and why. The first reason stands.
    pub fn bypass(&self, reason: &str) {
        self.set_bypass(BypassReason::Unrecordable(reason.to_owned()));
    }

    fn set_bypass(&self, reason: BypassReason) {
        self.gathered.borrow_mut().bypass.get_or_insert(reason);
    }

    fn depend(
        &self,
        kind: DependencyKind,
        name: &str,
        scope: &str,
        digest: rekindle_cache_core::Digest,
    ) {
        let dependency = Dependency {
            kind,
            name: name.to_owned(),
            scope: scope.to_owned(),
            digest,
        };
        self.gathered.borrow_mut().dependencies.insert(dependency);
    }

    /// All that was told, dependencies sorted. What has changed while the definition was compiled stands
    /// against a record, which could not say what the code was made from: one thing seen with two
    /// digests, or something that ran and does not behave now as it did when it was told.
    pub(crate) fn finish(self) -> Recorded {
        let Gathered {
            dependencies,
            effects,
            mut bypass,
        } = self.gathered.into_inner();
        let mut dependencies: Vec<_> = dependencies.into_iter().collect();
        dependencies.sort();
        let twice = dependencies.windows(2).find(|pair| {
            pair[0].kind == pair[1].kind
                && pair[0].name == pair[1].name
                && pair[0].scope == pair[1].scope
        });
        let mut definitions = crate::lock(self.definitions);
        let mut has_changed = |dependency: &&Dependency| {
            let id = definitions.number(&dependency.name);
            dependency.kind == DependencyKind::Behaviour
                && definitions.behaviour(id).ok() != Some(dependency.digest)
        };
        let changed = dependencies.iter().find(|one| has_changed(one));
        if let Some(changed) = twice.map(|pair| &pair[0]).or(changed) {
            let what = format!("{} changed while this was compiled", changed.name);
            bypass.get_or_insert(BypassReason::Unrecordable(what));
        }
        Recorded {
            dependencies,
            effects,
            bypass,
        }
    }
}
