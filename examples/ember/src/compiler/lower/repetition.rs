//! `loop*` and `recur`.
//!
//! At `recur` the handle scope is taken down to where it was when the loop began, but for the new
//! values. That is a call, which an iteration of fixnum arithmetic has no need of: a register says
//! whether anything was put there.

use super::function::{Flow, FunctionLowering};
use super::runtime;
use crate::compiler::ast::{Binding, Node};
use crate::compiler::ir::{CONTEXT, Comparison, Operand, Register};

impl<'a> FunctionLowering<'_, 'a> {
    /// Lowers `loop*`.
    pub(super) fn loop_expression(&mut self, bindings: &'a [Binding], body: &'a Node) -> Flow {
        let mut registers = Vec::with_capacity(bindings.len());
        for (local, node) in bindings {
            let Some(value) = self.expression(node)? else {
                return Ok(None);
            };
            let register = self.builder.register();
            self.builder.copy(register, value);
            self.bind(*local, register.into());
            registers.push(register);
        }
        let mark = self.call(runtime::SCOPE, Vec::new());
        self.repeated(registers, mark);
        let value = self.expression(body)?;
        self.targets.pop();
        Ok(value)
    }

    /// Lowers `recur` to the innermost loop or method.
    pub(super) fn recur(&mut self, values: &'a [Node]) -> Flow {
        let Some(mut values) = self.values(values)? else {
            return Ok(None);
        };
        let target = self
            .targets
            .last()
            .expect("the analyser lets recur stand only where there is a target");
        let (head, mark, dirty, registers) = (
            target.head,
            target.mark,
            target.dirty,
            target.registers.clone(),
        );
        // `(recur b a)`: a register that is written before it is read is copied first.
        for (index, value) in values.iter_mut().enumerate() {
            if registers
                .iter()
                .enumerate()
                .any(|(other, register)| other < index && *value == (*register).into())
            {
                let earlier: Register = self.builder.register();
                self.builder.copy(earlier, *value);
                *value = earlier.into();
            }
        }
        let (take_down, assign) = (self.builder.block(), self.builder.block());
        self.builder.branch(
            Comparison::NotEqual,
            dirty,
            Operand::Word(0),
            take_down,
            assign,
        );
        self.builder.switch_to(take_down);
        let address = self.spread(&values);
        let symbol = self.program.runtime(runtime::LOOP);
        let count = Operand::Word(values.len() as u64);
        self.builder
            .call_nothing(symbol, vec![CONTEXT.into(), mark.into(), count, address]);
        self.builder.copy(dirty, Operand::Word(0));
        self.builder.jump(assign);
        self.builder.switch_to(assign);
        for (register, value) in registers.into_iter().zip(values) {
            if value != register.into() {
                self.builder.copy(register, value);
            }
        }
        self.builder.jump(head);
        Ok(None)
    }
}
