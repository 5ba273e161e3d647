//! What an image asks for from outside: each thing once for each use.

use super::read::{Binding, Symbol, SymbolKind, Value, bad, text};
use super::reference::Word;
use super::relocate::{Writer, narrow};
use crate::error::LinkError;
use crate::image::format::ImportKind;
use crate::image::write::ImportName;

impl<'a> Writer<'_, 'a> {
    /// The import of what `word` is to hold of a symbol.
    pub(super) fn import(&mut self, id: u32, word: Word) -> Result<u32, LinkError> {
        if let Some(&import) = self.import_of.get(&(id, word)) {
            return Ok(import);
        }
        let symbol: Symbol<'a> = self.input.symbol(id)?;
        let is_own = symbol.kind == SymbolKind::ThreadLocal && symbol.value != Value::Undefined;
        if word == Word::ThreadModule && (is_own || symbol.value == Value::ThreadBlock) {
            return self.own_module();
        }
        let import = self.add_import(ImportName {
            name: utf8(symbol.name)?,
            weak: symbol.binding == Binding::Weak,
            is_function: self.reached.functions.get(id).is_some(),
            kind: match word {
                Word::Address if symbol.name == b"__tls_get_addr" => ImportKind::ThreadGetAddress,
                Word::Address if symbol.name == b"_tlv_bootstrap" => ImportKind::ThreadVariable,
                Word::Address => ImportKind::Address,
                Word::ThreadModule => ImportKind::ThreadModule,
                Word::ThreadOffset => ImportKind::ThreadOffset,
                Word::PointerOffset => ImportKind::PointerOffset,
            },
        })?;
        self.import_of.insert((id, word), import);
        Ok(import)
    }

    pub(super) fn own_module(&mut self) -> Result<u32, LinkError> {
        // A block of nothing has an address, too, for code that asks for one.
        self.parts.thread_memory_size = self.parts.thread_memory_size.max(1);
        self.nameless_import(ImportKind::OwnModule)
    }

    /// An import that the loader itself provides. There are two sorts, so that looking is quick.
    pub(super) fn nameless_import(&mut self, kind: ImportKind) -> Result<u32, LinkError> {
        // No symbol has this number, as their count fits it, too.
        let key = match kind {
            ImportKind::OwnModule => (u32::MAX, Word::ThreadModule),
            _ => (u32::MAX, Word::Address),
        };
        if let Some(&import) = self.import_of.get(&key) {
            return Ok(import);
        }
        let import = self.add_import(ImportName {
            name: "",
            weak: false,
            is_function: false,
            kind,
        })?;
        self.import_of.insert(key, import);
        Ok(import)
    }

    pub(super) fn add_import(&mut self, import: ImportName<'a>) -> Result<u32, LinkError> {
        let number = narrow(self.parts.imports.len() as u64)?;
        self.count_name(import.name)?;
        self.parts.imports.push(import);
        Ok(number)
    }

    /// Takes the bytes of a name off the budget.
    pub(super) fn count_name(&mut self, name: &str) -> Result<(), LinkError> {
        let size = name.len() as u64;
        self.name_budget = self.name_budget.checked_sub(size).ok_or_else(|| {
            let limit = self.layout.limit;
            LinkError::TooLarge {
                needed: limit.saturating_add(size),
                limit,
            }
        })?;
        Ok(())
    }
}

/// A name as an image can have it.
pub(super) fn utf8(name: &[u8]) -> Result<&str, LinkError> {
    std::str::from_utf8(name).map_err(|_| bad("a name that is not UTF-8", text(name)))
}
