//! What stands for itself: constants, and collections that are constant or have to be made.

use super::{Analyser, Analysis, error, node, plain_symbol};
use crate::compiler::CompileError;
use crate::compiler::ast::{Kind, Node};
use crate::value::{Map, Position, Set, Value, View, constant_text};

impl Analyser<'_> {
    /// Analyses what is neither a symbol nor a list with a head.
    pub(super) fn literal(&mut self, form: &Value, position: Position) -> Analysis {
        if let Some(value) = self.constant_value(form, position)? {
            return self.constant(&value, position);
        }
        let kind = match form.view() {
            View::Vector(vector) => Kind::Vector(self.items(vector.iter(), position)?),
            View::Set(set) => Kind::Set(self.items(set.iter(), position)?),
            View::Map(map) => {
                Kind::Map(self.items(map.iter().flat_map(|(key, value)| [key, value]), position)?)
            }
            View::Var(var) => {
                let name = var.name().text().to_owned();
                self.references.add(&name);
                Kind::Var(name)
            }
            _ => return self.constant(form, position),
        };
        Ok(node(kind, position))
    }

    fn items<'v>(
        &mut self,
        items: impl Iterator<Item = &'v Value>,
        position: Position,
    ) -> Result<Vec<Node>, CompileError> {
        items
            .map(|item| self.form(item, position, super::Place::INNER))
            .collect()
    }

    /// A value that is known now.
    pub(super) fn constant(&self, value: &Value, position: Position) -> Analysis {
        if !value.is_heap() {
            return Ok(node(Kind::Immediate(value.word()), position));
        }
        match constant_text(value) {
            Some(text) => Ok(node(Kind::Constant(text), position)),
            None => {
                let message = format!(
                    "{value:?} has no readable text, so it cannot be a constant of the code"
                );
                Err(error(message, position))
            }
        }
    }

    /// What a form evaluates to, if that is known now and the form has no symbols or calls in it.
    fn constant_value(
        &self,
        form: &Value,
        position: Position,
    ) -> Result<Option<Value>, CompileError> {
        self.check_depth(position)?;
        Ok(match form.view() {
            View::Nil
            | View::Boolean(_)
            | View::Int(_)
            | View::Float(_)
            | View::String(_)
            | View::Keyword(_) => Some(form.clone()),
            View::List(list) => {
                let mut items = list.iter();
                match (items.next(), items.next(), items.next()) {
                    (None, ..) => Some(form.clone()),
                    (Some(head), Some(quoted), None) if plain_symbol(head) == Some("quote") => {
                        Some(quoted.clone())
                    }
                    _ => None,
                }
            }
            View::Vector(vector) => self
                .constant_items(vector.iter(), position)?
                .map(Value::vector),
            // Forms may differ whose values are the same: `#{a 'a}` is for the runtime to judge.
            View::Set(set) => {
                let items = self.constant_items(set.iter(), position)?;
                let made: Option<Set> = items.map(|items| items.into_iter().collect());
                made.filter(|made| made.size() == set.size())
                    .map(Value::from_set)
            }
            View::Map(map) => {
                let keys = self.constant_items(map.keys(), position)?;
                let values = self.constant_items(map.values(), position)?;
                let made: Option<Map> = keys
                    .zip(values)
                    .map(|(keys, values)| keys.into_iter().zip(values).collect());
                made.filter(|made| made.size() == map.size())
                    .map(Value::from_map)
            }
            _ => None,
        })
    }

    fn constant_items<'v>(
        &self,
        items: impl Iterator<Item = &'v Value>,
        position: Position,
    ) -> Result<Option<Vec<Value>>, CompileError> {
        items
            .map(|item| self.constant_value(item, position).transpose())
            .collect::<Option<Result<_, _>>>()
            .transpose()
    }
}
