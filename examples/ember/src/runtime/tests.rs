//! The functions called as compiled code calls them, with Rust functions as compiled code.

use std::ptr::from_ref;

use super::call::{ember_arity, ember_call, ember_call_var, ember_captures, ember_closure};
use super::construct::{ember_map, ember_rest, ember_vector};
use super::frame::{ember_catch, ember_enter, ember_leave, ember_loop, ember_scope, ember_trace};
use super::var::{ember_def, ember_var, ember_var_get};
use super::*;
use crate::error::{Origin, Site};
use crate::value::{Code, Name, Position, View};

/// `(fn [x] [x captured])`, as the compiler would lay it out.
unsafe extern "C" fn pair(cx: *const Context, callee: u64, argc: u64, argv: *const u64) -> u64 {
    // SAFETY: called through the runtime, which follows the contract.
    unsafe {
        let cx = &*cx;
        let mark = ember_enter(cx);
        if mark == 0 {
            return 0;
        }
        if argc != 1 {
            return ember_leave(cx, mark, ember_arity(cx, callee, argc));
        }
        let words = [*argv, *ember_captures(callee)];
        let dropped = ember_vector(cx, 1, words.as_ptr());
        assert_ne!(dropped, 0);
        ember_leave(cx, mark, ember_vector(cx, 2, words.as_ptr()))
    }
}

/// `(fn f [] (f))`
unsafe extern "C" fn endless(cx: *const Context, callee: u64, _: u64, _: *const u64) -> u64 {
    static SITE: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    // SAFETY: called through the runtime, which follows the contract.
    unsafe {
        let cx = &*cx;
        let site = *SITE.get_or_init(|| {
            let site: &_ = Box::leak(Box::new(Site::new(Origin::new("a.em", 7, 1))));
            site.set_table(&Site::table(&[Position::new(0, 10).pack()]));
            from_ref(site).expose_provenance()
        });
        let mark = ember_enter(cx);
        if mark == 0 {
            return 0;
        }
        let result = ember_call(cx, callee, 0, std::ptr::null());
        let site = std::ptr::with_exposed_provenance(site);
        ember_trace(cx, site, 0, 0);
        ember_leave(cx, mark, result)
    }
}

fn closure(cx: &Context, code: Code, captures: &[Value]) -> Value {
    let name = Value::symbol(Name::parse("user/pair"));
    // SAFETY: the code reads one capture at most, and all words are held here.
    unsafe {
        let word = ember_closure(
            cx,
            code as *const (),
            name.word(),
            captures.len() as u64,
            captures.as_ptr().cast(),
        );
        value(&word).clone()
    }
}

fn message(cx: &Context, result: Result<Value, Raised>) -> String {
    match result {
        Ok(value) => panic!("expected an exception, got {value:?}"),
        Err(raised) => cx.take_thrown(raised).message(),
    }
}

#[test]
fn closures_see_their_arguments_and_captures() {
    let cx = Context::new();
    let function = closure(&cx, pair, &[Value::string("captured")]);
    let mark = cx.scope_mark();
    let result = cx.call(&function, &[Value::string("given")]);
    assert_eq!(
        format!("{:?}", result.ok()),
        r#"Some(["given" "captured"])"#
    );
    assert_eq!(cx.scope_mark(), mark);
    let result = cx.call(&function, &[]);
    assert_eq!(
        message(&cx, result),
        "wrong number of arguments (0) passed to user/pair"
    );
    assert_eq!(cx.scope_mark(), mark);
}

#[test]
fn a_var_that_changes_while_its_function_runs_is_safe() {
    /// `(fn [] (def v nil) captured)` without a frame of its own.
    unsafe extern "C" fn forget(cx: *const Context, callee: u64, _: u64, _: *const u64) -> u64 {
        // SAFETY: called through the runtime, which follows the contract.
        unsafe {
            (*cx).namespaces().intern("user", "v").set(Value::NIL);
            *ember_captures(callee)
        }
    }
    let cx = Context::new();
    let var = cx.namespaces().intern("user", "v");
    var.set(closure(&cx, forget, &[Value::string("captured")]));
    cx.scope_truncate(0);
    // SAFETY: the scope keeps the result.
    unsafe {
        let word = ember_call_var(&cx, var, 0, std::ptr::null());
        assert_eq!(value(&word), &Value::string("captured"));
    }
}

#[test]
fn endless_recursion_raises_with_a_short_trace() {
    let cx = Context::new();
    let function = closure(&cx, endless, &[]);
    let raised = cx.call(&function, &[]).expect_err("a stack overflow");
    let thrown = cx.take_thrown(raised);
    let text = thrown.to_string();
    assert!(text.starts_with("a.em:7:11: stack overflow\n"), "{text}");
    assert!(thrown.trace.omitted() > 100);
    assert!(cx.call(&function, &[]).is_err(), "and can be raised again");
}

#[test]
fn every_kind_of_callable_is_called() {
    let cx = Context::new();
    let key = Value::keyword(Name::parse("a"));
    let map = Value::map([(key.clone(), Value::int(1))]);
    let set = Value::set([key.clone()]);
    let vector = Value::vector([Value::int(7)]);
    let other = Value::keyword(Name::parse("b"));
    let text = |function: &Value, arguments: &[Value]| {
        let result = cx.call(function, arguments);
        match result {
            Ok(value) => format!("{value:?}"),
            Err(raised) => cx.take_thrown(raised).message(),
        }
    };
    assert_eq!(text(&key, std::slice::from_ref(&map)), "1");
    assert_eq!(text(&other, &[map.clone(), Value::int(2)]), "2");
    assert_eq!(text(&map, std::slice::from_ref(&key)), "1");
    assert_eq!(text(&set, std::slice::from_ref(&other)), "nil");
    assert_eq!(text(&set, std::slice::from_ref(&key)), ":a");
    assert_eq!(text(&vector, &[Value::int(0)]), "7");
    assert_eq!(
        text(&vector, &[Value::int(1)]),
        "index 1 is out of bounds of a vector of 1 items"
    );
    assert_eq!(
        text(&key, &[]),
        "wrong number of arguments (0) passed to :a"
    );
    assert_eq!(text(&Value::int(5), &[]), "5 is not a function");
    let var = cx.namespaces().intern("user", "x");
    assert_eq!(text(&Value::var(var), &[]), "unbound var: user/x");
    var.set(Value::var(var));
    assert_eq!(text(&Value::var(var), &[]), "stack overflow");
    var.set(key);
    assert_eq!(text(&Value::var(var), &[map]), "1");
}

#[test]
fn vars_are_read_and_defined() {
    let cx = Context::new();
    let var = cx.namespaces().intern("user", "x");
    // SAFETY: the scope keeps the words.
    unsafe {
        assert_eq!(ember_var_get(&cx, var), 0);
        assert_eq!(
            cx.catch().to_string(),
            "#<exception \"unbound var: user/x\" {}>"
        );
        let defined = ember_def(&cx, var, 0, 0);
        assert_eq!(value(&defined), &Value::var(var));
        assert!(var.is_defined() && !var.is_bound());
        let text = cx.keep(Value::string("x"));
        ember_def(&cx, var, text, 1 | 2);
        assert!(var.is_macro() && var.is_private());
        let got = ember_var_get(&cx, var);
        assert_eq!(got, text);
        assert!(matches!(value(&ember_var(&cx, var)).view(), View::Var(_)));
        assert_eq!(cx.reset_impure(), None);
        ember_def(&cx, var, text, 4);
        assert_eq!(cx.reset_impure(), Some("a def inside of other code"));
    }
}

#[test]
fn loops_and_handlers_give_the_scope_back() {
    let cx = Context::new();
    // SAFETY: the scope keeps the words.
    unsafe {
        let mark = ember_scope(&cx);
        for _ in 0..3 {
            let words = [cx.keep(Value::string("a")), Value::int(1).word()];
            cx.keep(Value::string("b"));
            ember_loop(&cx, mark, 2, words.as_ptr());
            assert_eq!(ember_scope(&cx), mark + 1);
            assert_eq!(value(&words[0]), &Value::string("a"));
        }
        let thrown = cx.keep(Value::string("thrown"));
        assert_eq!(super::frame::ember_throw(&cx, thrown), 0);
        let caught = ember_catch(&cx, mark);
        assert_eq!(value(&caught), &Value::string("thrown"));
        assert_eq!(ember_scope(&cx), mark + 1);
    }
}

#[test]
fn rest_and_maps() {
    let cx = Context::new();
    let words = [1, 2, 1, 3].map(|n| Value::int(n).word());
    // SAFETY: immediates need nobody to keep them, and the scope keeps the rest.
    unsafe {
        let rest = ember_rest(&cx, 4, words.as_ptr(), 2);
        assert_eq!(format!("{:?}", value(&rest)), "(1 3)");
        assert_eq!(ember_rest(&cx, 4, words.as_ptr(), 4), Value::NIL.word());
        assert_eq!(ember_rest(&cx, 1, words.as_ptr(), 4), Value::NIL.word());
        let map = ember_map(&cx, 2, words.as_ptr());
        assert_eq!(format!("{:?}", value(&map)), "{1 2}");
        assert_eq!(ember_map(&cx, 4, words.as_ptr()), 0);
        assert!(cx.catch().to_string().contains("duplicate key in a map: 1"));
    }
}
