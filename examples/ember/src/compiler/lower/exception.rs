//! `throw`, `try`, `catch` and `finally`.

use super::function::{Flow, FunctionLowering};
use super::runtime;
use crate::compiler::NIL;
use crate::compiler::ast::{LocalId, Node, PackedPosition};
use crate::compiler::ir::{BlockId, Comparison, Operand, Register};

/// What the ways out of a `try` have in common.
struct Ways {
    /// The value of the whole.
    result: Register,
    /// Where every way out ends.
    end: BlockId,
    /// The handle scope at the start.
    mark: Register,
}

impl<'a> FunctionLowering<'_, 'a> {
    /// Lowers `throw`.
    pub(super) fn throw(&mut self, value: &'a Node, position: PackedPosition) -> Flow {
        let Some(value) = self.expression(value)? else {
            return Ok(None);
        };
        self.call(runtime::THROW, vec![value]);
        let error = self.error(position);
        self.builder.jump(error);
        Ok(None)
    }

    /// Lowers `try`.
    pub(super) fn try_expression(
        &mut self,
        body: &'a Node,
        catch: Option<(LocalId, &'a Node)>,
        finally: Option<&'a Node>,
    ) -> Flow {
        let ways = Ways {
            result: self.builder.register(),
            end: self.builder.block(),
            mark: self.call(runtime::SCOPE, Vec::new()),
        };
        match finally {
            None => {
                self.guarded(body, catch, &ways, None)?;
                self.builder.switch_to(ways.end);
                Ok(Some(ways.result.into()))
            }
            Some(finally) => self.with_finally(body, catch, finally, &ways),
        }
    }

    /// `finally` stands once in the code: a register tells what is thrown on after it, 0 for
    /// nothing.
    fn with_finally(
        &mut self,
        body: &'a Node,
        catch: Option<(LocalId, &'a Node)>,
        finally: &'a Node,
        ways: &Ways,
    ) -> Flow {
        let thrown = self.builder.register();
        let failed = self.builder.cold_block();
        self.handlers.push(failed);
        let protected = self.guarded(body, catch, ways, Some(thrown));
        self.handlers.pop();
        protected?;

        self.builder.switch_to(failed);
        let exception = self.call(runtime::CATCH, vec![ways.mark.into()]);
        self.builder.copy(thrown, exception);
        self.builder.copy(ways.result, Operand::Word(NIL));
        self.builder.jump(ways.end);

        self.builder.switch_to(ways.end);
        if self.expression(finally)?.is_none() {
            return Ok(None);
        }
        let (done, throw_on) = (self.builder.block(), self.builder.cold_block());
        self.builder
            .branch(Comparison::Equal, thrown, Operand::Word(0), done, throw_on);
        self.builder.switch_to(throw_on);
        self.call(runtime::THROW, vec![thrown.into()]);
        // The exception has its trace already: this is the way it was going.
        self.fail();
        self.builder.switch_to(done);
        Ok(Some(ways.result.into()))
    }

    /// Lowers the body and the `catch`; both end at `ways.end`, with 0 in `thrown` if there is a
    /// `finally`.
    fn guarded(
        &mut self,
        body: &'a Node,
        catch: Option<(LocalId, &'a Node)>,
        ways: &Ways,
        thrown: Option<Register>,
    ) -> Result<(), super::TooDeep> {
        let handler = catch.map(|(local, node)| (self.builder.cold_block(), local, node));
        self.handlers.extend(handler.map(|(block, ..)| block));
        let value = self.expression(body);
        if handler.is_some() {
            self.handlers.pop();
        }
        self.finish_way(value?, ways, thrown);
        if let Some((block, local, node)) = handler {
            self.builder.switch_to(block);
            let exception = self.call(runtime::CATCH, vec![ways.mark.into()]);
            self.bind(local, exception.into());
            let value = self.expression(node)?;
            self.finish_way(value, ways, thrown);
        }
        Ok(())
    }

    fn finish_way(&mut self, value: Option<Operand>, ways: &Ways, thrown: Option<Register>) {
        let Some(value) = value else { return };
        self.builder.copy(ways.result, value);
        if let Some(thrown) = thrown {
            self.builder.copy(thrown, Operand::Word(0));
        }
        self.builder.jump(ways.end);
    }
}
