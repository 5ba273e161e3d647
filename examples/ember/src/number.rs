//! Arithmetic and comparison of values.
//!
//! Integers are 64 bits and never wrap: what does not fit raises "integer overflow". An integer
//! meeting a float becomes one. `/` of integers is exact or a float.

use std::cmp::Ordering;

use crate::context::Context;
use crate::error::Raised;
use crate::value::{Value, View, compare_numbers};

/// Two numbers of one kind.
#[derive(Clone, Copy)]
enum Pair {
    Ints(i64, i64),
    Floats(f64, f64),
}

#[inline]
fn pair(cx: &Context, operator: &str, a: &Value, b: &Value) -> Result<Pair, Raised> {
    Ok(match (a.view(), b.view()) {
        (View::Int(a), View::Int(b)) => Pair::Ints(a, b),
        (View::Float(a), View::Float(b)) => Pair::Floats(a, b),
        (View::Int(a), View::Float(b)) => Pair::Floats(a as f64, b),
        (View::Float(a), View::Int(b)) => Pair::Floats(a, b as f64),
        _ => return Err(not_a_number(cx, operator, a, b)),
    })
}

#[cold]
fn not_a_number(cx: &Context, operator: &str, a: &Value, b: &Value) -> Raised {
    let wrong = match a.view() {
        View::Int(_) | View::Float(_) => b,
        _ => a,
    };
    let wrong = crate::runtime::call::brief(wrong);
    cx.raise(format!("{operator}: expected a number, got {wrong}"))
}

#[inline]
fn checked(cx: &Context, result: Option<i64>) -> Result<Value, Raised> {
    match result {
        Some(value) => Ok(Value::int(value)),
        None => Err(overflow(cx)),
    }
}

/// The exception for an integer that does not fit.
#[cold]
pub fn overflow(cx: &Context) -> Raised {
    cx.raise("integer overflow")
}

#[cold]
fn division_by_zero(cx: &Context) -> Raised {
    cx.raise("division by zero")
}

/// `(+ a b)`
///
/// # Errors
///
/// Not numbers, or integer overflow; so for all functions here.
#[inline]
pub fn add(cx: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    match pair(cx, "+", a, b)? {
        Pair::Ints(a, b) => checked(cx, a.checked_add(b)),
        Pair::Floats(a, b) => Ok(Value::float(a + b)),
    }
}

/// `(- a b)`
///
/// # Errors
///
/// See [`add`].
#[inline]
pub fn subtract(cx: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    match pair(cx, "-", a, b)? {
        Pair::Ints(a, b) => checked(cx, a.checked_sub(b)),
        Pair::Floats(a, b) => Ok(Value::float(a - b)),
    }
}

/// `(* a b)`
///
/// # Errors
///
/// See [`add`].
#[inline]
pub fn multiply(cx: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    match pair(cx, "*", a, b)? {
        Pair::Ints(a, b) => checked(cx, a.checked_mul(b)),
        Pair::Floats(a, b) => Ok(Value::float(a * b)),
    }
}

/// `(/ a b)`: of integers an integer if it is exact, else a float.
///
/// # Errors
///
/// See [`add`]; division of integers by zero.
pub fn divide(cx: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    match pair(cx, "/", a, b)? {
        Pair::Ints(_, 0) => Err(division_by_zero(cx)),
        Pair::Ints(a, b) if a.wrapping_rem(b) == 0 => checked(cx, a.checked_div(b)),
        Pair::Ints(a, b) => Ok(Value::float(a as f64 / b as f64)),
        Pair::Floats(a, b) => Ok(Value::float(a / b)),
    }
}

/// `(quot a b)`: the quotient, rounded towards zero.
///
/// # Errors
///
/// See [`divide`].
pub fn quotient(cx: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    match pair(cx, "quot", a, b)? {
        Pair::Ints(_, 0) => Err(division_by_zero(cx)),
        Pair::Ints(a, b) => checked(cx, a.checked_div(b)),
        Pair::Floats(a, b) => Ok(Value::float((a / b).trunc())),
    }
}

/// `(rem a b)`: the remainder of [`quotient`], with the sign of `a`.
///
/// # Errors
///
/// See [`divide`].
pub fn remainder(cx: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    match pair(cx, "rem", a, b)? {
        Pair::Ints(_, 0) => Err(division_by_zero(cx)),
        Pair::Ints(a, b) => Ok(Value::int(a.wrapping_rem(b))),
        Pair::Floats(a, b) => Ok(Value::float(a % b)),
    }
}

/// `(mod a b)`: the remainder of a division rounded down, with the sign of `b`.
///
/// # Errors
///
/// See [`divide`].
pub fn modulus(cx: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    match pair(cx, "mod", a, b)? {
        Pair::Ints(_, 0) => Err(division_by_zero(cx)),
        Pair::Ints(a, b) => {
            let rest = a.wrapping_rem(b);
            let is_off = rest != 0 && (rest < 0) != (b < 0);
            Ok(Value::int(if is_off { rest + b } else { rest }))
        }
        Pair::Floats(a, b) => {
            let rest = a % b;
            let is_off = rest != 0.0 && (rest < 0.0) != (b < 0.0);
            Ok(Value::float(if is_off { rest + b } else { rest }))
        }
    }
}

/// How two numbers compare by value: `None` if one is NaN.
///
/// # Errors
///
/// Not numbers.
#[inline]
pub fn compare(
    cx: &Context,
    operator: &str,
    a: &Value,
    b: &Value,
) -> Result<Option<Ordering>, Raised> {
    match compare_numbers(a, b) {
        Some(order) => Ok(Some(order)),
        // NaN, or no number.
        None => pair(cx, operator, a, b).map(|_| None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Operation = fn(&Context, &Value, &Value) -> Result<Value, Raised>;

    fn text(operation: Operation, a: impl Into<Value>, b: impl Into<Value>) -> String {
        let cx = Context::new();
        match operation(&cx, &a.into(), &b.into()) {
            Ok(value) => format!("{value:?}"),
            Err(raised) => cx.take_thrown(raised).message(),
        }
    }

    #[test]
    fn integers_do_not_wrap() {
        assert_eq!(text(add, Value::MAX_FIXNUM, 1), "4611686018427387904");
        assert_eq!(text(add, i64::MAX, 1), "integer overflow");
        assert_eq!(text(subtract, i64::MIN, 1), "integer overflow");
        assert_eq!(text(multiply, 1_i64 << 32, 1_i64 << 31), "integer overflow");
        assert_eq!(text(divide, i64::MIN, -1), "integer overflow");
        assert_eq!(text(quotient, i64::MIN, -1), "integer overflow");
        assert_eq!(text(remainder, i64::MIN, -1), "0");
        assert_eq!(text(modulus, i64::MIN, -1), "0");
    }

    #[test]
    fn division() {
        assert_eq!(text(divide, 6, 3), "2");
        assert_eq!(text(divide, 1, 2), "0.5");
        assert_eq!(text(divide, 1, 0), "division by zero");
        assert_eq!(text(divide, 1, 0.0), "##Inf");
        assert_eq!(text(quotient, -7, 2), "-3");
        assert_eq!(text(remainder, -7, 2), "-1");
        assert_eq!(text(modulus, -7, 2), "1");
        assert_eq!(text(modulus, 7, -2), "-1");
        assert_eq!(text(modulus, -7.5, 2), "0.5");
        for operation in [quotient, remainder, modulus] as [Operation; 3] {
            assert_eq!(text(operation, 1, 0), "division by zero");
        }
    }

    #[test]
    fn mixed_numbers_are_floats_and_others_are_errors() {
        assert_eq!(text(add, 1, 0.5), "1.5");
        assert_eq!(text(multiply, 2.0, 3), "6.0");
        assert_eq!(text(add, 1, "x"), "+: expected a number, got \"x\"");
        assert_eq!(text(add, Value::NIL, "x"), "+: expected a number, got nil");
    }

    #[test]
    fn comparison_knows_nan() {
        let cx = Context::new();
        let nan = Value::float(f64::NAN);
        assert!(matches!(compare(&cx, "<", &nan, &nan), Ok(None)));
        let (one, two) = (Value::int(1), Value::float(2.0));
        assert!(matches!(
            compare(&cx, "<", &one, &two),
            Ok(Some(Ordering::Less))
        ));
        let raised = compare(&cx, "<", &one, &Value::NIL).expect_err("nil");
        assert_eq!(
            cx.take_thrown(raised).message(),
            "<: expected a number, got nil"
        );
    }
}
