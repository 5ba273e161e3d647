//! Syntax-quote: a template becomes the form that builds it.
//!
//! What holds no unquote is quoted as a whole; a list with unquotes becomes a call of
//! `ember.core/list`, or of `ember.core/concat` when something is spliced in.

use rustc_hash::FxHashMap;

use super::error::ReadError;
use super::read::{Reader, core_symbol, renamed};
use super::token::is_special_form;
use crate::value::{Name, Value, View};

/// The head of the list that `~form` reads as.
pub(super) const UNQUOTE: &str = "ember.core/unquote";
/// The head of the list that `~@form` reads as.
pub(super) const UNQUOTE_SPLICING: &str = "ember.core/unquote-splicing";

/// A part of a template.
enum Part {
    /// Data that stands for itself.
    Constant(Value),
    /// A form that gives the part.
    Code(Value),
    /// A form that gives a sequence of parts.
    Splice(Value),
}

/// The form that builds what `template` describes.
pub(super) fn expand(reader: &mut Reader<'_>, template: &Value) -> Result<Value, ReadError> {
    let mut expansion = Expansion {
        reader,
        names: FxHashMap::default(),
    };
    match expansion.part(template)? {
        Part::Splice(_) => Err(expansion.reader.error("~@ outside of a collection")),
        part => Ok(code(part)),
    }
}

struct Expansion<'a, 'b> {
    reader: &'a mut Reader<'b>,
    /// What `x#` means in this template.
    names: FxHashMap<String, Name>,
}

impl Expansion<'_, '_> {
    fn part(&mut self, template: &Value) -> Result<Part, ReadError> {
        if self.reader.cx.stack_is_low() {
            return Err(self.reader.error("forms are nested too deeply"));
        }
        match template.view() {
            View::Symbol(name) => Ok(Part::Constant(renamed(template, self.name(name)))),
            View::List(list) => {
                let mut items = list.iter();
                if let (Some(head), Some(form), None) = (items.next(), items.next(), items.next())
                    && let View::Symbol(head) = head.view()
                {
                    match head.text() {
                        UNQUOTE => return Ok(Part::Code(form.clone())),
                        UNQUOTE_SPLICING => return Ok(Part::Splice(form.clone())),
                        _ => {}
                    }
                }
                let parts = self.parts(list.iter())?;
                Ok(collect(parts, template, Value::list, |items| {
                    call("list", items)
                }))
            }
            View::Vector(vector) => {
                let parts = self.parts(vector.iter())?;
                if parts.iter().any(|part| matches!(part, Part::Splice(_))) {
                    return Ok(Part::Code(call("vec", vec![concatenation(parts)])));
                }
                Ok(collect(parts, template, Value::vector, Value::vector))
            }
            View::Set(set) => {
                let parts = self.parts(set.iter())?;
                if parts.iter().any(|part| matches!(part, Part::Splice(_))) {
                    return Ok(Part::Code(call("set", vec![concatenation(parts)])));
                }
                Ok(collect(parts, template, Value::set, |items| {
                    call("hash-set", items)
                }))
            }
            View::Map(map) => {
                let parts = self.parts(map.iter().flat_map(|(key, value)| [key, value]))?;
                if parts.iter().any(|part| matches!(part, Part::Splice(_))) {
                    return Err(self.reader.error("~@ inside of a map"));
                }
                // Not a map of forms: two keys that are the same form may give different values.
                Ok(collect(parts, template, map_of, |items| {
                    call("hash-map", items)
                }))
            }
            _ => Ok(Part::Constant(template.clone())),
        }
    }

    fn parts<'v>(
        &mut self,
        items: impl Iterator<Item = &'v Value>,
    ) -> Result<Vec<Part>, ReadError> {
        items.map(|item| self.part(item)).collect()
    }

    fn name(&mut self, name: &Name) -> Name {
        if name.namespace().is_none() {
            if is_special_form(name.name()) {
                return name.clone();
            }
            if let Some(base) = name.name().strip_suffix('#')
                && !base.is_empty()
            {
                let cx = self.reader.cx;
                let known = self.names.entry(base.to_owned());
                return known.or_insert_with(|| cx.gensym(base)).clone();
            }
        }
        self.reader.resolver.resolve_for_quote(name)
    }
}

/// The collection as a constant if all parts are, else as the code that builds it.
fn collect(
    parts: Vec<Part>,
    template: &Value,
    constant: impl FnOnce(Vec<Value>) -> Value,
    build: impl FnOnce(Vec<Value>) -> Value,
) -> Part {
    if parts.iter().any(|part| matches!(part, Part::Splice(_))) {
        return Part::Code(concatenation(parts));
    }
    if parts.iter().all(|part| matches!(part, Part::Constant(_))) {
        let items = parts.into_iter().map(|part| match part {
            Part::Constant(value) | Part::Code(value) | Part::Splice(value) => value,
        });
        return Part::Constant(constant(items.collect()).with_position_of(template));
    }
    let built = build(parts.into_iter().map(code).collect());
    Part::Code(built.with_position_of(template))
}

fn map_of(items: Vec<Value>) -> Value {
    let mut items = items.into_iter();
    let entries = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
    Value::map(entries)
}

/// `(ember.core/concat ...)` of parts, with neighbours that are not spliced in one list.
fn concatenation(parts: Vec<Part>) -> Value {
    let mut pieces = Vec::new();
    let mut run = Vec::new();
    for part in parts {
        match part {
            Part::Splice(form) => {
                if !run.is_empty() {
                    pieces.push(call("list", std::mem::take(&mut run)));
                }
                pieces.push(form);
            }
            part => run.push(code(part)),
        }
    }
    if !run.is_empty() {
        pieces.push(call("list", run));
    }
    call("concat", pieces)
}

fn call(name: &str, arguments: Vec<Value>) -> Value {
    Value::list(std::iter::once(core_symbol(name)).chain(arguments))
}

/// The form that gives a part that is not spliced.
fn code(part: Part) -> Value {
    match part {
        Part::Code(form) | Part::Splice(form) => form,
        Part::Constant(value) => match value.view() {
            View::Symbol(_) | View::List(_) | View::Vector(_) | View::Map(_) | View::Set(_) => {
                Value::list([Value::symbol(Name::local("quote")), value])
            }
            _ => value,
        },
    }
}
