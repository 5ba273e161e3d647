//! Values as text: readable (the reader gives an equal value back) and plain (for people).
//!
//! Nested values are walked with a stack on the heap, so no nest is too deep. Strings are escaped so
//! that readable text holds no control characters; NUL in particular never occurs in the text of a
//! constant, which is part of a symbol's name.

use super::{Name, SymbolFlags, Value, View};
use crate::reader::is_readable_name;

/// How values are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// A string that is the value itself is written as it is; strings inside others are readable.
    Plain,
    Readable,
    /// Readable, and with the flags of symbols, so that the text stands for the value itself.
    Constant,
}

/// `value` as `str` and `print` show it: a string as it is, anything else readably.
pub fn print_plain(value: &Value) -> String {
    let mut text = String::new();
    write_plain(&mut text, value);
    text
}

/// `value` as `pr-str` shows it: strings quoted and escaped.
pub fn print_readable(value: &Value) -> String {
    let mut text = String::new();
    write_readable(&mut text, value);
    text
}

/// Appends what [`print_plain`] gives.
pub fn write_plain(out: &mut String, value: &Value) {
    write(out, value, Style::Plain);
}

/// Appends what [`print_readable`] gives.
pub fn write_readable(out: &mut String, value: &Value) {
    write(out, value, Style::Readable);
}

/// The text that reads as exactly this value, symbol flags included; `None` if there is none, because
/// the value holds a function, an atom, an exception, or a symbol that the reader would not accept.
/// Positions are not in the text. A var `#'a/b` reads as the form `(var a/b)`: it has no text either.
pub fn constant_text(value: &Value) -> Option<String> {
    let mut text = String::new();
    write(&mut text, value, Style::Constant).then_some(text)
}

/// What is still to be written, innermost last.
enum Pending<'a> {
    Items(Box<dyn Iterator<Item = &'a Value> + 'a>),
    Text(&'static str),
}

/// A collection on its way out: what comes next, and what has to stand before it.
struct Open<'a> {
    pending: Pending<'a>,
    is_first: bool,
    /// Whether the items are keys and values in turn, with a comma after each value.
    is_map: bool,
    count: usize,
}

/// Writes `value`; whether the text reads as an equal value.
fn write(out: &mut String, value: &Value, style: Style) -> bool {
    if let (Style::Plain, View::String(text)) = (style, value.view()) {
        out.push_str(text);
        return false;
    }
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut reads_back = write_shallow(out, value, style, &mut open);
    while let Some(top) = open.last_mut() {
        match &mut top.pending {
            Pending::Text(text) => {
                out.push_str(text);
                open.pop();
            }
            Pending::Items(items) => match items.next() {
                None => drop(open.pop()),
                Some(item) => {
                    if !std::mem::take(&mut top.is_first) {
                        let comma = top.is_map && top.count.is_multiple_of(2);
                        out.push_str(if comma { ", " } else { " " });
                    }
                    top.count += 1;
                    reads_back &= write_shallow(out, item, style, &mut open);
                }
            },
        }
    }
    reads_back
}

fn push<'a>(
    open: &mut Vec<Open<'a>>,
    items: impl Iterator<Item = &'a Value> + 'a,
    is_map: bool,
    close: &'static str,
) {
    let mut add = |pending| {
        open.push(Open {
            pending,
            is_first: true,
            is_map,
            count: 0,
        });
    };
    add(Pending::Text(close));
    add(Pending::Items(Box::new(items)));
}

/// Writes what needs no items and opens what has some.
fn write_shallow<'a>(
    out: &mut String,
    value: &'a Value,
    style: Style,
    open: &mut Vec<Open<'a>>,
) -> bool {
    use std::fmt::Write as _;
    match value.view() {
        View::Nil => out.push_str("nil"),
        View::Boolean(true) => out.push_str("true"),
        View::Boolean(false) => out.push_str("false"),
        // Writing to a string does not fail.
        View::Int(value) => drop(write!(out, "{value}")),
        View::Float(value) => write_float(out, value),
        View::String(text) => write_string(out, text),
        View::Symbol(name) => return write_symbol(out, name, value.symbol_flags(), style),
        View::Keyword(name) => {
            out.push(':');
            out.push_str(name.text());
            return style != Style::Constant || is_readable_name(name, true);
        }
        View::List(list) => {
            out.push('(');
            push(open, list.iter(), false, ")");
        }
        View::Vector(vector) => {
            out.push('[');
            push(open, vector.iter(), false, "]");
        }
        View::Map(map) => {
            out.push('{');
            let items = map.iter().flat_map(|(key, value)| [key, value]);
            push(open, items, true, "}");
        }
        View::Set(set) => {
            out.push_str("#{");
            push(open, set.iter(), false, "}");
        }
        View::Function(closure) => {
            match closure.name().view() {
                View::Symbol(name) => drop(write!(out, "#<function {name}>")),
                View::String(name) => drop(write!(out, "#<function {name}>")),
                _ => out.push_str("#<function>"),
            }
            return false;
        }
        View::Native(native) => {
            let _ = write!(out, "#<function {}>", native.name);
            return false;
        }
        View::Atom(_) => {
            // Not what it holds: an atom may hold itself.
            out.push_str("#<atom>");
            return false;
        }
        View::Var(var) => {
            let _ = write!(out, "#'{}", var.name());
            return false;
        }
        View::Exception(exception) => {
            out.push_str("#<exception ");
            write_string(out, exception.message());
            out.push(' ');
            push(open, std::iter::once(exception.data()), false, ">");
            return false;
        }
        View::Reduced(value) => {
            out.push_str("#<reduced ");
            push(open, std::iter::once(value), false, ">");
            return false;
        }
    }
    true
}

fn write_symbol(out: &mut String, name: &Name, flags: SymbolFlags, style: Style) -> bool {
    if style != Style::Constant {
        out.push_str(name.text());
        return true;
    }
    if flags.is_macro {
        out.push_str("^:macro ");
    }
    if flags.is_private {
        out.push_str("^:private ");
    }
    out.push_str(name.text());
    is_readable_name(name, false)
}

fn write_float(out: &mut String, value: f64) {
    use std::fmt::Write as _;
    if value.is_nan() {
        out.push_str("##NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "##Inf" } else { "##-Inf" });
    } else {
        // The shortest text that reads as the same float; it has a point or an exponent.
        let _ = write!(out, "{value:?}");
    }
}

fn write_string(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_print_as_they_are_read() {
        let printed = |value: Value| print_readable(&value);
        assert_eq!(printed(Value::NIL), "nil");
        assert_eq!(printed(Value::int(i64::MIN)), "-9223372036854775808");
        assert_eq!(printed(Value::float(1.0)), "1.0");
        assert_eq!(printed(Value::float(1e300)), "1e300");
        assert_eq!(printed(Value::float(-0.0)), "-0.0");
        assert_eq!(printed(Value::float(f64::NEG_INFINITY)), "##-Inf");
        assert_eq!(printed(Value::float(f64::NAN)), "##NaN");
        assert_eq!(
            printed(Value::string("a\"\\\n\0\u{7f}é")),
            r#""a\"\\\n\0\u007fé""#
        );
    }

    #[test]
    fn collections_print_in_order() {
        let keyword = |text: &str| Value::keyword(Name::parse(text));
        let map = Value::map([
            (keyword("b"), Value::list([])),
            (keyword("a"), Value::vector([Value::int(1), Value::int(2)])),
        ]);
        assert_eq!(print_readable(&map), "{:a [1 2], :b ()}");
        let set = Value::set([Value::string("x"), Value::int(3)]);
        assert_eq!(print_plain(&set), "#{3 \"x\"}");
        assert_eq!(print_plain(&Value::string("x")), "x");
        assert_eq!(print_plain(&Value::atom(map)), "#<atom>");
    }

    #[test]
    fn only_constants_have_a_constant_text() {
        let flagged = Value::symbol_with_flags(
            Name::parse("a/b"),
            SymbolFlags::default().with("macro").with("private"),
        );
        assert_eq!(
            constant_text(&flagged).as_deref(),
            Some("^:macro ^:private a/b")
        );
        assert_eq!(print_readable(&flagged), "a/b");
        for odd in ["a b", "", "1a", "nil", ":a", "a\0", "a(", "-1", "+2x", "#a"] {
            let symbol = Value::symbol(Name::local(odd));
            assert_eq!(constant_text(&Value::list([symbol])), None, "{odd:?}");
        }
        assert_eq!(constant_text(&Value::symbol(Name::local("a/b"))), None);
        assert_eq!(
            constant_text(&Value::keyword(Name::parse("1a"))).as_deref(),
            Some(":1a")
        );
        assert_eq!(constant_text(&Value::atom(Value::NIL)), None);
    }

    #[test]
    fn depth_is_no_limit() {
        let nest = (0..300_000).fold(Value::NIL, |inner, _| Value::list([inner]));
        assert_eq!(print_readable(&nest).len(), 600_003);
    }
}
