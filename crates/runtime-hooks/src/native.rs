//! Rekindle's own loader, as the backends of a cache want it.

use crate::settings;
use rekindle_loader::{NativeLoader, Options};

/// A loader that binds code to nothing but what it is given.
///
/// What the host's table, the host, and the process's modules give is looked up by the cache, where each counts as a
/// dependency; a name that none of them knows must stay unknown. Every [`Backend`](crate::Backend) that uses this
/// project's loader has to use one like this. `REKINDLE_DEBUGGER` says whether debuggers are told of the code.
pub fn native_loader() -> NativeLoader {
    let mut options = Options::default();
    options.host_symbols_only = true;
    options.gdb = settings::debugger();
    NativeLoader::with_options(options)
}
