//! The natives, called as programs call them.
//!
//! Each line of a table is a call in ember's own notation and what it gives, or the message of the
//! exception that it raises. Calls are evaluated by a few lines that know nothing but natives.

mod collections;
mod effects;
mod scalars;

use super::*;
use crate::error::Thrown;
use crate::reader::read_constant;
use crate::value::{View, print_readable};

/// Evaluates `(native argument ...)`; `'x` is data, a symbol that names a native is the native.
fn evaluate(cx: &Context, form: &Value) -> Result<Value, Raised> {
    match form.view() {
        View::Symbol(name) => match cx.namespaces().core().find(name.name()) {
            Some(var) => Ok(var.get().expect("natives are bound")),
            None => panic!("no native {name}"),
        },
        View::List(list) => {
            let items: Vec<Value> = list.iter().cloned().collect();
            match items.as_slice() {
                [head, data] if matches!(head.view(), View::Symbol(name) if name.is("quote")) => {
                    Ok(data.clone())
                }
                [head, arguments @ ..] => {
                    let function = evaluate(cx, head)?;
                    let arguments: Result<Vec<Value>, Raised> =
                        arguments.iter().map(|form| evaluate(cx, form)).collect();
                    cx.call(&function, &arguments?)
                }
                [] => Ok(form.clone()),
            }
        }
        _ => Ok(form.clone()),
    }
}

fn run(cx: &Context, text: &str) -> Result<Value, Thrown> {
    let form = read_constant(cx, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    evaluate(cx, &form).map_err(|raised| cx.take_thrown(raised))
}

fn shown(cx: &Context, text: &str) -> String {
    match run(cx, text) {
        Ok(value) => print_readable(&value),
        Err(thrown) => format!("! {}", thrown.message()),
    }
}

fn check(table: &[(&str, &str)]) {
    let cx = Context::new();
    for (call, result) in table {
        assert_eq!(shown(&cx, call), *result, "{call}");
        assert_eq!(cx.scope_mark(), 0, "{call}");
    }
}
