//! The values of an image's imports: what the host gives, then what the process has.

use crate::error::{ImageError, LoadError};
use crate::image::format::ImportKind;
use crate::image::read::{Description, ImportedName};
use crate::load::Runtime;
use crate::memory::process::ProcessImport;
use crate::provided;
use crate::shared::Found;
use crate::tls;
use rekindle_cache_core::artifact::Symbols;
use std::sync::Arc;

/// The host, asked with care.
pub(crate) struct Host<'h> {
    pub(crate) symbols: &'h dyn Symbols,
    pub(crate) is_current: &'h dyn Fn() -> bool,
}

impl Host<'_> {
    /// What the host has under a name. It may fork meanwhile; in the child the image that is being
    /// loaded is not there, and nothing of it may be looked at again.
    pub(crate) fn address(&self, hash: u64, name: &str) -> Result<Option<u64>, LoadError> {
        let address = self.symbols.address(hash, name);
        match (self.is_current)() {
            true => Ok(address),
            false => Err(LoadError::Forked),
        }
    }
}

/// Finds the values of all imports but those of shared variables, and what there is of the latter.
pub(crate) fn resolve_all(
    runtime: &Runtime,
    description: &Description<'_>,
    host: &Host<'_>,
    module: Option<u64>,
    addresses: &mut [u64],
) -> Result<(Vec<Arc<ProcessImport>>, Option<Found>), LoadError> {
    // Most images have nothing of the process's, and then this takes no memory.
    let mut from_process = Vec::new();
    for (import, address) in description.all_imports().zip(addresses) {
        *address = resolve(runtime, &import, host, module, &mut from_process)?;
    }
    let found = match description.shared() {
        [] => None,
        _ => {
            let process = (!runtime.host_symbols_only).then_some(&runtime.process);
            let registry = &runtime.registry;
            Some(registry.find(description, host, process, &mut from_process)?)
        }
    };
    Ok((from_process, found))
}

/// The value of an import. What the process gave is added to `from_process`.
fn resolve(
    runtime: &Runtime,
    import: &ImportedName<'_>,
    host: &Host<'_>,
    module: Option<u64>,
    from_process: &mut Vec<Arc<ProcessImport>>,
) -> Result<u64, LoadError> {
    let name = import.name;
    let unresolved = || match import.weak {
        true => Ok(0),
        false => Err(LoadError::UnresolvedSymbol {
            symbol: name.to_owned(),
        }),
    };
    let variables = &runtime.host_variables;
    match import.kind {
        ImportKind::Address => {
            if let Some(given) = host.address(import.hash, name)? {
                return Ok(given);
            }
            if runtime.host_symbols_only {
                return unresolved();
            }
            if let Some(found) = runtime.process.find(import.hash, name) {
                let address = found.address() as u64;
                from_process.push(found);
                return Ok(address);
            }
            provided::address(name).map_or_else(unresolved, |address| Ok(address as u64))
        }
        ImportKind::ThreadModule | ImportKind::ThreadOffset | ImportKind::PointerOffset
            if runtime.host_symbols_only =>
        {
            unresolved()
        }
        ImportKind::ThreadModule => {
            let variable = variables.find(name);
            variable.map_or_else(unresolved, |variable| Ok(variable.module))
        }
        ImportKind::ThreadOffset => {
            let variable = variables.find(name);
            variable.map_or_else(unresolved, |variable| Ok(variable.offset))
        }
        ImportKind::PointerOffset => {
            if variables.find(name).is_none() {
                return unresolved();
            }
            variables
                .distance(name)
                .ok_or_else(|| LoadError::ThreadLocalDistance {
                    symbol: name.to_owned(),
                })
        }
        // Decided later, for all of an image's at once.
        ImportKind::Shared => Ok(0),
        ImportKind::OwnModule => module.ok_or(LoadError::Image(ImageError::Invalid {
            part: "thread-locals",
            index: 0,
        })),
        ImportKind::ThreadGetAddress => Ok(tls::get_address as *const () as u64),
        ImportKind::ThreadDescriptor => Ok(tls::descriptor_resolver() as u64),
    }
}
