//! From the [syntax tree](super::ast) to the [IR](super::ir).
//!
//! One function at a time: a closure met in one function is queued and lowered after it. Everything
//! is numbered in the order in which it is met, so the same tree always gives the same program.

mod arithmetic;
mod conditional;
mod exception;
mod expression;
mod function;
mod repetition;
mod runtime;
mod words;

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use self::function::FunctionLowering;
use self::runtime::RuntimeFunction;
use super::ast::{Function, Node, PackedPosition};
use super::ir::{FunctionId, Program, Symbol, SymbolId, SymbolKind};

/// The name of the factory's symbol.
pub const FACTORY: &str = "ember_factory";

/// The form is nested more deeply than the native stack allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooDeep {
    /// Where in the form this was noticed.
    pub position: PackedPosition,
}

/// Lowers a form to a program whose first function, [`FACTORY`], evaluates it.
///
/// `enough_stack` is asked at every level of nesting.
///
/// # Errors
/// When `enough_stack` says no.
pub fn lower(form: &Node, enough_stack: &dyn Fn() -> bool) -> Result<Program, TooDeep> {
    let mut program = ProgramLowering {
        symbols: Vec::new(),
        by_name: FxHashMap::default(),
        positions: Vec::new(),
        position_numbers: FxHashMap::default(),
        waiting: VecDeque::new(),
        met: 0,
        enough_stack,
    };
    let mut functions = vec![FunctionLowering::new(&mut program, None).factory(form)?];
    while let Some((name, function)) = program.waiting.pop_front() {
        functions.push(
            FunctionLowering::new(&mut program, function.name.as_deref())
                .compiled(function, name)?,
        );
    }
    Ok(Program {
        functions,
        symbols: program.symbols,
        positions: program.positions,
        cpp: None,
    })
}

/// What all functions of a program share.
struct ProgramLowering<'a> {
    symbols: Vec<Symbol>,
    by_name: FxHashMap<String, SymbolId>,
    positions: Vec<PackedPosition>,
    position_numbers: FxHashMap<PackedPosition, u64>,
    waiting: VecDeque<(String, &'a Function)>,
    met: u32,
    enough_stack: &'a dyn Fn() -> bool,
}

impl<'a> ProgramLowering<'a> {
    fn word(&mut self, name: String) -> SymbolId {
        self.symbol(name, SymbolKind::Word)
    }

    fn runtime(&mut self, function: RuntimeFunction) -> SymbolId {
        let kind = SymbolKind::Function {
            parameters: function.parameters,
            returns: function.returns,
        };
        self.symbol(function.name.to_owned(), kind)
    }

    /// A function of C++. One name may be called with several numbers of arguments.
    fn cpp(&mut self, name: &str, parameters: u32) -> SymbolId {
        self.symbol(
            format!("{name}/{parameters}"),
            SymbolKind::Cpp { parameters },
        )
    }

    fn symbol(&mut self, name: String, kind: SymbolKind) -> SymbolId {
        if let Some(id) = self.by_name.get(&name) {
            return *id;
        }
        let id = SymbolId(self.symbols.len() as u32);
        self.by_name.insert(name.clone(), id);
        self.symbols.push(Symbol { name, kind });
        id
    }

    /// The number of a position. Code holds numbers, so that the same code serves a text that was moved
    /// about or laid out anew.
    fn position(&mut self, position: PackedPosition) -> u64 {
        let next = self.positions.len() as u64;
        *self.position_numbers.entry(position).or_insert_with(|| {
            self.positions.push(position);
            next
        })
    }

    /// Queues a closure's code and gives the id that it will have: the factory has the first.
    fn function(&mut self, function: &'a Function) -> FunctionId {
        let name = format!("fn_{}", self.met);
        self.met += 1;
        self.waiting.push_back((name, function));
        FunctionId(self.met)
    }
}

/// The readable text of a string, for the name of a function: letters that would need an escape
/// cannot occur in what the reader makes a symbol of, but a macro may have made one of anything.
fn string_constant(text: &str) -> String {
    let mut constant = String::with_capacity(text.len() + 8);
    constant.push_str("const:\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                constant.push('\\');
                constant.push(letter);
            }
            '\n' => constant.push_str("\\n"),
            '\t' => constant.push_str("\\t"),
            '\r' => constant.push_str("\\r"),
            '\0' => constant.push_str("\\0"),
            _ => constant.push(letter),
        }
    }
    constant.push('"');
    constant
}
