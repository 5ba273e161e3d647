//! `format`: a small printf. `%[-][0][width][.precision]` and one of `d x X o s f e %`.

use super::Native;
use super::arguments::{float, int, text, too_large};
use super::strings::shown;
use crate::context::Context;
use crate::error::Raised;
use crate::value::Value;

pub(super) const NATIVES: &[Native] = &[Native::at_least("format", 1, format)];

/// The largest width and precision.
const WIDEST: usize = 10_000;

/// What stands between `%` and the letter.
#[derive(Default)]
struct Layout {
    is_left: bool,
    is_zero_padded: bool,
    width: usize,
    precision: Option<usize>,
}

fn format(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [template, values @ ..] = args else {
        return Ok(Value::NIL);
    };
    let mut rest = text(cx, "format", template)?;
    let mut values = values.iter();
    let mut out = String::new();
    while let Some(percent) = rest.find('%') {
        out.push_str(rest.get(..percent).unwrap_or(""));
        let (layout, letter, after) = parse_layout(cx, rest.get(percent + 1..).unwrap_or(""))?;
        rest = after;
        if letter == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = values.next() else {
            return Err(cx.raise(format!("format: no value for %{letter}")));
        };
        let shown = show(cx, letter, &layout, value)?;
        pad(&mut out, &layout, &shown, letter != 's');
    }
    out.push_str(rest);
    Ok(Value::string(out))
}

/// The layout, the letter after it, and what follows.
fn parse_layout<'a>(cx: &Context, text: &'a str) -> Result<(Layout, char, &'a str), Raised> {
    let mut layout = Layout::default();
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix('-') {
            layout.is_left = true;
            rest = after;
        } else if let Some(after) = rest.strip_prefix('0') {
            layout.is_zero_padded = true;
            rest = after;
        } else {
            break;
        }
    }
    (layout.width, rest) = parse_digits(cx, rest)?;
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = parse_digits(cx, after)?;
        layout.precision = Some(precision);
        rest = after;
    }
    let mut characters = rest.chars();
    match characters.next() {
        Some(letter) => Ok((layout, letter, characters.as_str())),
        None => Err(cx.raise("format: the template ends inside of a %")),
    }
}

fn parse_digits<'a>(cx: &Context, text: &'a str) -> Result<(usize, &'a str), Raised> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(length);
    match digits.parse() {
        Ok(number) if number <= WIDEST => Ok((number, rest)),
        _ if digits.is_empty() => Ok((0, rest)),
        _ => Err(too_large(cx, "format")),
    }
}

fn show(cx: &Context, letter: char, layout: &Layout, value: &Value) -> Result<String, Raised> {
    let precision = layout.precision.unwrap_or(6);
    Ok(match letter {
        'd' => int(cx, "format", value)?.to_string(),
        'x' => format!("{:x}", int(cx, "format", value)?),
        'X' => format!("{:X}", int(cx, "format", value)?),
        'o' => format!("{:o}", int(cx, "format", value)?),
        'f' => format!("{:.precision$}", float(cx, "format", value)?),
        'e' => format!("{:.precision$e}", float(cx, "format", value)?),
        's' => {
            let shown = shown(value);
            match layout.precision {
                Some(precision) => shown.chars().take(precision).collect(),
                None => shown.into_owned(),
            }
        }
        other => return Err(cx.raise(format!("format: %{other} is unknown"))),
    })
}

fn pad(out: &mut String, layout: &Layout, shown: &str, is_number: bool) {
    let missing = layout.width.saturating_sub(shown.chars().count());
    let fill = |out: &mut String, with: char| out.extend(std::iter::repeat_n(with, missing));
    if layout.is_left {
        out.push_str(shown);
        fill(out, ' ');
    } else if layout.is_zero_padded && is_number {
        // Zeros go between the sign and the digits.
        let digits = shown.strip_prefix('-');
        if digits.is_some() {
            out.push('-');
        }
        fill(out, '0');
        out.push_str(digits.unwrap_or(shown));
    } else {
        fill(out, ' ');
        out.push_str(shown);
    }
}
