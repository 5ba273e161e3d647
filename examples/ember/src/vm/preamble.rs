//! C++ that a program includes: `(cpp/include "x.hpp")` and `(cpp/raw "...")`.
//!
//! Such a form adds to the C++ that all forms behind it are compiled against, if they are about C++. It is
//! compiled by itself as well, so that what is wrong with a header is told where it is included, and is kept
//! as other definitions are: a form about C++ depends on all that was included before it, and on the
//! headers' contents.

use super::{Failure, Source, Vm};
use crate::reader::{Form, NamespaceResolver, Reader};
use crate::value::{Value, View};
use rekindle_runtime_hooks::Digest;

/// The dependency on what was included so far.
pub(super) const INCLUDED: &str = "included C++";

impl Vm {
    /// Adds to what is included, if that compiles.
    pub(super) fn evaluate_cpp(
        &self,
        source: &Source<'_>,
        form: &Form<'_>,
    ) -> Result<Value, Failure> {
        let Some(cpp) = &self.cpp else {
            // The compiler says what is missing.
            return self.evaluate_definition(source, form);
        };
        let before = cpp.borrow().len();
        let added = self.added(source, form);
        cpp.borrow_mut().push_str(&added);
        let result = self.evaluate_definition(source, form);
        if result.is_err() {
            cpp.borrow_mut().truncate(before);
        }
        result
    }

    /// A digest of what was included so far; `None` without a compiler for it.
    pub(super) fn included_digest(&self) -> Option<Digest> {
        let cpp = self.cpp.as_ref()?.borrow();
        Some(Digest::of("ember included C++", cpp.as_bytes()))
    }

    /// The C++ that a form adds; nothing of one that the compiler will refuse.
    fn added(&self, source: &Source<'_>, form: &Form<'_>) -> String {
        let text = source.text.get(form.start..form.end).unwrap_or_default();
        let namespace = self.current_namespace();
        let names = NamespaceResolver::new(self.context.namespaces(), &namespace);
        let Ok(Some(read)) = Reader::new(&self.context, &names, text).read() else {
            return String::new();
        };
        let View::List(items) = read.view() else {
            return String::new();
        };
        let mut added = String::new();
        for item in items.iter() {
            let View::String(text) = item.view() else {
                continue;
            };
            // Lines from the form's own beginning, which errors tell as well: so nothing is compiled again
            // because a line was inserted above.
            let head = form.head.unwrap_or_default();
            added.push_str(&format!("#line 1 \"({head})\"\n"));
            match form.head {
                Some("cpp/include") => added.push_str(&self.include(text)),
                _ => added.push_str(text),
            }
            added.push('\n');
        }
        added
    }

    /// The directive for a header: in brackets as it is, else beside the program if it is there, else as
    /// clang finds it.
    fn include(&self, name: &str) -> String {
        if name.starts_with('<') {
            return format!("#include {name}");
        }
        let beside = self.context.program_folder().join(name);
        match std::path::absolute(&beside) {
            Ok(path) if path.is_file() => format!("#include \"{}\"", path.display()),
            _ => format!("#include \"{name}\""),
        }
    }
}
