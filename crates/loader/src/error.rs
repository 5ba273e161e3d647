//! What can go wrong, in three groups: linking an object, reading an image, loading it here.
//!
//! Link errors blame the object (or the flags that it was compiled with), image errors the stored
//! bytes, and the other load errors this process.

use rekindle_cache_core::artifact::LoadFailure;
use std::fmt;
use thiserror::Error;

/// Where in an object a reference stands, and what it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The section that holds the reference.
    pub section: String,
    /// Its offset in that section.
    pub offset: u64,
    /// The symbol that it names; a section's name if the symbol has none.
    pub symbol: String,
}

impl fmt::Display for Site {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "`{}`, referred to at {}+{:#x}",
            self.symbol, self.section, self.offset
        )
    }
}

/// Why an object cannot be linked into an image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The bytes are no object of the one sort that is linked here.
    #[error(
        "not a relocatable little-endian 64-bit ELF or Mach-O object for x86-64 or AArch64: {reason}"
    )]
    NotAnObject {
        /// What was found instead.
        reason: String,
    },
    /// The object contradicts itself or the specification of its format.
    #[error("malformed object: {what} ({place})")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// The section, symbol or relocation that has it.
        place: String,
    },
    /// A root that the object does not define.
    #[error(
        "the object does not define `{symbol}`; check the name (and its mangling), and that it is no thread-local"
    )]
    MissingRoot {
        /// The name that was asked for.
        symbol: String,
    },
    /// Code that has to lie at a fixed or low address.
    #[error(
        "{relocation} needs code at a fixed address ({site}); compile with -fPIC, or with `is_pic` in Cranelift, or have the loader take such code for x86-64 (`Options::position_dependent`)"
    )]
    NotPositionIndependent {
        /// The relocation's name.
        relocation: &'static str,
        /// Where it is.
        site: Site,
    },
    /// A direct reference to something that may be anywhere in the process.
    #[error(
        "{relocation} reaches directly for a symbol of another module ({site}); compile with -fPIC, and without hidden visibility for what the host provides"
    )]
    DirectReference {
        /// The relocation's name.
        relocation: &'static str,
        /// Where it is.
        site: Site,
    },
    /// A thread-local of the object itself, reached as if it were an executable's.
    #[error(
        "{relocation} takes a thread-local to lie at a fixed distance from the thread pointer, but the object's own does not ({site}); compile with -fPIC and without -ftls-model, or with -femulated-tls"
    )]
    ThreadLocal {
        /// The relocation's name.
        relocation: &'static str,
        /// Where it is.
        site: Site,
    },
    /// A thread-local that is referred to as if it were an ordinary variable.
    #[error(
        "{relocation} asks for the address of a thread-local, which differs between threads ({site}); declare the variable thread-local in every unit"
    )]
    ThreadLocalAddress {
        /// The relocation's name.
        relocation: &'static str,
        /// Where it is.
        site: Site,
    },
    /// An ordinary symbol that is referred to as if it were thread-local.
    #[error(
        "{relocation} is for thread-locals, but refers to something else ({site}); declare the variable alike in every unit"
    )]
    NotThreadLocal {
        /// The relocation's name.
        relocation: &'static str,
        /// Where it is.
        site: Site,
    },
    /// A name that two of the objects define.
    #[error(
        "objects {first} and {second} both define `{symbol}` (counted from 0); make one of them static, inline or weak"
    )]
    DuplicateSymbol {
        /// The name.
        symbol: String,
        /// The number of the object that has it first.
        first: usize,
        /// The number of the other.
        second: usize,
    },
    /// A relocation of a kind that is not linked here.
    #[error(
        "relocations of kind {relocation} ({kind}) are not supported: {site}; it is none that compilers give for position-independent code"
    )]
    UnsupportedRelocation {
        /// The relocation's name, if it is known.
        relocation: &'static str,
        /// Its number in the machine's ABI.
        kind: u32,
        /// Where it is.
        site: Site,
    },
    /// A section of a sort that is not linked here.
    #[error("section {section} cannot be loaded: {reason}")]
    UnsupportedSection {
        /// The section.
        section: String,
        /// What about it, and what to do.
        reason: &'static str,
    },
    /// A value that does not fit the field that has to hold it.
    #[error("the value {value:#x} of {relocation} does not fit ({site})")]
    OutOfReach {
        /// The relocation's name.
        relocation: &'static str,
        /// The value.
        value: i64,
        /// Where it is.
        site: Site,
    },
    /// A relocation that stands at an instruction without such an operand.
    #[error(
        "{relocation} does not fit the instruction that it stands at ({site}); the object is damaged, or its assembler is wrong"
    )]
    WrongInstruction {
        /// The relocation's name.
        relocation: &'static str,
        /// Where it is.
        site: Site,
    },
    /// An alignment that is no power of two, or larger than an image can have.
    #[error("{place} asks for alignment {alignment}; it has to be a power of two of at most {max}", max = crate::image::MAX_ALIGNMENT)]
    Alignment {
        /// The section or symbol.
        place: String,
        /// What it asks for.
        alignment: u64,
    },
    /// An object that would grow out of proportion, or beyond what a window holds.
    #[error(
        "the image would need {needed} bytes where {limit} are allowed; split the unit or its data"
    )]
    TooLarge {
        /// Bytes needed (or more).
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
}

/// Why bytes are no image, or not one of this process's kind: the stored bytes are at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Fewer bytes than the image's own figures need.
    #[error("the image is cut short: {found} bytes where {needed} are needed; compile again")]
    Truncated {
        /// Bytes there.
        found: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// The last bytes are not an image's.
    #[error("not an image: the magic bytes are missing; compile again")]
    Magic,
    /// An image of another version of the format.
    #[error("an image of version {found} where {expected} is read; compile again")]
    Version {
        /// The image's.
        found: u16,
        /// This loader's.
        expected: u16,
    },
    /// An image for another machine.
    #[error("an image for ELF machine {found} where {expected} runs; compile for this machine")]
    Machine {
        /// The image's, as ELF numbers them.
        found: u16,
        /// This process's; 0 if no images run here.
        expected: u16,
    },
    /// A part of the image whose figures cannot be.
    #[error("the image's {part} is not valid (entry {index}); compile again")]
    Invalid {
        /// The table or field.
        part: &'static str,
        /// The entry in the table; 0 for a field.
        index: u32,
    },
}

/// Why [`NativeLoader`](crate::NativeLoader) failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The object cannot be linked.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The bytes are not an image that runs here.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The copy is not what was stored.
    #[error("the image's checksum is {found:016x} where {expected:016x} was stored; compile again")]
    Checksum {
        /// The copy's.
        found: u64,
        /// The one that came with the image.
        expected: u64,
    },
    /// A name that neither the host nor the process knows.
    #[error(
        "nobody knows the symbol `{symbol}`; provide it through `Symbols`, or load its library with global visibility"
    )]
    UnresolvedSymbol {
        /// The name.
        symbol: String,
    },
    /// A thread-local of the host that has no fixed distance from the thread pointer, or none that fits.
    #[error(
        "the thread-local `{symbol}` of the host does not lie at one distance from the thread pointer in all threads; compile with -fPIC and without -ftls-model, or link its library when the program is linked"
    )]
    ThreadLocalDistance {
        /// The variable.
        symbol: String,
    },
    /// The system gave no memory, or none that can be executed.
    #[error("{doing} failed: {reason}; check the limits on memory and on executable memory")]
    Memory {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        reason: std::io::Error,
    },
    /// No addresses are left for code that is not position-independent.
    #[error(
        "no {needed} bytes of addresses are free in the low 2 GiB, where code that is not position-independent has to lie; compile it with -fPIC"
    )]
    NoLowMemory {
        /// Bytes of code, and as many of data.
        needed: usize,
    },
    /// Code that is not position-independent takes something from outside to lie in the low 2 GiB.
    #[error(
        "code that is not position-independent refers to `{symbol}`, which lies beyond the low 2 GiB, in a way that only a function's stub can stand in for, or nothing; compile it with -fPIC"
    )]
    OutOfLowReach {
        /// The name.
        symbol: String,
    },
    /// There is no unwinder to register with, so that exceptions could not pass.
    #[error(
        "the process has no `__register_frame`; link libgcc_s or libunwind dynamically, or compile without unwind tables"
    )]
    NoUnwinder,
    /// The process forked while the image was being loaded, and this is the child.
    #[error("the process forked while the image was being loaded; load it again")]
    Forked,
}

impl LoadFailure for LoadError {
    fn is_damage(&self) -> bool {
        matches!(self, Self::Image(_) | Self::Checksum { .. })
    }
}
