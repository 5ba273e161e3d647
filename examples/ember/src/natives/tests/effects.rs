//! State, printing and files, and what holds for every native.

use super::*;
use crate::context::tests::Recorded;
use std::io;

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
