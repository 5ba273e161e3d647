//! `rekindle clear`: removes records, all or some.

use crate::arguments::{Clear, Place};
use crate::exit::Exit;
use crate::place::note_size;
use crate::print::Printer;
use crate::prune::Removed;
use anyhow::bail;
use rekindle_cache_core::store::Store as _;
use std::io::{self, IsTerminal as _, Write as _};

pub(crate) fn run(place: &Place, options: &Clear, out: &mut Printer) -> anyhow::Result<Exit> {
    let (folder, _) = place.look()?;
    let what = options.selection.in_words();
    if !options.yes {
        if !io::stdin().is_terminal() {
            bail!("there is nobody to ask whether {what} may go: pass `--yes`");
        }
        eprint!("Remove {what} from {}? [y/N] ", folder.display());
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            bail!("nothing was removed");
        }
    }
    let store = place.change()?;
    let before = store.statistics();
    let pruned = match options.selection.is_all() {
        true => store.clear()?,
        false => store.retain(&mut |record| !options.selection.has(record))?,
    };
    let removed = Removed::of(&pruned);
    if removed.removed > 0 {
        note_size(&store, &before);
    }
    out.print(&removed, Removed::print)?;
    let nothing = removed.removed == 0 && !options.selection.is_all() && !removed.busy;
    Ok(if nothing {
        Exit::Nothing
    } else {
        removed.exit()
    })
}
