//! Atoms, exceptions, time and chance.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::Instant;

use super::Native;
use super::arguments::{expected, int};
use crate::context::Context;
use crate::error::{Exception, Raised};
use crate::value::{Atom, Value, View, print_plain};

pub(super) const NATIVES: &[Native] = &[
    Native::exactly("atom", 1, atom),
    Native::exactly("deref", 1, deref),
    Native::exactly("reset!", 2, reset).impure("a change of an atom"),
    Native::at_least("swap!", 2, swap).impure("a change of an atom"),
    Native::exactly("compare-and-set!", 3, compare_and_set).impure("a change of an atom"),
    Native::exactly("ex-info", 2, ex_info),
    Native::exactly("ex-message", 1, ex_message),
    Native::exactly("ex-data", 1, ex_data),
    Native::exactly("nano-time", 0, nano_time).impure("the time"),
    Native::exactly("rand-int", 1, rand_int).impure("a random number"),
];

fn atom(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    Ok(args.first().cloned().map_or(Value::NIL, Value::atom))
}

fn to_atom<'a>(cx: &Context, who: &str, value: &'a Value) -> Result<&'a Atom, Raised> {
    match value.view() {
        View::Atom(atom) => Ok(atom),
        _ => Err(expected(cx, who, "an atom", value)),
    }
}

fn deref(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [value] = args else { return Ok(Value::NIL) };
    match value.view() {
        View::Atom(atom) => {
            cx.note_impure("deref of an atom");
            Ok(atom.get())
        }
        View::Var(var) => {
            cx.note_impure("deref of a var");
            var.get()
                .ok_or_else(|| crate::runtime::call::unbound(cx, var))
        }
        View::Reduced(value) => Ok(value.clone()),
        _ => Err(expected(cx, "deref", "an atom or var", value)),
    }
}

fn reset(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [atom, value] = args else {
        return Ok(Value::NIL);
    };
    to_atom(cx, "reset!", atom)?.replace(value.clone());
    Ok(value.clone())
}

fn swap(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [atom, function, more @ ..] = args else {
        return Ok(Value::NIL);
    };
    let atom = to_atom(cx, "swap!", atom)?;
    let mut arguments = Vec::with_capacity(1 + more.len());
    arguments.push(atom.get());
    arguments.extend_from_slice(more);
    let value = cx.call(function, &arguments)?;
    atom.replace(value.clone());
    Ok(value)
}

fn compare_and_set(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [atom, old, new] = args else {
        return Ok(Value::NIL);
    };
    let atom = to_atom(cx, "compare-and-set!", atom)?;
    let is_same = atom.get() == *old;
    if is_same {
        atom.replace(new.clone());
    }
    Ok(is_same.into())
}

fn ex_info(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [message, data] = args else {
        return Ok(Value::NIL);
    };
    Ok(Value::exception(Exception::new(
        print_plain(message),
        data.clone(),
    )))
}

fn ex_message(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    Ok(match args.first().map(Value::view) {
        Some(View::Exception(exception)) => Value::string(exception.message()),
        _ => Value::NIL,
    })
}

fn ex_data(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    Ok(match args.first().map(Value::view) {
        Some(View::Exception(exception)) => exception.data().clone(),
        _ => Value::NIL,
    })
}

/// Nanoseconds since some moment of this process.
fn nano_time(_: &Context, _: &[Value]) -> Result<Value, Raised> {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    Ok(Value::int(
        i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX),
    ))
}

thread_local! {
    static RANDOM: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
}

fn rand_int(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [bound] = args else { return Ok(Value::NIL) };
    let limit = int(cx, "rand-int", bound)?;
    if limit <= 0 {
        return Err(expected(cx, "rand-int", "a positive integer", bound));
    }
    // Xorshift, by Marsaglia ("Xorshift RNGs", 2003), multiplied as by Vigna; good for games.
    let random = RANDOM.with(|state| {
        let mut bits = state.get();
        bits ^= bits >> 12;
        bits ^= bits << 25;
        bits ^= bits >> 27;
        state.set(bits);
        bits.wrapping_mul(0x2545_F491_4F6C_DD1D)
    });
    let scaled = (u128::from(random) * limit as u128) >> 64;
    Ok(Value::int(scaled as i64))
}
