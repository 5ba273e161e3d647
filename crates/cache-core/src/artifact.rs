//! What compilers make and loaders run, and the traits by which they are joined.
//!
//! Backends and the loader depend on this module (and on digests) alone; neither knows the store.

use crate::digest::{Digest, DigestBuilder};
use crate::key::{Definition, FormKey, ObjectKey};
use std::error::Error;
use std::io::ErrorKind;
use std::ops::Range;
use std::time::Duration;

/// A relocatable object file as a compiler wrote it, and the tables that go with its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The bytes of the object file.
    pub bytes: Vec<u8>,
    /// Traps, stack maps, source positions: by name, in an encoding that the compiler defines.
    pub side_tables: Vec<SideTable>,
}

/// A named table that travels with code: the cache keeps and returns it without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideTable {
    /// The name by which the compiler and the host know it.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a definition's code depended on when it was compiled, by the digest that it had then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dependency {
    /// What sort of thing it is.
    pub kind: DependencyKind,
    /// The thing's name: a definition, a symbol, a module.
    pub name: String,
    /// What the name needs beside it: the namespace of a [`DependencyKind::Resolution`], the host's own
    /// word for the sort of a [`DependencyKind::Host`]. Else empty.
    pub scope: String,
    /// Its digest when the definition was compiled.
    pub digest: Digest,
}

/// The sorts of dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DependencyKind {
    /// A definition that ran at compile time, by its behaviour digest: the digest of its object and of
    /// all that it can reach.
    Behaviour,
    /// A definition that was read at compile time, by its interface digest: a digest of what compiling
    /// against it reads of it. The host computes it.
    Interface,
    /// What a symbol means in a namespace, absence included. The host computes the digest.
    Resolution,
    /// A module of the process, other than the executable, that provides a symbol: by build id.
    Module,
    /// A file, by its content; that there is none is a content too.
    File,
    /// Several files, one path a line, by one digest of all their contents: a set of headers.
    FileSet,
    /// An environment variable, by its value; that there is none is a value too.
    Variable,
    /// Something of a sort that only the host knows. The host computes the digest.
    Host,
}

/// The digest of a file's content, for a [`DependencyKind::File`]; `None` stands for there being no file.
pub fn file_digest(content: Option<&[u8]>) -> Digest {
    match content {
        Some(content) => Digest::of("rekindle file", content),
        None => Digest::of("rekindle absent file", &[]),
    }
}

/// The one digest of several files, for a [`DependencyKind::FileSet`], made of theirs in the order of its
/// name.
pub fn file_set_digest(files: impl IntoIterator<Item = Digest>) -> Digest {
    let mut builder = DigestBuilder::new("rekindle file set");
    for file in files {
        builder.digest(&file);
    }
    builder.finish()
}

/// Whether an error says that there is no such file, rather than that it cannot be read.
pub fn is_absence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A finished compilation: the object, and what the compiler itself found it to depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The object.
    pub object: Object,
    /// Dependencies that only the compiler knows of, such as headers.
    pub dependencies: Vec<Dependency>,
}

/// Makes the two keys of a definition.
pub trait Hasher {
    /// The key that is known before the definition is read.
    fn form_key(&self, definition: &Definition<'_>) -> FormKey;
    /// The key under which a definition is found by its analysed form, whose digest is `canonical`.
    fn canonical_key(&self, canonical: &Digest) -> FormKey;
    /// The key of what a unit compiles to, given what it depends on.
    fn object_key<'d>(
        &self,
        unit: &Digest,
        dependencies: impl IntoIterator<Item = &'d Dependency>,
    ) -> ObjectKey;
}

/// Compiles units to objects.
pub trait Compiler {
    /// What this compiler takes.
    type Unit;
    /// Why it failed; diagnostics are in it.
    type Error: Error + Send + Sync + 'static;

    /// A digest of the compiler, its version and every option that reaches the code.
    fn fingerprint(&self) -> Digest;

    /// A digest of `unit`: equal digests compile to interchangeable objects.
    fn digest(&self, unit: &Self::Unit) -> Digest;

    /// What compiling a unit is expected to take, as far as that can be said without seeing it. Where it is
    /// long, processes that want the same wait for each other.
    fn expected_cost(&self) -> Duration {
        Duration::ZERO
    }

    /// Compiles `unit` to a position-independent object.
    ///
    /// # Errors
    /// Whatever the compiler has to say about the unit, in its own words.
    fn compile(&self, unit: &Self::Unit) -> Result<Compiled, Self::Error>;
}

/// Runs a unit at once in this process, when its code must not be kept.
pub trait Jit {
    /// What this compiler takes.
    type Unit;
    /// The running code.
    type Code: Code;
    /// Why it failed.
    type Error: Error + Send + Sync + 'static;

    /// Compiles `unit` into this process, with names from outside given by `symbols`.
    ///
    /// # Errors
    /// The compiler's own, or a symbol that `symbols` does not know.
    ///
    /// # Safety
    /// The unit's code may be called through the result, so it has to be right, and the addresses
    /// that `symbols` gives have to be what the unit takes them for, for as long as the code is called.
    unsafe fn run(
        &self,
        unit: &Self::Unit,
        symbols: &dyn Symbols,
    ) -> Result<Self::Code, Self::Error>;

    /// Whether a unit runs by way of an object that a [`Compiler`] makes and a [`Loader`] loads. Then it is no
    /// help with what they refuse, and is not asked to try.
    fn goes_by_objects(&self) -> bool {
        false
    }
}

/// Names an image format and its version: images of another format are never loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FormatId {
    /// The format's name.
    pub name: &'static str,
    /// Its version.
    pub version: u32,
}

/// An object linked for loading, in the format of the loader that prepared it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The image's bytes.
    pub bytes: Vec<u8>,
    /// The [`checksum`](crate::checksum) of `bytes`.
    pub checksum: u64,
}

impl Image {
    /// An image of `bytes`, with their checksum.
    pub fn new(bytes: Vec<u8>) -> Self {
        let checksum = crate::checksum(&bytes);
        Self { bytes, checksum }
    }

    /// The image as a loader takes it.
    pub fn as_ref(&self) -> ImageRef<'_> {
        ImageRef {
            bytes: &self.bytes,
            checksum: self.checksum,
        }
    }
}

/// A stored image that nobody has checked yet: a loader copies it and checks the copy.
#[derive(Debug, Clone, Copy)]
pub struct ImageRef<'a> {
    /// The bytes, which may lie in a mapped file and change underneath.
    pub bytes: &'a [u8],
    /// The checksum that the copy must have.
    pub checksum: u64,
}

/// Gives the addresses of names from outside an image.
pub trait Symbols {
    /// The 64-bit word that stands for `name` in this process: an address as a rule, any word that the
    /// host and its code agree on otherwise; `None` if the name is unknown.
    ///
    /// `hash` is [`symbol_hash`](crate::symbol_hash) of `name`, computed when the image was made.
    fn address(&self, hash: u64, name: &str) -> Option<u64>;

    /// As [`address`](Self::address), of a variable of which the image has a copy and the process is to have one:
    /// as a rule nobody has another, and it is worth finding out fast.
    fn canonical(&self, hash: u64, name: &str) -> Option<u64> {
        self.address(hash, name)
    }

    /// Whether a thread-local variable may be that of a module of the process, which is told by an address in it.
    /// Asked by loaders that bind code to nothing but what this gives: a thread-local has an address in each
    /// thread, and none of them stands for it.
    fn provides_thread_local(&self, module: u64) -> bool {
        let _ = module;
        false
    }

    /// Told by a loader once an image with writable data is in place, and before any of its code runs: the
    /// addresses of that data, which a collecting host may have to scan from now on. The data stays where
    /// it is until the code is unloaded.
    fn placed(&self, data: Range<usize>) {
        let _ = data;
    }
}

/// Code in this process.
///
/// It stays where it is for the life of the process: dropping the handle frees the handle alone.
pub trait Code {
    /// The address of the exported symbol `name`.
    fn symbol(&self, name: &str) -> Option<*const u8>;
    /// Bytes of memory that the code and its data occupy.
    fn size(&self) -> usize;
    /// Whether loading the image again, bound to the same words, would give what nobody could tell from this:
    /// it has no memory that changes, and nothing runs when it comes or goes.
    fn may_be_shared(&self) -> bool {
        false
    }
    /// Shows `each` every exported symbol, by the hash of its name, and its address: for those who keep these
    /// and not the handle. Only code that [may be shared](Self::may_be_shared) has to.
    fn for_each_export(&self, each: &mut dyn FnMut(u64, *const u8)) {
        let _ = each;
    }
}

/// Turns objects into images, and images into running code.
pub trait Loader {
    /// The running code.
    type Code: Code;
    /// Why preparing or loading failed.
    type Error: LoadFailure;

    /// The format of the images that this loader prepares and loads.
    fn format(&self) -> FormatId;

    /// Links `object` into an image from which the symbols `roots` can be called.
    ///
    /// # Errors
    /// An object that is malformed, or uses what this loader does not link.
    fn prepare(&self, object: &[u8], roots: &[&str]) -> Result<Image, Self::Error>;

    /// Says that code will be loaded before long, so that memory may be made ready for it while the host does
    /// other things. It changes nothing but the time of the first loads, and never fails.
    fn expect_loads(&self) {}

    /// Copies `image` into executable memory, checks the copy, and binds it to `symbols`.
    ///
    /// # Errors
    /// A copy that fails its checksum or its bounds, a symbol that nobody knows, or no memory.
    ///
    /// # Safety
    /// Loading runs the image's initialisers, and its code may be called through the result: the image
    /// has to come from [`prepare`](Self::prepare), on an object that the caller trusts, and the
    /// addresses that `symbols` gives have to be what the image takes them for.
    unsafe fn load(
        &self,
        image: ImageRef<'_>,
        symbols: &dyn Symbols,
    ) -> Result<Self::Code, Self::Error>;
}

/// What a caller has to know of a failed load to say what it means for the record it came from.
pub trait LoadFailure: Error + Send + Sync + 'static {
    /// Whether the stored bytes are at fault (altered, malformed, of another format), rather than this
    /// process (no memory, an unknown symbol).
    fn is_damage(&self) -> bool;
}
