//! Tokens: numbers, symbols and keywords.

use crate::value::{Name, Value};

/// The names that mean a special form wherever they stand first in a list. `&` is listed too: like
/// them, it is never qualified by a syntax-quote.
pub const SPECIAL_FORMS: &[&str] = &[
    "&", "catch", "def", "do", "finally", "fn*", "if", "let*", "loop*", "quote", "recur", "throw",
    "try", "var",
];

/// Whether `name` is one of [`SPECIAL_FORMS`].
pub fn is_special_form(name: &str) -> bool {
    SPECIAL_FORMS.contains(&name)
}

/// Whether a byte ends a token. Quotes and `#` do not: `a'` and `x#` are symbols.
pub(super) fn ends_token(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            ..=b'\r'
                | b','
                | b'('
                | b')'
                | b'['
                | b']'
                | b'{'
                | b'}'
                | b'"'
                | b';'
                | b'`'
                | b'~'
                | b'@'
                | b'^'
    )
}

/// What a token means.
#[derive(Debug, PartialEq)]
pub(super) enum Token {
    /// A number, nil or a boolean.
    Value(Value),
    Symbol(Name),
    Keyword(Name),
    /// `::name` or `::alias/name`
    LocalKeyword(Name),
}

/// What the text of a whole token means, or what is wrong with it.
pub(super) fn parse_token(text: &str) -> Result<Token, String> {
    if let Some(control) = text.chars().find(|character| character.is_control()) {
        return Err(format!(
            "unexpected control character U+{:04X}",
            u32::from(control)
        ));
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.starts_with(|first: char| first.is_ascii_digit()) {
        return parse_number(text, digits).map(Token::Value);
    }
    match text {
        "nil" => return Ok(Token::Value(Value::NIL)),
        "true" => return Ok(Token::Value(Value::TRUE)),
        "false" => return Ok(Token::Value(Value::FALSE)),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("::") {
        return parse_name(name, text).map(Token::LocalKeyword);
    }
    if let Some(name) = text.strip_prefix(':') {
        return parse_name(name, text).map(Token::Keyword);
    }
    if text.starts_with(['#', '\'']) {
        return Err(format!("'{text}' is not a symbol"));
    }
    parse_name(text, text).map(Token::Symbol)
}

fn parse_name(name: &str, whole: &str) -> Result<Name, String> {
    let is_sound = name == "/"
        || !name.is_empty()
            && !name.starts_with([':', '/'])
            && !name.ends_with(':')
            && (!name.ends_with('/') || name.ends_with("//"))
            && !name.contains('\\');
    match is_sound {
        true => Ok(Name::parse(name)),
        false => Err(format!("'{whole}' is not a symbol or keyword")),
    }
}

fn parse_number(text: &str, digits: &str) -> Result<Value, String> {
    let wrong = || format!("'{text}' is not a number");
    let is_negative = text.starts_with('-');
    if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        if hex.is_empty() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let magnitude = i128::from_str_radix(hex, 16).ok();
        let signed = magnitude.map(|value| if is_negative { -value } else { value });
        return match signed.and_then(|value| i64::try_from(value).ok()) {
            Some(value) => Ok(Value::int(value)),
            None => Err(format!("the integer {text} is too large")),
        };
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse() {
            Ok(value) => Ok(Value::int(value)),
            Err(_) => Err(format!("the integer {text} is too large")),
        };
    }
    let is_float = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse() {
        Ok(value) if is_float => Ok(Value::float(value)),
        _ => Err(wrong()),
    }
}

/// Whether the reader makes exactly this symbol, or keyword, of the name's text.
pub fn is_readable_name(name: &Name, is_keyword: bool) -> bool {
    let text = name.text();
    if text.is_empty() || text.bytes().any(ends_token) {
        return false;
    }
    let read = match is_keyword {
        true => parse_token(&format!(":{text}")),
        false => parse_token(text),
    };
    match read {
        Ok(Token::Keyword(read)) => is_keyword && read == *name,
        Ok(Token::Symbol(read)) => !is_keyword && read == *name,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let number = |text: &str| match parse_token(text) {
            Ok(Token::Value(value)) => value,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(number("0"), Value::int(0));
        assert_eq!(number("-12"), Value::int(-12));
        assert_eq!(number("+7"), Value::int(7));
        assert_eq!(number("0xfF"), Value::int(255));
        assert_eq!(number("-0x8000000000000000"), Value::int(i64::MIN));
        assert_eq!(number("1.5"), Value::float(1.5));
        assert_eq!(number("1e9"), Value::float(1e9));
        assert_eq!(number("-2.5e-3"), Value::float(-0.0025));
        for wrong in [
            "1a",
            "0x",
            "0xg",
            "1/2",
            "9223372036854775808",
            "1.2.3",
            "1e",
            "0x1_0",
            "1_0",
        ] {
            assert!(parse_token(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn symbols_and_keywords() {
        let symbol = |text: &str| Ok(Token::Symbol(Name::parse(text)));
        for text in [
            "a", "a.b/c", "+", "-", "-a", "->", "/", "a//", "%", "%1", "x#", "a'", "&", "é",
        ] {
            assert_eq!(parse_token(text), symbol(text));
        }
        assert_eq!(parse_token(":a/b"), Ok(Token::Keyword(Name::parse("a/b"))));
        assert_eq!(
            parse_token("::b"),
            Ok(Token::LocalKeyword(Name::parse("b")))
        );
        for wrong in [":", "::", ":::a", "a:", "a/", "/a", "#a", "\\a", "a\u{1}"] {
            assert!(parse_token(wrong).is_err(), "{wrong}");
        }
    }
}
