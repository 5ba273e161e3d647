//! What the roots need: sections, unwind entries, and the slots and stubs for what is outside.
//!
//! A section is kept if a root, an initialiser or finaliser, or a kept section refers to it. An
//! unwind entry is kept with the function that it describes, and brings along its personality and its
//! table of landing pads. Everything else costs an image nothing.

use super::frames::Frames;
use super::read::{Input, Rela, SymbolKind, Value, bad, text};
use super::reference::{Action, Form, From, To};
use super::sections::{SectionKind, check_extent, must_not_be_dropped};
use super::x86_64::borrowed::Veneers;
use crate::error::LinkError;
use rustc_hash::FxHashMap;

/// What is kept, each in the order of the object or of its first use.
#[derive(Default)]
pub(super) struct Reached<'n> {
    pub(super) sections: Vec<usize>,
    pub(super) pieces: Vec<usize>,
    /// Symbols whose address has a slot.
    pub(super) slots: Indexed,
    /// Symbols with an addend, of which the sum has a slot.
    pub(super) slots_with_addend: Indexed<(u32, i64)>,
    /// Functions, with an addend, that a branch may not reach without a thunk.
    pub(super) thunks: Indexed<(u32, i64)>,
    /// Whether something counts in pages, so that the image has to begin with one.
    pub(super) pages: bool,
    /// Whether the image has to lie in the low 2 GiB.
    pub(super) is_low: bool,
    /// Symbols from outside for whose address that of a stub is taken, everywhere in the image.
    pub(super) functions: Indexed,
    /// Symbols with a stub that jumps through their slot.
    pub(super) stubs: Indexed,
    /// References with a veneer that goes through the symbol's slot.
    pub(super) veneers: Veneers,
    /// Thread-locals whose distance from the thread pointer has a slot.
    pub(super) offset_slots: Indexed,
    /// Thread-locals with a pair of module and offset.
    pub(super) pairs: Indexed,
    /// Thread-locals with a descriptor, which points to their pair.
    pub(super) descriptors: Indexed,
    /// Functions of the image whose address a resolver picks.
    pub(super) indirect: Indexed,
    pub(super) commons: Indexed,
    /// Whether something refers to `__dso_handle`.
    pub(super) handle: bool,
    /// Whether something asks for the block of this image as such.
    pub(super) own_pair: bool,
    /// By symbol number: whether something refers to it otherwise than through a slot or a word.
    pub(super) direct: Vec<bool>,
    /// Symbols that may have to be one in the process, in the order in which they were met.
    pub(super) sharable: Indexed,
    /// Names and symbols of the roots.
    pub(super) roots: Vec<(&'n str, u32)>,
}

/// Symbols, or what else is told apart by a key, in the order in which they were first met.
pub(super) struct Indexed<K = u32> {
    pub(super) keys: Vec<K>,
    index: FxHashMap<K, u64>,
}

impl<K> Default for Indexed<K> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            index: FxHashMap::default(),
        }
    }
}

impl<K: Copy + Eq + std::hash::Hash> Indexed<K> {
    pub(super) fn insert(&mut self, key: K) {
        self.index.entry(key).or_insert_with(|| {
            self.keys.push(key);
            self.keys.len() as u64 - 1
        });
    }

    /// The number of `key` in this order.
    pub(super) fn get(&self, key: K) -> Option<u64> {
        self.index.get(&key).copied()
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.keys.len() as u64
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
        tables_about: FxHashMap::default(),
        reached: Reached {
            direct: vec![false; input.symbols.len()],
            ..Reached::default()
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
        if let SectionKind::Initialisers(_)
        | SectionKind::Finalisers(_)
        | SectionKind::OldInitialisers(_)
        | SectionKind::OldFinalisers(_) = section.kind
        {
            walk.meet_section(index)?;
        }
        if section.retained && !is_dropped(section.kind) {
            walk.meet_section(index)?;
        }
        if let Some(about) = section.about.filter(|_| !is_dropped(section.kind)) {
            walk.tables_about.entry(about).or_default().push(index);
        }
    }
    walk.run(frames)
}

struct Walk<'w, 'a, 'n> {
    input: &'w Input<'a>,
    section_met: Vec<bool>,
    piece_met: Vec<bool>,
    pending: Vec<usize>,
    /// Sections that are kept with another one, by that one.
    tables_about: FxHashMap<usize, Vec<usize>>,
    reached: Reached<'n>,
}

impl<'n> Walk<'_, '_, 'n> {
    fn run(mut self, frames: &Frames) -> Result<Reached<'n>, LinkError> {
        let input = self.input;
        while let Some(index) = self.pending.pop() {
            self.follow(index, input.section(index)?.relocations)?;
            for table in self.tables_about.remove(&index).unwrap_or_default() {
                self.meet_section(table)?;
            }
            for piece in frames.of_section(index) {
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
        let may_be_low = self.input.wishes.may_be_low;
        let kind = match may_be_low {
            true => self.input.section(section)?.kind,
            false => SectionKind::NotLoaded,
        };
        for relocation in relocations {
            let Some(reference) = self
                .input
                .target
                .classify(self.input, section, relocation)?
            else {
                continue;
            };
            let symbol = reference.symbol_index;
            if let Action::Field {
                from: From::Symbol(origin),
                ..
            } = reference.action
            {
                if let Some(direct) = self.reached.direct.get_mut(origin as usize) {
                    *direct = true;
                }
                self.meet(origin)?;
            }
            let reached = &mut self.reached;
            reached.pages |= reference.action.counts_in_pages();
            if may_be_low {
                reached.is_low |= is_low(reference.action, kind);
            }
            match reference.action {
                Action::Field { to, from, form } => match to {
                    To::Symbol | To::Near => {
                        if to == To::Near {
                            reached.thunks.insert((symbol, reference.addend));
                        }
                        let direct = reached.direct.get_mut(symbol as usize);
                        if let (Some(direct), true) = (direct, binds(from, form)) {
                            *direct = true;
                        }
                    }
                    To::Slot => reached.slots.insert(symbol),
                    To::SlotWithAddend => {
                        let key = (symbol, reference.addend);
                        reached.slots_with_addend.insert(key);
                    }
                    To::Stub => {
                        reached.slots.insert(symbol);
                        reached.stubs.insert(symbol);
                        if from == From::Nowhere {
                            // Its slot gets the stub's address, too, and the stub one of its own.
                            reached.functions.insert(symbol);
                            reached.slots_with_addend.insert((symbol, 0));
                        }
                    }
                    To::Veneer => {
                        reached.slots.insert(symbol);
                        reached.veneers.insert(section, reference.offset);
                    }
                    To::OffsetSlot => reached.offset_slots.insert(symbol),
                    To::Pair => reached.pairs.insert(symbol),
                    To::OwnPair => {
                        reached.own_pair = true;
                        continue;
                    }
                    To::Descriptor => {
                        reached.pairs.insert(symbol);
                        reached.descriptors.insert(symbol);
                    }
                    To::ThreadOffset => {}
                    To::SlotTable | To::Size => continue,
                },
                Action::Word(_) | Action::NarrowOffset(_) | Action::NarrowAddress { .. } => {}
            }
            self.meet(symbol)?;
        }
        Ok(())
    }

    fn meet(&mut self, id: u32) -> Result<(), LinkError> {
        let symbol = self.input.symbol(id)?;
        match symbol.value {
            Value::Defined { section, .. } => {
                if symbol.kind == SymbolKind::IndirectFunction {
                    self.reached.indirect.insert(id);
                }
                if symbol.kind == SymbolKind::Object {
                    self.reached.sharable.insert(id);
                }
                self.meet_section(section)
            }
            Value::Common { size, alignment } => {
                check_extent(size, alignment, || text(symbol.name))?;
                self.reached.commons.insert(id);
                Ok(())
            }
            Value::Handle => {
                self.reached.handle = true;
                Ok(())
            }
            Value::Start(set) | Value::Stop(set) => {
                let members = self.input.bounded.get(set);
                for &member in members.map(Vec::as_slice).unwrap_or_default() {
                    self.meet_section(member)?;
                }
                Ok(())
            }
            Value::Absolute(_) | Value::Undefined | Value::SlotTable | Value::ThreadBlock => Ok(()),
        }
    }

    fn meet_section(&mut self, index: usize) -> Result<(), LinkError> {
        let section = self.input.section(index)?;
        match section.kind {
            SectionKind::NotLoaded | SectionKind::Debug => {
                return Err(bad(
                    "a reference to a section that is not loaded",
                    format!("section {index}"),
                ));
            }
            SectionKind::Discarded => {
                return Err(bad(
                    "a reference to a section of a group of which another object's copy is kept",
                    text(section.name),
                ));
            }
            SectionKind::Unwind => {
                return Err(unsupported(
                    section.name,
                    "it is referred to by address, but unwind tables are moved; drop the reference",
                ));
            }
            SectionKind::Unsupported(reason) => return Err(unsupported(section.name, reason)),
            _ => {}
        }
        if let Some(met) = self.section_met.get_mut(index)
            && !std::mem::replace(met, true)
        {
            check_extent(section.size, section.alignment, || text(section.name))?;
            self.pending.push(index);
        }
        Ok(())
    }
}

/// Whether such a reference leads to the image's own copy of a symbol, whatever happens at load.
fn binds(from: From, form: Form) -> bool {
    match from {
        From::Zero => matches!(form, Form::Aarch64(_)),
        _ => true,
    }
}

/// Whether such a reference in a section of `kind` holds an address where position-independent code has
/// none.
fn is_low(action: Action, kind: SectionKind) -> bool {
    match action {
        Action::Field { from, .. } => from == From::Nowhere,
        Action::Word(_) => kind == SectionKind::Text,
        Action::NarrowAddress { .. } => true,
        Action::NarrowOffset(_) => false,
    }
}

/// Whether no copy of a section of this kind can be in an image.
fn is_dropped(kind: SectionKind) -> bool {
    matches!(
        kind,
        SectionKind::NotLoaded | SectionKind::Debug | SectionKind::Discarded | SectionKind::Unwind
    )
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
