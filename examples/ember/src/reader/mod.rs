//! From text to forms: the scanner finds where top-level forms are, the reader makes values of them.

mod error;
mod extent;
mod function_literal;
mod literal;
mod read;
mod resolve;
mod scan;
mod template;
mod token;

pub use error::ReadError;
pub use read::{Reader, read_constant};
pub use resolve::{NamespaceResolver, SymbolResolver};
pub use scan::{Form, ScanError, Scanner, scan};
pub use token::{SPECIAL_FORMS, is_readable_name, is_special_form};

#[cfg(test)]
mod tests;
