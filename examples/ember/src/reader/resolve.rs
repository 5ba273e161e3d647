//! What the reader has to know of namespaces: for syntax-quotes and `::` keywords.

use std::rc::Rc;

use crate::namespace::{Namespaces, Resolution};
use crate::value::Name;

/// Answers the reader's questions about names. A compiler records what was asked.
pub trait SymbolResolver {
    /// The name of the namespace that the text belongs to.
    fn current_namespace(&self) -> Rc<str>;

    /// What a symbol in a syntax-quote becomes; special forms and `x#` are not asked for.
    fn resolve_for_quote(&self, name: &Name) -> Name;

    /// The namespace that `alias` in `::alias/name` stands for.
    fn resolve_alias(&self, alias: &str) -> Option<Rc<str>>;
}

/// Answers from the tables, without recording.
pub struct NamespaceResolver<'a> {
    namespaces: &'a Namespaces,
    current: Rc<str>,
}

impl<'a> NamespaceResolver<'a> {
    /// For text that belongs to the namespace `current`.
    pub fn new(namespaces: &'a Namespaces, current: &str) -> Self {
        Self {
            namespaces,
            current: Rc::from(current),
        }
    }
}

impl SymbolResolver for NamespaceResolver<'_> {
    fn current_namespace(&self) -> Rc<str> {
        self.current.clone()
    }

    fn resolve_for_quote(&self, name: &Name) -> Name {
        match self.namespaces.resolve(&self.current, name) {
            Resolution::Var(var) | Resolution::Private(var) => return var.name().clone(),
            Resolution::NoNamespace | Resolution::Unresolved => {}
        }
        match name.namespace() {
            Some(qualifier) => match self.resolve_alias(qualifier) {
                Some(target) => Name::qualified(&target, name.name()),
                None => name.clone(),
            },
            // Names with a dot are those of namespaces.
            None if name.name().contains('.') => name.clone(),
            None => Name::qualified(&self.current, name.name()),
        }
    }

    fn resolve_alias(&self, alias: &str) -> Option<Rc<str>> {
        self.namespaces.resolve_alias(&self.current, alias)
    }
}

/// For text that belongs to no namespace, such as data: symbols stay as they are.
pub(super) struct NoNamespace;

impl SymbolResolver for NoNamespace {
    fn current_namespace(&self) -> Rc<str> {
        Rc::from("user")
    }

    fn resolve_for_quote(&self, name: &Name) -> Name {
        name.clone()
    }

    fn resolve_alias(&self, _: &str) -> Option<Rc<str>> {
        None
    }
}
