//! Reading what is no collection: tokens and strings.

use std::rc::Rc;

use super::error::ReadError;
use super::read::Reader;
use super::token::{Token, ends_token, parse_token};
use crate::value::{Name, Position, Value};

impl<'a> Reader<'a> {
    pub(super) fn read_special_float(&mut self) -> Result<Value, ReadError> {
        let start = self.absolute();
        self.at += 2;
        match self.take_token() {
            "Inf" => Ok(Value::float(f64::INFINITY)),
            "-Inf" => Ok(Value::float(f64::NEG_INFINITY)),
            "NaN" => Ok(Value::float(f64::NAN)),
            other => Err(Self::error_at(
                start,
                format!("'##{other}' is not a number"),
            )),
        }
    }

    fn take_token(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest.bytes().position(ends_token).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or("")
    }

    pub(super) fn read_token(&mut self) -> Result<Value, ReadError> {
        let start = self.absolute();
        let token = self.take_token();
        if let Some(name) = self.names.get(token) {
            return Ok(Value::symbol(name.clone()));
        }
        match parse_token(token).map_err(|message| Self::error_at(start, message))? {
            Token::Value(value) => Ok(value),
            Token::Keyword(name) => Ok(Value::keyword(name)),
            Token::LocalKeyword(name) => self.local_keyword(&name, start).map(Value::keyword),
            Token::Symbol(name) => {
                if let (Some(function), true) = (&mut self.function, token.starts_with('%')) {
                    let parameter = function.parameter(self.cx, token);
                    return parameter
                        .map(Value::symbol)
                        .map_err(|message| Self::error_at(start, message));
                }
                // What starts with % may mean a parameter later.
                if !token.starts_with('%') {
                    self.names.insert(token, name.clone());
                }
                Ok(Value::symbol(name))
            }
        }
    }

    fn local_keyword(&self, name: &Name, start: Position) -> Result<Name, ReadError> {
        let namespace: Rc<str> = match name.namespace() {
            None => self.resolver.current_namespace(),
            Some(alias) => match self.resolver.resolve_alias(alias) {
                Some(target) => target,
                None => {
                    let message = format!("::{name}: no namespace is called {alias} here");
                    return Err(Self::error_at(start, message));
                }
            },
        };
        Ok(Name::qualified(&namespace, name.name()))
    }

    pub(super) fn read_string(&mut self) -> Result<Value, ReadError> {
        let start = self.absolute();
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\'));
            let Some(plain) = plain else {
                let line = start.line + 1;
                let message = format!("end of text inside a string that starts at line {line}");
                return Err(ReadError {
                    is_incomplete: true,
                    ..Self::error_at(start, message)
                });
            };
            text.push_str(rest.get(..plain).unwrap_or(""));
            self.at += plain;
            if self.take("\"") {
                return Ok(Value::string(text));
            }
            let escape = self.read_escape(start)?;
            text.push(escape);
        }
    }

    /// The character that a backslash and what follows stand for.
    fn read_escape(&mut self, start: Position) -> Result<char, ReadError> {
        let mut rest = self.rest().chars();
        rest.next();
        let character = match rest.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('0') => '\0',
            Some('"') => '"',
            Some('\\') => '\\',
            Some('u') => {
                let digits = rest.as_str().get(..4).unwrap_or("");
                let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex);
                let Some(character) = code.and_then(char::from_u32) else {
                    return Err(self.error("\\u needs four hexadecimal digits of a character"));
                };
                self.at += 6;
                return Ok(character);
            }
            Some(other) => return Err(self.error(format!("\\{other} is no escape"))),
            None => {
                return Err(ReadError {
                    is_incomplete: true,
                    ..Self::error_at(start, "end of text inside a string")
                });
            }
        };
        self.at += 2;
        Ok(character)
    }
}
