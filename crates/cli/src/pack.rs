//! `rekindle pack`: merges the packs into few.

use crate::arguments::Place;
use crate::exit::Exit;
use crate::place::note_size;
use crate::print::Printer;
use crate::units::{count, counted};
use rekindle_cache_core::store::{Merge, Store as _};
use serde::Serialize;
use std::io::{self, Write};

#[derive(Debug, Serialize)]
struct Packed {
    packs_before: u64,
    packs_after: u64,
    records: u64,
    /// Records that nobody would find any more.
    dropped: u64,
    busy: bool,
}

pub(crate) fn run(place: &Place, out: &mut Printer) -> anyhow::Result<Exit> {
    let store = place.change()?;
    let before = store.statistics();
    let merged = store.merge(Merge::All)?;
    if merged.packs_after > 0 {
        note_size(&store, &before);
    }
    let packed = Packed {
        packs_before: merged.packs_before,
        packs_after: merged.packs_after,
        records: merged.records,
        dropped: merged.dropped,
        busy: merged.busy,
    };
    out.print(&packed, Packed::print)?;
    Ok(if packed.busy { Exit::Busy } else { Exit::Done })
}

impl Packed {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.busy {
            return writeln!(
                out,
                "another process prunes or merges: nothing was done; try again"
            );
        }
        if self.packs_before < 2 {
            return writeln!(out, "there is nothing to merge");
        }
        writeln!(
            out,
            "{} merged into {}: {}, {} dropped",
            counted(self.packs_before, "pack"),
            count(self.packs_after),
            counted(self.records, "record"),
            count(self.dropped),
        )
    }
}
