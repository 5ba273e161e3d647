//! The backend-neutral intermediate representation: what every backend of ember is given.
//!
//! A program is a list of functions over mutable 64-bit virtual registers, arrays of words on the
//! stack and basic blocks. There are no types (a word is a value, an address or a number), no phi
//! nodes and no exceptions: what can fail returns 0 and is followed by a branch. That is little
//! enough for a backend of a few hundred lines, be it for Cranelift, LLVM or C++.
//!
//! A program is plain data in a fixed order, so the same program always gives the same text and the
//! same code.

use rekindle_cache_core::Digest;
use std::hash::{Hash, Hasher};

mod build;
mod text;
mod verify;

pub use build::Builder;
pub use verify::{Defect, verify};

/// How many parameters every function has: context, callee, argument count, argument array. They
/// are the first registers.
pub const PARAMETERS: u32 = 4;
/// The register that holds the context's address.
pub const CONTEXT: Register = Register(0);
/// The register that holds the word of the closure that is being called, 0 in a factory.
pub const CALLEE: Register = Register(1);
/// The register that holds the number of arguments.
pub const ARGC: Register = Register(2);
/// The register that holds the address of the first argument.
pub const ARGV: Register = Register(3);

/// A mutable 64-bit virtual register of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Register(pub u32);

/// A basic block of one function; the first one is the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// An array of words in the frame of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(pub u32);

/// A symbol of the outside: an index into [`Program::symbols`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SymbolId(pub u32);

/// A function of the same program: an index into [`Program::functions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FunctionId(pub u32);

/// Where an instruction takes a word from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// What the register holds now.
    Register(Register),
    /// The word itself.
    Word(u64),
}

impl From<Register> for Operand {
    fn from(register: Register) -> Self {
        Self::Register(register)
    }
}

/// Arithmetic on words that cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOperation {
    /// Wrapping sum.
    Add,
    /// Wrapping difference.
    Subtract,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Arithmetic shift to the right; the count is below 64.
    ShiftRight,
}

/// Signed arithmetic whose overflow is a way out of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckedOperation {
    /// Signed sum.
    Add,
    /// Signed difference.
    Subtract,
    /// Signed product.
    Multiply,
}

/// How two words are compared; the orders are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// The same word.
    Equal,
    /// Different words.
    NotEqual,
    /// Signed less.
    Less,
    /// Signed less or equal.
    LessOrEqual,
    /// Signed greater.
    Greater,
    /// Signed greater or equal.
    GreaterOrEqual,
}

/// One step inside a block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Instruction {
    /// `to = from`.
    Copy {
        /// The register written.
        to: Register,
        /// What is copied.
        from: Operand,
    },
    /// `to =` the word that the symbol of the outside stands for.
    Symbol {
        /// The register written.
        to: Register,
        /// Whose word it is.
        symbol: SymbolId,
    },
    /// `to =` the address of a function of this program.
    FunctionAddress {
        /// The register written.
        to: Register,
        /// Whose address it is.
        function: FunctionId,
    },
    /// `to =` the address of an array in the frame.
    StackAddress {
        /// The register written.
        to: Register,
        /// Which array.
        slot: SlotId,
    },
    /// `to =` the word at `base + offset` bytes.
    Load {
        /// The register written.
        to: Register,
        /// The address, without the offset.
        base: Register,
        /// In bytes, a multiple of 8.
        offset: u32,
    },
    /// Writes a word into an array of the frame.
    StackStore {
        /// Which array.
        slot: SlotId,
        /// Which word of it.
        index: u32,
        /// What is written.
        from: Operand,
    },
    /// Calls a function of the outside; all its parameters are words.
    Call {
        /// The register written, `None` if the function returns nothing.
        to: Option<Register>,
        /// The function.
        symbol: SymbolId,
        /// Its arguments.
        arguments: Vec<Operand>,
    },
    /// `to = left operation right`.
    Binary {
        /// What is computed.
        operation: BinaryOperation,
        /// The register written.
        to: Register,
        /// The left operand.
        left: Operand,
        /// The right operand.
        right: Operand,
    },
}

/// How a block ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Terminator {
    /// Goes on at the block.
    Jump(BlockId),
    /// Goes one of two ways by comparing two words.
    Branch {
        /// What is asked.
        comparison: Comparison,
        /// The left operand.
        left: Operand,
        /// The right operand.
        right: Operand,
        /// The way if the comparison holds.
        then: BlockId,
        /// The way if it does not.
        otherwise: BlockId,
    },
    /// `to = left operation right` and on at `then`; on at `overflow`, with `to` undefined, if the
    /// result does not fit.
    Checked {
        /// What is computed.
        operation: CheckedOperation,
        /// The register written.
        to: Register,
        /// The left operand.
        left: Operand,
        /// The right operand.
        right: Operand,
        /// The way if the result fits.
        then: BlockId,
        /// The way if it does not.
        overflow: BlockId,
    },
    /// Leaves the function with the word.
    Return(Operand),
}

/// A straight run of instructions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// What it does, in order.
    pub instructions: Vec<Instruction>,
    /// How it ends.
    pub terminator: Terminator,
    /// Whether it is hardly ever run, so that a backend lays it out away from the others.
    pub cold: bool,
}

/// A function with the signature of every compiled function: four words in, one word out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// The name of its symbol.
    pub name: String,
    /// Whether the host looks it up by name.
    pub exported: bool,
    /// How many registers it uses, its [`PARAMETERS`] included.
    pub registers: u32,
    /// The number of words of each array in its frame.
    pub slots: Vec<u32>,
    /// Its blocks; the first is the entry, to which nothing jumps.
    pub blocks: Vec<Block>,
}

/// What a symbol of the outside is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SymbolKind {
    /// Something whose word is loaded.
    Word,
    /// A function with this many parameters, which are words.
    Function {
        /// How many.
        parameters: u32,
        /// Whether it returns a word.
        returns: bool,
    },
    /// A function of C++ with this many parameters, the context not counted, for a backend that compiles
    /// C++: it is given values, and gives one, or 0 if an exception is pending.
    Cpp {
        /// How many.
        parameters: u32,
    },
}

/// A name of the outside that the program refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Symbol {
    /// The name, as the host resolves it when the code is loaded.
    pub name: String,
    /// How it is used.
    pub kind: SymbolKind,
}

/// All functions of one unit and the symbols they import.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// The functions, in the order in which the lowering met them; the factory is the first.
    pub functions: Vec<Function>,
    /// The imports, in the order of their first use.
    pub symbols: Vec<Symbol>,
    /// The packed positions that the code speaks of by number. They are no part of the program's text.
    pub positions: Vec<u32>,
    /// The C++ that the program was written against, for a backend that compiles C++.
    pub cpp: Option<String>,
}

impl Program {
    /// A digest of all that code is made of: programs with equal digests have the same code. Positions are
    /// no part of it.
    pub fn canonical(&self) -> Digest {
        let mut encoded = Encoded(Vec::with_capacity(4096));
        self.functions.hash(&mut encoded);
        self.symbols.hash(&mut encoded);
        self.cpp.hash(&mut encoded);
        Digest::of("ember program", &encoded.0)
    }
}

/// The bytes that the derived `Hash` feeds to a hasher: no two values of a type feed the same, and within
/// one build of this program a value always feeds the same.
struct Encoded(Vec<u8>);

impl Hasher for Encoded {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

impl Instruction {
    /// The register that the instruction writes.
    pub fn written(&self) -> Option<Register> {
        match self {
            Self::Copy { to, .. }
            | Self::Symbol { to, .. }
            | Self::FunctionAddress { to, .. }
            | Self::StackAddress { to, .. }
            | Self::Load { to, .. }
            | Self::Binary { to, .. } => Some(*to),
            Self::Call { to, .. } => *to,
            Self::StackStore { .. } => None,
        }
    }

    /// Calls `each` with every operand that the instruction reads.
    pub fn read(&self, mut each: impl FnMut(Operand)) {
        match self {
            Self::Copy { from, .. } | Self::StackStore { from, .. } => each(*from),
            Self::Load { base, .. } => each((*base).into()),
            Self::Call { arguments, .. } => arguments.iter().copied().for_each(each),
            Self::Binary { left, right, .. } => {
                each(*left);
                each(*right);
            }
            Self::Symbol { .. } | Self::FunctionAddress { .. } | Self::StackAddress { .. } => {}
        }
    }
}

impl Terminator {
    /// Calls `each` with every operand that the terminator reads.
    pub fn read(&self, mut each: impl FnMut(Operand)) {
        match self {
            Self::Jump(_) => {}
            Self::Return(word) => each(*word),
            Self::Branch { left, right, .. } | Self::Checked { left, right, .. } => {
                each(*left);
                each(*right);
            }
        }
    }

    /// The blocks that may come next.
    pub fn successors(&self) -> impl Iterator<Item = BlockId> {
        let (first, second) = match self {
            Self::Jump(block) => (Some(*block), None),
            Self::Branch {
                then, otherwise, ..
            } => (Some(*then), Some(*otherwise)),
            Self::Checked { then, overflow, .. } => (Some(*then), Some(*overflow)),
            Self::Return(_) => (None, None),
        };
        first.into_iter().chain(second)
    }
}
