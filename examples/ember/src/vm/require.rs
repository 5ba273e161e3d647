//! `ns` and `require`: run by the host, each time, and never kept.

use super::{Failure, Source, Vm, read};
use crate::error::Origin;
use crate::namespace::CORE;
use crate::reader::{Form, NamespaceResolver, Reader};
use crate::value::{Name, Value, View};
use std::path::PathBuf;
use std::rc::Rc;

/// How far the file of a namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loading {
    /// Being evaluated; whoever requires it now requires itself.
    UnderWay,
    /// Evaluated to its end.
    Done,
}

/// One required namespace, and the names under which it is to be seen.
struct Requirement {
    namespace: Name,
    alias: Option<Name>,
    refers: Vec<Name>,
}

impl Vm {
    /// `(ns NAME "doc"? (:require REQUIREMENT ...) ...)`
    pub(super) fn evaluate_ns(
        &self,
        source: &Source<'_>,
        form: &Form<'_>,
    ) -> Result<Value, Failure> {
        let at = Place {
            vm: self,
            source,
            form,
        };
        let parts = at.read()?;
        let [_, name, clauses @ ..] = &parts[..] else {
            return Err(at.error(None, "ns: expected the name of a namespace"));
        };
        let View::Symbol(namespace) = name.view() else {
            return Err(at.error(Some(name), "ns: expected the name of a namespace"));
        };
        if namespace.namespace().is_some() {
            let message =
                format!("ns: the name of a namespace has no /, but dots: not {namespace}");
            return Err(at.error(Some(name), &message));
        }
        if namespace.text() == CORE {
            return Err(at.error(Some(name), "ns: ember.core cannot be changed"));
        }
        // Known before its clauses run, so that what they name is looked up in the new namespace.
        let namespace: Rc<str> = namespace.text().into();
        self.enter(&namespace);
        self.files
            .borrow_mut()
            .entry(namespace)
            .or_insert(Loading::Done);
        for clause in clauses {
            match clause.view() {
                View::String(_) => {}
                View::List(items) => {
                    let mut items = items.iter();
                    match items.next().map(Value::view) {
                        Some(View::Keyword(keyword)) if keyword.is("require") => {
                            for requirement in items {
                                self.require(&at, requirement)?;
                            }
                        }
                        _ => return Err(at.error(Some(clause), "ns: expected (:require ...)")),
                    }
                }
                _ => return Err(at.error(Some(clause), "ns: expected (:require ...)")),
            }
        }
        Ok(Value::NIL)
    }

    /// `(require 'NAME ...)` or `(require '[NAME :as ALIAS :refer [NAME ...]] ...)`
    pub(super) fn evaluate_require(
        &self,
        source: &Source<'_>,
        form: &Form<'_>,
    ) -> Result<Value, Failure> {
        let at = Place {
            vm: self,
            source,
            form,
        };
        for argument in at.read()?.iter().skip(1) {
            let quoted = match argument.view() {
                View::List(list) if list.len() == 2 => list
                    .first()
                    .filter(|head| matches!(head.view(), View::Symbol(name) if name.is("quote")))
                    .and_then(|_| list.iter().nth(1).cloned()),
                _ => None,
            };
            match quoted {
                Some(requirement) => self.require(&at, &requirement)?,
                None => return Err(at.error(Some(argument), "require: expected a quoted name")),
            }
        }
        Ok(Value::NIL)
    }

    fn require(&self, at: &Place<'_>, requirement: &Value) -> Result<(), Failure> {
        let Some(Requirement {
            namespace,
            alias,
            refers,
        }) = parse(requirement)
        else {
            let message = "require: expected NAME or [NAME :as ALIAS :refer [NAME ...]]";
            return Err(at.error(Some(requirement), message));
        };
        self.load(at, requirement, namespace.text())?;
        let here = self.current_namespace();
        let namespaces = self.context.namespaces();
        if let Some(alias) = alias {
            namespaces.alias(&here, alias.text(), namespace.text());
        }
        for name in refers {
            let var = namespaces
                .find_var(namespace.text(), name.text())
                .filter(|var| var.is_defined() && !var.is_private());
            match var {
                Some(var) => namespaces.refer(&here, var),
                None => {
                    let message = format!("{namespace} has no public {name}");
                    return Err(at.error(Some(requirement), &message));
                }
            }
        }
        Ok(())
    }

    /// Evaluates the file of a namespace, unless that has been done.
    fn load(&self, at: &Place<'_>, requirement: &Value, namespace: &str) -> Result<(), Failure> {
        let state = self.files.borrow().get(namespace).copied();
        match state {
            Some(Loading::Done) => return Ok(()),
            Some(Loading::UnderWay) => {
                let message = format!("{namespace} requires itself");
                return Err(at.error(Some(requirement), &message));
            }
            None => {}
        }
        self.session.begin_epoch();
        let file = self.folder.join(file_of(namespace));
        let text = read(&file).map_err(|failure| {
            let message = match failure {
                Failure::Io { what, reason } => format!("{namespace}: {what}: {reason}"),
                other => other.to_string(),
            };
            at.error(Some(requirement), &message)
        })?;
        let key: Rc<str> = namespace.into();
        let here = self.current_namespace();
        self.files
            .borrow_mut()
            .insert(key.clone(), Loading::UnderWay);
        let result = self.evaluate(&Source {
            file: file.to_string_lossy().into(),
            text: &text,
        });
        self.enter(&here);
        if let Err(failure) = result {
            // The next attempt reads it anew, as it may have been mended.
            self.files.borrow_mut().remove(&key);
            return Err(failure);
        }
        self.files.borrow_mut().insert(key, Loading::Done);
        if self.context.namespaces().find(namespace).is_none() {
            let message = format!("{} does not begin with (ns {namespace})", file.display());
            return Err(at.error(Some(requirement), &message));
        }
        Ok(())
    }
}

/// The file of `a.b-c`: `a/b-c.em`.
fn file_of(namespace: &str) -> PathBuf {
    let mut path: PathBuf = namespace.split('.').collect();
    path.as_mut_os_string().push(".em");
    path
}

fn parse(requirement: &Value) -> Option<Requirement> {
    let symbol = |value: &Value| match value.view() {
        View::Symbol(name) if name.namespace().is_none() => Some(name.clone()),
        _ => None,
    };
    let View::Vector(items) = requirement.view() else {
        return Some(Requirement {
            namespace: symbol(requirement)?,
            alias: None,
            refers: Vec::new(),
        });
    };
    let mut items = items.iter();
    let mut parsed = Requirement {
        namespace: symbol(items.next()?)?,
        alias: None,
        refers: Vec::new(),
    };
    while let Some(key) = items.next() {
        let value = items.next()?;
        match (key.view(), value.view()) {
            (View::Keyword(key), View::Symbol(_)) if key.is("as") => parsed.alias = symbol(value),
            (View::Keyword(key), View::Vector(names)) if key.is("refer") => {
                parsed.refers = names.iter().map(symbol).collect::<Option<_>>()?;
            }
            _ => return None,
        }
    }
    Some(parsed)
}

/// A form that the host runs itself.
struct Place<'a> {
    vm: &'a Vm,
    source: &'a Source<'a>,
    form: &'a Form<'a>,
}

impl Place<'_> {
    /// The items of the form.
    fn read(&self) -> Result<Vec<Value>, Failure> {
        let current = self.vm.current_namespace();
        let context = &self.vm.context;
        let resolver = NamespaceResolver::new(context.namespaces(), &current);
        let text = self
            .source
            .text
            .get(self.form.start..self.form.end)
            .unwrap_or_default();
        match Reader::new(context, &resolver, text).read() {
            Ok(Some(value)) => match value.view() {
                View::List(items) => Ok(items.iter().cloned().collect()),
                _ => Ok(Vec::new()),
            },
            Ok(None) => Ok(Vec::new()),
            Err(error) => Err(self.vm.failure(error.raise(context, &self.origin()))),
        }
    }

    fn origin(&self) -> Origin {
        Origin::new(self.source.file.clone(), self.form.line, self.form.column)
    }

    /// An error at `value`, or at the form itself.
    fn error(&self, value: Option<&Value>, message: &str) -> Failure {
        let position = value.and_then(Value::position).unwrap_or_default();
        let context = &self.vm.context;
        self.vm
            .failure(context.raise_at(message, &self.origin(), position))
    }
}
