//! Decisions: `if`, and tests that branch without making a boolean first.

use super::TooDeep;
use super::arithmetic::is_predicate;
use super::function::{Flow, FunctionLowering};
use crate::compiler::ast::{Binding, Kind, LocalId, Node};
use crate::compiler::ir::{BinaryOperation, BlockId, Comparison, Operand};
use crate::compiler::{FALSE, NIL, TRUE};

/// `nil` and `false` differ in this bit only, so one comparison tells whether a word is either.
const FALSY_DIFFERENCE: u64 = NIL ^ FALSE;

impl<'a> FunctionLowering<'_, 'a> {
    /// Lowers `if` for its value. `named` is a local that stands for the test's boolean on both
    /// ways.
    pub(super) fn conditional(
        &mut self,
        named: Option<LocalId>,
        test: &'a Node,
        then: &'a Node,
        otherwise: &'a Node,
    ) -> Flow {
        if let Some(truth) = self.known_truth(test) {
            return self.expression(if truth { then } else { otherwise });
        }
        let (yes, no, join) = (
            self.builder.block(),
            self.builder.block(),
            self.builder.block(),
        );
        let result = self.builder.register();
        self.test(test, yes, no)?;
        let mut comes_out = false;
        for (block, truth, node) in [(yes, TRUE, then), (no, FALSE, otherwise)] {
            self.builder.switch_to(block);
            if let Some(local) = named {
                self.bind(local, Operand::Word(truth));
            }
            if let Some(value) = self.expression(node)? {
                self.builder.copy(result, value);
                self.builder.jump(join);
                comes_out = true;
            }
        }
        self.builder.switch_to(join);
        Ok(comes_out.then_some(result.into()))
    }

    /// Lowers `let*` for its value.
    pub(super) fn let_expression(&mut self, bindings: &'a [Binding], body: &'a Node) -> Flow {
        if let Some((before, decision)) = named_decision(bindings, body) {
            if !self.bindings(before)? {
                return Ok(None);
            }
            return self.conditional(
                Some(decision.local),
                decision.test,
                decision.then,
                decision.otherwise,
            );
        }
        if self.bindings(bindings)? {
            self.expression(body)
        } else {
            Ok(None)
        }
    }

    /// Lowers an expression of which only the truth matters: goes on at `yes` or at `no`.
    pub(super) fn test(
        &mut self,
        node: &'a Node,
        yes: BlockId,
        no: BlockId,
    ) -> Result<(), TooDeep> {
        if !(self.program.enough_stack)() {
            return Err(TooDeep {
                position: node.position,
            });
        }
        if let Some(truth) = self.known_truth(node) {
            self.builder.jump(if truth { yes } else { no });
            return Ok(());
        }
        match &node.kind {
            Kind::If {
                test,
                then,
                otherwise,
            } => self.test_conditional(None, test, [then, otherwise], yes, no),
            Kind::Do(nodes) => match self.all_but_last(nodes)? {
                Some(last) => self.test(last, yes, no),
                None => Ok(()),
            },
            Kind::Let { bindings, body } => {
                if let Some((before, decision)) = named_decision(bindings, body) {
                    if self.bindings(before)? {
                        let ways = [decision.then, decision.otherwise];
                        self.test_conditional(Some(decision.local), decision.test, ways, yes, no)?;
                    }
                } else if self.bindings(bindings)? {
                    self.test(body, yes, no)?;
                }
                Ok(())
            }
            Kind::Intrinsic(intrinsic, arguments) if is_predicate(*intrinsic) => {
                self.predicate(*intrinsic, arguments, node.position, yes, no)
            }
            _ => {
                if let Some(value) = self.expression(node)? {
                    self.branch_on_truth(value, yes, no);
                }
                Ok(())
            }
        }
    }

    fn test_conditional(
        &mut self,
        named: Option<LocalId>,
        test: &'a Node,
        ways: [&'a Node; 2],
        yes: BlockId,
        no: BlockId,
    ) -> Result<(), TooDeep> {
        let blocks = [self.builder.block(), self.builder.block()];
        self.test(test, blocks[0], blocks[1])?;
        for ((block, truth), node) in blocks.into_iter().zip([TRUE, FALSE]).zip(ways) {
            self.builder.switch_to(block);
            if let Some(local) = named {
                self.bind(local, Operand::Word(truth));
            }
            match (&test.kind, &node.kind) {
                // `and` and `or` ask for the same local again, whose truth is known by now.
                (Kind::Local(asked), Kind::Local(again)) if asked == again => {
                    self.builder.jump(if truth == TRUE { yes } else { no });
                }
                _ => self.test(node, yes, no)?,
            }
        }
        Ok(())
    }

    pub(super) fn branch_on_truth(&mut self, value: Operand, yes: BlockId, no: BlockId) {
        match value {
            Operand::Word(word) => self.builder.jump(if is_truthy(word) { yes } else { no }),
            Operand::Register(_) => {
                let word = self.builder.binary(
                    BinaryOperation::Or,
                    value,
                    Operand::Word(FALSY_DIFFERENCE),
                );
                self.builder
                    .branch(Comparison::NotEqual, word, Operand::Word(FALSE), yes, no);
            }
        }
    }

    /// The truth of an expression without effects that is known now.
    fn known_truth(&self, node: &Node) -> Option<bool> {
        match &node.kind {
            Kind::Immediate(word) => Some(is_truthy(*word)),
            Kind::Constant(_) | Kind::Function(_) | Kind::Var(_) => Some(true),
            Kind::Local(local) => match self.local(*local) {
                Operand::Word(word) => Some(is_truthy(word)),
                Operand::Register(_) => None,
            },
            _ => None,
        }
    }
}

fn is_truthy(word: u64) -> bool {
    word | FALSY_DIFFERENCE != FALSE
}

/// A `let*` whose last local is a boolean that its body decides by.
struct NamedDecision<'a> {
    local: LocalId,
    test: &'a Node,
    then: &'a Node,
    otherwise: &'a Node,
}

/// Recognises `(let* [... x (< a b)] (if x ...))`, which is what `and` and `or` expand to: the
/// comparison branches, and the local is a constant on each way.
fn named_decision<'a>(
    bindings: &'a [Binding],
    body: &'a Node,
) -> Option<(&'a [Binding], NamedDecision<'a>)> {
    let Kind::If {
        test,
        then,
        otherwise,
    } = &body.kind
    else {
        return None;
    };
    let ((local, value), before) = bindings.split_last()?;
    match (&value.kind, &test.kind) {
        (Kind::Intrinsic(intrinsic, _), Kind::Local(asked))
            if is_predicate(*intrinsic) && asked == local =>
        {
            Some((
                before,
                NamedDecision {
                    local: *local,
                    test: value,
                    then,
                    otherwise,
                },
            ))
        }
        _ => None,
    }
}
