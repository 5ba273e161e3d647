//! What references become: numbers in fields, rewritten instructions, and notes of what is left for loading.
//!
//! Which bytes a number takes is the machine's business; what the number is, from what it counts, and whether it
//! fits, is here.

use super::read::{Value, bad};
use super::reference::{Action, Form, From, Misfit, Narrow, Range, Reference, To, Word};
use super::relocate::{Writer, narrow};
use super::x86_64::{self, type_tables};
use crate::error::LinkError;
use crate::image::DATA_DISTANCE;
use crate::image::format::{LOW_MARGIN, LOW_SUBTRACTS};

impl Writer<'_, '_> {
    /// Applies `reference`, whose field lies at `at` in the image.
    pub(super) fn apply(
        &mut self,
        section: usize,
        reference: &Reference<'_>,
        at: u64,
    ) -> Result<(), LinkError> {
        let id = reference.symbol_index;
        let (to, from, form) = match reference.action {
            Action::Word(word) => return self.word(at, id, word, reference.addend),
            Action::NarrowOffset(narrow) => {
                return self.narrow_offset(section, reference, at, narrow);
            }
            Action::NarrowAddress { is_distance } => {
                return self.narrow_address(section, reference, at, is_distance);
            }
            Action::Field { to, from, form } => (to, from, form),
        };
        let (layout, reached, symbol) = (self.layout, self.reached, &reference.symbol);
        let target = match to {
            To::Symbol | To::Near => match symbol.value {
                Value::Absolute(value) => Some(value),
                _ => layout.place(reached, id, symbol),
            },
            To::Slot => layout.slot(reached, id),
            To::SlotWithAddend => {
                if type_tables::are_in(self.input.section(section)?) {
                    self.typed.entry(section).or_insert(false);
                }
                layout.slot_with_addend(reached, id, reference.addend)
            }
            To::Stub => layout.stub(reached, id),
            To::Veneer => return self.veneer(section, reference, at),
            To::OffsetSlot => layout.offset_slot(reached, id),
            To::Pair => layout.pair(reached, id),
            To::OwnPair => layout.own_pair,
            To::Descriptor => layout.descriptor(reached, id),
            To::ThreadOffset => layout.thread_offset(symbol),
            To::SlotTable => Some(layout.slot_table()),
            To::Size => Some(symbol.size),
        };
        let missing = || {
            let site = self.input.site(section, reference.offset, symbol);
            bad("a symbol without a place", site.to_string())
        };
        let target = target.ok_or_else(missing)?;
        let target = match to {
            To::SlotWithAddend => target,
            _ => target.wrapping_add_signed(reference.addend),
        };
        let value = match from {
            From::Place => target.wrapping_sub(at),
            From::Page => page(target).wrapping_sub(page(at)),
            From::SlotTable => target.wrapping_sub(layout.slot_table()),
            From::SlotTablePage => target.wrapping_sub(page(layout.slot_table())),
            From::Symbol(origin) => {
                let symbol = self.input.symbol(origin)?;
                let origin = layout.place(reached, origin, &symbol);
                target.wrapping_sub(origin.ok_or_else(missing)?)
            }
            From::Zero => target,
            From::Nowhere => return self.low(section, reference, form, at, target as i64),
        } as i64;
        let written = self.write(form, at, value)?;
        if let (Err(Misfit::OutOfReach), To::Near) = (written, to) {
            let thunk = layout.thunk(reached, id, reference.addend);
            let distance = thunk.ok_or_else(missing)?.wrapping_sub(at) as i64;
            return match self.write(form, at, distance)? {
                Ok(()) => Ok(()),
                Err(misfit) => Err(self.misfit(section, reference, distance, misfit)),
            };
        }
        written.map_err(|misfit| self.misfit(section, reference, value, misfit))
    }

    /// Writes `value` into the field at `at`, or into the instruction that it belongs to.
    #[inline]
    fn write(&mut self, form: Form, at: u64, value: i64) -> Result<Result<(), Misfit>, LinkError> {
        Ok(match form {
            Form::Number(range) => {
                let Some((bytes, width)) = range.encode(value) else {
                    return Ok(Err(Misfit::OutOfReach));
                };
                self.bytes(at, bytes.get(..width).unwrap_or_default())?;
                Ok(())
            }
            Form::X86_64(rewrite) => {
                let instruction = self.bytes_mut(at.wrapping_sub(2), 6)?.first_chunk_mut();
                let written = instruction.and_then(|bytes| rewrite.apply(bytes, value));
                written.ok_or(Misfit::OutOfReach)
            }
            Form::Aarch64(operand) => match self.bytes_mut(at, 4)?.first_chunk_mut() {
                Some(bytes) => operand.write(bytes, value),
                None => Err(Misfit::Instruction),
            },
        })
    }

    /// Notes that four bytes of code want a thread-local's distance from the thread pointer.
    fn narrow_offset(
        &mut self,
        section: usize,
        reference: &Reference<'_>,
        at: u64,
        narrow_field: Narrow,
    ) -> Result<(), LinkError> {
        let import = self.import(reference.symbol_index, Word::PointerOffset)?;
        self.parts.narrow_fixups.push((narrow(at)?, import));
        let addend = reference.addend;
        let written = match narrow_field {
            Narrow::Number => self.write(Form::Number(Range::Signed32), at, addend)?,
            // The operand is the value's alone, so there is no room for a number beside it.
            Narrow::Aarch64(_) if addend != 0 => Err(Misfit::OutOfReach),
            Narrow::Aarch64(operand) => match self.bytes_mut(at, 4)?.first_chunk_mut() {
                Some(bytes) => operand.prepare(bytes),
                None => Err(Misfit::Instruction),
            },
        };
        written.map_err(|misfit| self.misfit(section, reference, addend, misfit))
    }

    /// Notes that four bytes want the address of something from outside, or its distance from them.
    fn narrow_address(
        &mut self,
        section: usize,
        reference: &Reference<'_>,
        at: u64,
        is_distance: bool,
    ) -> Result<(), LinkError> {
        if at >= DATA_DISTANCE {
            // These fixups are for what stays as it is.
            return Err(LinkError::DirectReference {
                relocation: self.input.target.name(reference.kind),
                site: self
                    .input
                    .site(section, reference.offset, &reference.symbol),
            });
        }
        let import = self.import(reference.symbol_index, Word::Address)?;
        let field = narrow(at)?;
        self.parts.narrow_fixups.push((field, import));
        let mut value = reference.addend;
        if is_distance {
            // Less than this a low base could be taken off, and the sum would have too few bits.
            if value < -(LOW_MARGIN as i64) {
                return Err(self.out_of_reach(section, reference, value));
            }
            self.parts.low_fixups.push(field | LOW_SUBTRACTS);
            value = value.wrapping_sub(at as i64);
        }
        self.write(Form::Number(Range::Signed32), at, value)?
            .map_err(|misfit| self.misfit(section, reference, value, misfit))
    }

    /// Writes an address in the image into the field at `at`, to which what the image lies at is added
    /// when it is loaded.
    fn low(
        &mut self,
        section: usize,
        reference: &Reference<'_>,
        form: Form,
        at: u64,
        place: i64,
    ) -> Result<(), LinkError> {
        // Whatever of the windows' part of the low 2 GiB the image gets, the sum fits.
        let least = match form {
            Form::Number(Range::Signed32) => i32::MIN.into(),
            _ => -(LOW_MARGIN as i64),
        };
        let most = DATA_DISTANCE + self.layout.data_memory_size + LOW_MARGIN;
        if !(least..most as i64).contains(&place) {
            return Err(self.out_of_reach(section, reference, place));
        }
        self.parts.low_fixups.push(narrow(at)?);
        self.bytes(at, &(place as i32).to_le_bytes())
    }

    /// Leads the load with its field at `at` through the veneer that it has.
    fn veneer(
        &mut self,
        section: usize,
        reference: &Reference<'_>,
        at: u64,
    ) -> Result<(), LinkError> {
        let (layout, reached) = (self.layout, self.reached);
        let veneer = layout.veneer(reached, section, reference.offset);
        let slot = layout.slot(reached, reference.symbol_index);
        let (Some(veneer), Some(slot)) = (veneer, slot) else {
            let site = self
                .input
                .site(section, reference.offset, &reference.symbol);
            return Err(bad("a reference without a veneer", site.to_string()));
        };
        let borrowing = x86_64::borrowing(self.input.section(section)?, reference);
        let start = borrowing.map(|how| at.wrapping_sub(how.front));
        let found = borrowing.and_then(|how| how.detour(reference.addend, at, veneer, slot));
        let Some((start, found)) = start.zip(found) else {
            let distance = slot.wrapping_sub(at) as i64;
            return Err(self.out_of_reach(section, reference, distance));
        };
        self.bytes(start, &found.jump)?;
        self.bytes(veneer, &found.veneer)
    }

    fn misfit(
        &self,
        section: usize,
        reference: &Reference<'_>,
        value: i64,
        misfit: Misfit,
    ) -> LinkError {
        match misfit {
            Misfit::OutOfReach => self.out_of_reach(section, reference, value),
            Misfit::Instruction => LinkError::WrongInstruction {
                relocation: self.input.target.name(reference.kind),
                site: self
                    .input
                    .site(section, reference.offset, &reference.symbol),
            },
        }
    }

    fn out_of_reach(&self, section: usize, reference: &Reference<'_>, value: i64) -> LinkError {
        LinkError::OutOfReach {
            relocation: self.input.target.name(reference.kind),
            value,
            site: self
                .input
                .site(section, reference.offset, &reference.symbol),
        }
    }
}

/// The beginning of the page of 4 KiB in which `place` lies: images that ask for pages begin with one.
fn page(place: u64) -> u64 {
    place & !0xfff
}
