//! What the roots need: sections, unwind entries, and the slots and stubs for what is outside.
//!
//! A section is kept if a root, an initialiser or finaliser, or a kept section refers to it. An
//! unwind entry is kept with the function that it describes, and brings along its personality and its
//! table of landing pads. Everything else costs an image nothing.

use super::frames::Frames;
use super::read::{Input, Rela, Value, bad, text};
use super::relocate_x86_64::{self as machine, To};
use super::sections::{SectionKind, must_not_be_dropped};
use crate::error::LinkError;
use rustc_hash::FxHashMap;

/// What is kept, each in the order of the object or of its first use.
pub(super) struct Reached<'n> {
    pub(super) sections: Vec<usize>,
    pub(super) pieces: Vec<usize>,
    pub(super) slots: Indexed,
    pub(super) stubs: Indexed,
    pub(super) commons: Indexed,
    /// Whether something refers to `__dso_handle`.
    pub(super) handle: bool,
    /// Names and symbols of the roots.
    pub(super) roots: Vec<(&'n str, u32)>,
}

/// Symbols in the order in which they were first met.
#[derive(Default)]
pub(super) struct Indexed {
    pub(super) symbols: Vec<u32>,
    index: FxHashMap<u32, u64>,
}

impl Indexed {
    fn insert(&mut self, symbol: u32) {
        self.index.entry(symbol).or_insert_with(|| {
            self.symbols.push(symbol);
            self.symbols.len() as u64 - 1
        });
    }

    /// The number of `symbol` in this order.
    pub(super) fn get(&self, symbol: u32) -> Option<u64> {
        self.index.get(&symbol).copied()
    }
}

/// Finds what `roots` need.
pub(super) fn reach<'n>(
    input: &Input<'_>,
    frames: &Frames,
    roots: &[&'n str],
) -> Result<Reached<'n>, LinkError> {
    let symbols = input.definitions(roots)?;
    let mut walk = Walk {
        input,
        section_met: vec![false; input.sections.len()],
        piece_met: vec![false; frames.pieces.len()],
        pending: Vec::new(),
        reached: Reached {
            sections: Vec::new(),
            pieces: Vec::new(),
            slots: Indexed::default(),
            stubs: Indexed::default(),
            commons: Indexed::default(),
            handle: false,
            roots: Vec::with_capacity(roots.len()),
        },
    };
    for (&name, symbol) in roots.iter().zip(symbols) {
        if !matches!(
            input.symbol(symbol)?.value,
            Value::Defined { .. } | Value::Common { .. }
        ) {
            return Err(LinkError::MissingRoot {
                symbol: name.to_owned(),
            });
        }
        walk.meet(symbol)?;
        walk.reached.roots.push((name, symbol));
    }
    for (index, section) in input.sections.iter().enumerate() {
        if let Some(reason) = must_not_be_dropped(section) {
            return Err(unsupported(section.name, reason));
        }
        if let SectionKind::Initialisers(_) | SectionKind::Finalisers(_) = section.kind {
            walk.meet_section(index)?;
        }
    }
    walk.run(frames)
}

struct Walk<'w, 'a, 'n> {
    input: &'w Input<'a>,
    section_met: Vec<bool>,
    piece_met: Vec<bool>,
    pending: Vec<usize>,
    reached: Reached<'n>,
}

impl<'n> Walk<'_, '_, 'n> {
    fn run(mut self, frames: &Frames) -> Result<Reached<'n>, LinkError> {
        let input = self.input;
        while let Some(index) = self.pending.pop() {
            self.follow(index, input.section(index)?.relocations)?;
            for &piece in frames.of_section(index) {
                self.meet_piece(frames, piece)?;
                if let Some(common) = frames.piece(piece)?.common {
                    self.meet_piece(frames, common)?;
                }
            }
        }
        self.reached.sections = met(&self.section_met);
        self.reached.pieces = met(&self.piece_met);
        Ok(self.reached)
    }

    fn meet_piece(&mut self, frames: &Frames, index: usize) -> Result<(), LinkError> {
        let piece = frames.piece(index)?;
        if let Some(met) = self.piece_met.get_mut(index)
            && !std::mem::replace(met, true)
        {
            self.follow(piece.section, frames.relocations(piece))?;
        }
        Ok(())
    }

    fn follow(&mut self, section: usize, relocations: &[Rela]) -> Result<(), LinkError> {
        for relocation in relocations {
            let Some(reference) = machine::classify(self.input, section, relocation)? else {
                continue;
            };
            match reference.to() {
                To::Symbol => {}
                To::Slot => self.reached.slots.insert(reference.symbol_index),
                To::Stub => {
                    self.reached.slots.insert(reference.symbol_index);
                    self.reached.stubs.insert(reference.symbol_index);
                }
            }
            self.meet(reference.symbol_index)?;
        }
        Ok(())
    }

    fn meet(&mut self, symbol: u32) -> Result<(), LinkError> {
        match self.input.symbol(symbol)?.value {
            Value::Defined { section, .. } => self.meet_section(section),
            Value::Common { .. } => {
                self.reached.commons.insert(symbol);
                Ok(())
            }
            Value::Handle => {
                self.reached.handle = true;
                Ok(())
            }
            Value::Absolute(_) | Value::Undefined => Ok(()),
        }
    }

    fn meet_section(&mut self, index: usize) -> Result<(), LinkError> {
        let section = self.input.section(index)?;
        match section.kind {
            SectionKind::NotLoaded => {
                return Err(bad(
                    "a reference to a section that is not loaded",
                    format!("section {index}"),
                ));
            }
            SectionKind::Unwind => {
                return Err(unsupported(
                    section.name,
                    "it is referred to by address, but unwind tables are moved; drop the reference",
                ));
            }
            SectionKind::ThreadLocal => {
                return Err(unsupported(
                    section.name,
                    "thread-local variables are not supported yet; compile with -femulated-tls",
                ));
            }
            SectionKind::Unsupported(reason) => return Err(unsupported(section.name, reason)),
            _ => {}
        }
        if let Some(met) = self.section_met.get_mut(index)
            && !std::mem::replace(met, true)
        {
            self.pending.push(index);
        }
        Ok(())
    }
}

fn met(flags: &[bool]) -> Vec<usize> {
    let marked = flags.iter().enumerate().filter(|(_, met)| **met);
    marked.map(|(index, _)| index).collect()
}

fn unsupported(section: &[u8], reason: &'static str) -> LinkError {
    LinkError::UnsupportedSection {
        section: text(section),
        reason,
    }
}
