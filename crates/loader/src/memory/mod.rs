//! The part that touches the process: executable memory, the unwinder, the dynamic linker's symbols.
//!
//! Everything here has a safe interface except for what runs code or hands the unwinder a table.
//! It is written for Linux; what of it there is for another system is in [`system`](self::system).

mod ahead;
mod barrier;
pub(crate) mod copy;
pub(crate) mod debugger;
pub(crate) mod finalise;
mod free;
pub(crate) mod low;
mod objects;
pub(crate) mod process;
pub(crate) mod profile;
pub(crate) mod room;
mod runs;
pub(crate) mod sets;
mod span;
mod system;
pub(crate) mod tables;
pub(crate) mod unwind;
mod window;
