//! `def`, `if`, `let*`, `quote`, `var` and `throw`.

use super::resolve::qualified;
use super::{Analyser, Analysis, Place, error, nil, node, plain_symbol};
use crate::compiler::CompileError;
use crate::compiler::ast::{Binding, Kind};
use crate::namespace::is_var_name;
use crate::reader::is_special_form;
use crate::value::{Position, Value, View};

/// The bits that `ember_def` takes.
const FLAG_MACRO: u64 = 1;
const FLAG_PRIVATE: u64 = 2;
/// The var is set elsewhere than at the top level of the form.
const FLAG_DYNAMIC: u64 = 4;

impl Analyser<'_> {
    /// `(def name)`, `(def name value)`, `(def name "doc" value)`
    pub(super) fn def(&mut self, rest: &[Value], position: Position, place: Place) -> Analysis {
        let (target, value) = match rest {
            [target] => (target, None),
            [target, value] => (target, Some(value)),
            [target, doc, value] if matches!(doc.view(), View::String(_)) => (target, Some(value)),
            _ => {
                return Err(error(
                    "def takes a name, perhaps a documentation string, and at most one value",
                    position,
                ));
            }
        };
        let at = target.position().unwrap_or(position);
        let plain = self.defined_name(target, at)?;
        let name = qualified(self.host.namespace(), plain);
        let given = target.symbol_flags();
        let mut flags = 0;
        if given.is_macro {
            flags |= FLAG_MACRO;
        }
        if given.is_private {
            flags |= FLAG_PRIVATE;
        }
        self.own.add(&name);
        if !place.top {
            flags |= FLAG_DYNAMIC;
        }
        // Without a value only the name becomes known, and what the var holds stays.
        if value.is_some() {
            self.defines.add(&name);
            if !place.top {
                self.dynamic_defines.add(&name);
            }
        }
        let value = match value {
            None => None,
            Some(form) => {
                let mut value = self.form(form, position, Place::INNER)?;
                if let Kind::Function(function) = &mut value.kind
                    && function.name.as_deref().is_none_or(|own| own == plain)
                {
                    function.name = Some(name.clone());
                }
                Some(Box::new(value))
            }
        };
        Ok(node(Kind::Def { name, value, flags }, position))
    }

    /// The name without its namespace that a `def` is for.
    fn defined_name<'v>(&self, target: &'v Value, at: Position) -> Result<&'v str, CompileError> {
        let View::Symbol(name) = target.view() else {
            return Err(error(
                format!("def takes a symbol, not a {}", target.view().kind()),
                at,
            ));
        };
        if name
            .namespace()
            .is_some_and(|namespace| namespace != self.host.namespace())
        {
            let message =
                format!("{name} belongs to another namespace and cannot be defined in this one");
            return Err(error(message, at));
        }
        let plain = name.name();
        if is_special_form(plain) {
            return Err(error(
                format!("{plain} is a special form and cannot be defined"),
                at,
            ));
        }
        // Such a name comes from a macro only.
        if !is_var_name(plain) {
            return Err(error(format!("{plain:?} is no name for a var"), at));
        }
        Ok(plain)
    }

    /// `(if test then)`, `(if test then else)`
    pub(super) fn if_form(&mut self, rest: &[Value], position: Position, place: Place) -> Analysis {
        let (test, then, otherwise) = match rest {
            [test, then] => (test, then, None),
            [test, then, otherwise] => (test, then, Some(otherwise)),
            _ => {
                return Err(error(
                    "if takes a test, a form for true and at most one for false",
                    position,
                ));
            }
        };
        let test = Box::new(self.form(test, position, Place::INNER)?);
        let then = Box::new(self.form(then, position, place.branch())?);
        let otherwise = Box::new(match otherwise {
            Some(form) => self.form(form, position, place.branch())?,
            None => nil(position),
        });
        Ok(node(
            Kind::If {
                test,
                then,
                otherwise,
            },
            position,
        ))
    }

    /// `(let* [name value ...] body ...)`
    pub(super) fn let_form(
        &mut self,
        rest: &[Value],
        position: Position,
        place: Place,
    ) -> Analysis {
        let mark = self.scopes.mark();
        let (bindings, body) = self.bindings("let*", rest, position)?;
        let body = Box::new(self.body(body, position, place)?);
        self.scopes.forget(mark);
        Ok(node(Kind::Let { bindings, body }, position))
    }

    /// The locals of a `let*` or `loop*`, which stay in scope, and the forms of its body.
    pub(super) fn bindings<'v>(
        &mut self,
        what: &str,
        rest: &'v [Value],
        position: Position,
    ) -> Result<(Vec<Binding>, &'v [Value]), CompileError> {
        let Some((form, body)) = rest.split_first() else {
            return Err(error(
                format!("{what} takes a vector of names and values"),
                position,
            ));
        };
        let at = form.position().unwrap_or(position);
        let View::Vector(vector) = form.view() else {
            return Err(error(
                format!(
                    "{what} takes a vector of names and values, not a {}",
                    form.view().kind()
                ),
                at,
            ));
        };
        if !vector.len().is_multiple_of(2) {
            return Err(error(
                format!("the vector of {what} has a name without a value"),
                at,
            ));
        }
        let mut bindings = Vec::with_capacity(vector.len() / 2);
        let mut items = vector.iter();
        while let (Some(name), Some(value)) = (items.next(), items.next()) {
            let Some(text) = plain_symbol(name) else {
                let message = format!("{what} binds symbols without a namespace, not {name:?}");
                return Err(error(message, name.position().unwrap_or(at)));
            };
            let value = self.form(value, at, Place::INNER)?;
            bindings.push((self.scopes.bind(text), value));
        }
        Ok((bindings, body))
    }

    /// `(quote form)`
    pub(super) fn quote(&mut self, rest: &[Value], position: Position) -> Analysis {
        match rest {
            [value] => self.constant(value, position),
            _ => Err(error("quote takes one form", position)),
        }
    }

    /// `(var name)`
    pub(super) fn var_form(&mut self, rest: &[Value], position: Position) -> Analysis {
        let [target] = rest else {
            return Err(error("var takes one symbol", position));
        };
        let View::Symbol(name) = target.view() else {
            return Err(error(
                format!("var takes a symbol, not a {}", target.view().kind()),
                position,
            ));
        };
        let name = self.var_named(name, target.position().unwrap_or(position))?;
        self.references.add(&name);
        Ok(node(Kind::Var(name), position))
    }

    /// `(throw value)`
    pub(super) fn throw(&mut self, rest: &[Value], position: Position) -> Analysis {
        match rest {
            [value] => {
                let value = self.form(value, position, Place::INNER)?;
                Ok(node(Kind::Throw(Box::new(value)), position))
            }
            _ => Err(error("throw takes one value", position)),
        }
    }
}
