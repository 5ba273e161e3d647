//! From the [IR](super::ir) to the text of a C++ translation unit.
//!
//! Registers become variables, blocks become labels; everything else is one to one. What symbols stand
//! for is declared under their names in the object, which may hold any letters.

use std::fmt::Write as _;

use rekindle_runtime_hooks::clang::backend::Unit;

use super::ir::{
    BinaryOperation, CheckedOperation, Comparison, Function, Instruction, Operand, PARAMETERS,
    Program, Register, SymbolKind, Terminator,
};

/// What every unit begins with.
pub const PRELUDE: &str = include_str!("../../prelude/ember.hpp");

/// Flags that the text relies on: what C++ leaves undefined and ember does not.
pub const FLAGS: [&str; 4] = [
    "-std=c++20",
    // A program may loop for ever.
    "-fno-finite-loops",
    // Words are values, numbers and addresses in turn.
    "-fno-strict-aliasing",
    "-fno-delete-null-pointer-checks",
];

/// The unit of a program. The program must be well formed.
pub fn unit(program: &Program) -> Unit {
    let mut text = Text(String::with_capacity(4096));
    if let Some(cpp) = &program.cpp {
        text.line(cpp);
        // What follows is the compiler's own.
        text.line("#line 1 \"ember\"");
    }
    text.imports(program);
    for (index, function) in program.functions.iter().enumerate() {
        text.line(&format!("{};", signature(index, function)));
    }
    for (index, function) in program.functions.iter().enumerate() {
        text.function(index, function);
    }
    Unit::new(text.0)
}

/// `[linkage] word name(word r0, ...)`
fn signature(index: usize, function: &Function) -> String {
    let parameters: Vec<_> = (0..PARAMETERS).map(|n| format!("word r{n}")).collect();
    let parameters = parameters.join(", ");
    match function.exported {
        true => format!("extern \"C\" word {}({parameters})", function.name),
        false => format!("static word ember_function_{index}({parameters})"),
    }
}

fn function_name(program: &Program, index: u32) -> String {
    match program.functions.get(index as usize) {
        Some(function) if function.exported => function.name.clone(),
        _ => format!("ember_function_{index}"),
    }
}

/// A function of ember's signature that calls one of C++: `name/parameters`.
fn cpp_call(index: usize, name: &str, parameters: u32) -> String {
    let name = name.rsplit_once('/').map_or(name, |(name, _)| name);
    let taken: String = (0..parameters).map(|n| format!(", word a{n}")).collect();
    let given: Vec<_> = (0..parameters)
        .map(|n| format!("ember::argument{{context, a{n}}}"))
        .collect();
    let given = given.join(", ");
    format!(
        "static word ember_call_{index}(word context{taken}) {{ return ember::call(context, [&] {{ return \
         {name}({given}); }}); }}"
    )
}

struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// Declares what the program refers to.
    fn imports(&mut self, program: &Program) {
        for (index, symbol) in program.symbols.iter().enumerate() {
            let name = quoted(&symbol.name);
            let line = match symbol.kind {
                // A letter, as it has no alignment that could be relied on.
                SymbolKind::Word => format!("extern char ember_word_{index} __asm__({name});"),
                SymbolKind::Cpp { parameters } => cpp_call(index, &symbol.name, parameters),
                SymbolKind::Function {
                    parameters,
                    returns,
                } => {
                    let result = if returns { "word" } else { "void" };
                    let parameters = vec!["word"; parameters as usize].join(", ");
                    format!("extern {result} ember_call_{index}({parameters}) __asm__({name});")
                }
            };
            self.line(&line);
        }
        for (index, symbol) in program.symbols.iter().enumerate() {
            // clang takes it for the address of a variable, which is not null and differs from all others;
            // what a symbol stands for is any word.
            if symbol.kind == SymbolKind::Word {
                self.line(&format!(
                    "static inline word ember_read_{index}() {{ word w = (word)&ember_word_{index}; \
                     __asm__(\"\" : \"+r\"(w)); return w; }}"
                ));
            }
        }
        self.program(program);
    }

    /// Names of functions, by number, for [`Instruction::FunctionAddress`].
    fn program(&mut self, program: &Program) {
        for index in 0..program.functions.len() as u32 {
            let name = function_name(program, index);
            if name != format!("ember_function_{index}") {
                self.line(&format!("#define ember_function_{index} {name}"));
            }
        }
    }

    fn function(&mut self, index: usize, function: &Function) {
        self.line(&format!("{} {{", signature(index, function)));
        // Before the first label, as no jump may pass a variable's beginning.
        let registers: Vec<_> = (PARAMETERS..function.registers)
            .map(|n| format!("r{n}"))
            .collect();
        if !registers.is_empty() {
            self.line(&format!("word {};", registers.join(", ")));
        }
        for (slot, words) in function.slots.iter().enumerate() {
            self.line(&format!("word s{slot}[{}];", (*words).max(1)));
        }
        for (number, block) in function.blocks.iter().enumerate() {
            // Nothing jumps to the entry.
            if number > 0 {
                self.line(&format!("b{number}:;"));
            }
            for instruction in &block.instructions {
                self.instruction(instruction);
            }
            self.terminator(&block.terminator);
        }
        self.line("}");
    }

    fn instruction(&mut self, instruction: &Instruction) {
        let line = match instruction {
            Instruction::Copy { to, from } => format!("{} = {};", register(*to), operand(*from)),
            Instruction::Symbol { to, symbol } => {
                format!("{} = ember_read_{}();", register(*to), symbol.0)
            }
            Instruction::FunctionAddress { to, function } => {
                format!("{} = (word)&ember_function_{};", register(*to), function.0)
            }
            Instruction::StackAddress { to, slot } => {
                format!("{} = (word)&s{}[0];", register(*to), slot.0)
            }
            Instruction::Load { to, base, offset } => {
                format!(
                    "{} = *(const word *)({} + {offset});",
                    register(*to),
                    register(*base)
                )
            }
            Instruction::StackStore { slot, index, from } => {
                format!("s{}[{index}] = {};", slot.0, operand(*from))
            }
            Instruction::Call {
                to,
                symbol,
                arguments,
            } => {
                let arguments: Vec<_> = arguments.iter().map(|one| operand(*one)).collect();
                let call = format!("ember_call_{}({})", symbol.0, arguments.join(", "));
                match to {
                    Some(to) => format!("{} = {call};", register(*to)),
                    None => format!("{call};"),
                }
            }
            Instruction::Binary {
                operation,
                to,
                left,
                right,
            } => {
                let (to, left, right) = (register(*to), operand(*left), operand(*right));
                match operation {
                    BinaryOperation::Add => format!("{to} = {left} + {right};"),
                    BinaryOperation::Subtract => format!("{to} = {left} - {right};"),
                    BinaryOperation::And => format!("{to} = {left} & {right};"),
                    BinaryOperation::Or => format!("{to} = {left} | {right};"),
                    BinaryOperation::ShiftRight => {
                        format!("{to} = (word)((number){left} >> {right});")
                    }
                }
            }
        };
        self.line(&line);
    }

    fn terminator(&mut self, terminator: &Terminator) {
        let line = match terminator {
            Terminator::Jump(to) => format!("goto b{};", to.0),
            Terminator::Branch {
                comparison,
                left,
                right,
                then,
                otherwise,
            } => {
                let sign = match comparison {
                    Comparison::Equal => "==",
                    Comparison::NotEqual => "!=",
                    Comparison::Less => "<",
                    Comparison::LessOrEqual => "<=",
                    Comparison::Greater => ">",
                    Comparison::GreaterOrEqual => ">=",
                };
                let (left, right) = (operand(*left), operand(*right));
                format!(
                    "if ((number){left} {sign} (number){right}) goto b{}; else goto b{};",
                    then.0, otherwise.0
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
                let name = match operation {
                    CheckedOperation::Add => "add",
                    CheckedOperation::Subtract => "sub",
                    CheckedOperation::Multiply => "mul",
                };
                let (left, right) = (operand(*left), operand(*right));
                format!(
                    "if (__builtin_{name}_overflow((number){left}, (number){right}, \
                     (number *)&{})) goto b{}; else goto b{};",
                    register(*to),
                    overflow.0,
                    then.0
                )
            }
            Terminator::Return(word) => format!("return {};", operand(*word)),
        };
        self.line(&line);
    }
}

fn register(register: Register) -> String {
    format!("r{}", register.0)
}

fn operand(operand: Operand) -> String {
    match operand {
        Operand::Register(of) => register(of),
        Operand::Word(word) => format!("{word:#x}ul"),
    }
}

/// A name as a string literal. Only escapes that a literal without a value may have are used; a name that
/// the reader gave has no other letters that would need one.
fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for letter in name.chars() {
        match letter {
            '"' | '\\' => {
                text.push('\\');
                text.push(letter);
            }
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            _ => {
                let _ = write!(text, "{letter}");
            }
        }
    }
    text.push('"');
    text
}
