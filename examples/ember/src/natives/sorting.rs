//! Sorting, by the total order or by a comparison that the program gives.

use super::Native;
use super::arguments::{expected, items};
use crate::context::Context;
use crate::error::Raised;
use crate::value::{Value, View};

pub(super) const NATIVES: &[Native] = &[
    Native::between("sort", 1, 2, sort),
    Native::between("sort-by", 2, 3, sort_by),
];

fn sort(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    match args {
        [collection] => {
            let mut items: Vec<Value> = items(cx, "sort", collection)?.collect();
            items.sort();
            Ok(Value::list(items))
        }
        [comparison, collection] => {
            let items = items(cx, "sort", collection)?;
            let sorted = merge_sort(items.collect(), |a, b| precedes(cx, comparison, a, b))?;
            Ok(Value::list(sorted))
        }
        _ => Ok(Value::NIL),
    }
}

fn sort_by(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let (key, comparison, collection) = match args {
        [key, collection] => (key, None, collection),
        [key, comparison, collection] => (key, Some(comparison), collection),
        _ => return Ok(Value::NIL),
    };
    let mut keyed = Vec::new();
    for item in items(cx, "sort-by", collection)? {
        keyed.push((cx.call(key, std::slice::from_ref(&item))?, item));
    }
    let sorted = match comparison {
        None => {
            keyed.sort_by(|a, b| a.0.cmp(&b.0));
            keyed
        }
        Some(comparison) => merge_sort(keyed, |a, b| precedes(cx, comparison, &a.0, &b.0))?,
    };
    Ok(Value::list(sorted.into_iter().map(|(_, item)| item)))
}

/// Whether the program's comparison puts `a` before `b`: it says true, or a negative number.
fn precedes(cx: &Context, comparison: &Value, a: &Value, b: &Value) -> Result<bool, Raised> {
    let answer = cx.call(comparison, &[a.clone(), b.clone()])?;
    match answer.view() {
        View::Nil => Ok(false),
        View::Boolean(answer) => Ok(answer),
        View::Int(answer) => Ok(answer < 0),
        View::Float(answer) => Ok(answer < 0.0),
        _ => Err(expected(
            cx,
            "sort",
            "a boolean or a number from the comparison",
            &answer,
        )),
    }
}

/// Sorts stably. The standard library's sort would panic when a comparison contradicts itself, and
/// has no way to stop at an exception.
fn merge_sort<T: Clone>(
    mut items: Vec<T>,
    precedes: impl Fn(&T, &T) -> Result<bool, Raised>,
) -> Result<Vec<T>, Raised> {
    let mut merged = Vec::with_capacity(items.len());
    let mut width = 1;
    while width < items.len() {
        for pair in items.chunks(width * 2) {
            let (left, right) = pair.split_at(width.min(pair.len()));
            let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
            while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
                let from = if precedes(b, a)? {
                    &mut right
                } else {
                    &mut left
                };
                merged.extend(from.next().cloned());
            }
            merged.extend(left.cloned());
            merged.extend(right.cloned());
        }
        std::mem::swap(&mut items, &mut merged);
        merged.clear();
        width *= 2;
    }
    Ok(items)
}
