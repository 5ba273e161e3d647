//! `rekindle list`: a line for each record.

use crate::arguments::{List, Place, Sort};
use crate::exit::Exit;
use crate::print::Printer;
use crate::records::{Row, Source, short, shown_name};
use crate::units::{ago, bytes, count, duration, now};
use std::cmp::Reverse;
use std::io::{self, Write};
use std::ops::ControlFlow;

pub(crate) fn run(place: &Place, options: &List, out: &mut Printer) -> anyhow::Result<Exit> {
    let source = Source::open(place, options.bundle.as_deref())?;
    let mut rows = Vec::new();
    source.each(&mut |seen| {
        if options.selection.has(&seen.record) {
            rows.push(Row::of(&seen));
        }
        ControlFlow::Continue(())
    });
    match options.sort {
        Sort::Name => rows.sort_by(|a, b| (&a.name, &a.key).cmp(&(&b.name, &b.key))),
        Sort::Size => rows.sort_by_key(|row| Reverse(row.image_bytes)),
        Sort::Cost => rows.sort_by_key(|row| Reverse(row.compile_ns)),
        Sort::Hits => rows.sort_by_key(|row| Reverse(row.hits)),
        Sort::Age => rows.sort_by_key(|row| Reverse(row.created)),
    }
    rows.truncate(options.limit.unwrap_or(usize::MAX));
    let nothing = rows.is_empty() && !options.selection.is_all();
    out.print(&rows, |rows, out| print(rows, out))?;
    Ok(if nothing { Exit::Nothing } else { Exit::Done })
}

fn print(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let now = now();
    writeln!(
        out,
        "{:<16} {:>10} {:>10} {:>7}  {:<15} NAME",
        "KEY", "IMAGE", "COMPILE", "HITS", "COMPILED"
    )?;
    for row in rows {
        let created = match row.created {
            0 => String::new(),
            created => ago(created, now),
        };
        writeln!(
            out,
            "{} {:>10} {:>10} {:>7}  {:<15} {}",
            short(&row.key),
            bytes(row.image_bytes),
            duration(row.compile_ns),
            count(row.hits),
            created,
            shown_name(&row.name),
        )?;
    }
    Ok(())
}
