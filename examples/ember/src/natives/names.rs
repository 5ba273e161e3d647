//! Symbols and keywords.

use super::Native;
use super::arguments::{expected, text};
use crate::context::Context;
use crate::error::Raised;
use crate::namespace::is_var_name;
use crate::value::{Name, Value, View};

pub(super) const NATIVES: &[Native] = &[
    Native::between("symbol", 1, 2, symbol),
    Native::between("keyword", 1, 2, keyword),
    Native::exactly("name", 1, name),
    Native::exactly("namespace", 1, namespace),
    Native::between("gensym", 0, 1, gensym),
    Native::exactly("with-flag", 2, with_flag),
    Native::exactly("intern", 1, intern),
];

/// The name that one or two arguments mean.
fn to_name(cx: &Context, who: &str, args: &[Value]) -> Result<Name, Raised> {
    match args {
        [only] => match only.view() {
            View::String(text) => Ok(Name::parse(text)),
            View::Symbol(name) | View::Keyword(name) => Ok(name.clone()),
            View::Var(var) => Ok(var.name().clone()),
            _ => Err(expected(cx, who, "a string, symbol or keyword", only)),
        },
        [namespace, name] => {
            let name = text(cx, who, name)?;
            match namespace.view() {
                View::Nil => Ok(Name::local(name)),
                _ => Ok(Name::qualified(text(cx, who, namespace)?, name)),
            }
        }
        _ => Ok(Name::local("")),
    }
}

fn symbol(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    to_name(cx, "symbol", args).map(Value::symbol)
}

fn keyword(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    to_name(cx, "keyword", args).map(Value::keyword)
}

fn name(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [value] = args else { return Ok(Value::NIL) };
    match value.view() {
        View::String(_) => Ok(value.clone()),
        View::Symbol(name) | View::Keyword(name) => Ok(Value::string(name.name())),
        _ => Err(expected(cx, "name", "a string, symbol or keyword", value)),
    }
}

fn namespace(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [value] = args else { return Ok(Value::NIL) };
    match value.view() {
        View::Symbol(name) | View::Keyword(name) => {
            Ok(name.namespace().map_or(Value::NIL, Value::string))
        }
        _ => Err(expected(cx, "namespace", "a symbol or keyword", value)),
    }
}

fn gensym(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let base = match args {
        [base] => text(cx, "gensym", base)?,
        _ => "g",
    };
    Ok(Value::symbol(cx.gensym(base)))
}

/// Makes a name known in the current namespace, as `declare` does, and gives its qualified symbol.
fn intern(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [symbol] = args else {
        return Ok(Value::NIL);
    };
    let View::Symbol(name) = symbol.view() else {
        return Err(expected(cx, "intern", "a symbol", symbol));
    };
    let plain = name.name();
    if name.namespace().is_some() || !is_var_name(plain) {
        return Err(cx.raise(format!(
            "intern: {name} is no name for a var of this namespace"
        )));
    }
    let qualified = cx.intern_name(plain);
    Ok(Value::symbol(Name::parse(&qualified)))
}

/// The symbol with a flag, as the reader makes it of `^:flag symbol`.
fn with_flag(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [symbol, flag] = args else {
        return Ok(Value::NIL);
    };
    let View::Symbol(name) = symbol.view() else {
        return Err(expected(cx, "with-flag", "a symbol", symbol));
    };
    let View::Keyword(flag) = flag.view() else {
        return Err(expected(cx, "with-flag", "a keyword", flag));
    };
    let flags = symbol.symbol_flags().with(flag.text());
    Ok(Value::symbol_with_flags(name.clone(), flags).with_position_of(symbol))
}
