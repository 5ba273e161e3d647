//! What an image says of itself, by the loader's own reader.

use crate::disassembly::{self, Instruction};
use serde::Serialize;

/// ELF's number of the machine whose code is disassembled.
const X86_64: u16 = 62;

/// An image, described.
#[derive(Debug, Serialize)]
pub(crate) struct ImageFacts {
    /// Of machine code, which the image starts with.
    pub(crate) text_bytes: u64,
    /// Of what stays in memory, read-only: text, slots, constants, unwind tables.
    pub(crate) payload_bytes: u64,
    /// Of writable data.
    pub(crate) data_bytes: u64,
    /// Words that are written when it is loaded.
    pub(crate) fixups: u64,
    /// Names that can be asked of the loaded code.
    pub(crate) exports: Vec<String>,
    /// Names that have to come from outside.
    pub(crate) imports: Vec<String>,
    /// The text, instruction by instruction; none if it was not asked for, or is for
    /// another machine than x86-64.
    pub(crate) code: Vec<Instruction>,
}

impl ImageFacts {
    /// Describes `image`, with its code if `code` says so.
    ///
    /// # Errors
    /// What is wrong, or why this version cannot read it.
    pub(crate) fn of(image: &[u8], code: bool) -> Result<Self, String> {
        let description = rekindle_loader::check(image).map_err(|error| error.to_string())?;
        let text = image.get(..description.text_size()).unwrap_or_default();
        Ok(Self {
            text_bytes: text.len() as u64,
            payload_bytes: description.payload_size() as u64,
            data_bytes: description.data_size() as u64,
            fixups: description.fixup_count() as u64,
            exports: description.exports().map(str::to_owned).collect(),
            imports: description
                .imports()
                .map(|import| import.name.to_owned())
                .collect(),
            code: match (code, description.machine()) {
                (true, X86_64) => disassembly::of(text),
                _ => Vec::new(),
            },
        })
    }
}
