//! Arithmetic and comparison, for operands that compiled code does not handle in place.

use std::cmp::Ordering;

use super::{give, value};
use crate::context::Context;
use crate::error::Raised;
use crate::number;
use crate::value::Value;

macro_rules! operations {
    ($($name:ident = $operation:path;)*) => {$(
        /// # Safety
        ///
        /// See the module's contract.
        pub(super) unsafe extern "C" fn $name(cx: &Context, a: u64, b: u64) -> u64 {
            // SAFETY: the contract.
            let (a, b) = unsafe { (value(&a), value(&b)) };
            give(cx, $operation(cx, a, b))
        }
    )*};
}

operations! {
    ember_add = number::add;
    ember_sub = number::subtract;
    ember_mul = number::multiply;
    ember_div = number::divide;
    ember_quot = number::quotient;
    ember_rem = number::remainder;
    ember_mod = number::modulus;
    ember_lt = less;
    ember_le = less_or_equal;
    ember_gt = greater;
    ember_ge = greater_or_equal;
    ember_num_eq = numerically_equal;
    ember_eq = equal;
}

fn less(cx: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    Ok(number::compare(cx, "<", a, b)?
        .is_some_and(Ordering::is_lt)
        .into())
}

fn less_or_equal(cx: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    Ok(number::compare(cx, "<=", a, b)?
        .is_some_and(Ordering::is_le)
        .into())
}

fn greater(cx: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    Ok(number::compare(cx, ">", a, b)?
        .is_some_and(Ordering::is_gt)
        .into())
}

fn greater_or_equal(cx: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    Ok(number::compare(cx, ">=", a, b)?
        .is_some_and(Ordering::is_ge)
        .into())
}

fn numerically_equal(cx: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    Ok(number::compare(cx, "==", a, b)?
        .is_some_and(Ordering::is_eq)
        .into())
}

// Never fails; the signature is the one that the table wants.
#[expect(clippy::unnecessary_wraps, reason = "the table wants one signature")]
fn equal(_: &Context, a: &Value, b: &Value) -> Result<Value, Raised> {
    Ok((a == b).into())
}
