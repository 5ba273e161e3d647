//! The crate `elf_loader`, which loads objects as well.
//!
//! It is given objects without relaxable relocations, which it does not know, and a ready list of the
//! symbols that they need, each bound beforehand. It registers no unwind tables.

use super::dlopen;
use super::work::{Subject, Work, call};
use anyhow::{Context, Result, anyhow};
use elf_loader::image::{LoadedObject, ModuleHandle, SyntheticModule, SyntheticSymbol};
use elf_loader::input::ElfBinary;
use elf_loader::object::{SectionGroups, SectionLifetime};
use elf_loader::os::ProtFlags;
use elf_loader::{AddressSpaceId, Domain, Loader, Relocator};
use object::{Object as _, ObjectSymbol as _};
use std::collections::BTreeSet;
use std::ffi::CString;

/// The loader, its host's symbols, and what it has loaded.
pub(super) struct ElfLoader {
    loader: Loader,
    groups: SectionGroups,
    host: ModuleHandle,
    loaded: Vec<LoadedObject>,
}

/// The groups of sections that the crate itself would use. Version 0.18 defines them in the arguments
/// of debug assertions, so that there are none in release, and every object is refused.
fn groups() -> SectionGroups {
    let mut groups = SectionGroups::default();
    let read = ProtFlags::PROT_READ;
    let (write, execute) = (ProtFlags::PROT_WRITE, ProtFlags::PROT_EXEC);
    let kept = [read, read | write, read | execute, read | write | execute];
    for (order, protection) in kept.into_iter().enumerate() {
        groups.define(protection, protection, order, SectionLifetime::Core);
    }
    let staging = read | write;
    groups.define(staging, staging, usize::MAX, SectionLifetime::Init);
    groups
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
            groups: groups(),
            host: SyntheticModule::new(&domain, "host", symbols).into(),
            loaded: Vec::new(),
        })
    }
}

impl Subject for ElfLoader {
    fn begin(&mut self, work: &Work) -> Result<()> {
        self.loaded.reserve(work.loads());
        Ok(())
    }

    fn load_and_call(&mut self, work: &Work, load: usize) -> Result<i64> {
        let unit = work.unit(load)?;
        let explain = |error: elf_loader::Error| anyhow!("{error}");
        let domain = Domain::native(AddressSpaceId::PROCESS);
        let binary = ElfBinary::new("unit.o", &unit.plain_object);
        let run = self.loader.run(domain);
        let mut run = run.with_object_section_groups(self.groups.clone());
        let raw = run.load_object(binary);
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
