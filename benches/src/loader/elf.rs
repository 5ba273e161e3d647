//! The crate `elf_loader`, which loads objects as well.
//!
//! It is given objects without relaxable relocations, which it does not know, and a ready list of the
//! symbols that they need, each bound beforehand. It registers no unwind tables.

use super::dlopen;
use super::work::{Subject, Work, call};
use anyhow::{Context, Result, anyhow};
use elf_loader::image::{LoadedObject, ModuleHandle, SyntheticModule, SyntheticSymbol};
use elf_loader::input::ElfBinary;
use elf_loader::{AddressSpaceId, Domain, Loader, Relocator};
use object::{Object as _, ObjectSymbol as _};
use std::collections::BTreeSet;
use std::ffi::CString;

/// The loader, its host's symbols, and what it has loaded.
pub(super) struct ElfLoader {
    loader: Loader,
    host: ModuleHandle,
    loaded: Vec<LoadedObject>,
}

impl ElfLoader {
    pub(super) fn new(work: &Work) -> Result<Self> {
        let mut names = BTreeSet::new();
        for unit in &work.units {
            let file = object::File::parse(&*unit.plain_object)?;
            for symbol in file.symbols().filter(|symbol| symbol.is_undefined()) {
                names.insert(CString::new(symbol.name_bytes()?)?);
            }
        }
        let symbols = names.iter().filter_map(|name| {
            let address = dlopen::global(name)?;
            Some(SyntheticSymbol::function(name.as_c_str(), address.cast()))
        });
        let domain = Domain::native(AddressSpaceId::PROCESS);
        Ok(Self {
            loader: Loader::new(),
            host: SyntheticModule::new(&domain, "host", symbols).into(),
            loaded: Vec::new(),
        })
    }
}

impl Subject for ElfLoader {
    fn begin(&mut self, work: &Work) -> Result<()> {
        self.loaded.reserve(work.units.len());
        Ok(())
    }

    fn load_and_call(&mut self, work: &Work, index: usize) -> Result<i64> {
        let unit = work.units.get(index).context("no such unit")?;
        let explain = |error: elf_loader::Error| anyhow!("{error}");
        let domain = Domain::native(AddressSpaceId::PROCESS);
        let binary = ElfBinary::new("unit.o", &unit.plain_object);
        let raw = self.loader.run(domain).load_object(binary);
        let relocator = Relocator::new();
        let run = relocator.run(raw.map_err(explain)?);
        let run = run.with_modules([self.host.clone()]).map_err(explain)?;
        let loaded = run.relocate().map_err(explain)?;
        // SAFETY: the type is that of an address without a type.
        let entry = unsafe { loaded.get::<*const ()>(&unit.entry) }.map_err(explain)?;
        let entry = entry.context("no such symbol")?.into_raw() as usize;
        // SAFETY: it is the unit's factory.
        let answer = unsafe { call(entry) };
        self.loaded.push(loaded);
        Ok(answer)
    }

    fn end(&mut self) -> Result<()> {
        self.loaded.clear();
        Ok(())
    }
}
