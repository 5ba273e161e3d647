//! Numbers, names and text.

use super::*;

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
