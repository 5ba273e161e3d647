//! Every record with where it is and how it was used: for people who look into a store.

use super::record::Content;
use super::{FolderStore, Record, uses};
use crate::key::FormKey;
use std::ops::ControlFlow;
use std::path::Path;

/// A record of a pack, with what is known of it beside its contents.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Listed<'a> {
    /// The record.
    pub record: Record<'a>,
    /// The pack that it is in.
    pub file: &'a Path,
    /// Where in the pack.
    pub offset: u64,
    /// Bytes that it takes up there.
    pub bytes: u64,
    /// How often it was used, as far as that was noted.
    pub hits: u64,
    /// When it was last used, in seconds since 1970, as far as that was noted.
    pub last_used: Option<u64>,
    /// There is a newer record of the same compilation, which is found before this one.
    pub is_duplicate: bool,
}

/// A record that says which others are not to be found any more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// The key of what was removed.
    pub key: FormKey,
    /// The number of records that were removed.
    pub records: u64,
    /// Why: `removed`, or what was reported as damaged.
    pub reason: String,
}

impl FolderStore {
    /// What was removed, or reported as damaged by its users, as long as packs have to say so.
    pub fn removals(&self) -> Vec<Removal> {
        let mut removals = Vec::new();
        for pack in self.snapshot().packs() {
            let _ = pack.for_each(&mut |_| ControlFlow::Continue(()), &mut |placed| {
                if let Ok(Content::Removal(removal)) = placed.checked.content() {
                    removals.push(Removal {
                        key: placed.checked.key,
                        records: removal.identities().count() as u64,
                        reason: removal.reason.to_owned(),
                    });
                }
                ControlFlow::Continue(())
            });
        }
        removals
    }

    /// Shows `visit` every readable record of the packs, from the newest pack to the oldest, until it
    /// breaks. Damage is passed over: see [`verify`](Self::verify).
    pub fn inventory(&self, visit: &mut dyn FnMut(Listed<'_>) -> ControlFlow<()>) {
        let snapshot = self.snapshot();
        let uses = uses::read(&*self.io, &self.folder);
        let mut seen = rustc_hash::FxHashSet::default();
        for pack in snapshot.packs() {
            let shown = pack.for_each(&mut |_| ControlFlow::Continue(()), &mut |placed| {
                let Ok(Content::Code(record)) = placed.checked.content() else {
                    return ControlFlow::Continue(());
                };
                if snapshot.removed().contains(&placed.checked.identity) {
                    return ControlFlow::Continue(());
                }
                let used = uses.get(&record.key.0.prefix()).copied();
                let compilation = (record.key, record.metadata.manifest.object_key);
                visit(Listed {
                    record,
                    file: pack.path(),
                    offset: placed.offset as u64,
                    bytes: placed.checked.extent.length as u64,
                    hits: used.map_or(0, |used| used.hits),
                    last_used: used.map(|used| used.last),
                    is_duplicate: !seen.insert(compilation),
                })
            });
            if shown.is_break() {
                return;
            }
        }
    }
}
