//! Exceptions, their places, and macros: forms compiled and run as in [`super::run`].

use super::Host;
use crate::compiler::{CompileHost, compile};
use crate::context::Context;
use crate::natives::Native;
use crate::value::Value;

#[test]
fn exceptions() {
    let host = Host::new();
    host.eval("(def log nil)");
    host.eval("(def note (fn* [x] (def log [x log])))");
    host.check(&[
        ("(try 1 (catch e 2))", "1"),
        ("(try (throw {:a 1}) (catch e [e]))", "[{:a 1}]"),
        (
            "(try (try (throw 1) (catch e (throw [e]))) (catch e [e]))",
            "[[1]]",
        ),
        ("(try ((fn* [] (throw :deep))) (catch e e))", ":deep"),
        ("(do (try :value (finally (note 1))) log)", "[1 nil]"),
        ("(try :value (finally (note 2)))", ":value"),
        (
            "(try (try (throw :x) (finally (note 3))) (catch e [e log]))",
            "[:x [3 [2 [1 nil]]]]",
        ),
        (
            "(try (throw :x) (catch e :caught) (finally (note 4)))",
            ":caught",
        ),
        (
            "(try (try (throw :x) (catch e (throw :y)) (finally (note 5))) (catch e [e (log 0)]))",
            "[:y 5]",
        ),
        (
            "(try (try 1 (finally (throw :from-finally))) (catch e e))",
            ":from-finally",
        ),
        ("(try (try (throw 1) (finally (throw 2))) (catch e e))", "2"),
        (
            "(let* [x [1]] (try (throw [2]) (catch e [x e]) (finally [3])))",
            "[[1] [2]]",
        ),
        (
            "(try (try (throw :a) (catch e e)) (catch e :not-here))",
            ":a",
        ),
    ]);
    let error = host.eval("(do 1\n (throw 5))");
    assert!(error.starts_with("test.em:2:2: uncaught: 5"), "{error}");
    let error = host.eval("(try (throw [5])\n (finally (note 6)))");
    assert!(error.starts_with("test.em:1:6: uncaught: [5]"), "{error}");
}

#[test]
fn a_trace_names_the_functions_and_the_places() {
    let host = Host::new();
    host.eval("(def f (fn* [x]\n  (+ 1 (/ x 0))))");
    host.eval("(def g (fn* inner [x] [(f x)]))");
    assert_eq!(
        host.eval("[(g 1)]"),
        "test.em:2:8: division by zero\n  at user/f (test.em:2:8)\n  at inner (test.em:1:24)\n  at test.em:1:2"
    );
}

#[test]
fn a_wrong_number_of_arguments_is_reported_at_the_call() {
    let host = Host::new();
    host.eval("(def f (fn* ([a] a) ([a b c & d] d)))");
    for arguments in ["", " 1 2"] {
        let error = host.eval(&format!("(do\n (f{arguments}))"));
        let count = arguments.len() / 2;
        let expected = format!("test.em:2:2: wrong number of arguments ({count}) passed to user/f");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn deep_recursion_is_an_exception() {
    let host = Host::new();
    host.eval("(def f (fn* [n] (+ 1 (f n))))");
    let error = host.eval("(f 1)");
    assert!(error.starts_with("test.em:1:22: stack overflow"), "{error}");
    assert_eq!(host.eval("(try (f 1) (catch e :caught))"), ":caught");
    assert_eq!(host.eval("(+ 1 2)"), "3", "and everything goes on");
}

#[test]
fn macros_expand_where_they_stand() {
    let host = Host::new();
    host.check(&[
        (
            "(def ^:macro infix (fn* [a op b] ((fn* [& form] form) op a b)))",
            "#'user/infix",
        ),
        ("(infix 1 + 2)", "3"),
        ("(infix (infix 1 + 2) * (infix 3 + 4))", "21"),
        ("(def ^:macro ignore (fn* [& forms] nil))", "#'user/ignore"),
        ("[(ignore (no such things))]", "[nil]"),
        ("(let* [infix (fn* [& all] all)] (infix 1 2))", "(1 2)"),
        ("(def ^:macro bad (fn* [] (throw :bad)))", "#'user/bad"),
        (
            "(def ^:macro forever (fn* [& f] '(forever)))",
            "#'user/forever",
        ),
    ]);
    assert_eq!(
        *host.expanded.borrow(),
        ["user/infix"; 4]
            .iter()
            .chain(&["user/ignore"])
            .copied()
            .collect::<Vec<_>>()
    );
    assert_eq!(
        host.error("[\n (bad)]"),
        "1:1: in the macro user/bad: uncaught: :bad"
    );
    let thrown = compile(&host, "(bad)", "test")
        .err()
        .and_then(|error| error.exception);
    let thrown = thrown.map(|thrown| thrown.to_string());
    let trace = "test.em:1:26: uncaught: :bad\n  at user/bad (test.em:1:26)";
    assert_eq!(thrown.as_deref(), Some(trace));
    assert_eq!(
        host.error("(forever)"),
        "0:0: the macro's expansion has no end"
    );
    assert!(!host.context.is_compiling());
    // What a macro leaves has the position of its call, what it was given keeps its own.
    let error = host.eval("[1\n (infix 1 / 0)]");
    assert!(
        error.starts_with("test.em:2:2: division by zero"),
        "{error}"
    );
}

#[test]
fn the_context_knows_when_macros_run() {
    static ASK: Native = Native {
        name: "compiling?",
        min_args: 0,
        max_args: Some(0),
        impure: None,
        function: |context: &Context, _| Ok(Value::boolean(context.is_compiling())),
    };
    let host = Host::new();
    host.namespaces()
        .intern("user", "compiling?")
        .set(Value::native(&ASK));
    host.eval("(def ^:macro ask (fn* [] (compiling?)))");
    assert_eq!(host.eval("[(ask) (compiling?)]"), "[true false]");
}

#[test]
fn macros_are_written_with_syntax_quotes() {
    let host = Host::new();
    host.eval("(def ^:macro unless (fn* [test & body] `(if ~test nil (do ~@body))))");
    host.eval("(def ^:macro or2 (fn* [a b] `(let* [x# ~a] (if x# x# ~b))))");
    host.check(&[
        ("(unless (< 2 1) 1 2)", "2"),
        ("(let* [x nil] (or2 x (unless x [:or x])))", "[:or nil]"),
    ]);
    let error = host.eval("(unless nil\n  (quot 1 0))");
    assert!(
        error.starts_with("test.em:2:3: division by zero"),
        "{error}"
    );
    let form = |text| {
        let form = compile(&host, text, "test").expect("compiles");
        form.program.to_string()
    };
    host.context.begin_gensyms("0123abcd");
    let first = form("(or2 nil 1)");
    host.context.begin_gensyms("0123abcd");
    assert_eq!(first, form("(or2 nil 1)"));
}
