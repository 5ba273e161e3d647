//! Tests of the handle scope, exceptions and output.

use std::io;
use std::rc::Rc;

use super::*;

/// A sink that can be looked at afterwards.
#[derive(Clone, Default)]
pub(crate) struct Recorded(Rc<RefCell<Vec<u8>>>);

impl Recorded {
    /// What was written so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).expect("text")
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_scope_keeps_values_alive_until_it_is_truncated() {
    let cx = Context::new();
    let mark = cx.scope_mark();
    let word = cx.keep(Value::string("kept"));
    assert_eq!(cx.keep(Value::int(5)), Value::int(5).word());
    assert_eq!(cx.scope_mark(), mark + 1, "immediates need no place");
    // SAFETY: the scope keeps the object.
    let kept = unsafe { Value::borrow_word(&word) }.expect("not zero");
    cx.keep(Value::string("dropped"));
    cx.scope_leave(mark, kept);
    assert_eq!(cx.scope_mark(), mark + 1);
    assert_eq!(kept, &Value::string("kept"));
    cx.scope_retain(
        mark,
        &[Value::string("a"), Value::int(1), Value::string("b")],
    );
    assert_eq!(cx.scope_mark(), mark + 2);
    cx.scope_truncate(mark);
    assert_eq!(cx.scope_mark(), mark);
}

#[test]
fn a_rethrown_value_goes_on_with_its_trace() {
    let cx = Context::new();
    let origin = Origin::new("a.em", 1, 1);
    for value in [
        Value::string("text"),
        Value::exception(Exception::new("object", Value::NIL)),
    ] {
        let _raised = cx.throw(value);
        cx.trace(&origin, Position::new(1, 0), Value::NIL);
        let caught = cx.catch();
        assert!(!cx.is_raised());
        let raised = cx.throw(caught);
        cx.trace(&origin, Position::new(2, 0), Value::NIL);
        assert_eq!(cx.take_thrown(raised).trace.entries().len(), 2);
    }
    let _raised = cx.throw(Value::int(1));
    cx.trace(&origin, Position::new(1, 0), Value::NIL);
    cx.catch();
    let raised = cx.throw(Value::int(1));
    assert!(cx.take_thrown(raised).trace.entries().is_empty());
}

#[test]
fn generated_names_belong_to_their_definition() {
    let cx = Context::new();
    assert_eq!(cx.gensym("x").text(), "x__0_0");
    assert_eq!(cx.reset_impure(), Some("a generated name"));
    cx.begin_gensyms("0123abcd");
    assert_eq!(cx.gensym("x").text(), "x__0123abcd_0");
    assert_eq!(cx.gensym("y").text(), "y__0123abcd_1");
    assert_eq!(cx.reset_impure(), None);
    cx.end_gensyms();
    assert_eq!(cx.gensym("x").text(), "x__0_1");
}

#[test]
fn the_first_impurity_is_noted() {
    let cx = Context::new();
    assert_eq!(cx.reset_impure(), None);
    cx.note_impure("first");
    cx.note_impure("second");
    assert_eq!(cx.reset_impure(), Some("first"));
    assert_eq!(cx.reset_impure(), None);
}

#[test]
fn output_is_buffered_and_a_broken_sink_is_quiet() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let broken = Context::printing_to(Box::new(Broken));
    broken.print(&"x".repeat(100_000));
    broken.flush_output();

    let sink = Recorded::default();
    let cx = Context::printing_to(Box::new(sink.clone()));
    cx.print("hello");
    assert_eq!(sink.text(), "");
    cx.flush_output();
    assert_eq!(sink.text(), "hello");
}
