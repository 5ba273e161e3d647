//! What differs between systems in bringing code to where it runs.
//!
//! | | Linux | macOS |
//! | --- | --- | --- |
//! | [`reserve`] | addresses without memory, for code and data | memory for code (`MAP_JIT`), addresses for data |
//! | [`write`](self::write) | a copy | a copy by a thread that may write to code meanwhile, and may not run it |
//! | [`WRITES_ASIDE`] | no: an image is made where it lies | yes: the host is asked for symbols, and may run code |
//! | [`publish`] | caches of AArch64, by instructions | the system's own call |
//!
//! The part for macOS has never been compiled, nor run: there is no such machine here, and no standard library
//! for it. It is written from the documents that it names. What else this crate asks of Linux (memfds, the
//! dynamic linker's tables, the thread-locals of other modules, `membarrier`) has no such part yet.

pub(super) use imp::{WRITES_ASIDE, publish, reserve, write};

#[cfg(not(target_os = "macos"))]
#[path = "system/linux.rs"]
mod imp;

#[cfg(target_os = "macos")]
#[path = "system/macos.rs"]
mod imp;
