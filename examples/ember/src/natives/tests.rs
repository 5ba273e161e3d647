//! The natives, called as programs call them.
//!
//! Each line of a table is a call in ember's own notation and what it gives, or the message of the
//! exception that it raises. Calls are evaluated by a few lines that know nothing but natives.

use std::io;

use super::*;
use crate::context::tests::Recorded;
use crate::error::Thrown;
use crate::reader::read_constant;
use crate::value::{View, print_readable};

/// Evaluates `(native argument ...)`; `'x` is data, a symbol that names a native is the native.
fn evaluate(cx: &Context, form: &Value) -> Result<Value, Raised> {
    match form.view() {
        View::Symbol(name) => match cx.namespaces().core().find(name.name()) {
            Some(var) => Ok(var.get().expect("natives are bound")),
            None => panic!("no native {name}"),
        },
        View::List(list) => {
            let items: Vec<Value> = list.iter().cloned().collect();
            match items.as_slice() {
                [head, data] if matches!(head.view(), View::Symbol(name) if name.is("quote")) => {
                    Ok(data.clone())
                }
                [head, arguments @ ..] => {
                    let function = evaluate(cx, head)?;
                    let arguments: Result<Vec<Value>, Raised> =
                        arguments.iter().map(|form| evaluate(cx, form)).collect();
                    cx.call(&function, &arguments?)
                }
                [] => Ok(form.clone()),
            }
        }
        _ => Ok(form.clone()),
    }
}

fn run(cx: &Context, text: &str) -> Result<Value, Thrown> {
    let form = read_constant(cx, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    evaluate(cx, &form).map_err(|raised| cx.take_thrown(raised))
}

fn shown(cx: &Context, text: &str) -> String {
    match run(cx, text) {
        Ok(value) => print_readable(&value),
        Err(thrown) => format!("! {}", thrown.message()),
    }
}

fn check(table: &[(&str, &str)]) {
    let cx = Context::new();
    for (call, result) in table {
        assert_eq!(shown(&cx, call), *result, "{call}");
        assert_eq!(cx.scope_mark(), 0, "{call}");
    }
}

#[test]
fn collections() {
    check(&[
        ("(list 1 2)", "(1 2)"),
        ("(vector)", "[]"),
        ("(vec '(1 2))", "[1 2]"),
        ("(vec {:a 1})", "[[:a 1]]"),
        ("(vec 1)", "! vec: expected a collection, got 1"),
        ("(hash-map :b 1 :a 2)", "{:a 2, :b 1}"),
        ("(hash-map :b)", "! hash-map: no value for the key :b"),
        ("(set [1 2 1])", "#{1 2}"),
        ("(conj '(1) 2 3)", "(3 2 1)"),
        ("(conj [1] 2 3)", "[1 2 3]"),
        ("(conj nil 1)", "(1)"),
        ("(conj #{1} 1 2)", "#{1 2}"),
        ("(conj {} [:a 1] {:b 2})", "{:a 1, :b 2}"),
        (
            "(conj {} 1)",
            "! conj: expected a [key value] vector or a map, got 1",
        ),
        ("(conj 5 1)", "! conj: expected a collection, got 5"),
        ("(into [] {:a 1})", "[[:a 1]]"),
        ("(into {:a 1} [[:b 2]])", "{:a 1, :b 2}"),
        ("(count nil)", "0"),
        ("(count \"aé\")", "2"),
        ("(count 5)", "! count: expected a collection, got 5"),
        ("(empty? \"\")", "true"),
        ("(empty? [0])", "false"),
        ("(nth [1 2] 1)", "2"),
        ("(nth '(1 2) 2)", "! nth: index 2 is out of bounds"),
        ("(nth [1] -1 :none)", ":none"),
        ("(nth \"aéb\" 1)", "\"é\""),
        ("(nth nil 0 1)", "1"),
        (
            "(nth {} 0)",
            "! nth: expected a list, vector or string, got {}",
        ),
        ("(nth [] :a)", "! nth: expected an integer, got :a"),
        ("(get {:a 1} :a)", "1"),
        ("(get [1] 5 :d)", ":d"),
        ("(get \"ab\" 1)", "\"b\""),
        ("(get 5 :a)", "nil"),
        ("(assoc {} :a 1 :b 2)", "{:a 1, :b 2}"),
        ("(assoc nil :a 1)", "{:a 1}"),
        ("(assoc [1] 1 2)", "[1 2]"),
        ("(assoc [1] 2 2)", "! assoc: index 2 is out of bounds"),
        ("(assoc {} :a 1 :b)", "! assoc: no value for the key :b"),
        ("(dissoc {:a 1 :b 2} :a :c)", "{:b 2}"),
        ("(disj #{1 2} 1)", "#{2}"),
        ("(contains? {:a nil} :a)", "true"),
        ("(contains? [1] 1)", "false"),
        ("(contains? nil 1)", "false"),
        ("(keys {:b 1 :a 2})", "(:a :b)"),
        ("(vals {:b 1 :a 2})", "(2 1)"),
        ("(keys {})", "nil"),
        ("(peek [1 2])", "2"),
        ("(peek '(1 2))", "1"),
        ("(pop [1 2])", "[1]"),
        ("(pop [])", "! pop: the collection is empty"),
        ("(subvec [0 1 2 3] 1 3)", "[1 2]"),
        ("(subvec [0 1 2 3] 0 3)", "[0 1 2]"),
        ("(subvec [0 1] 2)", "[]"),
        (
            "(subvec [0 1] 2 1)",
            "! subvec: index [2 1] is out of bounds",
        ),
        ("(count)", "! wrong number of arguments (0) passed to count"),
    ]);
}

#[test]
fn sequences() {
    check(&[
        ("(seq [])", "nil"),
        ("(seq {:a 1})", "([:a 1])"),
        ("(seq \"ab\")", "(\"a\" \"b\")"),
        ("(seq 1)", "! seq: expected a collection, got 1"),
        ("(first nil)", "nil"),
        ("(first #{2 1})", "1"),
        ("(second [1 2])", "2"),
        ("(last '(1 2))", "2"),
        ("(rest nil)", "()"),
        ("(rest [1 2])", "(2)"),
        ("(next '(1))", "nil"),
        ("(next \"ab\")", "(\"b\")"),
        ("(cons 1 [2])", "(1 2)"),
        ("(cons 1 nil)", "(1)"),
        ("(concat)", "()"),
        ("(concat [1] nil '(2) #{3})", "(1 2 3)"),
        ("(reverse [1 2])", "(2 1)"),
        ("(take 2 [1 2 3])", "(1 2)"),
        ("(take -1 [1])", "()"),
        ("(take 9223372036854775807 [1])", "(1)"),
        ("(drop 1 '(1 2))", "(2)"),
        ("(drop 5 [1])", "()"),
        ("(range 3)", "(0 1 2)"),
        ("(range 1 3)", "(1 2)"),
        ("(range 5 0 -2)", "(5 3 1)"),
        ("(range 0 5 2)", "(0 2 4)"),
        ("(range 3 1)", "()"),
        ("(range 0.0 1 0.5)", "(0.0 0.5)"),
        (
            "(range 0 1000000000000)",
            "! range: the result is too large",
        ),
        (
            "(range -9223372036854775808 9223372036854775807)",
            "! range: the result is too large",
        ),
        ("(range 0 1 0)", "! range: the result is too large"),
        ("(range 0 0 0)", "()"),
        ("(range 0 ##Inf)", "! range: the result is too large"),
        ("(range 0 1 0.0)", "! range: the result is too large"),
        ("(range 0 ##NaN)", "()"),
        ("(range 0 -1 -0.5)", "(0 -0.5)"),
        ("(range :a)", "! range: expected a number, got :a"),
        ("(repeat 2 :x)", "(:x :x)"),
        (
            "(repeat 1000000000000 0)",
            "! repeat: the result is too large",
        ),
        ("(reduce + [1 2 3])", "6"),
        ("(reduce + [])", "0"),
        ("(reduce conj [] {:a 1})", "[[:a 1]]"),
        (
            "(reduce reduced 1 [2 3])",
            "! wrong number of arguments (2) passed to reduced",
        ),
        ("(reduced? (reduced 1))", "true"),
        ("(unreduced (reduced 1))", "1"),
        ("(apply + 1 2 [3 4])", "10"),
        ("(apply + nil)", "0"),
        ("(apply + 5)", "! apply: expected a collection, got 5"),
        ("(apply :a [{:a 1}])", "1"),
        ("(sort [3 1 2])", "(1 2 3)"),
        ("(sort > [3 1 2 3])", "(3 3 2 1)"),
        ("(sort compare [:b \"a\" 1])", "(1 \"a\" :b)"),
        (
            "(sort list [1 2])",
            "! sort: expected a boolean or a number from the comparison, got (2 1)",
        ),
        (
            "(sort-by first [[2 :a] [1 :b] [2 :c]])",
            "([1 :b] [2 :a] [2 :c])",
        ),
        (
            "(sort-by first > [[2 :a] [1 :b] [2 :c]])",
            "([2 :a] [2 :c] [1 :b])",
        ),
        ("(sort-by inc [:a])", "! +: expected a number, got :a"),
    ]);
}

#[test]
fn reducing_stops_when_told() {
    fn stop_at_two(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
        match args {
            [_, item] if item.as_int() == Some(2) => Ok(Value::reduced(Value::string("stopped"))),
            [_, item] if item.as_int() == Some(3) => Err(cx.raise("went on")),
            _ => Ok(Value::NIL),
        }
    }
    static STOP: Native = Native::exactly("stop", 2, stop_at_two);
    let cx = Context::new();
    define(cx.namespaces(), &STOP);
    assert_eq!(shown(&cx, "(reduce stop nil [1 2 3])"), "\"stopped\"");
    assert_eq!(shown(&cx, "(reduce stop nil [1 3])"), "! went on");
}

#[test]
fn a_contradictory_comparison_is_survived() {
    fn always(_: &Context, _: &[Value]) -> Result<Value, Raised> {
        Ok(Value::TRUE)
    }
    static ALWAYS: Native = Native::exactly("always", 2, always);
    let cx = Context::new();
    define(cx.namespaces(), &ALWAYS);
    assert_eq!(shown(&cx, "(count (sort always (range 1000)))"), "1000");
}

#[test]
fn numbers() {
    check(&[
        ("(+)", "0"),
        ("(+ 1)", "1"),
        ("(+ 1 2 3.0)", "6.0"),
        ("(+ :a)", "! +: expected a number, got :a"),
        ("(- 5)", "-5"),
        ("(- 5 1 1)", "3"),
        ("(- -9223372036854775808)", "! integer overflow"),
        ("(* 2 3 4)", "24"),
        ("(/ 2)", "0.5"),
        ("(/ 12 2 3)", "2"),
        ("(/ 1 0)", "! division by zero"),
        ("(mod -7 2)", "1"),
        ("(inc 1.5)", "2.5"),
        ("(dec -9223372036854775808)", "! integer overflow"),
        ("(< 1 2 3)", "true"),
        ("(< 1 3 2)", "false"),
        ("(< :a)", "! <: expected a number, got :a"),
        ("(<= 1 1.0)", "true"),
        ("(== 1 1.0)", "true"),
        ("(== ##NaN ##NaN)", "false"),
        ("(zero? -0.0)", "true"),
        ("(pos? nil)", "! pos?: expected a number, got nil"),
        ("(max 1 2.5 2)", "2.5"),
        ("(min 1 ##NaN)", "##NaN"),
        ("(abs -3)", "3"),
        ("(abs -9223372036854775808)", "! integer overflow"),
        ("(bit-and 12 10)", "8"),
        ("(bit-or 12 10 1)", "15"),
        ("(bit-xor 12 10)", "6"),
        ("(bit-not 0)", "-1"),
        ("(bit-shift-left 1 63)", "-9223372036854775808"),
        ("(bit-shift-right -8 1)", "-4"),
        (
            "(bit-shift-left 1 64)",
            "! bit-shift-left: expected a shift by 0 to 63, got 64",
        ),
        ("(bit-and 1.0 1)", "! bit-and: expected an integer, got 1.0"),
        ("(int -1.9)", "-1"),
        ("(floor -1.5)", "-2"),
        ("(ceil 1.2)", "2"),
        ("(round 2.5)", "3"),
        (
            "(int ##NaN)",
            "! int: expected a number that fits an integer, got ##NaN",
        ),
        (
            "(int 1e19)",
            "! int: expected a number that fits an integer, got 1e19",
        ),
        ("(float 1)", "1.0"),
        ("(sqrt 9)", "3.0"),
        ("(pow 2 10)", "1024"),
        ("(pow 2 -1)", "0.5"),
        ("(pow 10 19)", "! integer overflow"),
        ("(pow -1 9223372036854775807)", "-1"),
        ("(sin \"x\")", "! sin: expected a number, got \"x\""),
    ]);
}

#[test]
fn predicates() {
    check(&[
        ("(nil? nil)", "true"),
        ("(some? false)", "true"),
        ("(boolean? true)", "true"),
        ("(number? 1.0)", "true"),
        ("(int? 1.0)", "false"),
        ("(symbol? 'a)", "true"),
        ("(sequential? [])", "true"),
        ("(coll? {})", "true"),
        ("(coll? \"\")", "false"),
        ("(fn? first)", "true"),
        ("(fn? :a)", "false"),
        ("(atom? (atom 1))", "true"),
        ("(exception? (ex-info \"a\" {}))", "true"),
        ("(type 1.5)", ":float"),
        ("(type first)", ":function"),
        ("(not nil)", "true"),
        ("(= 1 1 1)", "true"),
        ("(= 1 1.0)", "false"),
        ("(= [1] '(1))", "true"),
        ("(not= 1 2)", "true"),
        ("(identical? 1 1)", "true"),
        ("(identical? \"a\" \"a\")", "false"),
        ("(compare 1 2)", "-1"),
        ("(compare :a 1)", "1"),
        ("(= (hash [1 \"a\"]) (hash '(1 \"a\")))", "true"),
    ]);
}

#[test]
fn names() {
    check(&[
        ("(symbol \"a/b\")", "a/b"),
        ("(symbol \"n\" \"b\")", "n/b"),
        ("(keyword \"a\")", ":a"),
        ("(keyword 'a/b)", ":a/b"),
        (
            "(symbol 5)",
            "! symbol: expected a string, symbol or keyword, got 5",
        ),
        ("(name :a/b)", "\"b\""),
        ("(namespace 'a/b)", "\"a\""),
        ("(namespace :b)", "nil"),
        ("(gensym)", "g__0_0"),
        ("(gensym \"x\")", "x__0_1"),
    ]);
    let cx = Context::new();
    let flagged = run(&cx, "(with-flag (with-flag 'a :macro) :private)").expect("a symbol");
    assert!(flagged.symbol_flags().is_macro && flagged.symbol_flags().is_private);
}

#[test]
fn strings() {
    check(&[
        ("(str)", "\"\""),
        ("(str 1 nil \"a\" :b [\"c\"])", "\"1a:b[\\\"c\\\"]\""),
        ("(pr-str 1 \"a\")", "\"1 \\\"a\\\"\""),
        ("(subs \"héllo\" 1 3)", "\"él\""),
        ("(subs \"hello\" 5)", "\"\""),
        ("(subs \"hé\" 3)", "! subs: index 3 is out of bounds"),
        ("(subs \"hello\" 3 2)", "! subs: index 2 is out of bounds"),
        (
            "(subs \"a\" -1)",
            "! subs: expected a non-negative integer, got -1",
        ),
        ("(join \", \" [1 \"a\" nil])", "\"1, a, \""),
        ("(join '(1 2))", "\"12\""),
        ("(split \"a,b,,\" \",\")", "[\"a\" \"b\" \"\" \"\"]"),
        ("(split \"é!\" \"\")", "[\"é\" \"!\"]"),
        ("(upper-case \"aß\")", "\"ASS\""),
        ("(lower-case :A)", "! lower-case: expected a string, got :A"),
        ("(trim \" a\\n\")", "\"a\""),
        ("(starts-with? \"abc\" \"ab\")", "true"),
        ("(ends-with? \"abc\" \"ab\")", "false"),
        ("(includes? \"abc\" \"b\")", "true"),
        ("(index-of \"ééa\" \"a\")", "2"),
        ("(index-of \"abab\" \"ab\" 1)", "2"),
        ("(index-of \"éaéa\" \"a\" 2)", "3"),
        ("(index-of \"a\" \"b\")", "nil"),
        ("(index-of \"a\" \"a\" 9)", "nil"),
        ("(replace \"aXbX\" \"X\" \"--\")", "\"a--b--\""),
        ("(char-code \"é!\")", "233"),
        (
            "(char-code \"\")",
            "! char-code: expected a character, got \"\"",
        ),
        ("(char-from 233)", "\"é\""),
        (
            "(char-from 55296)",
            "! char-from: expected the code of a character, got 55296",
        ),
        ("(parse-int \"-12\")", "-12"),
        ("(parse-int \"1x\")", "nil"),
        ("(parse-int \"99999999999999999999\")", "nil"),
        ("(parse-float \"1e3\")", "1000.0"),
        ("(parse-float \"inf\")", "nil"),
        ("(parse-float \"\")", "nil"),
    ]);
}

#[test]
fn formats() {
    check(&[
        (
            "(format \"%d|%5d|%-5d|%05d\" 1 -2 3 -4)",
            "\"1|   -2|3    |-0004\"",
        ),
        (
            "(format \"%s %s %.2s\" \"a\" [\"b\"] \"cde\")",
            "\"a [\\\"b\\\"] cd\"",
        ),
        (
            "(format \"%5.2f|%f|%.0f\" 3.14159 1 2.5)",
            "\" 3.14|1.000000|2\"",
        ),
        ("(format \"%x %X %o %%\" 255 255 8)", "\"ff FF 10 %\""),
        ("(format \"%d\")", "! format: no value for %d"),
        (
            "(format \"%d\" 1.5)",
            "! format: expected an integer, got 1.5",
        ),
        ("(format \"%q\" 1)", "! format: %q is unknown"),
        (
            "(format \"%\")",
            "! format: the template ends inside of a %",
        ),
        (
            "(format \"%99999999999d\" 1)",
            "! format: the result is too large",
        ),
    ]);
}

#[test]
fn state() {
    check(&[
        ("(deref (atom 1))", "1"),
        ("(reset! (atom 1) 2)", "2"),
        ("(swap! (atom 1) + 2 3)", "6"),
        ("(swap! 1 +)", "! swap!: expected an atom, got 1"),
        ("(compare-and-set! (atom [1]) [1] 2)", "true"),
        ("(compare-and-set! (atom 1) 3 2)", "false"),
        ("(deref (reduced 1))", "1"),
        ("(deref 1)", "! deref: expected an atom or var, got 1"),
        ("(ex-message (ex-info \"m\" {:a 1}))", "\"m\""),
        ("(ex-data (ex-info \"m\" {:a 1}))", "{:a 1}"),
        ("(ex-message 1)", "nil"),
        ("(int? (nano-time))", "true"),
        ("(< -1 (rand-int 5) 5)", "true"),
        (
            "(rand-int 0)",
            "! rand-int: expected a positive integer, got 0",
        ),
    ]);
}

#[test]
fn impure_calls_are_noted() {
    let noted = |text: &str| {
        let cx = Context::printing_to(Box::new(io::sink()));
        run(&cx, text).expect("no exception");
        cx.reset_impure()
    };
    assert_eq!(noted("(deref (atom 1))"), Some("deref of an atom"));
    assert_eq!(noted("(println (nano-time))"), Some("the time"));
    assert_eq!(noted("(println 1)"), Some("printing"));
    assert_eq!(
        noted("(hash (list (atom 1)))"),
        Some("the order or hash of objects by their age")
    );
    assert_eq!(
        noted("(sort (list (atom 1) (atom 2)))"),
        Some("the order or hash of objects by their age")
    );
    assert_eq!(noted("(identical? 1 1)"), None);
    assert_eq!(
        noted("(identical? [1] [1])"),
        Some("the identity of objects")
    );
    assert_eq!(noted("(gensym)"), Some("a generated name"));
    assert_eq!(noted("(read-string \"(a 1)\")"), None);
    assert_eq!(noted("(str (atom 1) (hash 1) (sort [2 1]))"), None);
}

#[test]
fn printing_goes_to_the_sink() {
    let sink = Recorded::default();
    let cx = Context::printing_to(Box::new(sink.clone()));
    for text in [
        "(print \"a\" 1)",
        "(println)",
        "(pr \"a\")",
        "(prn [\"b\"])",
        "(println nil :c)",
    ] {
        run(&cx, text).expect("no exception");
    }
    assert_eq!(sink.text(), "");
    run(&cx, "(flush)").expect("no exception");
    assert_eq!(sink.text(), "a 1\n\"a\"[\"b\"]\nnil :c\n");
}

#[test]
fn files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.txt");
    let cx = Context::new();
    let path = print_readable(&Value::string(path.to_str().expect("a path")));
    assert_eq!(shown(&cx, &format!("(spit {path} [1 \"é\"])")), "nil");
    assert_eq!(shown(&cx, &format!("(slurp {path})")), r#""[1 \"é\"]""#);
    assert!(
        shown(&cx, "(slurp \"/no/such/file\")").starts_with("! slurp: cannot read /no/such/file")
    );
}

#[test]
fn reading_data() {
    check(&[
        ("(read-string \"(a [1])\")", "(a [1])"),
        (
            "(read-string \"(\")",
            "! read-string: 1:1: end of text inside a list that starts at line 1",
        ),
        (
            "(read-string \"1 2\")",
            "! read-string: 1:3: more than one form",
        ),
        ("(read-string \"\")", "! read-string: 1:1: no form"),
    ]);
}

#[test]
fn no_native_panics_on_any_argument() {
    let cx = Context::printing_to(Box::new(io::sink()));
    let samples: Vec<Value> = [
        "nil",
        "true",
        "0",
        "-1",
        "3",
        "9223372036854775807",
        "-9223372036854775808",
        "1.5",
        "##NaN",
        "##Inf",
        "\"\"",
        "\"é%d\"",
        "a/b",
        ":k",
        "()",
        "(1 :a)",
        "[]",
        "[2 1]",
        "{}",
        "{:a 1}",
        "#{}",
        "#{1}",
    ]
    .iter()
    .map(|text| read_constant(&cx, text).expect("a constant"))
    .chain([Value::atom(Value::NIL), Value::reduced(Value::NIL)])
    .collect();
    let natives = TABLES.iter().copied().flatten();
    for native in natives.filter(|native| native.name != "spit") {
        let function = Value::native(native);
        let call = |arguments: &[Value]| {
            if let Err(raised) = cx.call(&function, arguments) {
                assert!(!cx.take_thrown(raised).message().is_empty());
            }
            assert!(
                !cx.is_raised(),
                "{} leaves an exception behind",
                native.name
            );
        };
        call(&[]);
        for a in &samples {
            call(std::slice::from_ref(a));
            for b in &samples {
                call(&[a.clone(), b.clone()]);
                // Natives as arguments, for those that call back.
                call(&[Value::native(native), a.clone(), b.clone()]);
            }
        }
        for triple in samples.windows(3).chain(samples.windows(4)) {
            call(triple);
        }
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = TABLES
        .iter()
        .copied()
        .flatten()
        .map(|native| native.name)
        .collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
