//! The [IR](super) as text, for people and for tests that look at its structure.

use std::fmt::{Display, Formatter, Result};

use super::{
    BinaryOperation, Block, BlockId, CheckedOperation, Comparison, Function, Instruction, Operand,
    Program, Register, SymbolId, Terminator,
};

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (index, function) in self.functions.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write_function(f, self, function)?;
        }
        Ok(())
    }
}

fn write_function(f: &mut Formatter<'_>, program: &Program, function: &Function) -> Result {
    let linkage = if function.exported { "export " } else { "" };
    writeln!(f, "{linkage}function {}:", function.name)?;
    for (index, words) in function.slots.iter().enumerate() {
        writeln!(f, "  slot{index}: {words} words")?;
    }
    for (index, block) in function.blocks.iter().enumerate() {
        write_block(f, program, index, block)?;
    }
    Ok(())
}

fn write_block(f: &mut Formatter<'_>, program: &Program, index: usize, block: &Block) -> Result {
    writeln!(
        f,
        "{}{}:",
        BlockId(index as u32),
        if block.cold { " cold" } else { "" }
    )?;
    for instruction in &block.instructions {
        write!(f, "    ")?;
        write_instruction(f, program, instruction)?;
        writeln!(f)?;
    }
    match &block.terminator {
        Terminator::Jump(to) => writeln!(f, "    jump {to}"),
        Terminator::Branch {
            comparison,
            left,
            right,
            then,
            otherwise,
        } => {
            writeln!(
                f,
                "    if {left} {comparison} {right} then {then} else {otherwise}"
            )
        }
        Terminator::Checked {
            operation,
            to,
            left,
            right,
            then,
            overflow,
        } => {
            writeln!(
                f,
                "    {to} = {operation} {left}, {right} then {then} overflow {overflow}"
            )
        }
        Terminator::Return(word) => writeln!(f, "    return {word}"),
    }
}

fn write_instruction(
    f: &mut Formatter<'_>,
    program: &Program,
    instruction: &Instruction,
) -> Result {
    let name = |symbol: &SymbolId| {
        program
            .symbols
            .get(symbol.0 as usize)
            .map_or("?", |symbol| symbol.name.as_str())
    };
    match instruction {
        Instruction::Copy { to, from } => write!(f, "{to} = {from}"),
        Instruction::Symbol { to, symbol } => write!(f, "{to} = symbol {:?}", name(symbol)),
        Instruction::FunctionAddress { to, function } => {
            let name = program
                .functions
                .get(function.0 as usize)
                .map_or("?", |function| function.name.as_str());
            write!(f, "{to} = address of {name}")
        }
        Instruction::StackAddress { to, slot } => write!(f, "{to} = address of slot{}", slot.0),
        Instruction::Load { to, base, offset } => write!(f, "{to} = [{base} + {offset}]"),
        Instruction::StackStore { slot, index, from } => {
            write!(f, "slot{}[{index}] = {from}", slot.0)
        }
        Instruction::Call {
            to,
            symbol,
            arguments,
        } => {
            if let Some(to) = to {
                write!(f, "{to} = ")?;
            }
            write!(f, "call {}(", name(symbol))?;
            for (index, argument) in arguments.iter().enumerate() {
                write!(f, "{}{argument}", if index > 0 { ", " } else { "" })?;
            }
            write!(f, ")")
        }
        Instruction::Binary {
            operation,
            to,
            left,
            right,
        } => write!(f, "{to} = {operation} {left}, {right}"),
    }
}

impl Display for Register {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            0 => f.write_str("cx"),
            1 => f.write_str("callee"),
            2 => f.write_str("argc"),
            3 => f.write_str("argv"),
            index => write!(f, "r{index}"),
        }
    }
}

impl Display for BlockId {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "block{}", self.0)
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Register(register) => register.fmt(f),
            Self::Word(word) => write!(f, "{word:#x}"),
        }
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl Display for BinaryOperation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::And => "and",
            Self::Or => "or",
            Self::ShiftRight => "shift_right",
        })
    }
}

impl Display for CheckedOperation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Add => "checked_add",
            Self::Subtract => "checked_subtract",
            Self::Multiply => "checked_multiply",
        })
    }
}
