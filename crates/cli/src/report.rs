//! What the command prints.

use rekindle_cache_core::store::{Found, Record, Store};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

/// Bytes of a key that identify it to a person: the 64 bits by which packs are searched.
const SHOWN_KEY: usize = 16;

/// Prints where the cache is and how much is in it. Every record's metadata is checked for that; the
/// images are not.
pub(crate) fn status(out: &mut dyn Write, folder: &Path, store: &dyn Store) -> io::Result<()> {
    let mut damage = Vec::new();
    store.for_each(&mut |found| {
        if let Found::Damaged(found) = found {
            damage.push(found.to_string());
        }
        ControlFlow::Continue(())
    });
    let statistics = store.statistics();
    writeln!(out, "folder   {}", folder.display())?;
    writeln!(out, "packs    {}", statistics.packs)?;
    writeln!(out, "records  {}", statistics.records)?;
    writeln!(out, "bytes    {}", bytes(statistics.bytes))?;
    writeln!(out, "damaged  {}", statistics.damaged)?;
    damage
        .iter()
        .try_for_each(|damage| writeln!(out, "  {damage}"))
}

/// Prints a line for each record and for each damage.
pub(crate) fn list(out: &mut dyn Write, store: &dyn Store) -> io::Result<()> {
    let mut printed = Ok(());
    store.for_each(&mut |found| {
        printed = match found {
            Found::Record(record) => list_record(out, &record),
            Found::Damaged(damage) => writeln!(out, "damaged: {damage}"),
            _ => Ok(()),
        };
        match printed {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    printed
}

fn list_record(out: &mut dyn Write, record: &Record<'_>) -> io::Result<()> {
    let entry = &record.metadata.entry;
    let key = record.key.to_string();
    let name = if entry.name.is_empty() {
        "(no name)"
    } else {
        entry.name.as_str()
    };
    writeln!(
        out,
        "{} {:>10} {:>10}  {}",
        key.get(..SHOWN_KEY).unwrap_or(&key),
        bytes(record.image.bytes.len() as u64),
        duration(entry.compile_ns.to_native()),
        name.escape_debug(),
    )
}

/// A number of bytes in the largest unit of which it has one.
fn bytes(count: u64) -> String {
    in_units(count, 1024, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// A number of nanoseconds in the largest unit of which it has one.
fn duration(nanoseconds: u64) -> String {
    in_units(nanoseconds, 1000, &["ns", "us", "ms", "s"])
}

fn in_units(count: u64, step: u32, units: &[&str]) -> String {
    let mut amount = count as f64;
    let mut unit = units.first().copied().unwrap_or_default();
    for next in units.iter().skip(1) {
        if amount < f64::from(step) {
            break;
        }
        amount /= f64::from(step);
        unit = next;
    }
    if count < u64::from(step) {
        format!("{count} {unit}")
    } else {
        format!("{amount:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_cache_core::store::MemoryStore;

    #[test]
    fn amounts_are_for_people() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 40), "3.0 TiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(duration(999), "999 ns");
        assert_eq!(duration(1_400_000), "1.4 ms");
        assert_eq!(duration(90_000_000_000), "90.0 s");
    }

    #[test]
    fn an_empty_store_has_a_status() {
        let mut out = Vec::new();
        status(&mut out, Path::new("/cache"), &MemoryStore::new()).expect("printed");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "folder   /cache\npacks    0\nrecords  0\nbytes    0 B\ndamaged  0\n"
        );
        let mut out = Vec::new();
        list(&mut out, &MemoryStore::new()).expect("printed");
        assert!(out.is_empty());
    }
}
