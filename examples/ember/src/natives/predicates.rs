//! Asking what a value is, and comparing values.

use super::Native;
use crate::context::Context;
use crate::error::Raised;
use crate::value::{Name, Value, View, structural_hash};

pub(super) const NATIVES: &[Native] = &[
    Native::exactly("nil?", 1, |_, args| {
        is(args, |view| matches!(view, View::Nil))
    }),
    Native::exactly("some?", 1, |_, args| {
        is(args, |view| !matches!(view, View::Nil))
    }),
    Native::exactly("true?", 1, |_, args| {
        is(args, |view| matches!(view, View::Boolean(true)))
    }),
    Native::exactly("false?", 1, |_, args| {
        is(args, |view| matches!(view, View::Boolean(false)))
    }),
    Native::exactly("boolean?", 1, |_, args| {
        is(args, |view| matches!(view, View::Boolean(_)))
    }),
    Native::exactly("int?", 1, |_, args| {
        is(args, |view| matches!(view, View::Int(_)))
    }),
    Native::exactly("float?", 1, |_, args| {
        is(args, |view| matches!(view, View::Float(_)))
    }),
    Native::exactly("number?", 1, |_, args| {
        is(args, |view| matches!(view, View::Int(_) | View::Float(_)))
    }),
    Native::exactly("string?", 1, |_, args| {
        is(args, |view| matches!(view, View::String(_)))
    }),
    Native::exactly("symbol?", 1, |_, args| {
        is(args, |view| matches!(view, View::Symbol(_)))
    }),
    Native::exactly("keyword?", 1, |_, args| {
        is(args, |view| matches!(view, View::Keyword(_)))
    }),
    Native::exactly("list?", 1, |_, args| {
        is(args, |view| matches!(view, View::List(_)))
    }),
    Native::exactly("vector?", 1, |_, args| {
        is(args, |view| matches!(view, View::Vector(_)))
    }),
    Native::exactly("sequential?", 1, |_, args| {
        is(args, |view| matches!(view, View::List(_) | View::Vector(_)))
    }),
    Native::exactly("map?", 1, |_, args| {
        is(args, |view| matches!(view, View::Map(_)))
    }),
    Native::exactly("set?", 1, |_, args| {
        is(args, |view| matches!(view, View::Set(_)))
    }),
    Native::exactly("coll?", 1, |_, args| {
        is(args, |view| {
            matches!(
                view,
                View::List(_) | View::Vector(_) | View::Map(_) | View::Set(_)
            )
        })
    }),
    Native::exactly("fn?", 1, |_, args| {
        is(args, |view| {
            matches!(view, View::Function(_) | View::Native(_))
        })
    }),
    Native::exactly("atom?", 1, |_, args| {
        is(args, |view| matches!(view, View::Atom(_)))
    }),
    Native::exactly("var?", 1, |_, args| {
        is(args, |view| matches!(view, View::Var(_)))
    }),
    Native::exactly("exception?", 1, |_, args| {
        is(args, |view| matches!(view, View::Exception(_)))
    }),
    Native::exactly("type", 1, kind),
    Native::exactly("not", 1, not),
    Native::at_least("=", 1, |_, args| Ok(all_equal(args).into())),
    Native::at_least("not=", 1, |_, args| Ok((!all_equal(args)).into())),
    Native::exactly("identical?", 2, is_identical),
    Native::exactly("compare", 2, compare),
    Native::exactly("hash", 1, hash),
];

fn is(args: &[Value], predicate: fn(View<'_>) -> bool) -> Result<Value, Raised> {
    Ok(args
        .first()
        .is_some_and(|value| predicate(value.view()))
        .into())
}

fn kind(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    let name = args.first().map_or("nil", |value| value.view().kind());
    Ok(Value::keyword(Name::local(name)))
}

fn not(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    Ok((!args.first().is_some_and(Value::is_truthy)).into())
}

fn all_equal(args: &[Value]) -> bool {
    args.windows(2).all(|pair| matches!(pair, [a, b] if a == b))
}

fn is_identical(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    if args.iter().all(Value::is_heap) {
        cx.note_impure("the identity of objects");
    }
    Ok(matches!(args, [a, b] if a.is_identical(b)).into())
}

fn compare(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [a, b] = args else { return Ok(Value::NIL) };
    Ok(Value::int(a.cmp(b) as i64))
}

fn hash(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [value] = args else { return Ok(Value::NIL) };
    Ok(Value::int(structural_hash(value)))
}
