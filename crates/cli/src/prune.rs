//! `rekindle prune`: removes what is worth least, down to the limits.

use crate::arguments::{Place, Prune};
use crate::exit::Exit;
use crate::place::note_size;
use crate::print::Printer;
use crate::units::{bytes, count, counted, now};
use rekindle_cache_core::store::{Limits, Pruned, Store as _};
use serde::Serialize;
use std::io::{self, Write};

/// What was removed, by `prune`, `clear` or `key revoke`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Removed {
    pub(crate) removed: u64,
    pub(crate) removed_bytes: u64,
    pub(crate) kept: u64,
    /// Another process was at it, so that nothing was done.
    pub(crate) busy: bool,
}

pub(crate) fn run(place: &Place, options: &Prune, out: &mut Printer) -> anyhow::Result<Exit> {
    let from_environment = Limits::from_environment()?;
    let limits = Limits {
        max_bytes: options.max_bytes.unwrap_or(from_environment.max_bytes),
        max_entries: options.max_entries.unwrap_or(from_environment.max_entries),
    };
    let store = place.change()?;
    let before = store.statistics();
    let mut removed = Removed::default();
    if let Some(age) = options.older_than {
        let oldest = now().saturating_sub(age.as_secs());
        let old = store.retain(&mut |record| {
            let created = record.metadata.entry.created.to_native();
            // Zero where its process had no clock.
            created == 0 || created >= oldest
        })?;
        removed = Removed::of(&old);
    }
    if !removed.busy {
        let more = Removed::of(&store.prune(&limits)?);
        removed = Removed {
            removed: removed.removed + more.removed,
            removed_bytes: removed.removed_bytes + more.removed_bytes,
            ..more
        };
    }
    if removed.removed > 0 {
        note_size(&store, &before);
    }
    out.print(&removed, Removed::print)?;
    Ok(removed.exit())
}

impl Removed {
    pub(crate) fn of(pruned: &Pruned) -> Self {
        Self {
            removed: pruned.records,
            removed_bytes: pruned.bytes,
            kept: pruned.kept,
            busy: pruned.busy,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.busy { Exit::Busy } else { Exit::Done }
    }

    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.busy {
            return writeln!(
                out,
                "another process prunes or merges: nothing was done; try again"
            );
        }
        writeln!(
            out,
            "{} ({}) removed, {} kept",
            counted(self.removed, "record"),
            bytes(self.removed_bytes),
            count(self.kept),
        )
    }
}
