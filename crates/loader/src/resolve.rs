//! The values of an image's imports: what the host gives, then what the process has.

use crate::error::{ImageError, LoadError};
use crate::image::format::ImportKind;
use crate::image::read::{Description, ImportedName};
use crate::load::Runtime;
use crate::memory::process::ProcessImport;
use crate::provided;
use crate::shared::Found;
use crate::tls;
use crate::tls::host::HostVariable;
use rekindle_cache_core::artifact::Symbols;

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

    /// The same of a variable of which the image has a copy.
    pub(crate) fn canonical(&self, hash: u64, name: &str) -> Result<Option<u64>, LoadError> {
        let address = self.symbols.canonical(hash, name);
        match (self.is_current)() {
            true => Ok(address),
            false => Err(LoadError::Forked),
        }
    }

    /// The same of whether a thread-local may be that of the module at `place`.
    fn provides_thread_local(&self, place: u64) -> Result<bool, LoadError> {
        let provides = self.symbols.provides_thread_local(place);
        match (self.is_current)() {
            true => Ok(provides),
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
) -> Result<(Vec<&'static ProcessImport>, Option<Found>), LoadError> {
    // Most images have nothing of the process's, and then these take no memory.
    let mut open = Vec::new();
    for (number, import) in (0..).zip(description.all_imports()) {
        match given(runtime, &import, host, module)? {
            Some(value) => set(addresses, number, value),
            None => {
                if open.is_empty() {
                    open.reserve_exact(addresses.len());
                }
                open.push(number);
            }
        }
    }
    let mut from_process = Vec::with_capacity(open.len());
    if !open.is_empty() {
        let import = |number: &u32| Some((*number, description.import(*number)?));
        // All under one lock, so that the processor waits for all of their memory at the same time.
        let unknown = runtime.process.find_known(
            open.iter().filter_map(import),
            |number, address, symbol| {
                set(addresses, number, address as u64);
                from_process.push(symbol);
            },
        );
        for (number, import) in unknown {
            let value = from_elsewhere(runtime, &import, &mut from_process)?;
            set(addresses, number, value);
        }
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

fn set(addresses: &mut [u64], number: u32, value: u64) {
    if let Some(address) = addresses.get_mut(number as usize) {
        *address = value;
    }
}

/// The value of an import without an owner: 0 if the code copes with that.
fn unresolved(import: &ImportedName<'_>) -> Result<u64, LoadError> {
    match import.weak {
        true => Ok(0),
        false => Err(LoadError::UnresolvedSymbol {
            symbol: import.name.to_owned(),
        }),
    }
}

/// The value of an import that the host has not given. What the process gives is added to
/// `from_process`.
fn from_elsewhere(
    runtime: &Runtime,
    import: &ImportedName<'_>,
    from_process: &mut Vec<&'static ProcessImport>,
) -> Result<u64, LoadError> {
    if let Some(found) = runtime.process.find(import.hash, import.name) {
        from_process.push(found);
        return Ok(found.address() as u64);
    }
    match provided::address(import.name) {
        Some(address) => Ok(address as u64),
        None => unresolved(import),
    }
}

/// The value of an import; `None` if it is a name that the process has to be asked for.
fn given(
    runtime: &Runtime,
    import: &ImportedName<'_>,
    host: &Host<'_>,
    module: Option<u64>,
) -> Result<Option<u64>, LoadError> {
    let name = import.name;
    let value = match import.kind {
        ImportKind::Address => match host.address(import.hash, name)? {
            None if runtime.host_symbols_only => unresolved(import)?,
            given => return Ok(given),
        },
        ImportKind::ThreadModule => match thread_local(runtime, name, host)? {
            Some(variable) => variable.module,
            None => unresolved(import)?,
        },
        ImportKind::ThreadOffset => match thread_local(runtime, name, host)? {
            Some(variable) => variable.offset,
            None => unresolved(import)?,
        },
        ImportKind::PointerOffset => match thread_local(runtime, name, host)? {
            Some(_) => (runtime.host_variables).distance(name).ok_or_else(|| {
                LoadError::ThreadLocalDistance {
                    symbol: name.to_owned(),
                }
            })?,
            None => unresolved(import)?,
        },
        // Decided later, for all of an image's at once.
        ImportKind::Shared => 0,
        ImportKind::OwnModule => module.ok_or(LoadError::Image(ImageError::Invalid {
            part: "thread-locals",
            index: 0,
        }))?,
        ImportKind::ThreadGetAddress => tls::get_address as *const () as u64,
        ImportKind::ThreadDescriptor => tls::descriptor_resolver() as u64,
        ImportKind::ThreadVariable => tls::variable_getter() as u64,
    };
    Ok(Some(value))
}

/// A thread-local of the process's modules, if the host lets code have it.
fn thread_local(
    runtime: &Runtime,
    name: &str,
    host: &Host<'_>,
) -> Result<Option<HostVariable>, LoadError> {
    let found = runtime.host_variables.find(name);
    let Some(variable) = found.filter(|_| runtime.host_symbols_only) else {
        return Ok(found);
    };
    Ok(host
        .provides_thread_local(variable.place)?
        .then_some(variable))
}
