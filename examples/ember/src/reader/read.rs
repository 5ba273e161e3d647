//! The reader: makes values of text.

use rustc_hash::FxHashMap;

use super::error::ReadError;
use super::function_literal::FunctionLiteral;
use super::resolve::{NoNamespace, SymbolResolver};
use super::template;
use crate::context::Context;
use crate::namespace::CORE;
use crate::value::{Map, Name, Position, Set, SymbolFlags, Value, View};

/// Reads the forms of a text one by one.
pub struct Reader<'a> {
    pub(super) cx: &'a Context,
    pub(super) resolver: &'a dyn SymbolResolver,
    text: &'a str,
    pub(super) at: usize,
    place: Place,
    /// Where the form that is being read starts.
    base: Position,
    /// Whether values get positions.
    is_placed: bool,
    /// How many syntax-quotes are open and not unquoted.
    quote_depth: usize,
    /// The `#(...)` that is being read.
    pub(super) function: Option<FunctionLiteral>,
    /// Symbols that occurred: most occur often, and share their text then.
    pub(super) names: FxHashMap<&'a str, Name>,
}

/// A place in the text and the position that belongs to it, moved forward as positions are wanted.
#[derive(Clone, Copy, Default)]
struct Place {
    at: usize,
    position: Position,
}

/// What comes next in a collection.
enum Item {
    Form(Value),
    Close(char),
    End,
}

/// The value whose readable text is `text`: one form and nothing else. It has no positions: a text
/// that a program made or that stands for a constant is no place that a user could look at.
///
/// # Errors
///
/// The text is no form.
pub fn read_constant(cx: &Context, text: &str) -> Result<Value, ReadError> {
    let mut reader = Reader::new(cx, &NoNamespace, text);
    reader.is_placed = false;
    match reader.read()? {
        Some(value) if reader.is_at_end() => Ok(value),
        Some(_) => Err(reader.error("more than one form")),
        None => Err(reader.incomplete("no form")),
    }
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `text`.
    pub fn new(cx: &'a Context, resolver: &'a dyn SymbolResolver, text: &'a str) -> Self {
        Self {
            cx,
            resolver,
            text,
            at: 0,
            place: Place::default(),
            base: Position::default(),
            is_placed: true,
            quote_depth: 0,
            function: None,
            names: FxHashMap::default(),
        }
    }

    /// Byte offset after the last form.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The next form, or `None` at the end. Positions in it are relative to its start.
    ///
    /// # Errors
    ///
    /// What follows is no form.
    pub fn read(&mut self) -> Result<Option<Value>, ReadError> {
        self.quote_depth = 0;
        self.function = None;
        loop {
            self.skip_blank();
            self.base = self.absolute();
            if !self.take("#_") {
                break;
            }
            self.expect_form("#_")?;
        }
        match self.peek() {
            None => Ok(None),
            Some(_) => self.read_here().map(Some),
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_blank();
        self.peek().is_none()
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn take(&mut self, prefix: &str) -> bool {
        let is_there = self.rest().starts_with(prefix);
        if is_there {
            self.at += prefix.len();
        }
        is_there
    }

    /// The position of the current place from the start of the text.
    pub(super) fn absolute(&mut self) -> Position {
        let passed = self.text.get(self.place.at..self.at).unwrap_or("");
        let position = &mut self.place.position;
        for character in passed.chars() {
            if character == '\n' {
                position.line = position.line.saturating_add(1);
                position.column = 0;
            } else {
                position.column = position.column.saturating_add(1);
            }
        }
        self.place.at = self.at;
        *position
    }

    /// The position of the current place from the start of the form.
    fn here(&mut self) -> Position {
        let absolute = self.absolute();
        Position {
            line: absolute.line.saturating_sub(self.base.line),
            column: match absolute.line == self.base.line {
                true => absolute.column.saturating_sub(self.base.column),
                false => absolute.column,
            },
        }
    }

    pub(super) fn error(&mut self, message: impl Into<String>) -> ReadError {
        ReadError {
            message: message.into(),
            position: self.absolute(),
            is_incomplete: false,
        }
    }

    fn incomplete(&mut self, message: impl Into<String>) -> ReadError {
        ReadError {
            is_incomplete: true,
            ..self.error(message)
        }
    }

    /// An error at an earlier place.
    pub(super) fn error_at(position: Position, message: impl Into<String>) -> ReadError {
        ReadError {
            message: message.into(),
            position,
            is_incomplete: false,
        }
    }

    fn skip_blank(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b' ' | b'\t'..=b'\r' | b',' => self.at += 1,
                b';' => self.skip_line(),
                b'#' if bytes.get(self.at + 1) == Some(&b'!') => self.skip_line(),
                _ => break,
            }
        }
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    /// The next form, closing delimiter or end.
    fn next_item(&mut self) -> Result<Item, ReadError> {
        loop {
            self.skip_blank();
            if !self.take("#_") {
                break;
            }
            self.expect_form("#_")?;
        }
        match self.peek() {
            None => Ok(Item::End),
            Some(close @ (')' | ']' | '}')) => Ok(Item::Close(close)),
            Some(_) => self.read_here().map(Item::Form),
        }
    }

    /// The form that has to follow `prefix`.
    fn expect_form(&mut self, prefix: &str) -> Result<Value, ReadError> {
        match self.next_item()? {
            Item::Form(form) => Ok(form),
            Item::Close(close) => Err(self.error(format!("unmatched '{close}' after {prefix}"))),
            Item::End => Err(self.incomplete(format!("end of text after {prefix}"))),
        }
    }

    /// The form that starts here.
    fn read_here(&mut self) -> Result<Value, ReadError> {
        if self.cx.stack_is_low() {
            return Err(self.error("forms are nested too deeply"));
        }
        let position = self.here();
        let value = match self.peek().unwrap_or(' ') {
            '(' => Value::list(self.read_items(1, ')', "list")?),
            '[' => Value::vector(self.read_items(1, ']', "vector")?),
            '{' => self.read_map()?,
            '"' => return self.read_string(),
            '\'' => self.read_prefixed("'", "quote")?,
            '@' => self.read_prefixed("@", "ember.core/deref")?,
            '`' => self.read_template()?,
            '~' => self.read_unquote()?,
            '^' => return self.read_metadata(),
            '#' => self.read_dispatch()?,
            close @ (')' | ']' | '}') => return Err(self.error(format!("unmatched '{close}'"))),
            _ => self.read_token()?,
        };
        Ok(match self.is_placed {
            true => value.with_position(position),
            false => value,
        })
    }

    /// The items after `skip` bytes up to the delimiter `close`.
    fn read_items(
        &mut self,
        skip: usize,
        close: char,
        what: &str,
    ) -> Result<Vec<Value>, ReadError> {
        let start = self.absolute();
        self.at += skip;
        let mut items = Vec::new();
        loop {
            match self.next_item()? {
                Item::Form(form) => items.push(form),
                Item::Close(found) if found == close => {
                    self.at += 1;
                    return Ok(items);
                }
                Item::Close(found) => {
                    let line = start.line + 1;
                    return Err(self.error(format!(
                        "unmatched '{found}' inside a {what} that starts at line {line}"
                    )));
                }
                Item::End => {
                    let line = start.line + 1;
                    let message = format!("end of text inside a {what} that starts at line {line}");
                    return Err(ReadError {
                        is_incomplete: true,
                        ..Self::error_at(start, message)
                    });
                }
            }
        }
    }

    fn read_map(&mut self) -> Result<Value, ReadError> {
        let start = self.absolute();
        let items = self.read_items(1, '}', "map")?;
        if !items.len().is_multiple_of(2) {
            return Err(Self::error_at(start, "a map needs a value for each key"));
        }
        let mut map = Map::new();
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            if map.contains_key(&key) {
                return Err(Self::error_at(
                    start,
                    format!("duplicate key in a map: {key:?}"),
                ));
            }
            map.insert_mut(key, value);
        }
        Ok(Value::from_map(map))
    }

    fn read_set(&mut self) -> Result<Value, ReadError> {
        let start = self.absolute();
        let mut set = Set::new();
        for item in self.read_items(2, '}', "set")? {
            if set.contains(&item) {
                return Err(Self::error_at(
                    start,
                    format!("duplicate item in a set: {item:?}"),
                ));
            }
            set.insert_mut(item);
        }
        Ok(Value::from_set(set))
    }

    /// `(head form)` for a form after a prefix.
    fn read_prefixed(&mut self, prefix: &str, head: &str) -> Result<Value, ReadError> {
        self.at += prefix.len();
        let form = self.expect_form(prefix)?;
        Ok(Value::list([Value::symbol(Name::parse(head)), form]))
    }

    fn read_template(&mut self) -> Result<Value, ReadError> {
        self.at += 1;
        self.quote_depth += 1;
        let form = self.expect_form("`");
        self.quote_depth -= 1;
        template::expand(self, &form?)
    }

    fn read_unquote(&mut self) -> Result<Value, ReadError> {
        if self.quote_depth == 0 {
            return Err(self.error("~ outside of a syntax-quote"));
        }
        self.quote_depth -= 1;
        let form = match self.rest().starts_with("~@") {
            true => self.read_prefixed("~@", template::UNQUOTE_SPLICING),
            false => self.read_prefixed("~", template::UNQUOTE),
        };
        self.quote_depth += 1;
        form
    }

    /// `^:flag symbol`
    fn read_metadata(&mut self) -> Result<Value, ReadError> {
        let start = self.absolute();
        self.at += 1;
        let flag = self.expect_form("^")?;
        let View::Keyword(flag) = flag.view() else {
            let message = "metadata has to be a keyword, as in ^:private";
            return Err(Self::error_at(start, message));
        };
        let target = self.expect_form("metadata")?;
        let View::Symbol(name) = target.view() else {
            return Err(Self::error_at(
                start,
                format!("^:{flag} has to stand before a symbol"),
            ));
        };
        let flags = target.symbol_flags().with(flag.text());
        Ok(Value::symbol_with_flags(name.clone(), flags).with_position_of(&target))
    }

    fn read_dispatch(&mut self) -> Result<Value, ReadError> {
        let after = self.rest().chars().nth(1);
        match after {
            Some('(') => self.read_function(),
            Some('{') => self.read_set(),
            Some('\'') => self.read_prefixed("#'", "var"),
            Some('#') => self.read_special_float(),
            Some(other) => Err(self.error(format!("'#{other}' means nothing"))),
            None => Err(self.incomplete("'#' means nothing")),
        }
    }

    fn read_function(&mut self) -> Result<Value, ReadError> {
        if self.function.is_some() {
            return Err(self.error("#(...) inside of #(...)"));
        }
        let position = self.here();
        self.function = Some(FunctionLiteral::default());
        let items = self.read_items(2, ')', "function literal");
        let function = self.function.take().unwrap_or_default();
        let mut body = Value::list(items?);
        if self.is_placed {
            body = body.with_position(position);
        }
        Ok(function.finish(self.cx, body))
    }
}

/// `(ember.core/name)`'s head.
pub(super) fn core_symbol(name: &str) -> Value {
    Value::symbol(Name::qualified(CORE, name))
}

/// A symbol like `model`, with another name.
pub(super) fn renamed(model: &Value, name: Name) -> Value {
    let flags: SymbolFlags = model.symbol_flags();
    Value::symbol_with_flags(name, flags).with_position_of(model)
}
