//! Strings. Indexes count characters.

use super::Native;
use super::arguments::{character, expected, int, items, out_of_bounds, size, text, too_large};
use crate::context::Context;
use crate::error::Raised;
use crate::value::{Value, View, write_plain, write_readable};

pub(super) const NATIVES: &[Native] = &[
    Native::at_least("str", 0, str),
    Native::at_least("pr-str", 0, pr_str),
    Native::between("subs", 2, 3, subs),
    Native::between("join", 1, 2, join),
    Native::exactly("split", 2, split),
    Native::exactly("upper-case", 1, |cx, args| {
        map(cx, "upper-case", args, str::to_uppercase)
    }),
    Native::exactly("lower-case", 1, |cx, args| {
        map(cx, "lower-case", args, str::to_lowercase)
    }),
    Native::exactly("trim", 1, |cx, args| {
        map(cx, "trim", args, |text| text.trim().to_owned())
    }),
    Native::exactly("starts-with?", 2, |cx, args| {
        test(cx, "starts-with?", args, |text, part| {
            text.starts_with(part)
        })
    }),
    Native::exactly("ends-with?", 2, |cx, args| {
        test(cx, "ends-with?", args, |text, part| text.ends_with(part))
    }),
    Native::exactly("includes?", 2, |cx, args| {
        test(cx, "includes?", args, |text, part| text.contains(part))
    }),
    Native::between("index-of", 2, 3, index_of),
    Native::exactly("replace", 3, replace),
    Native::exactly("char-code", 1, char_code),
    Native::exactly("char-from", 1, char_from),
    Native::exactly("parse-int", 1, parse_int),
    Native::exactly("parse-float", 1, parse_float),
];

/// The longest string that `replace` makes, in bytes.
const LONGEST: usize = 1 << 30;

fn str(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    let mut text = String::new();
    for value in args.iter().filter(|value| !value.is_nil()) {
        write_plain(&mut text, value);
    }
    Ok(Value::string(text))
}

fn pr_str(_: &Context, args: &[Value]) -> Result<Value, Raised> {
    let mut text = String::new();
    for (index, value) in args.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        write_readable(&mut text, value);
    }
    Ok(Value::string(text))
}

/// The byte offset of a character, or of the end.
fn byte_offset(string: &Value, text: &str, index: usize) -> Option<usize> {
    if string.is_ascii_string() {
        return (index <= text.len()).then_some(index);
    }
    let mut offsets = text.char_indices().map(|(offset, _)| offset);
    // The end comes after the last character.
    offsets.by_ref().chain([text.len()]).nth(index)
}

fn subs(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [string, start, end @ ..] = args else {
        return Ok(Value::NIL);
    };
    let source = text(cx, "subs", string)?;
    let from = byte_offset(string, source, size(cx, "subs", start)?)
        .ok_or_else(|| out_of_bounds(cx, "subs", start))?;
    let (to, last) = match end {
        [end] => {
            let to = byte_offset(string, source, size(cx, "subs", end)?);
            (to.ok_or_else(|| out_of_bounds(cx, "subs", end))?, end)
        }
        _ => (source.len(), start),
    };
    match source.get(from..to) {
        Some(part) => Ok(Value::string(part)),
        None => Err(out_of_bounds(cx, "subs", last)),
    }
}

fn join(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let (separator, collection) = match args {
        [collection] => ("", collection),
        [separator, collection] => (text(cx, "join", separator)?, collection),
        _ => return Ok(Value::NIL),
    };
    let mut joined = String::new();
    for (index, item) in items(cx, "join", collection)?.enumerate() {
        if index > 0 {
            joined.push_str(separator);
        }
        if !item.is_nil() {
            write_plain(&mut joined, &item);
        }
    }
    Ok(Value::string(joined))
}

/// The parts between separators, empty ones included; without a separator the characters.
fn split(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [string, separator] = args else {
        return Ok(Value::NIL);
    };
    let string = text(cx, "split", string)?;
    match text(cx, "split", separator)? {
        "" => Ok(Value::vector(string.chars().map(character))),
        separator => Ok(Value::vector(string.split(separator).map(Value::string))),
    }
}

fn map(
    cx: &Context,
    who: &str,
    args: &[Value],
    function: fn(&str) -> String,
) -> Result<Value, Raised> {
    let [string] = args else {
        return Ok(Value::NIL);
    };
    Ok(Value::string(function(text(cx, who, string)?)))
}

fn test(
    cx: &Context,
    who: &str,
    args: &[Value],
    function: fn(&str, &str) -> bool,
) -> Result<Value, Raised> {
    let [string, part] = args else {
        return Ok(Value::NIL);
    };
    Ok(function(text(cx, who, string)?, text(cx, who, part)?).into())
}

fn index_of(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [string, part, from @ ..] = args else {
        return Ok(Value::NIL);
    };
    let source = text(cx, "index-of", string)?;
    let part = text(cx, "index-of", part)?;
    let from = match from {
        [from] => usize::try_from(int(cx, "index-of", from)?).unwrap_or(0),
        _ => 0,
    };
    let found = byte_offset(string, source, from).and_then(|start| {
        let rest = source.get(start..)?;
        let offset = rest.find(part)?;
        match string.is_ascii_string() {
            true => Some(start + offset),
            false => Some(from + rest.get(..offset)?.chars().count()),
        }
    });
    Ok(found.map_or(Value::NIL, |index| Value::int(index as i64)))
}

fn replace(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [string, from, to] = args else {
        return Ok(Value::NIL);
    };
    let (string, from, to) = (
        text(cx, "replace", string)?,
        text(cx, "replace", from)?,
        text(cx, "replace", to)?,
    );
    let times = string.matches(from).count();
    if times.saturating_mul(to.len()) > LONGEST {
        return Err(too_large(cx, "replace"));
    }
    Ok(Value::string(string.replace(from, to)))
}

fn char_code(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [string] = args else {
        return Ok(Value::NIL);
    };
    match text(cx, "char-code", string)?.chars().next() {
        Some(character) => Ok(Value::int(i64::from(u32::from(character)))),
        None => Err(expected(cx, "char-code", "a character", string)),
    }
}

fn char_from(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [code] = args else { return Ok(Value::NIL) };
    let number = u32::try_from(int(cx, "char-from", code)?).ok();
    match number.and_then(char::from_u32) {
        Some(found) => Ok(character(found)),
        None => Err(expected(cx, "char-from", "the code of a character", code)),
    }
}

fn parse_int(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [string] = args else {
        return Ok(Value::NIL);
    };
    let parsed = text(cx, "parse-int", string)?.parse();
    Ok(parsed.map_or(Value::NIL, Value::int))
}

fn parse_float(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [string] = args else {
        return Ok(Value::NIL);
    };
    let string = text(cx, "parse-float", string)?;
    // Rust's `parse` also takes words such as "infinity".
    let is_number = string
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    match string.parse() {
        Ok(value) if is_number => Ok(Value::float(value)),
        _ => Ok(Value::NIL),
    }
}

/// A string for `%s`, without copying one.
pub(super) fn shown(value: &Value) -> std::borrow::Cow<'_, str> {
    match value.view() {
        View::String(text) => text.into(),
        _ => crate::value::print_plain(value).into(),
    }
}
