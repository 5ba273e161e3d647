//! Random programs of several files, random edits of them, and smaller ones.

mod dense;
mod edit;
mod random;
mod scene;
mod shrink;
mod write;

pub use edit::edited;
pub use random::Random;
pub use scene::{MAIN, Scene, VARIABLE};
pub use shrink::shrunk;
pub use write::scene;
