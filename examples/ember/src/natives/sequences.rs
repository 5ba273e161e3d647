//! Sequences: going through collections. Nothing is lazy.

use super::Native;
use super::arguments::{Items, MOST_ITEMS, float, int, items, too_large};
use crate::context::Context;
use crate::error::Raised;
use crate::number;
use crate::value::{List, Value, View};

pub(super) const NATIVES: &[Native] = &[
    Native::exactly("seq", 1, seq),
    Native::exactly("first", 1, first),
    Native::exactly("second", 1, second),
    Native::exactly("last", 1, last),
    Native::exactly("rest", 1, rest),
    Native::exactly("next", 1, next),
    Native::exactly("cons", 2, cons),
    Native::at_least("concat", 0, concat),
    Native::exactly("reverse", 1, reverse),
    Native::exactly("take", 2, take),
    Native::exactly("drop", 2, drop_items),
    Native::between("range", 1, 3, range),
    Native::exactly("repeat", 2, repeat),
    Native::between("reduce", 2, 3, reduce),
    Native::exactly("reduced", 1, reduced),
    Native::exactly("reduced?", 1, is_reduced),
    Native::exactly("unreduced", 1, unreduced),
    Native::at_least("apply", 2, apply),
];

fn seq(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    match collection.view() {
        View::List(list) if list.is_empty() => Ok(Value::NIL),
        View::List(_) => Ok(collection.clone()),
        _ => {
            let mut items = items(cx, "seq", collection)?.peekable();
            match items.peek() {
                None => Ok(Value::NIL),
                Some(_) => Ok(Value::list(items)),
            }
        }
    }
}

fn first(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    nth_item(cx, "first", collection, 0)
}

fn second(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    nth_item(cx, "second", collection, 1)
}

fn nth_item(cx: &Context, who: &str, collection: &Value, index: usize) -> Result<Value, Raised> {
    let item = match collection.view() {
        View::List(list) => list.iter().nth(index).cloned(),
        View::Vector(vector) => vector.get(index).cloned(),
        _ => items(cx, who, collection)?.nth(index),
    };
    Ok(item.unwrap_or(Value::NIL))
}

fn last(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    let item = match collection.view() {
        View::List(list) => list.last().cloned(),
        View::Vector(vector) => vector.last().cloned(),
        View::Set(set) => set.last().cloned(),
        _ => items(cx, "last", collection)?.last(),
    };
    Ok(item.unwrap_or(Value::NIL))
}

/// All items but the first.
fn tail(cx: &Context, who: &str, collection: &Value) -> Result<List, Raised> {
    match collection.view() {
        View::List(list) => Ok(list.drop_first().unwrap_or_default()),
        _ => Ok(to_list(items(cx, who, collection)?.skip(1))),
    }
}

fn to_list(items: impl Iterator<Item = Value>) -> List {
    let items: Vec<Value> = items.collect();
    let mut list = List::new();
    for item in items.into_iter().rev() {
        list.push_front_mut(item);
    }
    list
}

fn rest(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    tail(cx, "rest", collection).map(Value::from_list)
}

fn next(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    let tail = tail(cx, "next", collection)?;
    match tail.is_empty() {
        true => Ok(Value::NIL),
        false => Ok(Value::from_list(tail)),
    }
}

fn cons(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [item, collection] = args else {
        return Ok(Value::NIL);
    };
    let list = match collection.view() {
        View::List(list) => list.clone(),
        _ => to_list(items(cx, "cons", collection)?),
    };
    Ok(Value::from_list(list.push_front(item.clone())))
}

fn concat(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [before @ .., last] = args else {
        return Ok(Value::list([]));
    };
    // The last list is shared, not copied.
    let mut list = match last.view() {
        View::List(list) => list.clone(),
        _ => to_list(items(cx, "concat", last)?),
    };
    for collection in before.iter().rev() {
        let items: Vec<Value> = items(cx, "concat", collection)?.collect();
        if list.len().saturating_add(items.len()) > MOST_ITEMS {
            return Err(too_large(cx, "concat"));
        }
        for item in items.into_iter().rev() {
            list.push_front_mut(item);
        }
    }
    Ok(Value::from_list(list))
}

fn reverse(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    let mut list = List::new();
    items(cx, "reverse", collection)?.for_each(|item| list.push_front_mut(item));
    Ok(Value::from_list(list))
}

/// A count that may be negative, which means none.
fn lenient_size(cx: &Context, who: &str, value: &Value) -> Result<usize, Raised> {
    Ok(usize::try_from(int(cx, who, value)?).unwrap_or(0))
}

fn take(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [count, collection] = args else {
        return Ok(Value::NIL);
    };
    let count = lenient_size(cx, "take", count)?;
    Ok(Value::list(items(cx, "take", collection)?.take(count)))
}

fn drop_items(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [count, collection] = args else {
        return Ok(Value::NIL);
    };
    let count = lenient_size(cx, "drop", count)?;
    let View::List(list) = collection.view() else {
        return Ok(Value::list(items(cx, "drop", collection)?.skip(count)));
    };
    // The rest is shared, not copied.
    let mut list = list.clone();
    for _ in 0..count.min(list.len()) {
        list.drop_first_mut();
    }
    Ok(Value::from_list(list))
}

fn range(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let (zero, one) = (Value::int(0), Value::int(1));
    let (start, end, step) = match args {
        [end] => (&zero, end, &one),
        [start, end] => (start, end, &one),
        [start, end, step] => (start, end, step),
        _ => return Ok(Value::NIL),
    };
    if let (Some(start), Some(end), Some(step)) = (start.as_int(), end.as_int(), step.as_int()) {
        return int_range(cx, start, end, step);
    }
    let is_down = number::compare(cx, "range", step, &zero)?.is_some_and(std::cmp::Ordering::is_lt);
    let distance = float(cx, "range", end)? - float(cx, "range", start)?;
    // Not exact, but endless ranges are refused before they take memory.
    if distance / float(cx, "range", step)? > 2.0 * MOST_ITEMS as f64 {
        return Err(too_large(cx, "range"));
    }
    let mut items = Vec::new();
    let mut item = start.clone();
    loop {
        let order = number::compare(cx, "range", &item, end)?;
        let is_inside = match is_down {
            false => order.is_some_and(std::cmp::Ordering::is_lt),
            true => order.is_some_and(std::cmp::Ordering::is_gt),
        };
        if !is_inside {
            return Ok(Value::list(items));
        }
        if items.len() >= MOST_ITEMS {
            return Err(too_large(cx, "range"));
        }
        let following = number::add(cx, &item, step)?;
        items.push(std::mem::replace(&mut item, following));
    }
}

fn int_range(cx: &Context, start: i64, end: i64, step: i64) -> Result<Value, Raised> {
    let (start, distance, step) = (
        i128::from(start),
        i128::from(end) - i128::from(start),
        i128::from(step),
    );
    if distance == 0 || (distance < 0) != (step < 0) && step != 0 {
        return Ok(Value::list([]));
    }
    let count = match step {
        0 => None,
        _ => usize::try_from((distance + step - step.signum()) / step).ok(),
    };
    let Some(count) = count.filter(|&count| count <= MOST_ITEMS) else {
        return Err(too_large(cx, "range"));
    };
    let mut list = List::new();
    for index in (0..count).rev() {
        let item = start + step * index as i128;
        // Between the start and the end, so it fits.
        list.push_front_mut(Value::int(item as i64));
    }
    Ok(Value::from_list(list))
}

fn repeat(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [count, item] = args else {
        return Ok(Value::NIL);
    };
    let count = lenient_size(cx, "repeat", count)?;
    if count > MOST_ITEMS {
        return Err(too_large(cx, "repeat"));
    }
    Ok(Value::list(std::iter::repeat_n(item, count).cloned()))
}

fn reduce(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let (function, start, collection) = match args {
        [function, collection] => (function, None, collection),
        [function, start, collection] => (function, Some(start.clone()), collection),
        _ => return Ok(Value::NIL),
    };
    let mut items: Items<'_> = items(cx, "reduce", collection)?;
    let mut result = match start.or_else(|| items.next()) {
        Some(start) => start,
        None => return cx.call(function, &[]),
    };
    for item in items {
        result = cx.call(function, &[result, item])?;
        if let View::Reduced(value) = result.view() {
            return Ok(value.clone());
        }
    }
    Ok(result)
}

fn reduced(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    Ok(args.first().cloned().map_or(Value::NIL, Value::reduced))
}

fn is_reduced(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    let is_reduced = |value: &Value| matches!(value.view(), View::Reduced(_));
    Ok(args.first().is_some_and(is_reduced).into())
}

fn unreduced(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [value] = args else { return Ok(Value::NIL) };
    match value.view() {
        View::Reduced(value) => Ok(value.clone()),
        _ => Ok(value.clone()),
    }
}

fn apply(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [function, first @ .., last] = args else {
        return Ok(Value::NIL);
    };
    // `(apply apply apply ...)` gets this deep without compiled code in between.
    cx.check_stack()?;
    let mut arguments = first.to_vec();
    match last.view() {
        View::Nil => {}
        _ => arguments.extend(items(cx, "apply", last)?),
    }
    cx.call(function, &arguments)
}
