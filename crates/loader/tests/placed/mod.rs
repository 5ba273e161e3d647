//! An image put at a fixed address by what `docs/image.md` says of its bytes, with nothing of the loader:
//! so images for other machines can be looked at, and handed to a program for such a machine.

// Each test program uses a part of this.
#![allow(dead_code)]

use std::error::Error;
use std::ops::Range;

/// What anything here returns.
pub(crate) type Answer<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes between payload and data.
pub(crate) const DATA_DISTANCE: u64 = 1 << 28;

/// ELF's number for AArch64.
const AARCH64: u64 = 183;

/// An import, as the image has it.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    pub(crate) kind: u64,
    pub(crate) name: String,
    pub(crate) weak: bool,
}

/// A table's rows, as an offset in the image and the size of a row.
struct Table {
    start: usize,
    row: usize,
    count: usize,
}

/// An image with its fixups applied, at an address.
pub(crate) struct Placed {
    pub(crate) base: u64,
    pub(crate) machine: u64,
    pub(crate) text_size: u64,
    pub(crate) payload: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) unwind: Range<u64>,
    pub(crate) init: Range<u64>,
    pub(crate) fini: Range<u64>,
    pub(crate) template: Range<u64>,
    pub(crate) thread_memory_size: u64,
    pub(crate) indirect: Range<u64>,
    pub(crate) exports: Vec<(String, u64)>,
    pub(crate) imports: Vec<Import>,
    pub(crate) alignment: u64,
}

fn number(bytes: &[u8], at: usize, width: usize) -> Answer<u64> {
    let mut number = [0; 8];
    let field = bytes
        .get(at..at + width)
        .ok_or("a field outside the image")?;
    number
        .get_mut(..width)
        .ok_or("a wide field")?
        .copy_from_slice(field);
    Ok(u64::from_le_bytes(number))
}

impl Placed {
    /// Reads `image`, and applies its fixups for `base`. `resolve` knows the values of imports.
    pub(crate) fn new(
        image: &[u8],
        base: u64,
        resolve: impl Fn(&Import) -> Option<u64>,
    ) -> Answer<Self> {
        let footer = image.len().checked_sub(64).ok_or("no footer")?;
        let figure = |at: usize| number(image, footer + at, 4);
        let is_extended = number(image, footer + 49, 1)? & 1 != 0;
        let extended = |at: usize| match is_extended {
            true => number(image, footer - 64 + at, 4),
            false => Ok(0),
        };
        let payload_size = figure(0)?;
        let data_size = figure(8)?;
        let mut at = (payload_size + data_size) as usize;
        let mut table = |count: u64, row: usize| {
            let start = at;
            at += count as usize * row;
            Table {
                start,
                row,
                count: count as usize,
            }
        };
        let imports = table(figure(28)?, 20);
        let symbol_fixups = table(figure(32)?, 8);
        let narrow_fixups = table(extended(48)?, 8);
        let base_fixups = table(figure(36)?, 4);
        let shared = table(extended(52)?, 24);
        let _side_tables = table(extended(56)?, 16);
        let exports = table(figure(40)?, 20);
        let strings = at;
        let text = |row: usize| -> Answer<String> {
            let start = strings + number(image, row + 8, 4)? as usize;
            let size = number(image, row + 12, 4)? as usize;
            let bytes = image.get(start..start + size).ok_or("a name outside")?;
            Ok(String::from_utf8(bytes.to_vec())?)
        };

        let words = |offset: u64, count: u64| offset..offset + 8 * count;
        let mut data = image
            .get(payload_size as usize..(payload_size + data_size) as usize)
            .ok_or("no data")?
            .to_vec();
        data.resize(figure(12)? as usize, 0);
        let mut placed = Self {
            base,
            machine: number(image, footer + 52, 2)?,
            text_size: figure(4)?,
            payload: image.get(..payload_size as usize).ok_or("cut")?.to_vec(),
            data,
            unwind: payload_size - figure(16)?..payload_size,
            init: words(extended(0)?, extended(4)?),
            fini: words(extended(8)?, extended(12)?),
            template: extended(16)?..extended(16)? + extended(20)?,
            thread_memory_size: extended(24)?,
            indirect: words(extended(32)?, extended(36)?),
            exports: Vec::new(),
            imports: Vec::new(),
            alignment: 1 << number(image, footer + 48, 1)?,
        };
        for row in imports.rows() {
            let flags = number(image, row + 16, 4)?;
            placed.imports.push(Import {
                kind: flags >> 8,
                name: text(row)?,
                weak: flags & 1 != 0,
            });
        }
        let mut values = Vec::new();
        for import in &placed.imports {
            let unknown = || format!("nobody knows {import:?}");
            let known = match import.kind {
                1 => Some(0),
                _ => resolve(import).or(import.weak.then_some(0)),
            };
            values.push(known.ok_or_else(unknown)?);
        }
        // Nobody else has one of these.
        for row in shared.rows() {
            let import = number(image, row, 4)? as usize;
            let place = number(image, row + 4, 4)?;
            *values.get_mut(import).ok_or("no such import")? = base + place;
        }
        for row in exports.rows() {
            let place = number(image, row + 16, 4)?;
            placed.exports.push((text(row)?, base + place));
        }
        let value_of = |row: usize| -> Answer<u64> {
            let import = number(image, row + 4, 4)? as usize;
            Ok(*values.get(import).ok_or("no such import")?)
        };
        for row in symbol_fixups.rows() {
            placed.add(number(image, row, 4)?, value_of(row)?)?;
        }
        for row in base_fixups.rows() {
            placed.add(number(image, row, 4)?, base)?;
        }
        for row in narrow_fixups.rows() {
            placed.narrow(number(image, row, 4)?, value_of(row)?)?;
        }
        Ok(placed)
    }

    /// Adds `value` to the word at `place`.
    fn add(&mut self, place: u64, value: u64) -> Answer<()> {
        let (area, offset) = match place.checked_sub(DATA_DISTANCE) {
            None => (&mut self.payload, place),
            Some(offset) => (&mut self.data, offset),
        };
        let sum = number(area, offset as usize, 8)?.wrapping_add(value);
        let word = area.get_mut(offset as usize..offset as usize + 8);
        word.ok_or("a word outside")?
            .copy_from_slice(&sum.to_le_bytes());
        Ok(())
    }

    /// Writes a distance into an instruction, by what the page says of narrow fixups.
    fn narrow(&mut self, place: u64, value: u64) -> Answer<()> {
        let old = number(&self.payload, place as usize, 4)? as u32;
        let new = match self.machine {
            AARCH64 if old & 0x7fc0_0000 == 0x1140_0000 => {
                old & !(0xfff << 10) | ((value >> 12 & 0xfff) as u32) << 10
            }
            AARCH64 if old & 0x7fc0_0000 == 0x1100_0000 => {
                old & !(0xfff << 10) | ((value & 0xfff) as u32) << 10
            }
            AARCH64 if old & 0x3b00_0000 == 0x3900_0000 => {
                let is_whole_vector = old & 0x0480_0000 == 0x0480_0000;
                let scale = if is_whole_vector { 4 } else { old >> 30 };
                old & !(0xfff << 10) | ((value & 0xfff) as u32 >> scale << 10)
            }
            AARCH64 => {
                let group = old >> 21 & 3;
                old & !(0xffff << 5) | ((value >> (16 * group) & 0xffff) as u32) << 5
            }
            _ => old.wrapping_add(value as u32),
        };
        let word = self.payload.get_mut(place as usize..place as usize + 4);
        word.ok_or("an instruction outside")?
            .copy_from_slice(&new.to_le_bytes());
        Ok(())
    }

    /// The address of an export.
    pub(crate) fn symbol(&self, name: &str) -> Option<u64> {
        let export = self.exports.iter().find(|(export, _)| export == name);
        export.map(|(_, address)| *address)
    }

    /// Bytes of the placed image.
    pub(crate) fn bytes(&self, address: u64, size: u64) -> Option<Vec<u8>> {
        let place = address.checked_sub(self.base)?;
        let (area, offset) = match place.checked_sub(DATA_DISTANCE) {
            None => (&self.payload, place),
            Some(offset) => (&self.data, offset),
        };
        let start = offset as usize;
        Some(area.get(start..start + size as usize)?.to_vec())
    }

    /// Where the first slot lies.
    pub(crate) fn first_slot(&self) -> u64 {
        self.base + self.text_size.next_multiple_of(8)
    }

    /// What the runner reads: figures, then payload and data.
    pub(crate) fn dump(&self, entry: u64, argument: u64) -> Vec<u8> {
        let base = self.base;
        let data = base + DATA_DISTANCE;
        let mut dump = Vec::new();
        for figure in [
            base,
            self.payload.len() as u64,
            self.data.len() as u64,
            base + self.unwind.start,
            self.unwind.end - self.unwind.start,
            base + self.init.start,
            (self.init.end - self.init.start) / 8,
            base + self.fini.start,
            (self.fini.end - self.fini.start) / 8,
            base + self.template.start,
            self.template.end - self.template.start,
            self.thread_memory_size,
            data + self.indirect.start,
            (self.indirect.end - self.indirect.start) / 8,
            entry,
            argument,
        ] {
            dump.extend(figure.to_le_bytes());
        }
        dump.extend(&self.payload);
        dump.extend(&self.data);
        dump
    }
}

impl Table {
    /// Where each row begins.
    fn rows(&self) -> impl Iterator<Item = usize> + use<> {
        let (start, row) = (self.start, self.row);
        (0..self.count).map(move |index| start + index * row)
    }
}
