//! Tests of the reader, the scanner, and of their agreement.

use proptest::prelude::*;

use super::*;
use crate::context::Context;
use crate::namespace::Namespaces;
use crate::value::{Name, Position, Value, View, constant_text, print_readable};

fn read_all(text: &str) -> Result<Vec<Value>, ReadError> {
    let cx = Context::new();
    let namespaces = Namespaces::new();
    namespaces.alias("user", "al", "other.place");
    namespaces.intern("ember.core", "map").declare();
    let resolver = NamespaceResolver::new(&namespaces, "user");
    let mut reader = Reader::new(&cx, &resolver, text);
    let mut forms = Vec::new();
    while let Some(form) = reader.read()? {
        forms.push(form);
    }
    Ok(forms)
}

/// The forms of a text, printed, or the error.
fn read(text: &str) -> String {
    match read_all(text) {
        Ok(forms) => forms
            .iter()
            .map(print_readable)
            .collect::<Vec<_>>()
            .join(" "),
        Err(error) => {
            let Position { line, column } = error.position;
            let more = if error.is_incomplete { " ..." } else { "" };
            format!("{line}:{column}: {error}{more}")
        }
    }
}

#[test]
fn literals() {
    assert_eq!(
        read("1 -2 0x10 1.5 nil true false"),
        "1 -2 16 1.5 nil true false"
    );
    assert_eq!(read("##Inf ##-Inf ##NaN"), "##Inf ##-Inf ##NaN");
    assert_eq!(read(r#""a\n\t\r\"\\\0\u00e9 b""#), r#""a\n\t\r\"\\\0é b""#);
    assert_eq!(
        read("a b/c :k :k/l ::m ::al/n"),
        "a b/c :k :k/l :user/m :other.place/n"
    );
    assert_eq!(read("(1 [2 {3 4}] #{5})"), "(1 [2 {3 4}] #{5})");
    assert_eq!(read("()[]{}#{}"), "() [] {} #{}");
    assert_eq!(read("#!script\n; comment\n 1 ; more\n,2"), "1 2");
    assert_eq!(read("#_1 2 (3 #_ #_ 4 5) #_x"), "2 (3)");
}

#[test]
fn prefixes() {
    assert_eq!(read("'a"), "(quote a)");
    assert_eq!(read("@a"), "(ember.core/deref a)");
    assert_eq!(read("#'a"), "(var a)");
    assert_eq!(read("'#_x y"), "(quote y)");
    assert_eq!(
        read("#(f % %3)"),
        "(fn* [p1__0_0# p2__0_2# p3__0_1#] (f p1__0_0# p3__0_1#))"
    );
    assert_eq!(
        read("#(f %& %1) #(g)"),
        "(fn* [p1__0_1# & rest__0_0#] (f rest__0_0# p1__0_1#)) (fn* [] (g))"
    );
    let form = &read_all("^:macro ^:private ^:other x").expect("a symbol")[0];
    let flags = form.symbol_flags();
    assert!(flags.is_macro && flags.is_private);
    assert_eq!(form.position(), Some(Position::new(0, 26)));
}

#[test]
fn templates() {
    assert_eq!(read("`a"), "(quote user/a)");
    assert_eq!(read("`map"), "(quote ember.core/map)");
    assert_eq!(read("`al/x"), "(quote other.place/x)");
    assert_eq!(read("`(if a.b & :k 1)"), "(quote (if a.b & :k 1))");
    assert_eq!(read("`~x"), "x");
    assert_eq!(read("`(f ~x)"), "(ember.core/list (quote user/f) x)");
    assert_eq!(
        read("`(f ~@xs 1)"),
        "(ember.core/concat (ember.core/list (quote user/f)) xs (ember.core/list 1))"
    );
    assert_eq!(read("`[~x 1]"), "[x 1]");
    assert_eq!(read("`[~@x]"), "(ember.core/vec (ember.core/concat x))");
    assert_eq!(read("`#{~@x}"), "(ember.core/set (ember.core/concat x))");
    assert_eq!(read("`{:a ~x}"), "(ember.core/hash-map :a x)");
    assert_eq!(read("`{:a [b]}"), "(quote {:a [user/b]})");
    assert_eq!(read("`()"), "(quote ())");
    assert_eq!(read("`(a# a# b#)"), "(quote (a__0_0 a__0_0 b__0_1))");
    assert_eq!(
        read("`(~`a# a#)"),
        "(ember.core/list (quote a__0_0) (quote a__0_1))"
    );
    assert_eq!(
        read("``(a ~~b)"),
        "(ember.core/list (quote ember.core/list) (quote (quote user/a)) b)"
    );
    assert_eq!(
        read("`#(f %)"),
        "(quote (fn* [p1__0_0__0_1] (user/f p1__0_0__0_1)))"
    );
}

#[test]
fn errors_say_where() {
    assert_eq!(read(" )"), "0:1: unmatched ')'");
    assert_eq!(
        read("(a\n ]"),
        "1:1: unmatched ']' inside a list that starts at line 1"
    );
    assert_eq!(
        read("1\n\n (a [b"),
        "2:4: end of text inside a vector that starts at line 3 ..."
    );
    assert_eq!(
        read("\"abc"),
        "0:0: end of text inside a string that starts at line 1 ..."
    );
    assert_eq!(read("(a ')"), "0:4: unmatched ')' after '");
    assert_eq!(read("'"), "0:1: end of text after ' ...");
    assert_eq!(read("{:a}"), "0:0: a map needs a value for each key");
    assert_eq!(read("{:a 1 :a 2}"), "0:0: duplicate key in a map: :a");
    assert_eq!(read("#{1 1}"), "0:0: duplicate item in a set: 1");
    assert_eq!(read("#(#(%))"), "0:2: #(...) inside of #(...)");
    assert_eq!(
        read("#(%0)"),
        "0:2: '%0' is no parameter: %1 to %20, % and %& are"
    );
    assert_eq!(read("~a"), "0:0: ~ outside of a syntax-quote");
    assert_eq!(read("`~@a"), "0:4: ~@ outside of a collection");
    assert_eq!(read("`(a ~~b)"), "0:5: ~ outside of a syntax-quote");
    assert_eq!(
        read("^a b"),
        "0:0: metadata has to be a keyword, as in ^:private"
    );
    assert_eq!(read("^:a 1"), "0:0: ^:a has to stand before a symbol");
    assert_eq!(read("::x/y"), "0:0: ::x/y: no namespace is called x here");
    assert_eq!(read("#x"), "0:0: '#x' means nothing");
    assert_eq!(read("##x"), "0:0: '##x' is not a number");
    assert_eq!(read(r#""\q""#), "0:1: \\q is no escape");
    assert_eq!(
        read(r#""\ud800""#),
        "0:1: \\u needs four hexadecimal digits of a character"
    );
    assert_eq!(read("12x"), "0:0: '12x' is not a number");
}

#[test]
fn a_deep_nest_is_an_error() {
    let text = "[".repeat(3_000_000);
    assert!(read(&text).contains("forms are nested too deeply"));
    let text = "'".repeat(3_000_000);
    assert!(read(&text).contains("forms are nested too deeply"));
    assert!(scan(&text, 0).is_err_and(|error| error.is_incomplete));
}

#[test]
fn nests_of_any_written_depth_are_delimited() {
    for depth in [63, 64, 65, 200, 1000] {
        let text = format!("{}x{} y", "(['".repeat(depth), "])".repeat(depth));
        let form = scan(&text, 0).expect("balanced").expect("a form");
        assert_eq!(form.end, text.len() - 2);
        let wrong = text.replacen(']', ")", 1);
        assert!(scan(&wrong, 0).is_err(), "{depth}");
    }
}

#[test]
fn positions_are_relative_to_the_form() {
    let forms = read_all("a\n  (é b\n   c '(d))").expect("two forms");
    assert_eq!(forms[0].position(), Some(Position::new(0, 0)));
    let View::List(list) = forms[1].view() else {
        panic!("a list");
    };
    let positions: Vec<_> = list.iter().map(|item| item.position()).collect();
    let at = |line, column| Some(Position::new(line, column));
    assert_eq!(forms[1].position(), at(0, 0));
    assert_eq!(positions, [at(0, 1), at(0, 3), at(1, 3), at(1, 5)]);
    let View::List(quote) = list.iter().last().expect("four items").view() else {
        panic!("a quote");
    };
    assert_eq!(quote.iter().last().and_then(Value::position), at(1, 6));
}

#[test]
fn constants_have_no_positions() {
    let cx = Context::new();
    for text in ["a", "(a #(b))", "^:macro a", "`a"] {
        let value = read_constant(&cx, text).expect("a constant");
        assert_eq!(value.position(), None, "{text}");
    }
}

#[test]
fn the_scanner_says_what_is_defined() {
    let text = "; top\n(defn ^:private ^:x f [x]\n \"a)\\\"\" x)\n  é (def #_ y ^:macro z) (f 1) 'x (\"a\")(def)";
    let mut scanner = Scanner::new(text);
    let mut found = Vec::new();
    while let Some(form) = scanner.next_form().expect("balanced") {
        found.push((form.line, form.column, form.head, form.name));
    }
    assert_eq!(
        found,
        [
            (2, 1, Some("defn"), Some("f")),
            (4, 3, None, None),
            (4, 5, Some("def"), Some("z")),
            (4, 26, Some("f"), None),
            (4, 32, None, None),
            (4, 35, None, None),
            (4, 40, Some("def"), None),
        ]
    );
    let second = scan(text, text.find('é').expect("there")).expect("balanced");
    assert_eq!(second.map(|form| (form.line, form.column)), Some((4, 3)));
}

#[test]
fn the_scanners_errors_say_where() {
    let error = |text: &str| match scan(text, 0) {
        Ok(form) => panic!("{form:?}"),
        Err(error) => format!("{error}{}", if error.is_incomplete { " ..." } else { "" }),
    };
    assert_eq!(error("\n )"), "2:2: unmatched ')'");
    assert_eq!(
        error("(a\n ]"),
        "2:2: unmatched ']' inside a list that starts at line 1"
    );
    assert_eq!(
        error("\n(a\n [b"),
        "3:2: end of text inside a vector that starts at line 3 ..."
    );
    assert_eq!(
        error("(\"abc"),
        "1:2: end of text inside a string that starts at line 1 ..."
    );
    assert_eq!(
        error("'"),
        "1:1: end of text inside a form after a prefix that starts at line 1 ..."
    );
    assert_eq!(
        error("(')"),
        "1:3: unmatched ')' inside a form after a prefix that starts at line 1"
    );
    assert_eq!(error("#x"), "1:1: '#x' means nothing");
}

/// Texts made of what the reader knows, most of them nearly sound.
fn texts() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        Just("a"),
        Just("1"),
        Just(":k"),
        Just("\"s ) \\\" \""),
        Just("##Inf"),
        Just("nil"),
        Just("x#"),
        Just("a'b"),
        Just("é"),
        Just("-"),
        Just("%"),
    ]
    .prop_map(str::to_owned);
    let form = atom.prop_recursive(4, 24, 4, |inner| {
        let items =
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| items.join(" "));
        prop_oneof![
            items.clone().prop_map(|items| format!("({items})")),
            items.clone().prop_map(|items| format!("[{items}]")),
            items.clone().prop_map(|items| format!("#({items})")),
            items.prop_map(|items| format!("{{{items}}}")),
            inner.clone().prop_map(|form| format!("'{form}")),
            inner.clone().prop_map(|form| format!("` {form}")),
            inner.clone().prop_map(|form| format!("#_{form} b")),
            inner.clone().prop_map(|form| format!("@;)\n{form}")),
            inner.prop_map(|form| format!("^:private {form}")),
        ]
    });
    let noise = prop_oneof![
        Just("("),
        Just(")"),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just("\""),
        Just(";"),
        Just("\n"),
        Just("#_"),
        Just("#"),
        Just("'"),
        Just("~@"),
        Just("^"),
        Just("#{"),
        Just(" "),
    ]
    .prop_map(str::to_owned);
    let piece = prop_oneof![6 => form, 1 => noise];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_scanner_agrees_with_the_reader(text in texts()) {
        let cx = Context::new();
        let namespaces = Namespaces::new();
        let resolver = NamespaceResolver::new(&namespaces, "user");
        let mut reader = Reader::new(&cx, &resolver, &text);
        let mut scanner = Scanner::new(&text);
        loop {
            match (reader.read(), scanner.next_form()) {
                (Ok(Some(_)), Ok(Some(form))) => {
                    prop_assert_eq!(reader.offset(), form.end);
                    let again = scan(&text, form.start);
                    prop_assert_eq!(again, Ok(Some(form)));
                }
                (Ok(None), Ok(None)) => break,
                (Err(error), Err(other)) => {
                    // One error may hide another, but not the end of the text.
                    prop_assert!(error.is_incomplete <= other.is_incomplete);
                    break;
                }
                // The scanner does not look into tokens, nor into what stands for what.
                (Err(error), Ok(_)) => {
                    prop_assert!(!error.is_incomplete && !error.message.contains("unmatched"));
                    break;
                }
                (read, scanned) => prop_assert!(false, "{read:?} but {scanned:?}"),
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,40}") {
        let read = read_all(&text);
        let mut scanner = Scanner::new(&text);
        let scanned = loop {
            match scanner.next_form() {
                Ok(Some(_)) => {}
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        prop_assert!(read.is_err() || scanned);
    }

    #[test]
    fn printed_constants_read_back(value in constants()) {
        let cx = Context::new();
        let text = constant_text(&value).expect("a constant");
        prop_assert!(!text.contains('\0'));
        let back = read_constant(&cx, &text);
        prop_assert_eq!(back.as_ref(), Ok(&value));
        prop_assert_eq!(print_readable(&value), print_readable(&back.expect("as above")));
    }
}

fn constants() -> impl Strategy<Value = crate::value::Value> {
    let name = "[a-z*+!?<>=_.-][a-z0-9'#*]{0,6}(/[a-z%]{1,3})?"
        .prop_map(|text| Name::parse(&text))
        .prop_filter("a symbol", |name| is_readable_name(name, false));
    let leaf = prop_oneof![
        Just(Value::NIL),
        any::<bool>().prop_map(Value::boolean),
        any::<i64>().prop_map(Value::int),
        any::<u64>().prop_map(|bits| Value::float(f64::from_bits(bits))),
        prop_oneof![
            Just(0.0),
            Just(-0.0),
            Just(f64::NAN),
            Just(f64::INFINITY),
            Just(1e16)
        ]
        .prop_map(Value::float),
        proptest::collection::vec(any::<char>(), 0..8)
            .prop_map(|text| Value::string(text.into_iter().collect::<String>())),
        "[\u{0}-\u{20}\"\\\\]{0,6}".prop_map(Value::string),
        name.clone().prop_map(Value::symbol),
        name.prop_map(Value::keyword),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let items = proptest::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            items.clone().prop_map(Value::list),
            items.clone().prop_map(Value::vector),
            items.prop_map(Value::set),
            proptest::collection::vec((inner.clone(), inner), 0..4).prop_map(Value::map),
        ]
    })
}
