//! Calling any value, from compiled code and from Rust, and making closures.

use super::{give, value, values};
use crate::context::Context;
use crate::error::Raised;
use crate::namespace::Var;
use crate::natives::Native;
use crate::value::{Closure, Code, Value, View};

/// Calls `function`; arguments and callee are held by the caller.
pub(crate) fn call(cx: &Context, function: &Value, arguments: &[Value]) -> Result<Value, Raised> {
    match function.view() {
        View::Function(closure) => call_closure(cx, function, closure, arguments),
        _ => call_other(cx, function, arguments),
    }
}

fn call_closure(
    cx: &Context,
    function: &Value,
    closure: &Closure,
    arguments: &[Value],
) -> Result<Value, Raised> {
    let mark = cx.scope_mark();
    let word = call_code(cx, function, closure, arguments);
    // SAFETY: the scope keeps the result, which is not truncated before it is cloned.
    let result = unsafe { Value::borrow_word(&word) }.cloned();
    cx.scope_truncate(mark);
    result.ok_or(Raised(()))
}

/// Runs a closure's code; the result is a word that the scope keeps, or 0.
fn call_code(cx: &Context, function: &Value, closure: &Closure, arguments: &[Value]) -> u64 {
    // SAFETY: `Closure::new` was promised that the code follows the contract. The caller holds the
    // function and the arguments, and a `Value` is its word.
    unsafe {
        (closure.code())(
            cx,
            function.word(),
            arguments.len() as u64,
            arguments.as_ptr().cast(),
        )
    }
}

/// Calls what is no closure.
fn call_other(cx: &Context, function: &Value, arguments: &[Value]) -> Result<Value, Raised> {
    match (function.view(), arguments) {
        (View::Native(native), _) => call_native(cx, native, arguments),
        (View::Var(var), _) => {
            // A var may hold itself.
            cx.check_stack()?;
            match var.get() {
                Some(value) => call(cx, &value, arguments),
                None => Err(unbound(cx, var)),
            }
        }
        (View::Keyword(_), [map]) => Ok(look_up(map, function).unwrap_or(Value::NIL)),
        (View::Keyword(_), [map, default]) => {
            Ok(look_up(map, function).unwrap_or_else(|| default.clone()))
        }
        (View::Map(_) | View::Set(_), [key]) => Ok(look_up(function, key).unwrap_or(Value::NIL)),
        (View::Map(_) | View::Set(_), [key, default]) => {
            Ok(look_up(function, key).unwrap_or_else(|| default.clone()))
        }
        (View::Vector(vector), [index]) => look_up(function, index).ok_or_else(|| {
            cx.raise(format!(
                "index {index:?} is out of bounds of a vector of {} items",
                vector.len()
            ))
        }),
        (View::Keyword(_) | View::Map(_) | View::Set(_) | View::Vector(_), _) => {
            Err(wrong_arity(cx, &brief(function), arguments.len()))
        }
        _ => Err(cx.raise(format!("{} is not a function", brief(function)))),
    }
}

fn call_native(
    cx: &Context,
    native: &'static Native,
    arguments: &[Value],
) -> Result<Value, Raised> {
    let count = arguments.len();
    if count < native.min_args || native.max_args.is_some_and(|most| count > most) {
        return Err(wrong_arity(cx, native.name, count));
    }
    if let Some(reason) = native.impure {
        cx.note_impure(reason);
    }
    (native.function)(cx, arguments)
}

/// What `collection` holds under `key`, if it is a collection that can be asked.
pub(crate) fn look_up(collection: &Value, key: &Value) -> Option<Value> {
    match collection.view() {
        View::Map(map) => map.get(key).cloned(),
        View::Set(set) => set.get(key).cloned(),
        View::Vector(vector) => vector.get(usize::try_from(key.as_int()?).ok()?).cloned(),
        View::String(text) => {
            let index = usize::try_from(key.as_int()?).ok()?;
            if collection.is_ascii_string() {
                return text.get(index..index.checked_add(1)?).map(Value::string);
            }
            let character = text.chars().nth(index)?;
            Some(Value::string(&*character.encode_utf8(&mut [0; 4])))
        }
        _ => None,
    }
}

/// The exception for a wrong number of arguments.
#[cold]
pub(crate) fn wrong_arity(cx: &Context, name: &str, count: usize) -> Raised {
    cx.raise(format!(
        "wrong number of arguments ({count}) passed to {name}"
    ))
}

/// The exception for a var without a value.
#[cold]
pub(crate) fn unbound(cx: &Context, var: &Var) -> Raised {
    cx.raise(format!("unbound var: {}", var.name()))
}

/// A value for a message: printed readably, cut if it is long.
pub(crate) fn brief(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = crate::value::print_readable(value);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or("")),
        None => text,
    }
}

/// Calls anything callable with `argc` arguments.
///
/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_call(
    cx: &Context,
    callee: u64,
    argc: u64,
    argv: *const u64,
) -> u64 {
    // SAFETY: the contract.
    let (callee, arguments) = unsafe { (value(&callee), values(argc, argv)) };
    match callee.view() {
        View::Function(closure) => call_code(cx, callee, closure, arguments),
        _ => give(cx, call_other(cx, callee, arguments)),
    }
}

/// Calls what a var holds.
///
/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_call_var(
    cx: &Context,
    var: &'static Var,
    argc: u64,
    argv: *const u64,
) -> u64 {
    let Some(callee) = var.get() else {
        return give(cx, Err(unbound(cx, var)));
    };
    // SAFETY: the contract.
    let arguments = unsafe { values(argc, argv) };
    let View::Function(closure) = callee.view() else {
        return give(cx, call_other(cx, &callee, arguments));
    };
    let result = call_code(cx, &callee, closure, arguments);
    if callee.is_unique() {
        // The var was given another value meanwhile, and the result may be one of the captures.
        cx.keep(callee);
    }
    result
}

/// Raises that a closure does not take `argc` arguments; gives 0.
///
/// # Safety
///
/// See the module's contract.
pub(super) unsafe extern "C" fn ember_arity(cx: &Context, callee: u64, argc: u64) -> u64 {
    // SAFETY: the contract.
    let callee = unsafe { value(&callee) };
    let name = match callee.view() {
        View::Function(closure) if !closure.name().is_nil() => closure.name().to_string(),
        _ => "a function".to_owned(),
    };
    let Raised(()) = wrong_arity(cx, &name, argc as usize);
    0
}

/// A closure of `code` and copies of the captured words; `name` is a symbol or string, or nil.
///
/// # Safety
///
/// See the module's contract; `code` is the address of compiled code that reads at most
/// `captures_count` captures.
pub(super) unsafe extern "C" fn ember_closure(
    cx: &Context,
    code: *const (),
    name: u64,
    captures_count: u64,
    captures: *const u64,
) -> u64 {
    // SAFETY: the contract: the address is that of a function of this signature.
    let code = unsafe { std::mem::transmute::<*const (), Code>(code) };
    // SAFETY: the contract.
    let (name, captures) = unsafe { (value(&name), values(captures_count, captures)) };
    // SAFETY: the contract; code stays for the life of the process.
    let closure = unsafe { Closure::new(code, name.clone(), captures.into()) };
    cx.keep(Value::function(closure))
}

/// The captured words of the closure that is being called.
///
/// # Safety
///
/// See the module's contract. The words live as long as the closure.
pub(super) unsafe extern "C" fn ember_captures(callee: u64) -> *const u64 {
    // SAFETY: the contract.
    match unsafe { value(&callee) }.view() {
        View::Function(closure) => closure.captures().as_ptr().cast(),
        _ => std::ptr::null(),
    }
}
