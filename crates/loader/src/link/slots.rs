//! Writes slots and stubs: those of what is outside, of thread-locals, and of indirect functions.

use super::read::{Value, bad, text};
use super::reference::Word;
use super::relocate::{Writer, narrow};
use crate::error::LinkError;
use crate::image::format::ImportKind;

impl Writer<'_, '_> {
    pub(super) fn slots_and_stubs(&mut self) -> Result<(), LinkError> {
        for &id in &self.reached.slots.keys {
            let symbol = self.input.symbol(id)?;
            let slot = self.layout.slot(self.reached, id);
            let slot = slot.ok_or_else(|| bad("a symbol without a slot", text(symbol.name)))?;
            self.word(slot, id, Word::Address, 0)?;
        }
        for &(id, addend) in &self.reached.slots_with_addend.keys {
            let slot = self.layout.slot_with_addend(self.reached, id, addend);
            let slot =
                slot.ok_or_else(|| bad("a symbol without a slot", format!("symbol {id}")))?;
            self.word_of_outside(slot, id, Word::Address, addend)?;
        }
        if let Some(handle) = self.layout.handle {
            self.base_word(handle, handle)?;
        }
        for &symbol in &self.reached.stubs.keys {
            let stub = self.layout.stub(self.reached, symbol);
            let slot = match self.reached.functions.get(symbol) {
                None => self.layout.slot(self.reached, symbol),
                Some(_) => self.layout.slot_with_addend(self.reached, symbol, 0),
            };
            let (Some(stub), Some(slot)) = (stub, slot) else {
                return Err(bad("a symbol without a stub", format!("symbol {symbol}")));
            };
            self.stub(stub, slot)?;
        }
        Ok(())
    }

    pub(super) fn thread_slots(&mut self) -> Result<(), LinkError> {
        let (layout, reached) = (self.layout, self.reached);
        let missing = |id: &u32| bad("a thread-local without a slot", format!("symbol {id}"));
        for id in &reached.offset_slots.keys {
            let slot = layout
                .offset_slot(reached, *id)
                .ok_or_else(|| missing(id))?;
            self.word(slot, *id, Word::PointerOffset, 0)?;
        }
        for id in &reached.pairs.keys {
            let pair = layout.pair(reached, *id).ok_or_else(|| missing(id))?;
            self.word(pair, *id, Word::ThreadModule, 0)?;
            self.word(pair + 8, *id, Word::ThreadOffset, 0)?;
        }
        if let Some(pair) = layout.own_pair {
            let import = self.own_module()?;
            self.parts.symbol_fixups.push((narrow(pair)?, import));
        }
        for id in &reached.descriptors.keys {
            let descriptor = layout.descriptor(reached, *id).ok_or_else(|| missing(id))?;
            let pair = layout.pair(reached, *id).ok_or_else(|| missing(id))?;
            let resolver = self.nameless_import(ImportKind::ThreadDescriptor)?;
            self.parts
                .symbol_fixups
                .push((narrow(descriptor)?, resolver));
            self.base_word(descriptor + 8, pair)?;
        }
        Ok(())
    }

    pub(super) fn indirect_functions(&mut self) -> Result<(), LinkError> {
        for (number, &id) in (0..).zip(&self.reached.indirect.keys) {
            let symbol = self.input.symbol(id)?;
            let missing = || bad("a symbol without a place", text(symbol.name));
            let Value::Defined { section, offset } = symbol.value else {
                return Err(missing());
            };
            let resolver = self.layout.section(section).ok_or_else(missing)?;
            let word = self.layout.indirect.start + 8 * number;
            self.base_word(word, resolver.wrapping_add(offset))?;
            let stub = self.layout.place(self.reached, id, &symbol);
            self.stub(stub.ok_or_else(missing)?, word)?;
        }
        Ok(())
    }

    /// Writes a stub at `place` that jumps through the word at `target`.
    fn stub(&mut self, place: u64, target: u64) -> Result<(), LinkError> {
        let stub = self.input.target.machine.stub(place, target);
        self.bytes(place, stub.bytes())
    }

    /// Writes the thunks of branches that may not reach.
    pub(super) fn thunks(&mut self) -> Result<(), LinkError> {
        for &(id, addend) in &self.reached.thunks.keys {
            let symbol = self.input.symbol(id)?;
            let missing = || bad("a symbol without a place", text(symbol.name));
            let thunk = self.layout.thunk(self.reached, id, addend);
            let target = self.layout.place(self.reached, id, &symbol);
            let (thunk, target) = thunk.zip(target).ok_or_else(missing)?;
            let target = target.wrapping_add_signed(addend);
            let code = self.input.target.machine.thunk(thunk, target);
            self.bytes(thunk, code.bytes())?;
        }
        Ok(())
    }
}
