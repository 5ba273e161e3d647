//! Lists, vectors, maps and sets: making, asking, changing.

use super::Native;
use super::arguments::{Items, entry, expected, items, out_of_bounds, size};
use crate::context::Context;
use crate::error::Raised;
use crate::runtime::call::{brief, look_up};
use crate::value::{Map, Value, View};

pub(super) const NATIVES: &[Native] = &[
    Native::at_least("list", 0, list),
    Native::at_least("vector", 0, vector),
    Native::exactly("vec", 1, vec),
    Native::at_least("hash-map", 0, hash_map),
    Native::at_least("hash-set", 0, hash_set),
    Native::exactly("set", 1, set),
    Native::at_least("conj", 1, conj),
    Native::exactly("into", 2, into),
    Native::exactly("count", 1, count),
    Native::exactly("empty?", 1, is_empty),
    Native::between("nth", 2, 3, nth),
    Native::between("get", 2, 3, get),
    Native::at_least("assoc", 3, assoc),
    Native::at_least("dissoc", 1, dissoc),
    Native::at_least("disj", 1, disj),
    Native::exactly("contains?", 2, contains),
    Native::exactly("keys", 1, keys),
    Native::exactly("vals", 1, vals),
    Native::exactly("peek", 1, peek),
    Native::exactly("pop", 1, pop),
    Native::between("subvec", 2, 3, subvec),
];

fn list(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    Ok(Value::list(args.iter().cloned()))
}

fn vector(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    Ok(Value::vector(args.iter().cloned()))
}

fn vec(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    match collection.view() {
        View::Vector(_) => Ok(collection.clone()),
        _ => Ok(Value::vector(items(cx, "vec", collection)?)),
    }
}

/// Adds keys and values in turn.
fn add_entries(cx: &Context, who: &str, map: &mut Map, entries: &[Value]) -> Result<(), Raised> {
    let pairs = entries.chunks_exact(2);
    if let [key] = pairs.remainder() {
        return Err(cx.raise(format!("{who}: no value for the key {}", brief(key))));
    }
    for pair in pairs {
        if let [key, value] = pair {
            map.insert_mut(key.clone(), value.clone());
        }
    }
    Ok(())
}

fn hash_map(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let mut map = Map::new();
    add_entries(cx, "hash-map", &mut map, args)?;
    Ok(Value::from_map(map))
}

fn hash_set(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    Ok(Value::set(args.iter().cloned()))
}

fn set(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    match collection.view() {
        View::Set(_) => Ok(collection.clone()),
        _ => Ok(Value::set(items(cx, "set", collection)?)),
    }
}

/// Adds items where it is natural for the collection.
fn add_items(cx: &Context, who: &str, to: &Value, items: Items<'_>) -> Result<Value, Raised> {
    match to.view() {
        View::Nil => {
            let mut list = crate::value::List::new();
            items.for_each(|item| list.push_front_mut(item));
            Ok(Value::from_list(list))
        }
        View::List(list) => {
            let mut list = list.clone();
            items.for_each(|item| list.push_front_mut(item));
            Ok(Value::from_list(list))
        }
        View::Vector(vector) => {
            let mut vector = vector.clone();
            items.for_each(|item| vector.push_back_mut(item));
            Ok(Value::from_vector(vector))
        }
        View::Set(set) => {
            let mut set = set.clone();
            items.for_each(|item| set.insert_mut(item));
            Ok(Value::from_set(set))
        }
        View::Map(map) => {
            let mut map = map.clone();
            for item in items {
                add_to_map(cx, who, &mut map, &item)?;
            }
            Ok(Value::from_map(map))
        }
        _ => Err(expected(cx, who, "a collection", to)),
    }
}

fn add_to_map(cx: &Context, who: &str, map: &mut Map, item: &Value) -> Result<(), Raised> {
    match item.view() {
        View::Vector(pair) if pair.len() == 2 => {
            if let (Some(key), Some(value)) = (pair.get(0), pair.get(1)) {
                map.insert_mut(key.clone(), value.clone());
            }
            Ok(())
        }
        View::Map(entries) => {
            for (key, value) in entries {
                map.insert_mut(key.clone(), value.clone());
            }
            Ok(())
        }
        View::Nil => Ok(()),
        _ => Err(expected(cx, who, "a [key value] vector or a map", item)),
    }
}

fn conj(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    match args {
        [] => Ok(Value::NIL),
        [collection] => Ok(collection.clone()),
        [collection, added @ ..] => {
            add_items(cx, "conj", collection, Box::new(added.iter().cloned()))
        }
    }
}

fn into(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [to, from] = args else {
        return Ok(Value::NIL);
    };
    let items = items(cx, "into", from)?;
    add_items(cx, "into", to, items)
}

/// How many items a collection has.
fn length(cx: &Context, who: &str, collection: &Value) -> Result<usize, Raised> {
    Ok(match collection.view() {
        View::Nil => 0,
        View::List(list) => list.len(),
        View::Vector(vector) => vector.len(),
        View::Map(map) => map.size(),
        View::Set(set) => set.size(),
        View::String(text) if collection.is_ascii_string() => text.len(),
        View::String(text) => text.chars().count(),
        _ => return Err(expected(cx, who, "a collection", collection)),
    })
}

fn count(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    length(cx, "count", collection).map(|length| Value::int(length as i64))
}

fn is_empty(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    if let View::String(text) = collection.view() {
        return Ok(text.is_empty().into());
    }
    length(cx, "empty?", collection).map(|length| (length == 0).into())
}

fn nth(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection, index, default @ ..] = args else {
        return Ok(Value::NIL);
    };
    let number = super::arguments::int(cx, "nth", index)?;
    let found = match (collection.view(), usize::try_from(number)) {
        (View::List(list), Ok(number)) => list.iter().nth(number).cloned(),
        (View::Vector(vector), Ok(number)) => vector.get(number).cloned(),
        (View::String(_), Ok(_)) => look_up(collection, index),
        (View::Nil | View::List(_) | View::Vector(_) | View::String(_), _) => None,
        _ => {
            return Err(expected(cx, "nth", "a list, vector or string", collection));
        }
    };
    match (found, default) {
        (Some(value), _) => Ok(value),
        (None, [default]) => Ok(default.clone()),
        (None, _) => Err(out_of_bounds(cx, "nth", index)),
    }
}

fn get(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection, key, default @ ..] = args else {
        return Ok(Value::NIL);
    };
    let default = || default.first().cloned().unwrap_or(Value::NIL);
    Ok(look_up(collection, key).unwrap_or_else(default))
}

fn assoc(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection, entries @ ..] = args else {
        return Ok(Value::NIL);
    };
    match collection.view() {
        View::Nil => hash_map(cx, entries),
        View::Map(map) => {
            let mut map = map.clone();
            add_entries(cx, "assoc", &mut map, entries)?;
            Ok(Value::from_map(map))
        }
        View::Vector(vector) => {
            let mut vector = vector.clone();
            let pairs = entries.chunks_exact(2);
            if let [index] = pairs.remainder() {
                return Err(cx.raise(format!("assoc: no value for the index {}", brief(index))));
            }
            for pair in pairs {
                let [index, value] = pair else { continue };
                let number = size(cx, "assoc", index)?;
                if number == vector.len() {
                    vector.push_back_mut(value.clone());
                } else if !vector.set_mut(number, value.clone()) {
                    return Err(out_of_bounds(cx, "assoc", index));
                }
            }
            Ok(Value::from_vector(vector))
        }
        _ => Err(expected(cx, "assoc", "a map or vector", collection)),
    }
}

fn dissoc(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection, keys @ ..] = args else {
        return Ok(Value::NIL);
    };
    match collection.view() {
        View::Nil => Ok(Value::NIL),
        View::Map(map) => {
            let mut map = map.clone();
            for key in keys {
                map.remove_mut(key);
            }
            Ok(Value::from_map(map))
        }
        _ => Err(expected(cx, "dissoc", "a map", collection)),
    }
}

fn disj(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection, removed @ ..] = args else {
        return Ok(Value::NIL);
    };
    match collection.view() {
        View::Nil => Ok(Value::NIL),
        View::Set(set) => {
            let mut set = set.clone();
            for item in removed {
                set.remove_mut(item);
            }
            Ok(Value::from_set(set))
        }
        _ => Err(expected(cx, "disj", "a set", collection)),
    }
}

fn contains(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection, key] = args else {
        return Ok(Value::NIL);
    };
    match collection.view() {
        View::Nil => Ok(Value::FALSE),
        View::Map(map) => Ok(map.contains_key(key).into()),
        View::Set(set) => Ok(set.contains(key).into()),
        View::Vector(_) | View::String(_) => Ok(look_up(collection, key).is_some().into()),
        _ => Err(expected(
            cx,
            "contains?",
            "a map, set or vector",
            collection,
        )),
    }
}

fn keys(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    parts(cx, "keys", args, |(key, _)| key)
}

fn vals(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    parts(cx, "vals", args, |(_, value)| value)
}

fn parts(
    cx: &Context,
    who: &str,
    args: &[Value],
    part: for<'a> fn((&'a Value, &'a Value)) -> &'a Value,
) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    match collection.view() {
        View::Nil => Ok(Value::NIL),
        View::Map(map) if map.is_empty() => Ok(Value::NIL),
        View::Map(map) => Ok(Value::list(map.iter().map(|entry| part(entry).clone()))),
        _ => Err(expected(cx, who, "a map", collection)),
    }
}

fn peek(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    match collection.view() {
        View::Nil => Ok(Value::NIL),
        View::List(list) => Ok(list.first().cloned().unwrap_or(Value::NIL)),
        View::Vector(vector) => Ok(vector.last().cloned().unwrap_or(Value::NIL)),
        _ => Err(expected(cx, "peek", "a list or vector", collection)),
    }
}

fn pop(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection] = args else {
        return Ok(Value::NIL);
    };
    let popped = match collection.view() {
        View::Nil => return Ok(Value::NIL),
        View::List(list) => list.drop_first().map(Value::from_list),
        View::Vector(vector) => vector.drop_last().map(Value::from_vector),
        _ => return Err(expected(cx, "pop", "a list or vector", collection)),
    };
    popped.ok_or_else(|| cx.raise("pop: the collection is empty"))
}

fn subvec(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [collection, start, end @ ..] = args else {
        return Ok(Value::NIL);
    };
    let View::Vector(vector) = collection.view() else {
        return Err(expected(cx, "subvec", "a vector", collection));
    };
    let from = size(cx, "subvec", start)?;
    let to = match end {
        [end] => size(cx, "subvec", end)?,
        _ => vector.len(),
    };
    if to > vector.len() || from > to {
        return Err(out_of_bounds(
            cx,
            "subvec",
            &entry(start, &Value::int(to as i64)),
        ));
    }
    // Whichever is less work: popping what is too much, or copying what is wanted.
    if from == 0 && vector.len() - to < to {
        let mut vector = vector.clone();
        while vector.len() > to {
            vector.drop_last_mut();
        }
        return Ok(Value::from_vector(vector));
    }
    let wanted = (from..to).filter_map(|index| vector.get(index).cloned());
    Ok(Value::vector(wanted))
}
