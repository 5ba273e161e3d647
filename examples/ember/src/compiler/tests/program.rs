//! What the lowering makes of small forms: the structure that matters, not every line.

use super::Host;

/// How often `part` occurs.
fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

/// The text of the function `name`.
fn function<'t>(text: &'t str, name: &str) -> &'t str {
    let start = text
        .find(&format!("function {name}:"))
        .expect("the function is there");
    let rest = &text[start..];
    rest.split("\n\n").next().unwrap_or(rest)
}

#[test]
fn the_same_form_gives_the_same_program() {
    let host = Host::with(&["f"]);
    let text = "(def g (fn* [x] (let* [h (fn* [] (f x))] (try (h) (catch e [e {:a x}])))))";
    assert_eq!(host.text_of(text), host.text_of(text));
    let unit = |host: &Host| {
        let form = crate::compiler::compile(host, text, "g").expect("compiles");
        form.program.to_string()
    };
    assert_eq!(unit(&host), unit(&host));
}

#[test]
fn fixnum_arithmetic_calls_the_runtime_only_when_it_fails() {
    let host = Host::new();
    let text = host.text_of("(fn* [a b] (+ a b))");
    let body = function(&text, "fn_0");
    assert_eq!(count(body, "checked_add"), 1, "{body}");
    assert_eq!(count(body, "call ember_add"), 1, "{body}");
    let slow = body
        .split("call ember_add")
        .next()
        .and_then(|before| before.rfind("block"));
    assert!(
        slow.is_some_and(|at| body[at..]
            .lines()
            .next()
            .is_some_and(|line| line.ends_with("cold:"))),
        "{body}"
    );
    assert_eq!(count(body, "ember_enter"), 0, "it is light: {body}");
}

#[test]
fn a_constant_operand_needs_no_tag_check() {
    let text = Host::new().text_of("(fn* [a] (- (inc a) 1))");
    let body = function(&text, "fn_0");
    assert_eq!(
        count(body, "= and "),
        2,
        "one check for each operation: {body}"
    );
    assert!(
        body.contains("checked_add r4, 0x2 ") && body.contains(", 0x2 then"),
        "{body}"
    );
}

#[test]
fn sums_of_many_fold_from_the_left_after_all_were_evaluated() {
    let host = Host::with(&["f"]);
    let text = host.text_of("(+ 1 (f) (f))");
    assert_eq!(count(&text, "checked_add"), 2, "{text}");
    assert!(
        text.rfind("call ember_call_var") < text.find("checked_add"),
        "{text}"
    );
}

#[test]
fn comparisons_in_tests_make_no_booleans() {
    let text = Host::new().text_of(
        "(fn* [a b] (if (and* a b) 1 2))"
            .replace("(and* a b)", AND)
            .as_str(),
    );
    let body = function(&text, "fn_0");
    assert_eq!(count(body, " = 0x14\n"), 0, "{body}");
    assert_eq!(count(body, " = 0xc\n"), 0, "{body}");
    assert_eq!(count(body, " < "), 1, "{body}");
}

/// What `(and (< a b) (nil? a))` expands to.
const AND: &str = "(let* [x (< a b)] (if x (nil? a) x))";

#[test]
fn a_test_that_is_known_leaves_one_way() {
    let host = Host::with(&["f", "g"]);
    for text in [
        "(if true (f) (g))",
        "(if nil (g) (f))",
        "(if :else (f) (g))",
        "(if (not false) (f) (g))",
    ] {
        let program = host.text_of(text);
        assert!(
            program.contains("var:user/f")
                && !program.contains("call ember_call_var(cx, var:user/g"),
            "{program}"
        );
    }
    assert!(!host.text_of("(if :else (f) (g))").contains("var:user/g"));
}

#[test]
fn equality_with_a_fixnum_or_nil_is_one_comparison() {
    let text = Host::new().text_of("(fn* [a] (if (= a nil) 1 (if (= 5 a) 2 3)))");
    assert_eq!(count(&text, "ember_eq"), 0, "{text}");
}

#[test]
fn a_loop_of_fixnums_takes_the_scope_down_only_when_it_was_used() {
    let text = Host::new().text_of("(fn* [n] (loop* [i 0] (if (< i n) (recur (+ i 1)) i)))");
    let body = function(&text, "fn_0");
    assert_eq!(count(body, "call ember_scope"), 1, "{body}");
    assert_eq!(count(body, "call ember_loop"), 1, "{body}");
    let at = body.find("call ember_loop").expect("there is one");
    let block = &body[body[..at].rfind("block").unwrap_or(0)..at];
    assert!(
        !block.contains("ember_lt"),
        "the call stands in a block of its own: {body}"
    );
}

#[test]
fn values_of_recur_that_change_places_are_kept_apart() {
    let text = Host::new().text_of("(fn* [a b] (if a (recur b a) 0))");
    let body = function(&text, "fn_0");
    // r_a and r_b are swapped: one of the two goes through a third register.
    let copies: Vec<_> = body.lines().filter(|line| is_copy(line)).collect();
    assert_eq!(copies.len(), 3, "{copies:?}");
}

fn is_copy(line: &str) -> bool {
    let mut words = line.trim().split(' ');
    let registers = |word: Option<&str>| {
        word.and_then(|word| word.strip_prefix('r'))
            .is_some_and(|number| number.parse::<u32>().is_ok())
    };
    registers(words.next())
        && words.next() == Some("=")
        && registers(words.next())
        && words.next().is_none()
}

#[test]
fn finally_stands_once_however_deep_it_is_nested() {
    let host = Host::with(&["f"]);
    let mut text = "(f)".to_owned();
    for _ in 0..20 {
        text = format!("(try {text} (catch e (f)) (finally (f 1)))");
    }
    let program = host.text_of(&text);
    assert_eq!(
        count(&program, "call ember_call_var"),
        41,
        "each is lowered once"
    );
    assert_eq!(count(&program, "call ember_catch"), 40);
}

#[test]
fn errors_of_one_place_share_a_block() {
    let host = Host::with(&["f"]);
    let program = host.text_of("(f)");
    assert_eq!(count(&program, "call ember_trace"), 1, "{program}");
    assert_eq!(
        count(&program, "call ember_leave"),
        2,
        "one for each way out: {program}"
    );
}

#[test]
fn closures_capture_words_and_functions_are_numbered_as_they_are_met() {
    let host = Host::new();
    let program = host.text_of("(fn* f [a] (fn* [b] (+ a b (f b))))");
    let outer = function(&program, "fn_0");
    assert!(
        outer.contains("slot0: 2 words") && outer.contains("address of fn_1"),
        "{outer}"
    );
    assert!(outer.contains("slot0[1] = callee"), "{outer}");
    let inner = function(&program, "fn_1");
    assert!(inner.contains("ember_captures(callee)"), "{inner}");
    assert!(
        inner.contains(" + 0]") && inner.contains(" + 8]"),
        "{inner}"
    );
}

#[test]
fn constant_collections_are_one_constant() {
    let host = Host::with(&["f"]);
    let program = host.text_of("(f [1 :a {:b 'c}] [(f)])");
    assert!(program.contains("const:[1 :a {:b c}]"), "{program}");
    assert_eq!(count(&program, "call ember_vector"), 1, "{program}");
}
