//! Turns object files into images, and images into running code, in microseconds.
//!
//! [`NativeLoader`] links an ELF object for x86-64 into an *image* once
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
//! | `load` | image to code | to run initialisers |
//!
//! # Limits of this version
//!
//! Position-independent objects only. Thread-local variables (other than emulated ones), indirect
//! functions and the large code model are refused with an error that says what to do. Every definition
//! in an object binds inside its image; weak definitions are not yet shared between images.
//! Finalisers (`.fini_array`) are linked but not run, as code is never unloaded.
//!
//! # Trust
//!
//! Any bytes can be given to [`prepare`](Loader::prepare) and [`check`]: the result is an image, a
//! description or an error. Code that runs can do anything, so [`load`](Loader::load) is `unsafe`: who
//! wrote the image is the trust boundary, and a checksum is no signature.

mod code;
mod error;
#[forbid(unsafe_code)]
mod image;
#[forbid(unsafe_code)]
mod link;
mod load;
mod memory;

pub use code::Code;
pub use error::{ImageError, LinkError, LoadError, Site};
pub use image::{DATA_DISTANCE, Description, ImportedName, MAX_ALIGNMENT, check};
pub use memory::process::{Module, ProcessImport};

use load::Runtime;
use memory::fork::PerProcess;
use memory::process::ProcessSymbols;
use memory::room::Windows;
use rekindle_cache_core::artifact::{FormatId, Image, ImageRef, Loader, Symbols};

/// Links and loads x86-64 ELF objects in this process.
///
/// One is enough for a process; every thread may use it at once. A child made by `fork` may go on
/// using it and gets fresh memory; code that was loaded before the fork runs in both.
pub struct NativeLoader {
    runtime: PerProcess<Runtime>,
}

/// How a [`NativeLoader`] gets its memory.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Options {
    /// Keep to anonymous memory, with a change of protection for each image, instead of two views of a
    /// memfd: slower, but Linux `perf` resolves symbols of code there.
    pub anonymous_memory: bool,
}

impl NativeLoader {
    /// A loader with the usual options. Memory is mapped when the first image is loaded.
    pub fn new() -> Self {
        Self::with_options(Options::default())
    }

    /// A loader with `options`.
    pub fn with_options(options: Options) -> Self {
        Self {
            runtime: PerProcess::new(move || Runtime {
                windows: Windows::new(options.anonymous_memory),
                process: ProcessSymbols::default(),
            }),
        }
    }

    /// Bytes of code windows that loaded images take up in this process, padding and data included.
    pub fn memory_used(&self) -> usize {
        self.runtime.get().windows.used()
    }
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
            name: "rekindle-elf-x86_64",
            version: image::VERSION.into(),
        }
    }

    fn prepare(&self, object: &[u8], roots: &[&str]) -> Result<Image, LoadError> {
        Ok(Image::new(link::link(object, roots)?))
    }

    unsafe fn load(&self, image: ImageRef<'_>, symbols: &dyn Symbols) -> Result<Code, LoadError> {
        let runtime = self.runtime.get();
        // SAFETY: the caller's promises are the same.
        unsafe { load::load(runtime, image, symbols, || self.runtime.is_current(runtime)) }
    }
}
