//! The image: an object linked for loading, as bytes.
//!
//! An image is written once ([`write`](self::write)), copied whole into executable memory, and read
//! where it lies ([`read`](self::read)): nothing is parsed into other structures. The layout is
//! described byte by byte in [`format`](self::format).

pub(crate) mod format;
pub(crate) mod narrow;
pub(crate) mod outline;
pub(crate) mod read;
mod validate;
pub(crate) mod write;

pub(crate) use format::DEBUG_OFFSETS;
pub(crate) use format::VERSION;
pub use format::{DATA_DISTANCE, MAX_ALIGNMENT};
pub use read::{Description, ImportedName, check};
