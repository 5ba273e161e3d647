//! The unit: the text of one translation unit.

use rekindle_cache_core::Digest;

/// The text of a translation unit, which begins after the compiler's prelude.
///
/// clang calls it `<stdin>` in what it says of it; a `#line` directive gives it another name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unit {
    text: String,
}

impl Unit {
    /// A unit of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The digest of the text.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of("rekindle clang unit", self.text.as_bytes())
    }
}
