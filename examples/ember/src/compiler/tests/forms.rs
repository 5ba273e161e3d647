//! What the analyser accepts, refuses and reports.

use super::Host;
use crate::compiler::{CompileHost, FALSE, NIL, TRUE, compile};
use crate::namespace::alias_symbol;
use crate::value::Value;

#[test]
fn the_words_of_the_constants_are_those_of_the_values() {
    assert_eq!(Value::NIL.word(), NIL);
    assert_eq!(Value::FALSE.word(), FALSE);
    assert_eq!(Value::TRUE.word(), TRUE);
}

#[test]
fn malformed_special_forms_are_refused_where_they_stand() {
    let host = Host::with(&["f"]);
    for (text, error) in [
        (
            "(def)",
            "0:0: def takes a name, perhaps a documentation string, and at most one value",
        ),
        ("(def 1 2)", "0:0: def takes a symbol, not a int"),
        (
            "(def other/x 2)",
            "0:5: other/x belongs to another namespace and cannot be defined in this one",
        ),
        (
            "(def if 2)",
            "0:5: if is a special form and cannot be defined",
        ),
        (
            "(if)",
            "0:0: if takes a test, a form for true and at most one for false",
        ),
        (
            "(f\n  (if 1 2 3 4))",
            "1:2: if takes a test, a form for true and at most one for false",
        ),
        (
            "(let* (x 1) x)",
            "0:6: let* takes a vector of names and values, not a list",
        ),
        (
            "(let* [x] x)",
            "0:6: the vector of let* has a name without a value",
        ),
        (
            "(let* [:x 1] x)",
            "0:6: let* binds symbols without a namespace, not :x",
        ),
        ("(quote)", "0:0: quote takes one form"),
        ("(var 1)", "0:0: var takes a symbol, not a int"),
        ("(throw)", "0:0: throw takes one value"),
        ("(fn*)", "0:0: fn* takes a vector of parameters"),
        (
            "(fn* [a/b] 1)",
            "0:6: a parameter is a symbol without a namespace, not a/b",
        ),
        ("(fn* [a &] 1)", "0:5: exactly one parameter follows the &"),
        (
            "(fn* ([a] 1) ([b] 2))",
            "0:13: the function has two bodies with 1 parameters",
        ),
        (
            "(fn* ([& a] 1) ([& b] 2))",
            "0:15: a function has at most one variadic body",
        ),
        (
            "(fn* ([a b] 1) ([& b] 2))",
            "0:0: a body of the function has more parameters than its variadic one",
        ),
        ("(catch e 1)", "0:0: catch outside of try"),
        (
            "(try 1 (catch e 2) (f))",
            "0:19: only catch and finally may follow a catch or finally",
        ),
        (
            "(try 1 (finally 2) (catch e 3))",
            "0:19: try takes at most one catch, then at most one finally",
        ),
    ] {
        assert_eq!(host.error(text), error, "{text}");
    }
}

#[test]
fn recur_stands_in_tail_position_only() {
    let host = Host::with(&["f"]);
    assert_eq!(
        host.error("(recur)"),
        "0:0: recur outside of a function or loop"
    );
    assert_eq!(
        host.error("(fn* [x] (f (recur 1)))"),
        "0:12: recur not in tail position"
    );
    assert_eq!(
        host.error("(fn* [x] (recur 1) 2)"),
        "0:9: recur not in tail position"
    );
    assert_eq!(
        host.error("(fn* [x] (recur))"),
        "0:9: recur takes 1 values here, not 0"
    );
    assert_eq!(
        host.error("(fn* [x] (try (recur 1) (catch e 1)))"),
        "0:14: recur across try"
    );
    assert_eq!(
        host.error("(fn* [x] (try 1 (catch e (recur 1))))"),
        "0:25: recur across try"
    );
    assert!(
        host.program("(fn* [x] (try (loop* [y x] (recur y)) (catch e 1)))")
            .is_ok()
    );
    assert!(
        host.program("(fn* [x & r] (let* [y 1] (if x (do 1 (recur y r)))))")
            .is_ok()
    );
}

#[test]
fn symbols_that_mean_nothing_are_unbound() {
    let host = Host::with(&["f"]);
    assert_eq!(host.error("(f\n 1 x)"), "1:3: unbound symbol: x");
    assert_eq!(
        host.error("(f a/b)"),
        "0:3: unbound symbol: a/b (there is no namespace a)"
    );
    assert_eq!(host.error("(let* [y x x 1] x)"), "0:9: unbound symbol: x");
    host.namespaces().intern("other", "hidden").set(Value::NIL);
    host.namespaces()
        .intern("other", "hidden")
        .set_kind(false, true);
    assert_eq!(
        host.error("(f other/hidden)"),
        "0:3: other/hidden is private"
    );
}

#[test]
fn each_resolved_symbol_is_reported_once_and_locals_are_not() {
    let host = Host::with(&["f", "g"]);
    assert!(host.program("(f (g 1) (fn* [x] (f x user/g)))").is_ok());
    assert_eq!(*host.resolved.borrow(), ["f", "g", "user/g"]);
}

#[test]
fn names_in_syntax_quotes_are_resolved_and_reported() {
    let host = Host::with(&["f"]);
    host.namespaces().intern("ember.core", "g").set(Value::NIL);
    for (text, constant) in [
        ("`f", "user/f"),
        ("`g", "ember.core/g"),
        ("`new", "user/new"),
        ("`if", "if"),
    ] {
        let program = host.program(text).expect("compiles");
        assert!(
            program.to_string().contains(&format!("const:{constant}\"")),
            "{program}"
        );
    }
    assert_eq!(*host.resolved.borrow(), ["f", "g", "new"]);
}

#[test]
fn the_names_that_a_unit_defines_are_its_own() {
    let host = Host::new();
    // Before this unit, `m` is a macro; inside, it is what the unit makes of it.
    let var = host.namespaces().intern("user", "m");
    var.set(Value::NIL);
    var.set_kind(true, false);
    let form = compile(&host, "(def m (fn* [x] (if x (m nil) user/m)))", "m").expect("compiles");
    // Of `user/m`, what `user` stands for is a dependency, and no more.
    assert_eq!(*host.resolved.borrow(), [alias_symbol("user")]);
    assert_eq!(form.defines, ["user/m"]);
    assert_eq!(form.references, ["user/m"]);
    assert!(form.dynamic_defines.is_empty());
    assert!(host.expanded.borrow().is_empty());
}

#[test]
fn definitions_are_dynamic_unless_they_are_evaluated_with_the_form() {
    let host = Host::new();
    for (text, dynamic) in [
        ("(do (def a 1) (def b 2))", vec![]),
        ("(let* [x 1] (def a x) (def b x))", vec![]),
        ("(if true (def a 1) (def b 2))", vec!["user/a", "user/b"]),
        ("(def a (fn* [] (def b 1)))", vec!["user/b"]),
        ("(do (def a 1) (loop* [] (def b 1)))", vec!["user/b"]),
    ] {
        let form = compile(&host, text, "test").expect("compiles");
        assert_eq!(form.defines, ["user/a", "user/b"], "{text}");
        assert_eq!(form.dynamic_defines, dynamic, "{text}");
    }
}

#[test]
fn a_macro_has_no_value_and_a_declared_one_cannot_run() {
    let host = Host::with(&["f"]);
    let var = host.namespaces().intern("user", "m");
    var.declare();
    var.set_kind(true, false);
    assert_eq!(
        host.error("(f m)"),
        "0:3: m is a macro and has no value of its own"
    );
    assert_eq!(
        host.error("(m 1)"),
        "0:1: the macro m is declared but not defined yet"
    );
    assert!(host.program("(var m)").is_ok());
    assert!(
        host.program("(let* [m 1] (f m (m 2)))").is_ok(),
        "a local hides a macro"
    );
}

#[test]
fn a_form_that_is_nested_too_deeply_is_an_error() {
    let host = Host::with(&["f"]);
    let depth = 200_000;
    for (open, close) in [("(f ", ")"), ("[", "]"), ("(if f ", ")"), ("(fn* [] ", ")")] {
        let text = format!("{}f{}", open.repeat(depth), close.repeat(depth));
        let error = host.error(&text);
        assert!(
            error.contains("nested too deeply") || error.contains("stack overflow"),
            "{open}: {error}"
        );
    }
}

#[test]
fn constants_have_to_be_readable() {
    let host = Host::new();
    assert!(host.program("'(a \"b\" [c {:d #{1.5}}])").is_ok());
    // A macro may leave any value in the code.
    let atom = Value::list([Value::symbol("quote".into()), Value::atom(Value::NIL)]);
    let error = super::intermediate(&host, &atom)
        .map(|_| ())
        .expect_err("an atom has no text");
    assert!(error.message.contains("no readable text"), "{error}");
}
