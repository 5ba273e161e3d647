//! The part that touches the process: executable memory, the unwinder, the dynamic linker's symbols.
//!
//! Everything here has a safe interface except for what runs code or hands the unwinder a table.
//! Linux only for now; another system is another [`window`](self::window).

pub(crate) mod fork;
pub(crate) mod process;
pub(crate) mod room;
pub(crate) mod unwind;
mod window;
