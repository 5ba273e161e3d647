//! Builds one function of the [IR](super) block by block.

use super::{
    BinaryOperation, Block, BlockId, Comparison, Function, Instruction, Operand, PARAMETERS,
    Register, SlotId, SymbolId, Terminator,
};

/// A block that is being filled.
struct Open {
    instructions: Vec<Instruction>,
    terminator: Option<Terminator>,
    cold: bool,
}

/// A function that is being built: it has a current block, to which instructions are appended.
pub struct Builder {
    blocks: Vec<Open>,
    current: BlockId,
    registers: u32,
    slots: Vec<u32>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A function with an empty entry block, which is the current one.
    pub fn new() -> Self {
        let entry = Open {
            instructions: Vec::new(),
            terminator: None,
            cold: false,
        };
        Self {
            blocks: vec![entry],
            current: BlockId(0),
            registers: PARAMETERS,
            slots: Vec::new(),
        }
    }

    /// A register that nothing uses yet.
    pub fn register(&mut self) -> Register {
        let register = Register(self.registers);
        self.registers += 1;
        register
    }

    /// An array of `words` words in the frame.
    pub fn slot(&mut self, words: u32) -> SlotId {
        self.slots.push(words);
        SlotId(self.slots.len() as u32 - 1)
    }

    /// Makes an array at least as large as `words`.
    pub fn widen(&mut self, slot: SlotId, words: u32) {
        if let Some(size) = self.slots.get_mut(slot.0 as usize) {
            *size = (*size).max(words);
        }
    }

    /// An empty block.
    pub fn block(&mut self) -> BlockId {
        self.blocks.push(Open {
            instructions: Vec::new(),
            terminator: None,
            cold: false,
        });
        BlockId(self.blocks.len() as u32 - 1)
    }

    /// An empty block that is hardly ever run.
    pub fn cold_block(&mut self) -> BlockId {
        let block = self.block();
        self.blocks[block.0 as usize].cold = true;
        block
    }

    /// The block to which instructions are appended.
    pub fn current(&self) -> BlockId {
        self.current
    }

    /// Makes `block` the current one.
    pub fn switch_to(&mut self, block: BlockId) {
        self.current = block;
    }

    /// Appends an instruction.
    pub fn push(&mut self, instruction: Instruction) {
        let block = &mut self.blocks[self.current.0 as usize];
        debug_assert!(block.terminator.is_none(), "the block has ended");
        block.instructions.push(instruction);
    }

    /// Ends the current block.
    pub fn end(&mut self, terminator: Terminator) {
        let block = &mut self.blocks[self.current.0 as usize];
        debug_assert!(block.terminator.is_none(), "the block has ended");
        block.terminator = Some(terminator);
    }

    /// Ends the current block with a jump.
    pub fn jump(&mut self, to: BlockId) {
        self.end(Terminator::Jump(to));
    }

    /// Ends the current block with a branch.
    pub fn branch(
        &mut self,
        comparison: Comparison,
        left: impl Into<Operand>,
        right: impl Into<Operand>,
        then: BlockId,
        otherwise: BlockId,
    ) {
        self.end(Terminator::Branch {
            comparison,
            left: left.into(),
            right: right.into(),
            then,
            otherwise,
        });
    }

    /// Appends `to = from`.
    pub fn copy(&mut self, to: Register, from: impl Into<Operand>) {
        self.push(Instruction::Copy {
            to,
            from: from.into(),
        });
    }

    /// Appends arithmetic into a new register.
    pub fn binary(
        &mut self,
        operation: BinaryOperation,
        left: impl Into<Operand>,
        right: impl Into<Operand>,
    ) -> Register {
        let to = self.register();
        self.push(Instruction::Binary {
            operation,
            to,
            left: left.into(),
            right: right.into(),
        });
        to
    }

    /// Appends a read of a word into a new register.
    pub fn load(&mut self, base: Register, offset: u32) -> Register {
        let to = self.register();
        self.push(Instruction::Load { to, base, offset });
        to
    }

    /// Appends a read of a symbol's word into a new register.
    pub fn symbol(&mut self, symbol: SymbolId) -> Register {
        let to = self.register();
        self.push(Instruction::Symbol { to, symbol });
        to
    }

    /// Appends a call whose result is a new register.
    pub fn call(&mut self, symbol: SymbolId, arguments: Vec<Operand>) -> Register {
        let to = self.register();
        self.push(Instruction::Call {
            to: Some(to),
            symbol,
            arguments,
        });
        to
    }

    /// Appends a call that returns nothing.
    pub fn call_nothing(&mut self, symbol: SymbolId, arguments: Vec<Operand>) {
        self.push(Instruction::Call {
            to: None,
            symbol,
            arguments,
        });
    }

    /// The finished function: the blocks that can be reached, each after those that lead to it
    /// unless they lead back. In this order a backend knows most values before they are asked for.
    pub fn finish(self, name: String, exported: bool) -> Function {
        let order = self.order();
        let mut new_ids = vec![BlockId(0); self.blocks.len()];
        for (new, old) in order.iter().enumerate() {
            new_ids[*old] = BlockId(new as u32);
        }
        let renamed = |id: &mut BlockId| *id = new_ids[id.0 as usize];
        let mut open: Vec<Option<Open>> = self.blocks.into_iter().map(Some).collect();
        let blocks = order.iter().filter_map(|old| open[*old].take());
        let blocks = blocks.map(|block| {
            let mut terminator = block
                .terminator
                .expect("a block that can be reached has an end");
            match &mut terminator {
                Terminator::Jump(to) => renamed(to),
                Terminator::Branch {
                    then, otherwise, ..
                } => {
                    renamed(then);
                    renamed(otherwise);
                }
                Terminator::Checked { then, overflow, .. } => {
                    renamed(then);
                    renamed(overflow);
                }
                Terminator::Return(_) => {}
            }
            Block {
                instructions: block.instructions,
                terminator,
                cold: block.cold,
            }
        });
        Function {
            name,
            exported,
            registers: self.registers,
            blocks: blocks.collect(),
            slots: self.slots,
        }
    }

    /// The blocks that can be reached, in reverse postorder.
    fn order(&self) -> Vec<usize> {
        let successors = |block: usize| {
            let terminator = self.blocks[block].terminator.as_ref();
            terminator
                .map(|terminator| terminator.successors().collect::<Vec<_>>())
                .unwrap_or_default()
        };
        let mut met = vec![false; self.blocks.len()];
        met[0] = true;
        let mut order = Vec::with_capacity(self.blocks.len());
        // Each open block with those of its successors that were not looked at yet.
        let mut open = vec![(0, successors(0))];
        while let Some((block, left)) = open.last_mut() {
            match left.pop() {
                None => {
                    order.push(*block);
                    open.pop();
                }
                Some(BlockId(next)) => {
                    let next = next as usize;
                    if !std::mem::replace(&mut met[next], true) {
                        open.push((next, successors(next)));
                    }
                }
            }
        }
        order.reverse();
        order
    }
}
