//! `#(...)`: a function whose parameters are `%`, `%1`, `%2`, ... and `%&`.

use crate::context::Context;
use crate::value::{Name, Value};

/// The most parameters that can be named.
const MOST: usize = 20;

/// The parameters that occurred so far.
#[derive(Default)]
pub(super) struct FunctionLiteral {
    /// By number, from 1; `None` for those that did not occur.
    numbered: Vec<Option<Name>>,
    rest: Option<Name>,
}

impl FunctionLiteral {
    /// The parameter that a token such as `%2` means.
    ///
    /// The name ends in `#`, so that a syntax-quote around the literal does not qualify it.
    pub(super) fn parameter(&mut self, cx: &Context, token: &str) -> Result<Name, String> {
        let new = |base: &str| Name::local(&format!("{}#", cx.gensym(base)));
        let number = match token {
            "%&" => return Ok(self.rest.get_or_insert_with(|| new("rest")).clone()),
            "%" => Some(1),
            _ => token.get(1..).and_then(|digits| digits.parse().ok()),
        };
        match number {
            Some(number @ 1..=MOST) => {
                if self.numbered.len() < number {
                    self.numbered.resize(number, None);
                }
                let Some(place) = self.numbered.get_mut(number - 1) else {
                    return Err(format!("'{token}' is no parameter"));
                };
                Ok(place
                    .get_or_insert_with(|| new(&format!("p{number}")))
                    .clone())
            }
            _ => Err(format!(
                "'{token}' is no parameter: %1 to %{MOST}, % and %& are"
            )),
        }
    }

    /// `(fn* [parameters] body)`
    pub(super) fn finish(self, cx: &Context, body: Value) -> Value {
        let mut parameters: Vec<Value> = Vec::new();
        for (index, name) in self.numbered.into_iter().enumerate() {
            let unused = || Name::local(&format!("{}#", cx.gensym(&format!("p{}", index + 1))));
            parameters.push(Value::symbol(name.unwrap_or_else(unused)));
        }
        if let Some(rest) = self.rest {
            parameters.push(Value::symbol(Name::local("&")));
            parameters.push(Value::symbol(rest));
        }
        let head = Value::symbol(Name::local("fn*"));
        Value::list([head, Value::vector(parameters), body])
    }
}
