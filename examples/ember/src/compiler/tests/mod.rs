//! Tests of the compiler as a whole, by what they look at.

mod errors;
mod forms;
mod program;
mod run;

use std::cell::RefCell;

use super::{CompileError, CompileHost, Program, intermediate, intrinsic, ir};
use crate::context::Context;
use crate::namespace::{CORE, Namespaces};
use crate::value::Value;

/// A host that compiles in the namespace `user` and remembers what it was told.
struct Host {
    context: Context,
    resolved: RefCell<Vec<String>>,
    expanded: RefCell<Vec<String>>,
}

impl Host {
    fn new() -> Self {
        let host = Self {
            context: Context::new(),
            resolved: RefCell::default(),
            expanded: RefCell::default(),
        };
        // Some of these are written in ember, in the prelude.
        for name in intrinsic::sealed_names() {
            let var = host.namespaces().intern(CORE, name);
            if !var.is_defined() {
                var.set(Value::NIL);
            }
        }
        host
    }

    /// A host whose namespace has these vars.
    fn with(names: &[&str]) -> Self {
        let host = Self::new();
        for name in names {
            host.namespaces().intern("user", name).set(Value::NIL);
        }
        host
    }

    fn program(&self, text: &str) -> Result<Program, CompileError> {
        let form = super::read(self, text)?;
        let (_, program) = intermediate(self, &form)?;
        assert_eq!(ir::verify(&program), Ok(()), "{text}:\n{program}");
        Ok(program)
    }

    fn text_of(&self, text: &str) -> String {
        match self.program(text) {
            Ok(program) => program.to_string(),
            Err(error) => panic!("{text}: {error}"),
        }
    }

    /// `line:column: message` of the error that the form gives; both are relative and from 0.
    fn error(&self, text: &str) -> String {
        match super::compile(self, text, "test") {
            Ok(_) => panic!("{text} compiles"),
            Err(error) => format!("{}:{}: {error}", error.position.line, error.position.column),
        }
    }
}

impl CompileHost for Host {
    fn context(&self) -> &Context {
        &self.context
    }

    fn namespaces(&self) -> &Namespaces {
        self.context.namespaces()
    }

    fn namespace(&self) -> &str {
        "user"
    }

    fn resolved(&self, text: &str) {
        self.resolved.borrow_mut().push(text.to_owned());
    }

    fn expands(&self, var: &str) {
        self.expanded.borrow_mut().push(var.to_owned());
    }
}
