//! The part that touches the process: executable memory, the unwinder, the dynamic linker's symbols.
//!
//! Everything here has a safe interface except for what runs code or hands the unwinder a table.
//! Linux only for now; another system is another [`window`](self::window).

mod ahead;
mod barrier;
mod coherence;
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
mod span;
pub(crate) mod tables;
pub(crate) mod unwind;
mod window;
