//! Errors of the reader.

use crate::context::Context;
use crate::error::{Origin, Raised};
use crate::value::Position;

/// Why a text is no form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct ReadError {
    /// What is wrong.
    pub message: String,
    /// Where, relative to the start of the text.
    pub position: Position,
    /// Whether more text could make it right: the text ends inside a form.
    pub is_incomplete: bool,
}

impl ReadError {
    /// Throws this as an exception; `origin` is where the text starts.
    pub fn raise(&self, cx: &Context, origin: &Origin) -> Raised {
        cx.raise_at(self.message.as_str(), origin, self.position)
    }
}
