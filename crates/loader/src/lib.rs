//! Turns object files into images, and images into running code, in microseconds.
//!
//! [`NativeLoader`] links an ELF or Mach-O object for x86-64 or AArch64 into an *image* once
//! ([`prepare`](Loader::prepare)): sections that nothing reaches are dropped, everything inside is
//! resolved, and what is left is a short list of 8-byte words to fix up. Loading an image
//! ([`load`](Loader::load)) copies it into executable memory, checks the copy, writes those words, and
//! is done: nothing is parsed, text is not touched, and as a rule no system call is made.
//!
//! ```
//! # use object::write::{Object, StandardSection, Symbol, SymbolSection};
//! # use object::{Architecture, BinaryFormat, Endianness, SymbolFlags, SymbolKind, SymbolScope};
//! use rekindle_cache_core::artifact::{Code, Loader, Symbols};
//! use rekindle_loader::NativeLoader;
//!
//! /// A host that provides no symbols of its own.
//! struct Nothing;
//! impl Symbols for Nothing {
//!     fn address(&self, _hash: u64, _name: &str) -> Option<u64> {
//!         None
//!     }
//! }
//!
//! # fn object() -> Vec<u8> {
//! #     let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
//! #     let section = object.section_id(StandardSection::Text);
//! #     // lea eax, [rdi + 1]; ret
//! #     let value = object.append_section_data(section, &[0x8d, 0x47, 0x01, 0xc3], 16);
//! #     object.add_symbol(Symbol {
//! #         name: b"increment".to_vec(), value, size: 4,
//! #         kind: SymbolKind::Text, scope: SymbolScope::Linkage, weak: false,
//! #         section: SymbolSection::Section(section), flags: SymbolFlags::None,
//! #     });
//! #     object.write().expect("it is a valid object")
//! # }
//! // What a compiler gave: `int increment(int n) { return n + 1; }`
//! let object: Vec<u8> = object();
//!
//! let loader = NativeLoader::new();
//! let image = loader.prepare(&object, &["increment"])?;
//! // SAFETY: the image was just made from an object that this program trusts.
//! let code = unsafe { loader.load(image.as_ref(), &Nothing) }?;
//! let increment = code.symbol("increment").ok_or("no such root")?;
//! // SAFETY: this is the function's type, and code stays for the life of the process.
//! let increment: extern "C" fn(i32) -> i32 = unsafe { std::mem::transmute(increment) };
//! assert_eq!(increment(41), 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is where
//!
//! | part | does | unsafe |
//! | --- | --- | --- |
//! | `link` | object to image | none, and no I/O |
//! | `image` | the image's bytes: written, validated, read in place | none |
//! | `memory` | windows of executable memory, the unwinder, `dlsym` | yes, behind small interfaces |
//! | `load`, `resolve` | image to code | to run initialisers |
//! | `tls` | thread-locals of images, and of the host's modules | to read and hand out blocks |
//! | `symbol_file` | what debuggers are told, as a file | none |
//! | `shared`, `modules`, `provided` | what is one per process; what its modules have | to read their tables |
//!
//! # What is linked
//!
//! Objects of one target on any machine; images are loaded on the machine that they are for, and refused
//! with a typed error elsewhere. Position-independent objects; of code for executables (`-fPIE`) what reaches for variables of
//! libraries by address or by load. Other code for x86-64 is linked where a host
//! [asks for it](Options::position_dependent), and loaded into the low 2 GiB. `docs/relocations.md` lists every kind of relocation with its
//! proof. Variables that C++ wants once per process are shared between images by name, size and initial
//! contents; other definitions of an object bind inside its image. Finalisers (`.fini_array`, and what
//! code registers with `atexit`) run when code is unloaded, or at the end of the process.
//!
//! # What a host gets beside code
//!
//! | in a section of the object | is there as |
//! | --- | --- |
//! | `.rekindle.constants` | [`Code::constant_slots`]: words for objects of the host's, which its collector may change |
//! | `.rekindle.side.NAME`, `.llvm_stackmaps`, `.llvm_faultmaps` | [`Code::side_table`]: traps, stack maps, source positions |
//! | any that is writable | [`Code::data`], to be scanned, and [`Code::thread_data`] for each thread |
//!
//! A side table is always kept, with all that it refers to, unless its section says what code it is
//! about (`SHF_LINK_ORDER`, flag `o` of assemblers): then it comes and goes with that.
//!
//! # Trust
//!
//! Any bytes can be given to [`prepare`](Loader::prepare) and [`check`]: the result is an image, a
//! description or an error. Code that runs can do anything, so [`load`](Loader::load) is `unsafe`: who
//! wrote the image is the trust boundary, and a checksum is no signature.

mod augmentation;
mod code;
mod error;
#[forbid(unsafe_code)]
mod image;
#[forbid(unsafe_code)]
mod link;
mod load;
mod memory;
mod modules;
mod provided;
mod resolve;
mod shared;
#[forbid(unsafe_code)]
mod symbol_file;
mod tls;
mod unload;

pub use code::Code;
pub use error::{ImageError, LinkError, LoadError, Site};
pub use image::{DATA_DISTANCE, Description, ImportedName, MAX_ALIGNMENT, check};
pub use memory::process::{Module, ProcessImport};
pub use modules::Modules;
pub use shared::SharingStatistics;
pub use unload::UnloadError;

use link::Wishes;
use load::Runtime;
use memory::debugger::Debugger;
use memory::process::ProcessSymbols;
use memory::profile::Profile;
use memory::room::Windows;
use memory::sets::WindowSets;
use rekindle_cache_core::artifact::{FormatId, Image, ImageRef, Loader, Symbols};
use rekindle_cache_core::fork::PerProcess;
use shared::Registry;
use std::sync::{Arc, Mutex};
use tls::host::HostVariables;

/// Links objects, and loads images of this process's machine: on Linux, x86-64 or AArch64. On AArch64 it is
/// tested under qemu alone.
///
/// One is enough for a process; every thread may use it at once. A child made by `fork` may go on
/// using it and gets fresh memory; code that was loaded before the fork runs in both.
pub struct NativeLoader {
    runtime: PerProcess<Runtime>,
    wishes: Wishes,
}

/// How a [`NativeLoader`] gets its memory.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Options {
    /// Keep to anonymous memory, with a change of protection for each image, instead of two views of a
    /// memfd: slower, but Linux `perf` resolves symbols of code there.
    pub anonymous_memory: bool,

    /// Link code for x86-64 that is not position-independent (`-fno-pic`) as well, into images that are
    /// loaded into the low 2 GiB. There is little room, so that it is an error without this; and some of
    /// what such code does to variables of libraries cannot be had: compilers' default is better.
    pub position_dependent: bool,
    /// Keep to what the host's `Symbols` give: names that they do not know are not looked up in the
    /// process, so that an image cannot depend on what nobody has declared. Thread-locals of the process's
    /// modules are found there where the host permits the module.
    pub host_symbols_only: bool,
    /// Tell GDB of loaded code by its interface for that, and keep debug information in images that are linked:
    /// then it breaks at functions by their names, and shows where a frame is in the source. It need not be there
    /// yet. Goes with anonymous memory, as a debugger cannot write a breakpoint to what is shared. Costs some tens of microseconds for each image, and stops while a debugger is there; the images are
    /// larger by their debug information.
    pub gdb: bool,
    /// Write a line for each exported function to `perf-PID.map` in the temporary folder, where
    /// Linux `perf` and others look for it. Goes with anonymous memory, as `perf` ignores the file for
    /// code in a memfd. Costs a system call for each image.
    pub perf_map: bool,
    /// Write a record for each exported function, with its code, to `jit-PID.dump` in the temporary
    /// folder, for `perf record -k mono` and then `perf inject --jit`. Costs a system call for each
    /// image.
    pub jitdump: bool,
}

/// How a loader's memory is used in one process. Sizes are in bytes.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct MemoryStatistics {
    /// Windows that are mapped.
    pub windows: usize,
    /// What images take up, padding and data included, with those that wait.
    pub used: usize,
    /// Images that were loaded.
    pub loaded: u64,
    /// Images that were unloaded: `loaded - unloaded` are there, in use or left behind.
    pub unloaded: u64,
    /// Loads into memory between images, which another had before.
    pub loaded_into_used_memory: u64,
    /// Memory of unloaded images that waits until it can be used again.
    pub waiting: usize,
    /// Memory of unloaded images that can be used again.
    pub free: usize,
    /// Memory that is never used again, as the system has no way to make cores forget instructions.
    pub lost: usize,
    /// How often every core was made to forget.
    pub barriers: usize,
    /// Images that have an unwind table.
    pub unwind_tables: usize,
    /// As how many tables the unwinder sees them.
    pub unwind_registrations: usize,
    /// Memory that the helper thread has made ready.
    pub made_ready_ahead: usize,
    /// The CPU time that it has taken for it.
    pub helper_cpu_time: std::time::Duration,
}

impl NativeLoader {
    /// A loader with the usual options. Memory is mapped when the first image is loaded.
    pub fn new() -> Self {
        Self::with_options(Options::default())
    }

    /// A loader with `options`.
    pub fn with_options(options: Options) -> Self {
        let last: Mutex<Option<Arc<Registry>>> = Mutex::new(None);
        Self {
            wishes: Wishes {
                may_be_low: options.position_dependent,
                keep_debug: options.gdb,
            },
            runtime: PerProcess::new(move || Runtime {
                host_symbols_only: options.host_symbols_only,
                debugger: options.gdb.then(Debugger::default),
                registry: inherit(&last),
                host_variables: HostVariables::default(),
                windows: WindowSets::new(Windows::new(
                    options.anonymous_memory || options.perf_map || options.gdb,
                    Profile::new(options.perf_map, options.jitdump, &std::env::temp_dir()),
                )),
                process: ProcessSymbols::default(),
            }),
        }
    }

    /// Links several objects into one image from which `roots` can be called: a definition in one of
    /// them serves all, a strong one before a weak one, and of COMDAT groups the first is kept.
    ///
    /// # Errors
    /// As for [`prepare`](Loader::prepare), and a name that two of the objects define.
    pub fn prepare_objects(&self, objects: &[&[u8]], roots: &[&str]) -> Result<Image, LoadError> {
        Ok(Image::new(link::link(objects, roots, self.wishes)?))
    }

    /// How often variables that have to be one per process were shared, and how often they could not be.
    pub fn sharing_statistics(&self) -> SharingStatistics {
        self.runtime.get().registry.statistics()
    }

    /// Bytes of code windows that loaded images take up in this process, padding and data included.
    pub fn memory_used(&self) -> usize {
        self.runtime.get().windows.all().map(Windows::used).sum()
    }

    /// How this loader's memory is used in this process.
    pub fn memory_statistics(&self) -> MemoryStatistics {
        let mut all = MemoryStatistics::default();
        for windows in self.runtime.get().windows.all() {
            let counts = windows.counts();
            let (unwind_tables, unwind_registrations) = windows.tables.count();
            all.windows += counts.windows;
            all.used += counts.used;
            all.loaded += counts.loaded;
            all.unloaded += counts.unloaded;
            all.loaded_into_used_memory += counts.loaded_again;
            all.waiting += counts.waiting;
            all.free += counts.free;
            all.lost += counts.lost;
            all.barriers += counts.barriers;
            all.unwind_tables += unwind_tables;
            all.unwind_registrations += unwind_registrations;
            all.made_ready_ahead += counts.ahead;
            all.helper_cpu_time += counts.ahead_cpu;
        }
        all
    }

    /// Takes `code` out of the process: its finalisers run (what it registered with `__cxa_atexit`
    /// and `atexit`, then `.fini_array`, each from the last to the first), its unwind table is
    /// removed, and its memory is used for other images, once every core of the machine has forgotten
    /// its instructions.
    ///
    /// # Errors
    /// The code is not this loader's in this process, or is shared; it stays as it is then.
    ///
    /// # Safety
    /// Nothing of the code may remain: no frame on any stack, no pointer to its functions or data that
    /// is followed again (in virtual tables, of exceptions in flight, in the host's tables), no
    /// destructor of a thread-local that is yet to run; and finalisers may run on this thread now.
    pub unsafe fn unload(&self, code: Code) -> Result<(), UnloadError> {
        // SAFETY: the caller's promise is the same.
        unsafe { unload::unload(self.runtime.get(), code) }
    }
}

/// The registry of a process: a child starts with its parent's, as what was loaded before stays in place.
fn inherit(last: &Mutex<Option<Arc<Registry>>>) -> Arc<Registry> {
    // Not waiting: in a child, whoever holds the lock is not there any more.
    let Ok(mut last) = last.try_lock() else {
        return Arc::default();
    };
    let registry = last.as_ref().map(|registry| registry.inherited());
    let registry = Arc::new(registry.unwrap_or_default());
    *last = Some(Arc::clone(&registry));
    registry
}

/// The address of a name that every linker provides and the process may not offer, such as
/// `__cxa_thread_atexit`: for hosts that [keep to their own symbols](Options::host_symbols_only).
pub fn provided(name: &str) -> Option<u64> {
    provided::address(name).map(|address| address as u64)
}

impl Default for NativeLoader {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for NativeLoader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("NativeLoader").finish_non_exhaustive()
    }
}

impl Loader for NativeLoader {
    type Code = Code;
    type Error = LoadError;

    fn format(&self) -> FormatId {
        FormatId {
            name: match image::format::MACHINE_HERE {
                image::format::MACHINE_AARCH64 => "rekindle-aarch64",
                _ => "rekindle-elf-x86_64",
            },
            version: image::VERSION.into(),
        }
    }

    fn prepare(&self, object: &[u8], roots: &[&str]) -> Result<Image, LoadError> {
        self.prepare_objects(&[object], roots)
    }

    fn expect_loads(&self) {
        self.runtime.get().windows.expect_images();
    }

    unsafe fn load(&self, image: ImageRef<'_>, symbols: &dyn Symbols) -> Result<Code, LoadError> {
        let runtime = self.runtime.get();
        // SAFETY: the caller's promises are the same.
        unsafe { load::load(runtime, image, symbols, || self.runtime.is_current(runtime)) }
    }
}
