//! How a cache is set up, and opening it.

use crate::REKINDLE_ABI_VERSION;
use crate::backend::{Description, HostBackend};
use crate::better::BetterOptions;
use crate::boundary::{Bytes, Text, exclusive, fallible, free, or, shared, slice};
use crate::cache::Cache;
use crate::clang::Clang;
use crate::digest::Digest;
use crate::error::{Error, ErrorCode, Failure};
use crate::evaluate::{Definition, OutcomeCode};
use crate::lent::{Lent, ReleaseCallback};
use rekindle_cache_core::store::Limits;
use rekindle_runtime_hooks::{self as hooks, SymbolTable, settings};
use std::ffi::{OsStr, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a cache may do.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Find what was kept, and keep what is compiled.
    On = 0,
    /// Find what was kept, and change nothing in the folder.
    ReadOnly = 1,
    /// Keep nothing: every definition is compiled.
    Off = 2,
}

/// A name that stays the same for the life of the process, with its address.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SymbolWord {
    /// The name, as objects have it.
    pub name: Text,
    /// Its address, or any other word.
    pub word: u64,
}

/// An evaluation, as a listener sees it. All of it is there until the listener returns.
#[repr(C)]
pub struct Event {
    /// The definition.
    pub definition: *const Definition,
    /// What came of the look-up: a `rekindle_outcome`.
    pub outcome: u32,
    /// The outcome in words, with the reason for a miss, a bypass or a rejection.
    pub explanation: Text,
}

/// Is told of every evaluation, after the look-up and before the factory runs, on the thread that evaluates;
/// so several threads may call it at once. Of a hit that was verified and found wrong it is told once more, on a thread
/// of Rekindle's. Must not let an exception out.
pub type ListenerCallback =
    Option<unsafe extern "C-unwind" fn(data: *mut c_void, event: *const Event)>;

/// How a cache is to be opened. Belongs to who made it, for one thread at a time. A setter that is given
/// something wrong makes `rekindle_open` fail with what it was. What is not set, the environment says
/// (`REKINDLE`, `REKINDLE_DIR`, `REKINDLE_MAX_BYTES`, `REKINDLE_MAX_ENTRIES`, `REKINDLE_EXPLAIN`), and what that
/// does not say is the default.
#[derive(Default)]
pub struct Options {
    description: Description,
    pub(crate) clang: Clang,
    place: Place,
    mode: Option<settings::Mode>,
    limits: Option<Limits>,
    explain: Option<bool>,
    deadline: Option<Duration>,
    inputs: Vec<(String, Digest)>,
    symbols: Vec<(String, u64)>,
    listener: Option<Arc<Listener>>,
    pub(crate) better: BetterOptions,
    failure: Option<Failure>,
}

#[derive(Default)]
enum Place {
    #[default]
    Default,
    Folder(PathBuf),
    Memory,
}

/// What is taken to be compiled by clang, where the host does not say.
const EXPECTED_COST: Duration = Duration::from_millis(50);

/// Who is told. A hit whose verification outlasts the close of its cache has it as well.
struct Listener {
    callback: unsafe extern "C-unwind" fn(data: *mut c_void, event: *const Event),
    lent: Lent,
}

impl Listener {
    fn tell(&self, event: &hooks::Event<'_>) {
        let explanation = event.outcome.to_string();
        let definition = Definition {
            name: Text::new(event.definition.name),
            text: Text::new(event.definition.text),
            context: Text::new(event.definition.context),
        };
        let event = Event {
            definition: &raw const definition,
            outcome: OutcomeCode::of(event.outcome) as u32,
            explanation: Text::new(&explanation),
        };
        // SAFETY: the host keeps its data until it is released; the event lives until the call returns.
        unsafe { (self.callback)(self.lent.data(), &raw const event) };
    }
}

/// Changes options; what goes wrong is kept in them.
///
/// # Safety
/// `options` is null or what `rekindle_options_new` gave.
pub(crate) unsafe fn set(
    options: *mut Options,
    set: impl FnOnce(&mut Options) -> Result<(), Failure>,
) {
    or((), || {
        // SAFETY: the caller's promise is the same.
        if let Ok(options) = unsafe { exclusive(options, "") }
            && let Err(failure) = set(options)
        {
            options.failure.get_or_insert(failure);
        }
    });
}

/// Options with nothing set; freed with `rekindle_options_free`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn rekindle_options_new() -> *mut Options {
    let options = Options {
        description: Description {
            expected_cost: EXPECTED_COST,
            ..Description::default()
        },
        ..Options::default()
    };
    Box::into_raw(Box::new(options))
}

/// Frees options, which may be null. Caches that were opened with them stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_free(options: *mut Options) {
    // SAFETY: the caller gives back what it got, or null.
    unsafe { free(options) };
}

/// Says what tells the host's compiler from every other: its version, its flags, whatever else reaches the
/// code of the objects that it makes. May be called several times: all count, in their order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_compiler(options: *mut Options, fingerprint: Bytes) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        set(options, |options| {
            let fingerprint = fingerprint.bytes("the compiler's fingerprint")?;
            options.description.fingerprint.push(fingerprint.to_owned());
            Ok(())
        });
    }
}

/// Names the target triple that the host's compiler compiles for; `x86_64-unknown-linux-gnu` by default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_target(options: *mut Options, triple: Text) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        set(options, |options| {
            options.description.target = Some(triple.text("the target")?.to_owned());
            Ok(())
        });
    }
}

/// Adds a feature of the processor that the code requires, such as `avx2`. Where one is missing or another is
/// there, nothing that was kept is found. Code for any x86-64 needs none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_cpu_feature(options: *mut Options, feature: Text) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        set(options, |options| {
            let feature = feature.text("the feature")?.to_owned();
            options.description.features.push(feature);
            Ok(())
        });
    }
}

/// Says what compiling a definition takes as a rule, in microseconds; 50,000 by default. Where it is long,
/// processes that want the same definition wait for each other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_expected_cost(options: *mut Options, microseconds: u64) {
    // SAFETY: the caller's own.
    unsafe {
        set(options, |options| {
            options.description.expected_cost = Duration::from_micros(microseconds);
            Ok(())
        });
    }
}

/// Keeps the records in the folder `path`, which may be any bytes but zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_folder(options: *mut Options, path: Text) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        set(options, |options| {
            let path = OsStr::from_bytes(path.bytes("the folder")?);
            options.place = Place::Folder(PathBuf::from(path));
            Ok(())
        });
    }
}

/// Keeps the records in memory, for as long as the cache is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_in_memory(options: *mut Options) {
    // SAFETY: the caller's own.
    unsafe {
        set(options, |options| {
            options.place = Place::Memory;
            Ok(())
        });
    }
}

/// Says what the cache may do: a `rekindle_mode`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_mode(options: *mut Options, mode: u32) {
    // SAFETY: the caller's own.
    unsafe {
        set(options, |options| {
            let modes = [
                (Mode::On, settings::Mode::On),
                (Mode::ReadOnly, settings::Mode::ReadOnly),
                (Mode::Off, settings::Mode::Off),
            ];
            let known = modes.iter().find(|(known, _)| *known as u32 == mode);
            let unknown = || Failure::argument(format!("{mode} is no rekindle_mode"));
            options.mode = Some(known.ok_or_else(unknown)?.1);
            Ok(())
        });
    }
}

/// Says how large the folder may become: bytes of all its files, and records.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_limits(
    options: *mut Options,
    max_bytes: u64,
    max_entries: u64,
) {
    // SAFETY: the caller's own.
    unsafe {
        set(options, |options| {
            options.limits = Some(Limits {
                max_bytes,
                max_entries,
            });
            Ok(())
        });
    }
}

/// Whether each miss is explained in full: which part of what differs from what was kept under the same name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_explain(options: *mut Options, explain: bool) {
    // SAFETY: the caller's own.
    unsafe {
        set(options, |options| {
            options.explain = Some(explain);
            Ok(())
        });
    }
}

/// Says how long closing the cache waits for the disk, and for what is under way in the background, in milliseconds;
/// 10,000 by default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_deadline(options: *mut Options, milliseconds: u64) {
    // SAFETY: the caller's own.
    unsafe {
        set(options, |options| {
            options.deadline = Some(Duration::from_millis(milliseconds));
            Ok(())
        });
    }
}

/// Adds something of the host's own that reaches its code and that nothing else tells, such as a switch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_input(
    options: *mut Options,
    name: Text,
    digest: *const Digest,
) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        set(options, |options| {
            let name = name.text("the input's name")?.to_owned();
            options
                .inputs
                .push((name, *shared(digest, "the input's digest")?));
            Ok(())
        });
    }
}

/// Adds `count` names that the code may refer to. Names are copied. The modules that the words lie in become
/// a part of every key, by build id, and stay in the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_symbols(
    options: *mut Options,
    symbols: *const SymbolWord,
    count: usize,
) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        set(options, |options| {
            for symbol in slice(symbols, count, "the list of symbols")? {
                let name = symbol.name.text("a symbol's name")?.to_owned();
                options.symbols.push((name, symbol.word));
            }
            Ok(())
        });
    }
}

/// Has `listener` told of every evaluation, with `data`, as `rekindle_options_on_event` without a `release`: `data` has to last
/// as long as the cache, and where hits are verified (`REKINDLE_VERIFY`) as long as the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_listener(
    options: *mut Options,
    listener: ListenerCallback,
    data: *mut c_void,
) {
    // SAFETY: the caller's promise is the same.
    unsafe { rekindle_options_on_event(options, listener, data, None) };
}

/// Has `listener` told of every evaluation, with `data`, in place of whom an earlier call named. Caches that were opened before
/// keep their listener. `release`, which may be null, is called with `data` when `listener` is not called any more: a cache
/// may be closed by then for a while, if a hit was being verified for longer than closing waits for that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_on_event(
    options: *mut Options,
    listener: ListenerCallback,
    data: *mut c_void,
    release: ReleaseCallback,
) {
    let lent = Lent::new(data, release);
    // SAFETY: the caller's own.
    unsafe {
        set(options, |options| {
            let listener = listener.map(|callback| Arc::new(Listener { callback, lent }));
            options.listener = listener;
            Ok(())
        });
    }
}

impl Options {
    fn open(&self) -> Result<hooks::Cache<HostBackend>, Failure> {
        if let Some(Failure { code, text }) = &self.failure {
            return Err(Failure::new(*code, text.as_str()));
        }
        let mut symbols = SymbolTable::new();
        // The library that this is a part of counts like every module that provides symbols, and stays.
        let own = crate::rekindle_abi_version as *const () as u64;
        symbols.insert("rekindle_abi_version", own);
        for (name, word) in &self.symbols {
            if !symbols.insert(name, *word) {
                return Err(Failure::argument(format!(
                    "{name} has the same hash as another name: leave it to the host's `symbol`"
                )));
            }
        }
        let clang = self.clang.open()?;
        let better = self.better.open(&self.clang, clang.as_ref())?;
        let backend = HostBackend::new(self.description.clone(), clang, better);
        let mut builder = hooks::Cache::builder(backend).symbols(symbols);
        builder = match &self.place {
            Place::Default => builder,
            Place::Folder(folder) => builder.folder(folder),
            Place::Memory => builder.in_memory(),
        };
        if let Some(mode) = self.mode {
            builder = builder.mode(mode);
        }
        if let Some(limits) = self.limits {
            builder = builder.limits(limits);
        }
        if let Some(explain) = self.explain {
            builder = builder.explain(explain);
        }
        if let Some(deadline) = self.deadline {
            builder = builder.deadline(deadline);
        }
        for (name, digest) in &self.inputs {
            builder = builder.input(name, (*digest).into());
        }
        if let Some(listener) = self.listener.clone() {
            builder = builder.listener(move |event| listener.tell(event));
        }
        self.better
            .listening(builder)
            .open()
            .map_err(|error| Failure::new(ErrorCode::Module, error.to_string()))
    }
}

/// Opens a cache into `cache`, to be freed with `rekindle_cache_free`. `abi` is `REKINDLE_ABI_VERSION`.
/// `options` may be null: all is default then. A folder that cannot be used is no error: it is told to the
/// log, and memory is used in its place. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_open(
    abi: u32,
    options: *const Options,
    cache: *mut *mut Cache,
) -> *mut Error {
    fallible(|| {
        if abi != REKINDLE_ABI_VERSION {
            let text = format!(
                "the host was compiled with version {abi} of rekindle.h, and the library has version \
                 {REKINDLE_ABI_VERSION}: compile the host anew"
            );
            return Err(Failure::new(ErrorCode::Abi, text));
        }
        // SAFETY: the caller keeps both for the duration of the call.
        let (options, cache) = unsafe {
            (
                options.as_ref(),
                exclusive(cache, "the place of the cache")?,
            )
        };
        let opened = match options {
            Some(options) => options.open(),
            None => {
                let none = Options::default();
                none.open()
            }
        };
        *cache = Cache::boxed(Arc::new(opened?));
        Ok(())
    })
}
