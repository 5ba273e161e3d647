//! Forms compiled, run, and their values printed.

use std::ptr;

use rekindle_backend_cranelift::{CraneliftJit, Options};
use rekindle_cache_core::artifact::{Code as _, Jit, Symbols};

use super::Host;
use crate::compiler::{CompileHost, CompiledForm, FACTORY, compile, lowered};
use crate::error::{Origin, Raised, Site};
use crate::natives::Native;
use crate::reader::read_constant;
use crate::runtime::RUNTIME;
use crate::value::{Code, Value, print_readable};

/// The words of the symbols; all of them are leaked, as the code is.
struct Words<'h>(&'h Host, &'static Site);

impl Symbols for Words<'_> {
    fn address(&self, _: u64, name: &str) -> Option<u64> {
        if let Some((_, address)) = RUNTIME.iter().find(|(known, _)| *known == name) {
            return Some(address.expose_provenance() as u64);
        }
        if let Some(name) = name.strip_prefix("var:") {
            let var = self.0.namespaces().intern_text(name)?;
            return Some(ptr::from_ref(var).expose_provenance() as u64);
        }
        if let Some(text) = name.strip_prefix("const:") {
            return read_constant(&self.0.context, text)
                .ok()
                .map(Value::into_word);
        }
        (name == "ember:site").then(|| ptr::from_ref(self.1).expose_provenance() as u64)
    }
}

impl Host {
    pub(super) fn run(&self, form: &CompiledForm) -> Result<Value, Raised> {
        let jit =
            CraneliftJit::new(&Options::default()).expect("this machine has a code generator");
        let site: &_ = Box::leak(Box::new(Site::new(Origin::new("test.em", 1, 1))));
        site.set_table(&Site::table(&form.program.positions));
        // SAFETY: the words are what the compiler takes the symbols for.
        let code = unsafe { jit.run(&lowered::clif(&form.program), &Words(self, site)) }
            .expect("the unit compiles");
        let factory = code.symbol(FACTORY).expect("the factory is exported");
        // SAFETY: the factory has the signature of all compiled functions.
        let factory = unsafe { std::mem::transmute::<*const u8, Code>(factory) };
        let mark = self.context.scope_mark();
        // SAFETY: it is called as compiled functions are.
        let word = unsafe { factory(&self.context, 0, 0, ptr::null()) };
        // SAFETY: the scope holds the result.
        let value = unsafe { Value::borrow_word(&word) }.cloned();
        self.context.scope_truncate(mark);
        assert_eq!(self.context.scope_mark(), mark);
        assert_eq!(
            value.is_none(),
            self.context.is_raised(),
            "0 and a pending exception go together"
        );
        value.ok_or(Raised(()))
    }

    /// The readable text of the form's value, or the message and trace of what it threw.
    pub(super) fn eval(&self, text: &str) -> String {
        let form = match compile(self, text, "test") {
            Ok(form) => form,
            Err(error) => return format!("error: {error}"),
        };
        match self.run(&form) {
            Ok(value) => print_readable(&value),
            Err(raised) => self.context.take_thrown(raised).to_string(),
        }
    }

    pub(super) fn check(&self, cases: &[(&str, &str)]) {
        for (text, value) in cases {
            assert_eq!(self.eval(text), *value, "{text}");
        }
    }
}

#[test]
fn constants_and_collections() {
    Host::new().check(&[
        ("nil", "nil"),
        ("-7", "-7"),
        ("9223372036854775807", "9223372036854775807"),
        ("1.5", "1.5"),
        (r#""a\n\"b\"""#, r#""a\n\"b\"""#),
        (":a/b", ":a/b"),
        ("()", "()"),
        ("'(a [b] {c #{d}})", "(a [b] {c #{d}})"),
        ("(let* [x 1] [x {x (+ x 1)} #{x}])", "[1 {1 2} #{1}]"),
        ("(let* [x 1 x (+ x 1)] x)", "2"),
        ("(do)", "nil"),
        ("(do 1 2 3)", "3"),
    ]);
}

#[test]
fn arithmetic_is_exact_until_it_overflows() {
    let host = Host::new();
    host.check(&[
        ("(+ 1 2)", "3"),
        ("(- 1 2 3)", "-4"),
        ("(* 2 3 4)", "24"),
        ("(+ 4611686018427387903 1)", "4611686018427387904"),
        ("(- -4611686018427387904 1)", "-4611686018427387905"),
        ("(- 4611686018427387904 1)", "4611686018427387903"),
        ("(* 4611686018427387903 2)", "9223372036854775806"),
        ("(* -3 5)", "-15"),
        ("(* 0 -5)", "0"),
        ("(inc 41)", "42"),
        ("(dec -4611686018427387904)", "-4611686018427387905"),
        ("(+ 1 1.5)", "2.5"),
        ("(/ 6 3)", "2"),
        ("(quot -7 2)", "-3"),
        ("(rem -7 2)", "-1"),
        ("(mod -7 2)", "1"),
    ]);
    let error = host.eval("(+ 9223372036854775807 1)");
    assert!(
        error.starts_with("test.em:1:1: integer overflow"),
        "{error}"
    );
    let error = host.eval("(do\n  (/ 1 0))");
    assert!(
        error.starts_with("test.em:2:3: division by zero"),
        "{error}"
    );
}

#[test]
fn arithmetic_in_a_function_does_not_depend_on_constants() {
    let host = Host::new();
    let numbers = [
        0,
        1,
        -1,
        2,
        -3,
        1 << 31,
        -(1 << 31),
        (1 << 62) - 1,
        -(1 << 62),
        1 << 62,
        i64::MAX,
        i64::MIN,
    ];
    for (name, exact) in [
        ("+", i64::checked_add as fn(i64, i64) -> Option<i64>),
        ("-", i64::checked_sub),
        ("*", i64::checked_mul),
    ] {
        host.eval(&format!("(def f (fn* [a b] ({name} a b)))"));
        let f = host
            .namespaces()
            .find_var("user", "f")
            .and_then(|var| var.get())
            .expect("it is defined");
        for a in numbers {
            for b in numbers {
                let value = host.context.call(&f, &[Value::int(a), Value::int(b)]);
                match (value, exact(a, b)) {
                    (Ok(value), Some(exact)) => {
                        assert_eq!(value.as_int(), Some(exact), "{a} {name} {b}");
                    }
                    (Err(raised), None) => {
                        assert_eq!(
                            host.context.take_thrown(raised).message(),
                            "integer overflow"
                        );
                    }
                    (value, exact) => panic!("{a} {name} {b}: {value:?}, not {exact:?}"),
                }
            }
        }
    }
}

#[test]
fn predicates_agree_as_values_and_as_tests() {
    let host = Host::new();
    let big = "4611686018427387904";
    for (test, truth) in [
        ("(< 1 2)", true),
        ("(< 2 2)", false),
        ("(<= 2 2)", true),
        ("(> 1.5 1)", true),
        ("(>= 1 2)", false),
        ("(== 1 1.0)", true),
        ("(= 1 1.0)", false),
        ("(= [1 2] '(1 2))", true),
        ("(= :a :a)", true),
        ("(= nil false)", false),
        ("(not= 1 2)", true),
        ("(identical? 1 1)", true),
        ("(not nil)", true),
        ("(not 0)", false),
        ("(nil? nil)", true),
        ("(some? nil)", false),
        ("(true? 1)", false),
        ("(false? false)", true),
        ("(zero? 0.0)", true),
        ("(zero? 1)", false),
        ("(pos? 1)", true),
        ("(neg? -0.5)", true),
        (&format!("(< {big} (+ {big} 1))"), true),
        (&format!("(= {big} (- (+ {big} 1) 1))"), true),
    ] {
        assert_eq!(host.eval(test), truth.to_string(), "{test}");
        let way = if truth { ":yes" } else { ":no" };
        assert_eq!(host.eval(&format!("(if {test} :yes :no)")), way, "{test}");
        assert_eq!(
            host.eval(&format!("(if (not {test}) :no :yes)")),
            way,
            "{test}"
        );
        assert_eq!(
            host.eval(&format!("(let* [x {test}] (if x x :no))")),
            if truth { "true" } else { ":no" }
        );
        assert_eq!(
            host.eval(&format!("(if (let* [x {test}] (if x (= 1 1) x)) :yes :no)")),
            way,
            "and: {test}"
        );
        assert_eq!(
            host.eval(&format!("(if (let* [x {test}] (if x x (= 1 2))) :yes :no)")),
            way,
            "or: {test}"
        );
    }
    let error = host.eval("(if (< 1 nil) 1 2)");
    assert!(error.starts_with("test.em:1:5: "), "{error}");
}

#[test]
fn functions_and_closures() {
    let host = Host::new();
    host.check(&[
        ("((fn* [a b] [b a]) 1 2)", "[2 1]"),
        ("((fn* ([] 0) ([a] 1) ([a b & c] c)))", "0"),
        ("((fn* ([] 0) ([a] 1) ([a b & c] c)) 1)", "1"),
        ("((fn* ([] 0) ([a] 1) ([a b & c] c)) 1 2)", "nil"),
        ("((fn* ([] 0) ([a] 1) ([a b & c] c)) 1 2 3 4)", "(3 4)"),
        ("((fn* [a a] a) 1 2)", "2"),
        (
            "((((fn* [a] (fn* [b] (fn* [] [a b]))) [1]) [2]))",
            "[[1] [2]]",
        ),
        (
            "((fn* f [n] (if (< n 2) 1 (* n (f (- n 1))))) 20)",
            "2432902008176640000",
        ),
        (
            "((fn* f [n] ((fn* [] (if (= n 0) :done (f (- n 1)))))) 10)",
            ":done",
        ),
        ("(:a {:a 1})", "1"),
        ("({:a 1} :b 2)", "2"),
        ("([5 6] 1)", "6"),
    ]);
}

#[test]
fn vars_are_set_and_read() {
    let host = Host::new();
    host.check(&[
        ("(def x 5)", "#'user/x"),
        ("(def y \"documentation\" (+ x 1))", "#'user/y"),
        ("[x user/y]", "[5 6]"),
        ("(var x)", "#'user/x"),
        ("(def z)", "#'user/z"),
        (
            "(def even (fn* [n] (if (= n 0) true (odd (- n 1)))))",
            "error: unbound symbol: odd",
        ),
        ("(def odd)", "#'user/odd"),
        (
            "(def even (fn* [n] (if (= n 0) true (odd (- n 1)))))",
            "#'user/even",
        ),
        (
            "(def odd (fn* [n] (if (= n 0) false (even (- n 1)))))",
            "#'user/odd",
        ),
        ("(even 1001)", "false"),
        ("(def ^:private ^:macro w 1)", "#'user/w"),
    ]);
    let error = host.eval("(+ 1 z)");
    assert!(
        error.starts_with("test.em:1:6: unbound var: user/z"),
        "{error}"
    );
    let var = host
        .namespaces()
        .find_var("user", "w")
        .expect("it is defined");
    assert!(var.is_macro() && var.is_private());
}

#[test]
fn loops() {
    Host::new().check(&[
        (
            "(loop* [i 0 sum 0] (if (< i 1000000) (recur (+ i 1) (+ sum i)) sum))",
            "499999500000",
        ),
        (
            "(loop* [a 1 b 2 n 0] (if (= n 3) [a b] (recur b a (+ n 1))))",
            "[2 1]",
        ),
        (
            "(loop* [a 1 b a] (if (< b 10) (recur b (+ a b)) [a b]))",
            "[8 13]",
        ),
        (
            "((fn* [n acc] (if (= n 0) acc (recur (- n 1) [n acc]))) 3 nil)",
            "[1 [2 [3 nil]]]",
        ),
        (
            "((fn* [n & r] (if (= n 0) r (recur (- n 1) [n]))) 3)",
            "[1]",
        ),
        (
            "(loop* [i 0 all []] (if (< i 3)
               (recur (+ i 1) (loop* [j 0 row all] (if (< j 2) (recur (+ j 1) [i j row]) row)))
               all))",
            "[2 1 [2 0 [1 1 [1 0 [0 1 [0 0 []]]]]]]",
        ),
        (
            "(loop* [i 0] (if (< i 10) (do (try (throw i) (catch e e)) (recur (+ i 1))) i))",
            "10",
        ),
        ("(loop* [] 5)", "5"),
    ]);
}

/// Gives the length of the handle scope.
static DEPTH: Native = Native {
    name: "depth",
    min_args: 0,
    max_args: Some(0),
    impure: None,
    function: |context, _| Ok(Value::int(context.scope_mark() as i64)),
};

#[test]
fn the_handle_scope_does_not_grow_with_the_iterations() {
    let host = Host::new();
    host.namespaces()
        .intern("user", "depth")
        .set(Value::native(&DEPTH));
    for text in [
        "(loop* [i 0 last nil most 0]
           (if (< i 100000)
             (let* [v [i last] d (depth)] (recur (+ i 1) [v] (if (< most d) d most)))
             most))",
        "((fn* [i most] (if (< i 100000)
             (let* [v [i [i]] d (depth)] (recur (+ i 1) (if (< most d) d most)))
             most)) 0 0)",
        // Boxed integers come from the slow way of arithmetic only.
        "(loop* [i 0 x 4611686018427387904] (if (< i 100000) (recur (+ i 1) (+ x 1)) (depth)))",
        "(loop* [i 0 most 0]
           (if (< i 1000)
             (let* [d (loop* [j 0] (if (< j 100) (do [i j] (recur (+ j 1))) (depth)))]
               (recur (+ i 1) (if (< most d) d most)))
             most))",
        "(loop* [i 0 most 0]
           (if (< i 100000)
             (let* [d (try [i] (throw [i]) (catch e (depth)))]
               (recur (+ i 1) (if (< most d) d most)))
             most))",
    ] {
        let most: i64 = host.eval(text).parse().expect("a number");
        assert!(most < 32, "{text}: {most}");
    }
}

#[test]
fn many_arguments_are_evaluated_in_order() {
    let host = Host::new();
    host.eval("(def log [])");
    host.eval("(def note (fn* [x] (do (def log [x log]) x)))");
    let items: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    let calls: Vec<_> = items
        .iter()
        .map(|number| format!("(note {number})"))
        .collect();
    let all = format!("[{}]", items.join(" "));
    assert_eq!(host.eval(&format!("[{}]", calls.join(" "))), all);
    assert_eq!(host.eval("(log 0)"), "39");
    let list = all.replace('[', "(").replace(']', ")");
    let call = format!("((fn* [& all] all) {})", calls.join(" "));
    assert_eq!(host.eval(&call), list);
    // One such call inside another has an array of its own.
    let nested = format!("[{} [{}]]", calls.join(" "), calls.join(" "));
    assert_eq!(
        host.eval(&nested),
        format!("{} {all}]", &all[..all.len() - 1])
    );
}
