//! What is asked of a host: a table of callbacks.

use crate::boundary::{Bytes, Range, Text, exclusive, or};
use crate::digest::Digest;
use crate::error::Failure;
use crate::warm::Warming;
use rekindle_runtime_hooks as hooks;
use std::cell::Cell;
use std::ffi::{OsStr, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What the word for a name is.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordKind {
    /// The address of a function or variable in a module of the process. The build of a library that it
    /// lies in becomes a dependency of the code, and the library stays in the process.
    Address = 0,
    /// Any word that the host and its code agree on: a variable of the language, a constant, a number. Loaded
    /// code holds it where no collector looks: the host keeps what it points at.
    Value = 1,
}

/// The word for a name.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Word {
    /// The word.
    pub value: u64,
    /// A `rekindle_word_kind`.
    pub kind: u32,
}

/// Where the host's `locate` puts a path, with `rekindle_path_set`.
#[derive(Default)]
pub struct Path {
    path: Option<PathBuf>,
}

/// What Rekindle asks of a host, as callbacks; a null one is the default that stands beside it. All get
/// `data`, are called during `rekindle_eval` on its thread (and those of `rekindle_warm` on that of any call that takes
/// the warming), and must not let an exception out. Texts and bytes that they get are there until they return. They may
/// evaluate other definitions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Host {
    /// `sizeof(rekindle_host)`, so that hosts compiled with another header are understood.
    pub size: usize,
    /// What the callbacks get.
    pub data: *mut c_void,
    /// Puts a digest of what `symbol` means in `name_space` at this moment into `digest`; absence has a digest
    /// too. `false` if it cannot be told, as by default.
    pub resolution: Option<
        unsafe extern "C-unwind" fn(
            data: *mut c_void,
            name_space: Text,
            symbol: Text,
            digest: *mut Digest,
        ) -> bool,
    >,
    /// Puts a digest of what compiling against the definition `name` reads of it at this moment into `digest`.
    /// `false` if it cannot be told, as by default.
    pub interface_of: Option<
        unsafe extern "C-unwind" fn(data: *mut c_void, name: Text, digest: *mut Digest) -> bool,
    >,
    /// Puts the digest of something that was recorded by `rekindle_recorder_host` into `digest`. `false` if it
    /// cannot be told, as by default.
    pub dependency: Option<
        unsafe extern "C-unwind" fn(
            data: *mut c_void,
            kind: Text,
            name: Text,
            digest: *mut Digest,
        ) -> bool,
    >,
    /// Says by `rekindle_path_set` where the file lies that was recorded as `name`. By default, and if it sets
    /// nothing, the name is the path.
    pub locate: Option<unsafe extern "C-unwind" fn(data: *mut c_void, name: Text, path: *mut Path)>,
    /// Repeats what compiling did, recorded by `rekindle_recorder_effect`. `false` if that is not possible, as
    /// by default: then the definition is compiled, so that an effect has to bear being repeated.
    pub replay:
        Option<unsafe extern "C-unwind" fn(data: *mut c_void, kind: Text, payload: Bytes) -> bool>,
    /// Takes a table that came with the code that was loaded just now. By default it is dropped.
    pub side_table:
        Option<unsafe extern "C-unwind" fn(data: *mut c_void, name: Text, table: Bytes)>,
    /// Puts the word for a name that the code refers to, and that the table of `rekindle_options_symbols` does
    /// not hold, into `word`. `false` if the host does not know it, as by default: then the process's symbols
    /// are asked. `hash` is the same for the same name, in every process.
    pub symbol: Option<
        unsafe extern "C-unwind" fn(
            data: *mut c_void,
            name: Text,
            hash: u64,
            word: *mut Word,
        ) -> bool,
    >,
    /// Is told of the writable data of code that is in place and has not run yet, for a collector that has to
    /// scan it from now on. It stays until the code is unloaded.
    pub placed: Option<unsafe extern "C-unwind" fn(data: *mut c_void, range: Range)>,
}

/// Takes the path that the host's `locate` found. Any bytes but zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_path_set(path: *mut Path, text: Text) {
    or((), || {
        // SAFETY: the callback's own, and what it keeps for the duration of the call.
        if let (Ok(path), Ok(text)) = unsafe { (exclusive(path, ""), text.bytes("the path")) } {
            path.path = Some(PathBuf::from(OsStr::from_bytes(text)));
        }
    });
}

impl Host {
    /// A host that answers nothing.
    const PLAIN: Self = Self {
        size: size_of::<Self>(),
        data: std::ptr::null_mut(),
        resolution: None,
        interface_of: None,
        dependency: None,
        locate: None,
        replay: None,
        side_table: None,
        symbol: None,
        placed: None,
    };

    /// The callbacks that a host passed, which may know fewer or more of them than this version.
    ///
    /// # Safety
    /// `host` is null or points at as many bytes as its first field says.
    pub(crate) unsafe fn read(host: *const Self) -> Result<Self, Failure> {
        let least = std::mem::offset_of!(Self, resolution);
        // SAFETY: the caller's promise is the same; the size comes first, and the rest are nullable pointers.
        unsafe { read_table(host, Self::PLAIN, least, "rekindle_host") }
    }
}

/// A table of callbacks that a host passed: `known`, with what is in the table in its place.
///
/// # Safety
/// `table` is null or points at as many bytes as its first field, a `usize`, says; every pattern that a host's
/// compiler makes of the fields of `T` from `least` on is one of theirs.
pub(crate) unsafe fn read_table<T: Copy>(
    table: *const T,
    mut known: T,
    least: usize,
    name: &str,
) -> Result<T, Failure> {
    if table.is_null() {
        return Ok(known);
    }
    // SAFETY: the size comes first in every version.
    let size = unsafe { table.cast::<usize>().read() };
    if size < least || size > 1 << 16 || !size.is_multiple_of(size_of::<usize>()) {
        return Err(Failure::argument(format!(
            "the field `size` is {size}: set it to sizeof({name})"
        )));
    }
    // SAFETY: both sides have that many bytes; what the host does not know stays as it is in `known`.
    unsafe {
        let size = size.min(size_of::<T>());
        std::ptr::copy_nonoverlapping(table.cast::<u8>(), (&raw mut known).cast::<u8>(), size);
    }
    Ok(known)
}

/// A host's callbacks during one evaluation.
pub(crate) struct Asked<'w> {
    host: Host,
    /// What runs factories that were put off, where any are.
    warming: Option<&'w Warming>,
    /// The address that the host gave last for a name, when it was asked for any word.
    address: Cell<Option<(u64, u64)>>,
}

impl<'w> Asked<'w> {
    pub(crate) fn new(host: Host) -> Self {
        Self {
            host,
            warming: None,
            address: Cell::new(None),
        }
    }

    pub(crate) fn of_warming(host: Host, warming: &'w Warming) -> Self {
        Self {
            warming: Some(warming),
            ..Self::new(host)
        }
    }
}

/// What a callback put in place, if it says that it did.
fn digest(ask: impl FnOnce(*mut Digest) -> bool) -> Option<rekindle_cache_core::Digest> {
    let mut digest = Digest { bytes: [0; 32] };
    ask(&raw mut digest).then(|| digest.into())
}

// Each callback is called with the data that came with it, and texts that live until it returns, as the
// header promises.
impl hooks::Host for Asked<'_> {
    fn resolution(&self, namespace: &str, symbol: &str) -> Option<rekindle_cache_core::Digest> {
        let callback = self.host.resolution?;
        let (namespace, symbol) = (Text::new(namespace), Text::new(symbol));
        // SAFETY: as above.
        digest(|digest| unsafe { callback(self.host.data, namespace, symbol, digest) })
    }

    fn interface(&self, name: &str) -> Option<rekindle_cache_core::Digest> {
        let callback = self.host.interface_of?;
        // SAFETY: as above.
        digest(|digest| unsafe { callback(self.host.data, Text::new(name), digest) })
    }

    fn dependency(&self, kind: &str, name: &str) -> Option<rekindle_cache_core::Digest> {
        let callback = self.host.dependency?;
        let (kind, name) = (Text::new(kind), Text::new(name));
        // SAFETY: as above.
        digest(|digest| unsafe { callback(self.host.data, kind, name, digest) })
    }

    fn locate(&self, name: &str) -> PathBuf {
        let mut path = Path::default();
        if let Some(callback) = self.host.locate {
            // SAFETY: as above.
            unsafe { callback(self.host.data, Text::new(name), &raw mut path) };
        }
        path.path.unwrap_or_else(|| PathBuf::from(name))
    }

    fn replay(&self, kind: &str, payload: &[u8]) -> bool {
        let Some(callback) = self.host.replay else {
            return false;
        };
        // SAFETY: as above.
        unsafe { callback(self.host.data, Text::new(kind), Bytes::new(payload)) }
    }

    fn side_table(&self, name: &str, bytes: &[u8]) {
        if let Some(callback) = self.host.side_table {
            // SAFETY: as above.
            unsafe { callback(self.host.data, Text::new(name), Bytes::new(bytes)) };
        }
    }

    fn symbol(&self, hash: u64, name: &str) -> Option<u64> {
        let callback = self.host.symbol?;
        let mut word = Word {
            value: 0,
            kind: WordKind::Address as u32,
        };
        // SAFETY: as above.
        let knows = unsafe { callback(self.host.data, Text::new(name), hash, &raw mut word) };
        if knows && word.kind == WordKind::Value as u32 {
            return Some(word.value);
        }
        // What lies in a module is asked for next, and counts as a dependency.
        self.address.set(knows.then_some((hash, word.value)));
        None
    }

    fn address(&self, hash: u64, _name: &str) -> Option<u64> {
        let (known, address) = self.address.take()?;
        (known == hash).then_some(address)
    }

    fn catch_up(&self, put_off: &[hooks::Ordinal]) {
        if let Some(warming) = self.warming {
            warming.catch_up(put_off);
        }
    }

    fn placed(&self, data: std::ops::Range<usize>) {
        if let Some(callback) = self.host.placed {
            // SAFETY: as above.
            unsafe { callback(self.host.data, data.into()) };
        }
    }
}
