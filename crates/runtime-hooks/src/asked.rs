//! A definition that was asked for and not found, as what outlives the evaluation has it: its record, and
//! its line in the journal.

use rekindle_cache_core::Digest;
use rekindle_cache_core::journal::text_digest;
use rekindle_cache_core::key::Definition;
use std::cell::OnceCell;
use std::sync::{Arc, OnceLock};

/// A definition, and the copy of it that is made when somebody first wants one.
pub(crate) struct Asked<'a> {
    pub(crate) definition: Definition<'a>,
    copy: OnceCell<Arc<Copied>>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(definition: &Definition<'a>) -> Self {
        Self {
            definition: *definition,
            copy: OnceCell::new(),
        }
    }

    /// The definition that was copied.
    pub(crate) fn of(copy: &'a Arc<Copied>) -> Self {
        Self {
            definition: copy.definition(),
            copy: Arc::clone(copy).into(),
        }
    }

    /// A copy that others may keep.
    pub(crate) fn copy(&self) -> Arc<Copied> {
        let copy = || Arc::new(Copied::of(&self.definition));
        Arc::clone(self.copy.get_or_init(copy))
    }
}

/// A copy of a definition.
pub(crate) struct Copied {
    /// Name, context and text.
    all: Box<str>,
    name: usize,
    context: usize,
    digest: OnceLock<Digest>,
}

impl Copied {
    pub(crate) fn of(definition: &Definition<'_>) -> Self {
        let Definition {
            name,
            text,
            context,
        } = definition;
        Self {
            all: [*name, *context, *text].concat().into(),
            name: name.len(),
            context: name.len() + context.len(),
            digest: OnceLock::new(),
        }
    }

    pub(crate) fn definition(&self) -> Definition<'_> {
        Definition {
            name: self.part(0, self.name),
            context: self.part(self.name, self.context),
            text: self.part(self.context, self.all.len()),
        }
    }

    /// The digest of its text, which takes a while and so is computed where that matters least.
    pub(crate) fn text_digest(&self) -> Digest {
        let digest = || text_digest(self.definition().text);
        *self.digest.get_or_init(digest)
    }

    /// How many bytes it is.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    fn part(&self, from: usize, to: usize) -> &str {
        self.all.get(from..to).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_made_once_and_is_the_same() {
        let definition = Definition {
            name: "käse/a",
            text: "(def a 1)",
            context: "",
        };
        let asked = Asked::new(&definition);
        let copy = asked.copy();
        assert_eq!(copy.definition(), definition);
        assert_eq!(copy.text_digest(), text_digest(definition.text));
        assert_eq!(copy.len(), 16);
        assert!(Arc::ptr_eq(&copy, &asked.copy()));
    }
}
