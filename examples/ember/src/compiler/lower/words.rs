//! Arrays of words in the frame, in which arguments, items and captures are handed to the runtime.

use super::TooDeep;
use super::function::FunctionLowering;
use super::runtime::RuntimeFunction;
use crate::compiler::ast::{Node, PackedPosition};
use crate::compiler::ir::{Instruction, Operand, Register, SlotId};

/// More values than this are written to the frame as they are evaluated: so many values that live
/// across calls take a register allocator time that grows with their square.
const MOST_IN_REGISTERS: usize = 16;

/// The arrays of one frame.
#[derive(Default)]
pub(super) struct Arrays {
    /// The one that is filled right before a call, so that all calls may use it.
    shared: Option<SlotId>,
    /// Those that were filled while other things were evaluated, and are free again.
    free: Vec<SlotId>,
}

/// Values that are handed on together.
pub(super) enum Words {
    /// They are in registers.
    Values(Vec<Operand>),
    /// They are in an array of their own.
    Stored {
        /// The array.
        array: SlotId,
        /// How many there are.
        count: usize,
    },
}

impl<'a> FunctionLowering<'_, 'a> {
    /// Lowers expressions in order; `None` if control does not come out of one of them.
    pub(super) fn words(&mut self, nodes: &'a [Node]) -> Result<Option<Words>, TooDeep> {
        if nodes.len() <= MOST_IN_REGISTERS {
            return Ok(self.values(nodes)?.map(Words::Values));
        }
        let count = nodes.len();
        let array = match self.arrays.free.pop() {
            Some(array) => array,
            None => self.builder.slot(0),
        };
        self.builder.widen(array, count as u32);
        for (index, node) in nodes.iter().enumerate() {
            match self.expression(node)? {
                Some(from) => self.store(array, index, from),
                None => return Ok(None),
            }
        }
        Ok(Some(Words::Stored { array, count }))
    }

    /// Calls a function of the runtime that takes a count and an array of words after `first`.
    pub(super) fn call_with_words(
        &mut self,
        function: RuntimeFunction,
        mut first: Vec<Operand>,
        words: Words,
        position: PackedPosition,
    ) -> Register {
        let (count, address) = match words {
            Words::Values(values) => (values.len(), self.spread(&values)),
            Words::Stored { array, count } => {
                self.arrays.free.push(array);
                (count, self.address(array))
            }
        };
        first.extend([Operand::Word(count as u64), address]);
        self.call_checked(function, first, position)
    }

    /// Writes values into the shared array and gives its address.
    pub(super) fn spread(&mut self, values: &[Operand]) -> Operand {
        if values.is_empty() {
            return Operand::Word(0);
        }
        let array = match self.arrays.shared {
            Some(array) => array,
            None => *self.arrays.shared.insert(self.builder.slot(0)),
        };
        self.builder.widen(array, values.len() as u32);
        for (index, value) in values.iter().enumerate() {
            self.store(array, index, *value);
        }
        self.address(array)
    }

    fn store(&mut self, slot: SlotId, index: usize, from: Operand) {
        let index = index as u32;
        self.builder
            .push(Instruction::StackStore { slot, index, from });
    }

    fn address(&mut self, slot: SlotId) -> Operand {
        let to = self.builder.register();
        self.builder.push(Instruction::StackAddress { to, slot });
        to.into()
    }
}
