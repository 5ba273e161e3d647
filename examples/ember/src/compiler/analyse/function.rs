//! `fn*`, `loop*` and `recur`.

use super::scope::Target;
use super::{Analyser, Analysis, Place, error, node, plain_symbol};
use crate::compiler::CompileError;
use crate::compiler::ast::{Function, Kind, Method};
use crate::value::{Position, Value, View};

/// A parameter list, taken apart.
struct Parameters<'v> {
    required: Vec<&'v str>,
    rest: Option<&'v str>,
}

impl Analyser<'_> {
    /// `(fn* name? [parameters] body ...)`, `(fn* name? ([parameters] body ...) ...)`
    pub(super) fn function(&mut self, rest: &[Value], position: Position) -> Analysis {
        let (name, rest) = match rest.split_first() {
            Some((first, after)) if matches!(first.view(), View::Symbol(_)) => {
                let Some(name) = plain_symbol(first) else {
                    return Err(error(
                        "the name of a function has no namespace",
                        first.position().unwrap_or(position),
                    ));
                };
                (Some(name), after)
            }
            _ => (None, rest),
        };
        self.scopes.enter(name);
        let methods = self.methods(rest, position);
        let captures = self.scopes.leave();
        let function = Function {
            name: name.map(str::to_owned),
            methods: methods?,
            captures,
            position: position.pack(),
        };
        Ok(node(Kind::Function(Box::new(function)), position))
    }

    fn methods(
        &mut self,
        forms: &[Value],
        position: Position,
    ) -> Result<Vec<Method>, CompileError> {
        let Some(first) = forms.first() else {
            return Err(error("fn* takes a vector of parameters", position));
        };
        if matches!(first.view(), View::Vector(_)) {
            return Ok(vec![self.method(forms, position)?]);
        }
        let mut methods: Vec<Method> = Vec::with_capacity(forms.len());
        for form in forms {
            let at = form.position().unwrap_or(position);
            let View::List(list) = form.view() else {
                let message = format!(
                    "fn* takes ([parameters] body ...) here, not a {}",
                    form.view().kind()
                );
                return Err(error(message, at));
            };
            let parts: Vec<Value> = list.iter().cloned().collect();
            let method = self.method(&parts, at)?;
            let count = method.parameters.len();
            for other in &methods {
                match (method.rest, other.rest) {
                    (Some(_), Some(_)) => {
                        return Err(error("a function has at most one variadic body", at));
                    }
                    (None, None) if other.parameters.len() == count => {
                        return Err(error(
                            format!("the function has two bodies with {count} parameters"),
                            at,
                        ));
                    }
                    _ => {}
                }
            }
            methods.push(method);
        }
        // Tried last, so that a body with exactly as many parameters goes before it.
        methods.sort_by_key(|method| method.rest.is_some());
        if let [fixed @ .., last] = methods.as_slice()
            && last.rest.is_some()
            && fixed
                .iter()
                .any(|method| method.parameters.len() > last.parameters.len())
        {
            return Err(error(
                "a body of the function has more parameters than its variadic one",
                position,
            ));
        }
        Ok(methods)
    }

    /// `[parameters] body ...`
    fn method(&mut self, parts: &[Value], position: Position) -> Result<Method, CompileError> {
        let Some((vector, body)) = parts.split_first() else {
            return Err(error("fn* takes a vector of parameters", position));
        };
        let names = parameters(vector, position)?;
        let mark = self.scopes.mark();
        let parameters: Vec<_> = names
            .required
            .iter()
            .map(|name| self.scopes.bind(name))
            .collect();
        let rest = names.rest.map(|name| self.scopes.bind(name));
        self.scopes.target(Target::Values(
            parameters.len() + usize::from(rest.is_some()),
        ));
        let body = self.body(
            body,
            position,
            Place {
                tail: true,
                top: false,
            },
        );
        self.scopes.untarget();
        self.scopes.forget(mark);
        Ok(Method {
            parameters,
            rest,
            body: body?,
        })
    }

    /// `(loop* [name value ...] body ...)`
    pub(super) fn loop_form(&mut self, rest: &[Value], position: Position) -> Analysis {
        let mark = self.scopes.mark();
        let (bindings, body) = self.bindings("loop*", rest, position)?;
        self.scopes.target(Target::Values(bindings.len()));
        let body = self.body(
            body,
            position,
            Place {
                tail: true,
                top: false,
            },
        );
        self.scopes.untarget();
        self.scopes.forget(mark);
        Ok(node(
            Kind::Loop {
                bindings,
                body: Box::new(body?),
            },
            position,
        ))
    }

    /// `(recur value ...)`
    pub(super) fn recur(&mut self, rest: &[Value], position: Position, place: Place) -> Analysis {
        if !place.tail {
            return Err(error("recur not in tail position", position));
        }
        match self.scopes.current_target() {
            None => Err(error("recur outside of a function or loop", position)),
            Some(Target::Try) => Err(error("recur across try", position)),
            Some(Target::Values(count)) if count != rest.len() => Err(error(
                format!("recur takes {count} values here, not {}", rest.len()),
                position,
            )),
            Some(Target::Values(_)) => Ok(node(Kind::Recur(self.forms(rest, position)?), position)),
        }
    }
}

fn parameters(form: &Value, position: Position) -> Result<Parameters<'_>, CompileError> {
    let at = form.position().unwrap_or(position);
    let View::Vector(vector) = form.view() else {
        return Err(error(
            format!(
                "fn* takes a vector of parameters, not a {}",
                form.view().kind()
            ),
            at,
        ));
    };
    let mut names = Vec::with_capacity(vector.len());
    for item in vector.iter() {
        let Some(name) = plain_symbol(item) else {
            let message = format!("a parameter is a symbol without a namespace, not {item:?}");
            return Err(error(message, item.position().unwrap_or(at)));
        };
        names.push(name);
    }
    match names.iter().position(|name| *name == "&") {
        None => Ok(Parameters {
            required: names,
            rest: None,
        }),
        Some(index) => match names.get(index + 1..) {
            Some([rest]) if *rest != "&" => {
                let rest = Some(*rest);
                names.truncate(index);
                Ok(Parameters {
                    required: names,
                    rest,
                })
            }
            _ => Err(error("exactly one parameter follows the &", at)),
        },
    }
}
