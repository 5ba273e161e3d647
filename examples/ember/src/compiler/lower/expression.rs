//! Expressions for their value.

use super::function::{Flow, FunctionLowering};
use super::runtime::{self, RuntimeFunction};
use super::words::Words;
use super::{TooDeep, string_constant};
use crate::compiler::NIL;
use crate::compiler::ast::{Binding, Capture, Function, Kind, LocalId, Node, PackedPosition};
use crate::compiler::ir::{CALLEE, Instruction, Operand};

impl<'a> FunctionLowering<'_, 'a> {
    /// Lowers an expression; `None` if control does not come out of it, and then the current block
    /// has ended.
    pub(super) fn expression(&mut self, node: &'a Node) -> Flow {
        let position = node.position;
        if !(self.program.enough_stack)() {
            return Err(TooDeep { position });
        }
        let value = match &node.kind {
            Kind::Immediate(word) => Operand::Word(*word),
            Kind::Constant(text) => self.word(format!("const:{text}")),
            Kind::Local(local) => self.local(*local),
            Kind::Capture(index) => self.captured(*index),
            Kind::Itself => CALLEE.into(),
            Kind::Var(name) => {
                let var = self.word(format!("var:{name}"));
                self.call_checked(runtime::VAR, vec![var], position).into()
            }
            Kind::Global(name) => {
                let var = self.word(format!("var:{name}"));
                self.call_checked(runtime::VAR_GET, vec![var], position)
                    .into()
            }
            Kind::Def { name, value, flags } => {
                return self.def(name, value.as_deref(), *flags, position);
            }
            Kind::If {
                test,
                then,
                otherwise,
            } => return self.conditional(None, test, then, otherwise),
            Kind::Do(nodes) => return self.sequence(nodes),
            Kind::Let { bindings, body } => return self.let_expression(bindings, body),
            Kind::Loop { bindings, body } => return self.loop_expression(bindings, body),
            Kind::Recur(values) => return self.recur(values),
            Kind::Function(function) => return Ok(Some(self.closure(function))),
            Kind::CallVar(name, arguments) => return self.call_var(name, arguments, position),
            Kind::Call(callee, arguments) => return self.call_value(callee, arguments, position),
            Kind::Cpp(name, arguments) => {
                let Some(arguments) = self.values(arguments)? else {
                    return Ok(None);
                };
                self.call_cpp(name, arguments, position).into()
            }
            Kind::Intrinsic(intrinsic, arguments) => {
                return self.intrinsic(*intrinsic, arguments, position);
            }
            Kind::Vector(items) => return self.collection(runtime::VECTOR, items, position),
            Kind::Map(items) => return self.collection(runtime::MAP, items, position),
            Kind::Set(items) => return self.collection(runtime::SET, items, position),
            Kind::Throw(value) => return self.throw(value, position),
            Kind::Try {
                body,
                catch,
                finally,
            } => {
                let catch = catch.as_ref().map(|(local, body)| (*local, &**body));
                return self.try_expression(body, catch, finally.as_deref());
            }
        };
        Ok(Some(value))
    }

    /// Lowers expressions in order; `None` if control does not come out of one of them.
    pub(super) fn values(&mut self, nodes: &'a [Node]) -> Result<Option<Vec<Operand>>, TooDeep> {
        let mut values = Vec::with_capacity(nodes.len());
        for node in nodes {
            match self.expression(node)? {
                Some(value) => values.push(value),
                None => return Ok(None),
            }
        }
        Ok(Some(values))
    }

    pub(super) fn local(&self, local: LocalId) -> Operand {
        let value = self.locals.get(local.0 as usize).copied().flatten();
        value.expect("a local is bound before it is referred to")
    }

    fn word(&mut self, name: String) -> Operand {
        let symbol = self.program.word(name);
        self.builder.symbol(symbol).into()
    }

    /// Lowers all but the last of a sequence for their effects; the last one, if control comes so
    /// far.
    pub(super) fn all_but_last(&mut self, nodes: &'a [Node]) -> Result<Option<&'a Node>, TooDeep> {
        let Some((last, before)) = nodes.split_last() else {
            return Ok(None);
        };
        for node in before {
            if self.expression(node)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(last))
    }

    fn sequence(&mut self, nodes: &'a [Node]) -> Flow {
        match self.all_but_last(nodes)? {
            Some(last) => self.expression(last),
            None => Ok(None),
        }
    }

    /// Binds locals in order; whether control comes to the end.
    pub(super) fn bindings(&mut self, bindings: &'a [Binding]) -> Result<bool, TooDeep> {
        for (local, node) in bindings {
            match self.expression(node)? {
                Some(value) => self.bind(*local, value),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn def(
        &mut self,
        name: &str,
        value: Option<&'a Node>,
        flags: u64,
        position: PackedPosition,
    ) -> Flow {
        let value = match value {
            None => Operand::Word(0),
            Some(node) => match self.expression(node)? {
                Some(value) => value,
                None => return Ok(None),
            },
        };
        let var = self.word(format!("var:{name}"));
        Ok(Some(
            self.call_checked(
                runtime::DEF,
                vec![var, value, Operand::Word(flags)],
                position,
            )
            .into(),
        ))
    }

    fn closure(&mut self, function: &'a Function) -> Operand {
        let captures: Vec<_> = function
            .captures
            .iter()
            .map(|capture| match capture {
                Capture::Local(local) => self.local(*local),
                Capture::Capture(index) => self.captured(*index),
                Capture::Itself => CALLEE.into(),
            })
            .collect();
        let name = match &function.name {
            Some(name) => self.word(string_constant(name)),
            None => Operand::Word(NIL),
        };
        let (id, code) = (self.program.function(function), self.builder.register());
        self.builder.push(Instruction::FunctionAddress {
            to: code,
            function: id,
        });
        self.call_with_words(
            runtime::CLOSURE,
            vec![code.into(), name],
            Words::Values(captures),
            function.position,
        )
        .into()
    }

    fn call_var(&mut self, name: &str, arguments: &'a [Node], position: PackedPosition) -> Flow {
        let Some(arguments) = self.words(arguments)? else {
            return Ok(None);
        };
        let var = self.word(format!("var:{name}"));
        Ok(Some(
            self.call_with_words(runtime::CALL_VAR, vec![var], arguments, position)
                .into(),
        ))
    }

    fn call_value(
        &mut self,
        callee: &'a Node,
        arguments: &'a [Node],
        position: PackedPosition,
    ) -> Flow {
        let Some(callee) = self.expression(callee)? else {
            return Ok(None);
        };
        let Some(arguments) = self.words(arguments)? else {
            return Ok(None);
        };
        Ok(Some(
            self.call_with_words(runtime::CALL, vec![callee], arguments, position)
                .into(),
        ))
    }

    fn collection(
        &mut self,
        make: RuntimeFunction,
        items: &'a [Node],
        position: PackedPosition,
    ) -> Flow {
        let Some(items) = self.words(items)? else {
            return Ok(None);
        };
        Ok(Some(
            self.call_with_words(make, Vec::new(), items, position)
                .into(),
        ))
    }
}
