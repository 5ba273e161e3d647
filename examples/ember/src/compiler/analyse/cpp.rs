//! `(cpp/include "x.hpp")`, `(cpp/raw "...")`, and calls of C++: `(cpp/name argument ...)`.

use super::{Analyser, Analysis, Place, error, nil, node};
use crate::compiler::ast::Kind;
use crate::value::{Position, Value, View};

/// The name without its namespace of a symbol of C++.
pub(super) fn cpp_name(head: &Value) -> Option<&str> {
    match head.view() {
        View::Symbol(name) if name.namespace() == Some("cpp") => Some(name.name()),
        _ => None,
    }
}

impl Analyser<'_> {
    /// A form about C++. What it includes, the host has added to the text before.
    pub(super) fn cpp(
        &mut self,
        name: &str,
        rest: &[Value],
        position: Position,
        place: Place,
    ) -> Analysis {
        if self.cpp.is_none() {
            self.cpp = self.host.cpp();
        }
        if self.cpp.is_none() {
            let message = format!("cpp/{name} is for C++, which needs the backend clang");
            return Err(error(message, position));
        }
        if matches!(name, "include" | "raw") {
            let is_text = |form: &Value| matches!(form.view(), View::String(_));
            return match place.top && !rest.is_empty() && rest.iter().all(is_text) {
                true => Ok(nil(position)),
                false => Err(error(
                    format!("cpp/{name} stands at the top level and takes strings"),
                    position,
                )),
            };
        }
        if !is_cpp_name(name) {
            return Err(error(format!("{name} is no name of C++'s"), position));
        }
        let arguments = self.forms(rest, position)?;
        let name = name.replace('.', "::");
        Ok(node(Kind::Cpp(name, arguments), position))
    }
}

/// Letters, digits and `_`; a dot stands for `::`.
fn is_cpp_name(name: &str) -> bool {
    let is_word = |part: &str| {
        let mut letters = part.chars();
        let first = letters.next();
        first.is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    name.split('.').all(is_word)
}
