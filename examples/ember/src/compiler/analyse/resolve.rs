//! What symbols mean beyond locals, and the expansion of macros.

use std::rc::Rc;

use super::{Analyser, error};
use crate::compiler::ast::Kind;
use crate::compiler::{CompileError, CompileHost};
use crate::namespace::{Resolution, Var, alias_symbol};
use crate::reader::{NamespaceResolver, SymbolResolver};
use crate::value::{Name, Position, Value, View};

/// The qualified name of a var.
pub(super) fn qualified(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// What a symbol means that is no local.
enum Meaning {
    /// A var that the unit itself defines, by its qualified name.
    Own(String),
    /// A var that is there.
    Var(&'static Var),
}

impl Meaning {
    fn name(self) -> String {
        match self {
            Meaning::Own(name) => name,
            Meaning::Var(var) => var.name().text().to_owned(),
        }
    }
}

impl Analyser<'_> {
    /// What a symbol evaluates to.
    pub(super) fn symbol(&mut self, name: &Name, position: Position) -> Result<Kind, CompileError> {
        if name.namespace().is_none()
            && let Some(kind) = self.scopes.find(name.name())
        {
            return Ok(kind);
        }
        match self.meaning(name, position)? {
            Meaning::Var(var) if var.is_macro() => Err(error(
                format!("{name} is a macro and has no value of its own"),
                position,
            )),
            meaning => Ok(Kind::Global(meaning.name())),
        }
    }

    /// The qualified name of the var that a symbol means, even if it is hidden by a local.
    pub(super) fn var_named(
        &mut self,
        name: &Name,
        position: Position,
    ) -> Result<String, CompileError> {
        self.meaning(name, position).map(Meaning::name)
    }

    /// The name and function of the macro that heads a list, if one does.
    pub(super) fn macro_of(
        &mut self,
        head: &Value,
        around: Position,
    ) -> Result<Option<(String, Value)>, CompileError> {
        let View::Symbol(name) = head.view() else {
            return Ok(None);
        };
        if name.namespace().is_none() && self.scopes.find(name.name()).is_some() {
            return Ok(None);
        }
        let position = head.position().unwrap_or(around);
        let Meaning::Var(var) = self.meaning(name, position)? else {
            return Ok(None);
        };
        if !var.is_macro() {
            return Ok(None);
        }
        self.host.expands(var.name().text());
        match var.get() {
            Some(function) => Ok(Some((var.name().text().to_owned(), function))),
            None => Err(error(
                format!("the macro {name} is declared but not defined yet"),
                position,
            )),
        }
    }

    /// Calls a macro with the forms of its call.
    pub(super) fn expand(
        &mut self,
        name: &str,
        function: &Value,
        forms: &[Value],
        position: Position,
    ) -> Result<Value, CompileError> {
        let context = self.host.context();
        let before = context.set_compiling(true);
        let expansion = context.call(function, forms);
        context.set_compiling(before);
        // They are the form's own: what they meant before is no matter.
        context.interned(|name| self.own.add(name));
        expansion.map_err(|raised| {
            let thrown = context.take_thrown(raised);
            CompileError {
                message: format!("in the macro {name}: {}", thrown.message()),
                position,
                exception: Some(thrown),
            }
        })
    }

    fn meaning(&mut self, name: &Name, position: Position) -> Result<Meaning, CompileError> {
        if let Some(own) = self.own_name(name) {
            return Ok(Meaning::Own(own));
        }
        let var = match self.meanings.get(name.text()) {
            Some(var) => var,
            None => {
                let var = self.resolve(name, position)?;
                self.meanings.entry(name.text().to_owned()).or_insert(var)
            }
        };
        Ok(Meaning::Var(var))
    }

    /// The qualified name of what the unit itself defines, if that is what a symbol means.
    ///
    /// What the name means before is no dependency; what an alias stands for is one.
    fn own_name(&self, name: &Name) -> Option<String> {
        let here = self.host.namespace();
        let own = qualified(here, name.name());
        if !self.own.contains(&own) {
            return None;
        }
        if let Some(qualifier) = name.namespace() {
            let target = self.host.namespaces().resolve_alias(here, qualifier)?;
            if *target != *here {
                return None;
            }
            self.host.resolved(&alias_symbol(qualifier));
        }
        Some(own)
    }

    fn resolve(&self, name: &Name, position: Position) -> Result<&'static Var, CompileError> {
        self.host.resolved(name.text());
        let message = match self.host.namespaces().resolve(self.host.namespace(), name) {
            Resolution::Var(var) => return Ok(var),
            Resolution::Private(var) => format!("{} is private", var.name()),
            Resolution::NoNamespace => {
                let namespace = name.namespace().unwrap_or_default();
                format!("unbound symbol: {name} (there is no namespace {namespace})")
            }
            Resolution::Unresolved => format!("unbound symbol: {name}"),
        };
        Err(error(message, position))
    }
}

/// Resolves names for the reader, and reports those of syntax-quotes to the host.
pub(in crate::compiler) struct ReaderNames<'h> {
    host: &'h dyn CompileHost,
    names: NamespaceResolver<'h>,
}

impl<'h> ReaderNames<'h> {
    pub(in crate::compiler) fn new(host: &'h dyn CompileHost) -> Self {
        Self {
            host,
            names: NamespaceResolver::new(host.namespaces(), host.namespace()),
        }
    }
}

impl SymbolResolver for ReaderNames<'_> {
    fn current_namespace(&self) -> Rc<str> {
        self.names.current_namespace()
    }

    fn resolve_for_quote(&self, name: &Name) -> Name {
        self.host.resolved(name.text());
        self.names.resolve_for_quote(name)
    }

    fn resolve_alias(&self, alias: &str) -> Option<Rc<str>> {
        self.host.resolved(&alias_symbol(alias));
        self.names.resolve_alias(alias)
    }
}
