//! Calls that are compiled in place: a fast way for fixnums, the runtime's function for everything
//! else.
//!
//! A fixnum `n` is the word `2n + 1`. So words of fixnums compare as their numbers do, and a sum is
//! one addition once one of the two tags is taken off.

use super::TooDeep;
use super::function::{Flow, FunctionLowering};
use super::runtime::{self, RuntimeFunction};
use crate::compiler::ast::{Node, PackedPosition};
use crate::compiler::intrinsic::Intrinsic;
use crate::compiler::ir::{
    BinaryOperation, BlockId, CheckedOperation, Comparison, Operand, Terminator,
};
use crate::compiler::{FALSE, NIL, TRUE};

/// The bit that fixnums have and nothing else has.
const FIXNUM_TAG: u64 = 1;
/// The bits of which every word has one, unless it is the address of a heap object.
const IMMEDIATE_TAGS: u64 = 7;
const ZERO: Operand = Operand::Word(FIXNUM_TAG);
const ONE: Operand = Operand::Word(2 + FIXNUM_TAG);

/// Whether a call in place gives a boolean.
pub(super) fn is_predicate(intrinsic: Intrinsic) -> bool {
    match intrinsic {
        Intrinsic::Add
        | Intrinsic::Subtract
        | Intrinsic::Multiply
        | Intrinsic::Divide
        | Intrinsic::Quotient
        | Intrinsic::Remainder
        | Intrinsic::Modulus
        | Intrinsic::Increment
        | Intrinsic::Decrement => false,
        Intrinsic::Less
        | Intrinsic::LessOrEqual
        | Intrinsic::Greater
        | Intrinsic::GreaterOrEqual
        | Intrinsic::NumericallyEqual
        | Intrinsic::Equal
        | Intrinsic::NotEqual
        | Intrinsic::Identical
        | Intrinsic::Not
        | Intrinsic::IsNil
        | Intrinsic::IsSome
        | Intrinsic::IsTrue
        | Intrinsic::IsFalse
        | Intrinsic::IsZero
        | Intrinsic::IsPositive
        | Intrinsic::IsNegative => true,
    }
}

/// Whether a word is known now to be a fixnum, or known not to be one.
fn is_fixnum(operand: Operand) -> Option<bool> {
    match operand {
        Operand::Word(word) => Some(word & FIXNUM_TAG != 0),
        Operand::Register(_) => None,
    }
}

impl<'a> FunctionLowering<'_, 'a> {
    /// Lowers a call in place for its value.
    pub(super) fn intrinsic(
        &mut self,
        intrinsic: Intrinsic,
        arguments: &'a [Node],
        position: PackedPosition,
    ) -> Flow {
        if is_predicate(intrinsic) {
            return self.boolean(intrinsic, arguments, position);
        }
        let Some(values) = self.values(arguments)? else {
            return Ok(None);
        };
        let Some((first, rest)) = values.split_first() else {
            return Ok(None);
        };
        let one = [ONE];
        let rest = if matches!(intrinsic, Intrinsic::Increment | Intrinsic::Decrement) {
            &one
        } else {
            rest
        };
        let value = rest.iter().fold(*first, |left, right| {
            self.arithmetic(intrinsic, left, *right, position)
        });
        Ok(Some(value))
    }

    fn arithmetic(
        &mut self,
        intrinsic: Intrinsic,
        left: Operand,
        right: Operand,
        position: PackedPosition,
    ) -> Operand {
        let (checked, slow) = match intrinsic {
            Intrinsic::Add | Intrinsic::Increment => (Some(CheckedOperation::Add), runtime::ADD),
            Intrinsic::Subtract | Intrinsic::Decrement => {
                (Some(CheckedOperation::Subtract), runtime::SUBTRACT)
            }
            Intrinsic::Multiply => (Some(CheckedOperation::Multiply), runtime::MULTIPLY),
            Intrinsic::Divide => (None, runtime::DIVIDE),
            Intrinsic::Quotient => (None, runtime::QUOTIENT),
            Intrinsic::Remainder => (None, runtime::REMAINDER),
            _ => (None, runtime::MODULUS),
        };
        match checked {
            Some(operation)
                if is_fixnum(left) != Some(false) && is_fixnum(right) != Some(false) =>
            {
                self.fixnum_arithmetic(operation, slow, left, right, position)
            }
            _ => self.call_checked(slow, vec![left, right], position).into(),
        }
    }

    fn fixnum_arithmetic(
        &mut self,
        operation: CheckedOperation,
        slow: RuntimeFunction,
        left: Operand,
        right: Operand,
        position: PackedPosition,
    ) -> Operand {
        let (fast_block, slow_block, join) = (
            self.builder.block(),
            self.builder.cold_block(),
            self.builder.block(),
        );
        let result = self.builder.register();
        self.branch_if_fixnums(left, right, fast_block, slow_block);

        self.builder.switch_to(fast_block);
        let then = match operation {
            CheckedOperation::Add | CheckedOperation::Subtract => join,
            CheckedOperation::Multiply => self.builder.block(),
        };
        let (left_word, right_word) = match (operation, left, right) {
            // The constant's tag is taken off here rather than at run time.
            (CheckedOperation::Add, Operand::Word(word), Operand::Register(_)) => {
                (right, Operand::Word(word - FIXNUM_TAG))
            }
            (CheckedOperation::Add | CheckedOperation::Subtract, _, _) => {
                (left, self.untagged(right))
            }
            (CheckedOperation::Multiply, _, _) => (self.untagged(left), self.number(right)),
        };
        let end = Terminator::Checked {
            operation,
            to: result,
            left: left_word,
            right: right_word,
            then,
            overflow: slow_block,
        };
        self.builder.end(end);
        if operation == CheckedOperation::Multiply {
            self.builder.switch_to(then);
            let tagged =
                self.builder
                    .binary(BinaryOperation::Add, result, Operand::Word(FIXNUM_TAG));
            self.builder.copy(result, tagged);
            self.builder.jump(join);
        }

        self.builder.switch_to(slow_block);
        let value = self.call_checked(slow, vec![left, right], position);
        self.builder.copy(result, value);
        self.builder.jump(join);
        self.builder.switch_to(join);
        result.into()
    }

    /// `2n` of the fixnum `n`.
    fn untagged(&mut self, fixnum: Operand) -> Operand {
        match fixnum {
            Operand::Word(word) => Operand::Word(word - FIXNUM_TAG),
            Operand::Register(_) => self
                .builder
                .binary(BinaryOperation::Subtract, fixnum, Operand::Word(FIXNUM_TAG))
                .into(),
        }
    }

    /// `n` of the fixnum `n`.
    fn number(&mut self, fixnum: Operand) -> Operand {
        match fixnum {
            Operand::Word(word) => Operand::Word((word.cast_signed() >> 1).cast_unsigned()),
            Operand::Register(_) => self
                .builder
                .binary(BinaryOperation::ShiftRight, fixnum, Operand::Word(1))
                .into(),
        }
    }

    fn branch_if_fixnums(&mut self, left: Operand, right: Operand, yes: BlockId, no: BlockId) {
        let both = match (is_fixnum(left), is_fixnum(right)) {
            (Some(false), _) | (_, Some(false)) => return self.builder.jump(no),
            (Some(true), Some(true)) => return self.builder.jump(yes),
            (Some(true), None) => right,
            (None, Some(true)) => left,
            (None, None) if left == right => left,
            (None, None) => self
                .builder
                .binary(BinaryOperation::And, left, right)
                .into(),
        };
        let tag = self
            .builder
            .binary(BinaryOperation::And, both, Operand::Word(FIXNUM_TAG));
        self.builder
            .branch(Comparison::NotEqual, tag, Operand::Word(0), yes, no);
    }

    /// Lowers a predicate for its value.
    fn boolean(
        &mut self,
        intrinsic: Intrinsic,
        arguments: &'a [Node],
        position: PackedPosition,
    ) -> Flow {
        let (yes, no, join) = (
            self.builder.block(),
            self.builder.block(),
            self.builder.block(),
        );
        let result = self.builder.register();
        self.predicate(intrinsic, arguments, position, yes, no)?;
        for (block, word) in [(yes, TRUE), (no, FALSE)] {
            self.builder.switch_to(block);
            self.builder.copy(result, Operand::Word(word));
            self.builder.jump(join);
        }
        self.builder.switch_to(join);
        Ok(Some(result.into()))
    }

    /// Lowers a predicate as a decision.
    pub(super) fn predicate(
        &mut self,
        intrinsic: Intrinsic,
        arguments: &'a [Node],
        position: PackedPosition,
        yes: BlockId,
        no: BlockId,
    ) -> Result<(), TooDeep> {
        if let (Intrinsic::Not, [argument]) = (intrinsic, arguments) {
            return self.test(argument, no, yes);
        }
        let Some(values) = self.values(arguments)? else {
            return Ok(());
        };
        let (left, right) = match *values.as_slice() {
            [left, right] => (left, right),
            [value] => (value, ZERO),
            _ => {
                unreachable!("the table of intrinsics has predicates of one or two arguments only")
            }
        };
        let (comparison, slow) = match intrinsic {
            Intrinsic::Less | Intrinsic::IsNegative => (Comparison::Less, runtime::LESS),
            Intrinsic::LessOrEqual => (Comparison::LessOrEqual, runtime::LESS_OR_EQUAL),
            Intrinsic::Greater | Intrinsic::IsPositive => (Comparison::Greater, runtime::GREATER),
            Intrinsic::GreaterOrEqual => (Comparison::GreaterOrEqual, runtime::GREATER_OR_EQUAL),
            Intrinsic::NumericallyEqual | Intrinsic::IsZero => {
                (Comparison::Equal, runtime::NUMERICALLY_EQUAL)
            }
            Intrinsic::Equal => return self.equal(left, right, position, yes, no),
            Intrinsic::NotEqual => return self.equal(left, right, position, no, yes),
            _ => {
                let (other, then, otherwise) = match intrinsic {
                    Intrinsic::IsNil => (Operand::Word(NIL), yes, no),
                    Intrinsic::IsSome => (Operand::Word(NIL), no, yes),
                    Intrinsic::IsTrue => (Operand::Word(TRUE), yes, no),
                    Intrinsic::IsFalse => (Operand::Word(FALSE), yes, no),
                    _ => (right, yes, no),
                };
                self.builder
                    .branch(Comparison::Equal, left, other, then, otherwise);
                return Ok(());
            }
        };
        let (fast_block, slow_block) = (self.builder.block(), self.builder.cold_block());
        self.branch_if_fixnums(left, right, fast_block, slow_block);
        self.builder.switch_to(fast_block);
        self.builder.branch(comparison, left, right, yes, no);
        self.builder.switch_to(slow_block);
        let value = self.call_checked(slow, vec![left, right], position);
        self.builder
            .branch(Comparison::Equal, value, Operand::Word(TRUE), yes, no);
        Ok(())
    }

    /// `=`: the same word is equal, and of different words only those of two heap objects may be.
    fn equal(
        &mut self,
        left: Operand,
        right: Operand,
        position: PackedPosition,
        yes: BlockId,
        no: BlockId,
    ) -> Result<(), TooDeep> {
        if matches!(left, Operand::Word(_)) || matches!(right, Operand::Word(_)) {
            // Words in the code are immediates.
            self.builder.branch(Comparison::Equal, left, right, yes, no);
            return Ok(());
        }
        let (different, heap) = (self.builder.block(), self.builder.block());
        self.builder
            .branch(Comparison::Equal, left, right, yes, different);
        self.builder.switch_to(different);
        let either = self.builder.binary(BinaryOperation::Or, left, right);
        let tag = self
            .builder
            .binary(BinaryOperation::And, either, Operand::Word(IMMEDIATE_TAGS));
        self.builder
            .branch(Comparison::NotEqual, tag, Operand::Word(0), no, heap);
        self.builder.switch_to(heap);
        let value = self.call_checked(runtime::EQUAL, vec![left, right], position);
        self.builder
            .branch(Comparison::Equal, value, Operand::Word(TRUE), yes, no);
        Ok(())
    }
}
