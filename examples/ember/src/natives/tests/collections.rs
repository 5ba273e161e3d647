//! Collections and what walks them.

use super::*;

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
