//! Numbers.

use std::cmp::Ordering;

use super::Native;
use super::arguments::{expected, float, int};
use crate::context::Context;
use crate::error::Raised;
use crate::number;
use crate::value::{Value, View};

pub(super) const NATIVES: &[Native] = &[
    Native::at_least("+", 0, |cx, args| fold(cx, args, 0, number::add)),
    Native::at_least("*", 0, |cx, args| fold(cx, args, 1, number::multiply)),
    Native::at_least("-", 1, |cx, args| chain(cx, args, 0, number::subtract)),
    Native::at_least("/", 1, |cx, args| chain(cx, args, 1, number::divide)),
    Native::exactly("quot", 2, |cx, args| binary(cx, args, number::quotient)),
    Native::exactly("rem", 2, |cx, args| binary(cx, args, number::remainder)),
    Native::exactly("mod", 2, |cx, args| binary(cx, args, number::modulus)),
    Native::exactly("inc", 1, |cx, args| with_one(cx, args, number::add)),
    Native::exactly("dec", 1, |cx, args| with_one(cx, args, number::subtract)),
    Native::at_least("<", 1, |cx, args| ordered(cx, "<", args, Ordering::is_lt)),
    Native::at_least("<=", 1, |cx, args| ordered(cx, "<=", args, Ordering::is_le)),
    Native::at_least(">", 1, |cx, args| ordered(cx, ">", args, Ordering::is_gt)),
    Native::at_least(">=", 1, |cx, args| ordered(cx, ">=", args, Ordering::is_ge)),
    Native::at_least("==", 1, |cx, args| ordered(cx, "==", args, Ordering::is_eq)),
    Native::exactly("zero?", 1, |cx, args| {
        sign(cx, "zero?", args, Ordering::is_eq)
    }),
    Native::exactly("pos?", 1, |cx, args| {
        sign(cx, "pos?", args, Ordering::is_gt)
    }),
    Native::exactly("neg?", 1, |cx, args| {
        sign(cx, "neg?", args, Ordering::is_lt)
    }),
    Native::at_least("max", 1, |cx, args| {
        extreme(cx, "max", args, Ordering::is_gt)
    }),
    Native::at_least("min", 1, |cx, args| {
        extreme(cx, "min", args, Ordering::is_lt)
    }),
    Native::exactly("abs", 1, abs),
    Native::at_least("bit-and", 2, |cx, args| {
        bits(cx, "bit-and", args, |a, b| a & b)
    }),
    Native::at_least("bit-or", 2, |cx, args| {
        bits(cx, "bit-or", args, |a, b| a | b)
    }),
    Native::at_least("bit-xor", 2, |cx, args| {
        bits(cx, "bit-xor", args, |a, b| a ^ b)
    }),
    Native::exactly("bit-not", 1, bit_not),
    Native::exactly("bit-shift-left", 2, |cx, args| {
        shift(cx, "bit-shift-left", args, |value, by| value << by)
    }),
    Native::exactly("bit-shift-right", 2, |cx, args| {
        shift(cx, "bit-shift-right", args, |value, by| value >> by)
    }),
    Native::exactly("int", 1, |cx, args| to_int(cx, "int", args, f64::trunc)),
    Native::exactly("floor", 1, |cx, args| to_int(cx, "floor", args, f64::floor)),
    Native::exactly("ceil", 1, |cx, args| to_int(cx, "ceil", args, f64::ceil)),
    Native::exactly("round", 1, |cx, args| to_int(cx, "round", args, f64::round)),
    Native::exactly("float", 1, |cx, args| {
        real(cx, "float", args, |value| value)
    }),
    Native::exactly("sqrt", 1, |cx, args| real(cx, "sqrt", args, f64::sqrt)),
    Native::exactly("exp", 1, |cx, args| real(cx, "exp", args, f64::exp)),
    Native::exactly("log", 1, |cx, args| real(cx, "log", args, f64::ln)),
    Native::exactly("sin", 1, |cx, args| real(cx, "sin", args, f64::sin)),
    Native::exactly("cos", 1, |cx, args| real(cx, "cos", args, f64::cos)),
    Native::exactly("tan", 1, |cx, args| real(cx, "tan", args, f64::tan)),
    Native::exactly("atan2", 2, atan2),
    Native::exactly("pow", 2, pow),
];

type Operation = fn(&Context, &Value, &Value) -> Result<Value, Raised>;

/// `unit op a op b ...`
fn fold(cx: &Context, args: &[Value], unit: i64, operation: Operation) -> Result<Value, Raised> {
    match args {
        [first, rest @ ..] if !rest.is_empty() => rest
            .iter()
            .try_fold(first.clone(), |result, value| operation(cx, &result, value)),
        // With the unit, so that what is no number is an error.
        _ => args.iter().try_fold(Value::int(unit), |result, value| {
            operation(cx, &result, value)
        }),
    }
}

/// `a op b op ...`, or `unit op a`
fn chain(cx: &Context, args: &[Value], unit: i64, operation: Operation) -> Result<Value, Raised> {
    match args {
        [only] => operation(cx, &Value::int(unit), only),
        _ => fold(cx, args, unit, operation),
    }
}

fn binary(cx: &Context, args: &[Value], operation: Operation) -> Result<Value, Raised> {
    match args {
        [a, b] => operation(cx, a, b),
        _ => Ok(Value::NIL),
    }
}

fn with_one(cx: &Context, args: &[Value], operation: Operation) -> Result<Value, Raised> {
    match args {
        [a] => operation(cx, a, &Value::int(1)),
        _ => Ok(Value::NIL),
    }
}

fn check_number(cx: &Context, who: &str, value: &Value) -> Result<(), Raised> {
    float(cx, who, value).map(drop)
}

fn ordered(
    cx: &Context,
    who: &str,
    args: &[Value],
    holds: fn(Ordering) -> bool,
) -> Result<Value, Raised> {
    if let [only] = args {
        check_number(cx, who, only)?;
    }
    for pair in args.windows(2) {
        if let [a, b] = pair
            && !number::compare(cx, who, a, b)?.is_some_and(holds)
        {
            return Ok(Value::FALSE);
        }
    }
    Ok(Value::TRUE)
}

fn sign(
    cx: &Context,
    who: &str,
    args: &[Value],
    holds: fn(Ordering) -> bool,
) -> Result<Value, Raised> {
    let [value] = args else { return Ok(Value::NIL) };
    let order = number::compare(cx, who, value, &Value::int(0))?;
    Ok(order.is_some_and(holds).into())
}

fn extreme(
    cx: &Context,
    who: &str,
    args: &[Value],
    wins: fn(Ordering) -> bool,
) -> Result<Value, Raised> {
    let [first, rest @ ..] = args else {
        return Ok(Value::NIL);
    };
    check_number(cx, who, first)?;
    let mut best = first;
    for value in rest {
        match number::compare(cx, who, value, best)? {
            Some(order) if wins(order) => best = value,
            Some(_) => {}
            None => return Ok(Value::float(f64::NAN)),
        }
    }
    Ok(best.clone())
}

fn abs(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [value] = args else { return Ok(Value::NIL) };
    match value.view() {
        View::Int(value) => match value.checked_abs() {
            Some(value) => Ok(Value::int(value)),
            None => Err(number::overflow(cx)),
        },
        View::Float(value) => Ok(Value::float(value.abs())),
        _ => Err(expected(cx, "abs", "a number", value)),
    }
}

fn bits(
    cx: &Context,
    who: &str,
    args: &[Value],
    operation: fn(i64, i64) -> i64,
) -> Result<Value, Raised> {
    let [first, rest @ ..] = args else {
        return Ok(Value::NIL);
    };
    let mut result = int(cx, who, first)?;
    for value in rest {
        result = operation(result, int(cx, who, value)?);
    }
    Ok(Value::int(result))
}

fn bit_not(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [value] = args else { return Ok(Value::NIL) };
    int(cx, "bit-not", value).map(|value| Value::int(!value))
}

/// Shifts 64 bits; what is shifted out is gone, without an overflow.
fn shift(
    cx: &Context,
    who: &str,
    args: &[Value],
    operation: fn(i64, u32) -> i64,
) -> Result<Value, Raised> {
    let [value, by] = args else {
        return Ok(Value::NIL);
    };
    let count = u32::try_from(int(cx, who, by)?).ok().filter(|&by| by < 64);
    let Some(count) = count else {
        return Err(expected(cx, who, "a shift by 0 to 63", by));
    };
    Ok(Value::int(operation(int(cx, who, value)?, count)))
}

fn to_int(
    cx: &Context,
    who: &str,
    args: &[Value],
    rounding: fn(f64) -> f64,
) -> Result<Value, Raised> {
    let [value] = args else { return Ok(Value::NIL) };
    match value.view() {
        View::Int(_) => Ok(value.clone()),
        View::Float(number) => {
            let whole = rounding(number);
            // The largest float below 2^63; -2^63 itself is an integer.
            const BEYOND: f64 = 9_223_372_036_854_775_808.0;
            match (-BEYOND..BEYOND).contains(&whole) {
                true => Ok(Value::int(whole as i64)),
                false => Err(expected(cx, who, "a number that fits an integer", value)),
            }
        }
        _ => Err(expected(cx, who, "a number", value)),
    }
}

fn real(
    cx: &Context,
    who: &str,
    args: &[Value],
    function: fn(f64) -> f64,
) -> Result<Value, Raised> {
    let [value] = args else { return Ok(Value::NIL) };
    Ok(Value::float(function(float(cx, who, value)?)))
}

fn atan2(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [y, x] = args else { return Ok(Value::NIL) };
    Ok(Value::float(
        float(cx, "atan2", y)?.atan2(float(cx, "atan2", x)?),
    ))
}

/// An integer to the power of a non-negative integer is one; otherwise a float.
fn pow(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [base, exponent] = args else {
        return Ok(Value::NIL);
    };
    if let (Some(base), Some(exponent @ 0..)) = (base.as_int(), exponent.as_int()) {
        let power = match u32::try_from(exponent) {
            Ok(exponent) => base.checked_pow(exponent),
            Err(_) => match base {
                0 | 1 => Some(base),
                -1 if exponent % 2 == 0 => Some(1),
                -1 => Some(-1),
                _ => None,
            },
        };
        return power.map(Value::int).ok_or_else(|| number::overflow(cx));
    }
    Ok(Value::float(
        float(cx, "pow", base)?.powf(float(cx, "pow", exponent)?),
    ))
}
