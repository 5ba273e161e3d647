//! Checks that a [program](super::Program) is well formed, so that a mistake in the lowering is
//! found where it was made and not in a backend or at run time.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{
    BlockId, CALLEE, Function, Instruction, Operand, PARAMETERS, Program, Register, SymbolId,
    SymbolKind, Terminator,
};

/// What is wrong with a program. It is always a mistake of the lowering, never of the program's
/// author.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("in {function}, {block}: {what}")]
#[non_exhaustive]
pub struct Defect {
    /// The function.
    pub function: String,
    /// The block.
    pub block: BlockId,
    /// What is wrong there.
    pub what: String,
}

/// Checks every function: targets and symbols exist, calls have the arguments that their symbol
/// takes, and each register is written on every way to where it is read.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(program: &Program) -> Result<(), Defect> {
    program.functions.iter().try_for_each(|function| {
        let check = Check { program, function };
        if function.registers < PARAMETERS || function.blocks.is_empty() {
            return Err(check.defect(
                BlockId(0),
                "the function has no entry or no parameters".into(),
            ));
        }
        check.structure()?;
        check.definitions()
    })
}

struct Check<'a> {
    program: &'a Program,
    function: &'a Function,
}

/// A set of registers, as bits.
type Registers = Vec<u64>;

impl Check<'_> {
    fn defect(&self, block: BlockId, what: String) -> Defect {
        Defect {
            function: self.function.name.clone(),
            block,
            what,
        }
    }

    fn structure(&self) -> Result<(), Defect> {
        for (index, block) in self.function.blocks.iter().enumerate() {
            let id = BlockId(index as u32);
            for instruction in &block.instructions {
                if let Some(what) = self.instruction_defect(instruction) {
                    return Err(self.defect(id, what));
                }
            }
            for target in block.terminator.successors() {
                if target.0 == 0 || target.0 as usize >= self.function.blocks.len() {
                    return Err(self.defect(id, format!("{target} is no block to jump to")));
                }
            }
        }
        Ok(())
    }

    fn instruction_defect(&self, instruction: &Instruction) -> Option<String> {
        match instruction {
            Instruction::Symbol { symbol, .. } => match self.kind(*symbol) {
                Some(SymbolKind::Word) => None,
                _ => Some(format!("symbol {} is no word", symbol.0)),
            },
            Instruction::Call {
                to,
                symbol,
                arguments,
            } => match self.kind(*symbol) {
                Some(SymbolKind::Cpp { parameters })
                    if parameters as usize + 1 == arguments.len() && to.is_some() =>
                {
                    None
                }
                Some(SymbolKind::Function {
                    parameters,
                    returns,
                }) if parameters as usize == arguments.len() && returns == to.is_some() => None,
                _ => Some(format!(
                    "symbol {} is no function that can be called so",
                    symbol.0
                )),
            },
            Instruction::FunctionAddress { function, .. } => (function.0 as usize
                >= self.program.functions.len())
            .then(|| format!("there is no function {}", function.0)),
            Instruction::StackAddress { slot, .. } => self
                .function
                .slots
                .get(slot.0 as usize)
                .is_none()
                .then(|| format!("there is no slot {}", slot.0)),
            Instruction::StackStore { slot, index, .. } => {
                match self.function.slots.get(slot.0 as usize) {
                    Some(words) if index < words => None,
                    _ => Some(format!("slot {} has no word {index}", slot.0)),
                }
            }
            Instruction::Load { offset, .. } => (!offset.is_multiple_of(8))
                .then(|| format!("the offset {offset} is no multiple of 8")),
            Instruction::Copy { .. } | Instruction::Binary { .. } => None,
        }
    }

    fn kind(&self, symbol: SymbolId) -> Option<SymbolKind> {
        self.program
            .symbols
            .get(symbol.0 as usize)
            .map(|symbol| symbol.kind)
    }

    /// Forward data flow: the registers written on every way to a block's start, until nothing
    /// changes.
    fn definitions(&self) -> Result<(), Defect> {
        let words = (self.function.registers as usize).div_ceil(64);
        let mut entry = vec![0; words];
        for index in 0..PARAMETERS {
            insert(&mut entry, Register(index));
        }
        debug_assert!(contains(&entry, CALLEE));
        let mut at_start: Vec<Option<Registers>> = vec![None; self.function.blocks.len()];
        at_start[0] = Some(entry);
        // The earliest first: blocks stand in an order in which most are then looked at once.
        let mut pending = BTreeSet::from([0]);
        while let Some(index) = pending.pop_first() {
            let Some(mut written) = at_start[index].clone() else {
                continue;
            };
            let id = BlockId(index as u32);
            let block = &self.function.blocks[index];
            for instruction in &block.instructions {
                let mut undefined = None;
                instruction.read(|operand| undefined = undefined.or(missing(&written, operand)));
                self.none_missing(id, undefined)?;
                if let Some(to) = instruction.written() {
                    self.none_missing(id, (to.0 >= self.function.registers).then_some(to))?;
                    insert(&mut written, to);
                }
            }
            let mut undefined = None;
            block
                .terminator
                .read(|operand| undefined = undefined.or(missing(&written, operand)));
            self.none_missing(id, undefined)?;
            for target in block.terminator.successors() {
                let mut arriving = written.clone();
                if let Terminator::Checked {
                    to, then, overflow, ..
                } = &block.terminator
                {
                    self.none_missing(id, (to.0 >= self.function.registers).then_some(*to))?;
                    if target == *then && then != overflow {
                        insert(&mut arriving, *to);
                    } else {
                        remove(&mut arriving, *to);
                    }
                }
                if meet(&mut at_start[target.0 as usize], arriving) {
                    pending.insert(target.0 as usize);
                }
            }
        }
        Ok(())
    }

    fn none_missing(&self, block: BlockId, register: Option<Register>) -> Result<(), Defect> {
        match register {
            None => Ok(()),
            Some(register) => Err(self.defect(
                block,
                format!("{register} is not written on every way here"),
            )),
        }
    }
}

fn insert(set: &mut Registers, register: Register) {
    if let Some(word) = set.get_mut(register.0 as usize / 64) {
        *word |= 1 << (register.0 % 64);
    }
}

fn remove(set: &mut Registers, register: Register) {
    if let Some(word) = set.get_mut(register.0 as usize / 64) {
        *word &= !(1 << (register.0 % 64));
    }
}

fn contains(set: &Registers, register: Register) -> bool {
    set.get(register.0 as usize / 64)
        .is_some_and(|word| word >> (register.0 % 64) & 1 == 1)
}

fn missing(set: &Registers, operand: Operand) -> Option<Register> {
    match operand {
        Operand::Register(register) if !contains(set, register) => Some(register),
        _ => None,
    }
}

/// Intersects what is known at a block's start with what arrives; whether that changed anything.
fn meet(known: &mut Option<Registers>, arriving: Registers) -> bool {
    let Some(known) = known else {
        *known = Some(arriving);
        return true;
    };
    let mut changed = false;
    for (known, arriving) in known.iter_mut().zip(arriving) {
        let both = *known & arriving;
        changed |= both != *known;
        *known = both;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Comparison};
    use super::*;

    fn program(build: impl FnOnce(&mut Builder)) -> Program {
        let mut builder = Builder::new();
        build(&mut builder);
        Program {
            functions: vec![builder.finish("f".into(), true)],
            symbols: Vec::new(),
            positions: Vec::new(),
            cpp: None,
        }
    }

    #[test]
    fn a_register_written_on_one_way_only_is_a_defect() {
        let program = program(|b| {
            let result = b.register();
            let (then, otherwise, join) = (b.block(), b.block(), b.block());
            b.branch(Comparison::Equal, CALLEE, Operand::Word(0), then, otherwise);
            b.switch_to(then);
            b.copy(result, CALLEE);
            b.jump(join);
            b.switch_to(otherwise);
            b.jump(join);
            b.switch_to(join);
            b.end(Terminator::Return(result.into()));
        });
        let defect = verify(&program).expect_err("one way leaves it unwritten");
        assert!(defect.what.contains("r4"), "{defect}");
    }

    #[test]
    fn a_loop_whose_register_is_written_before_it_is_well_formed() {
        let program = program(|b| {
            let counter = b.register();
            let (head, done) = (b.block(), b.block());
            b.copy(counter, Operand::Word(0));
            b.jump(head);
            b.switch_to(head);
            b.branch(Comparison::Less, counter, Operand::Word(10), head, done);
            b.switch_to(done);
            b.end(Terminator::Return(counter.into()));
        });
        assert_eq!(verify(&program), Ok(()));
    }

    #[test]
    fn an_unknown_symbol_is_a_defect() {
        let program = program(|b| {
            let word = b.symbol(SymbolId(7));
            b.end(Terminator::Return(word.into()));
        });
        assert!(verify(&program).is_err());
    }
}
