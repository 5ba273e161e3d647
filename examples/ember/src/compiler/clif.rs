//! From the [IR](super::ir) to a unit of the Cranelift backend.
//!
//! Registers become `cranelift-frontend`'s variables, which builds the SSA form; everything else is
//! one to one.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    self as clif, AbiParam, InstBuilder, MemFlagsData, Signature, StackSlot, StackSlotData,
    StackSlotKind, Value,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use std::sync::OnceLock;

use rekindle_backend_cranelift::{CraneliftCompiler, DataId, FunctionId, Linkage, Unit};

use super::ir::{
    BinaryOperation, BlockId, CheckedOperation, Comparison, Function, Instruction, Operand,
    PARAMETERS, Program, Register, SymbolKind, Terminator,
};

/// What the unit has to agree on with the compiler that it is given to.
#[derive(Clone, Copy)]
struct Target {
    call_conv: CallConv,
    frontend: TargetFrontendConfig,
}

/// What units of this process have to agree on.
///
/// # Panics
/// On a machine that Cranelift does not know, where there is no cache to compile for either.
fn target() -> Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let compiler = CraneliftCompiler::native().expect("the cache's own compiler is the same");
        Target {
            call_conv: compiler.call_conv(),
            frontend: compiler.frontend_config(),
        }
    })
}

/// The unit of a program. The program must be well formed.
pub fn unit(program: &Program) -> Unit {
    let target = target();
    let mut unit = Unit::new();
    let imports = program
        .symbols
        .iter()
        .map(|symbol| match symbol.kind {
            SymbolKind::Word => Import::Word(unit.import_word(&symbol.name)),
            // The analyser lets no such call stand without a compiler of C++.
            SymbolKind::Cpp { parameters } => {
                let signature = signature(target.call_conv, parameters + 1, true);
                Import::Function(unit.import_function(&symbol.name, &signature))
            }
            SymbolKind::Function {
                parameters,
                returns,
            } => {
                let signature = signature(target.call_conv, parameters, returns);
                Import::Function(unit.import_function(&symbol.name, &signature))
            }
        })
        .collect();
    let compiled = signature(target.call_conv, PARAMETERS, true);
    let functions = program
        .functions
        .iter()
        .map(|function| {
            let linkage = if function.exported {
                Linkage::Export
            } else {
                Linkage::Local
            };
            unit.declare_function(&function.name, linkage, &compiled)
        })
        .collect();
    let names = Names { imports, functions };
    let mut context = FunctionBuilderContext::new();
    for (function, id) in program.functions.iter().zip(&names.functions) {
        let mut body = unit.new_body(*id);
        let builder = FunctionBuilder::new(&mut body, &mut context);
        Body::new(&unit, &names, function, builder).build(function, target.frontend);
        unit.define_function(*id, body);
    }
    unit
}

enum Import {
    Word(DataId),
    Function(FunctionId),
}

/// What the program's ids are in the unit.
struct Names {
    imports: Vec<Import>,
    functions: Vec<FunctionId>,
}

fn signature(call_conv: CallConv, parameters: u32, returns: bool) -> Signature {
    let mut signature = Signature::new(call_conv);
    signature
        .params
        .extend((0..parameters).map(|_| AbiParam::new(I64)));
    signature
        .returns
        .extend(returns.then(|| AbiParam::new(I64)));
    signature
}

struct Body<'a> {
    unit: &'a Unit,
    names: &'a Names,
    builder: FunctionBuilder<'a>,
    blocks: Vec<clif::Block>,
    /// How many edges into each block are still to come: with the last one, the block's variables
    /// are settled.
    edges: Vec<u32>,
    variables: Vec<Variable>,
    slots: Vec<StackSlot>,
}

impl<'a> Body<'a> {
    fn new(
        unit: &'a Unit,
        names: &'a Names,
        function: &Function,
        mut builder: FunctionBuilder<'a>,
    ) -> Self {
        let blocks: Vec<_> = function
            .blocks
            .iter()
            .map(|_| builder.create_block())
            .collect();
        let mut edges = vec![0; blocks.len()];
        for target in function
            .blocks
            .iter()
            .flat_map(|block| block.terminator.successors())
        {
            edges[target.0 as usize] += 1;
        }
        let variables = (0..function.registers)
            .map(|_| builder.declare_var(I64))
            .collect();
        let slots = function
            .slots
            .iter()
            .map(|words| {
                let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 8 * words, 3);
                builder.create_sized_stack_slot(data)
            })
            .collect();
        Self {
            unit,
            names,
            builder,
            blocks,
            edges,
            variables,
            slots,
        }
    }

    fn build(mut self, function: &Function, frontend: TargetFrontendConfig) {
        let entry = self.blocks[0];
        self.builder.append_block_params_for_function_params(entry);
        self.builder.seal_block(entry);
        for (index, block) in function.blocks.iter().enumerate() {
            self.builder.switch_to_block(self.blocks[index]);
            if block.cold {
                self.builder.set_cold_block(self.blocks[index]);
            }
            if index == 0 {
                for parameter in 0..PARAMETERS as usize {
                    let value = self.builder.block_params(entry)[parameter];
                    self.builder.def_var(self.variables[parameter], value);
                }
            }
            for instruction in &block.instructions {
                self.instruction(instruction);
            }
            self.terminator(&block.terminator);
            for BlockId(target) in block.terminator.successors() {
                let left = &mut self.edges[target as usize];
                *left -= 1;
                if *left == 0 {
                    self.builder.seal_block(self.blocks[target as usize]);
                }
            }
        }
        self.builder.finalize(frontend);
    }

    fn block(&self, block: BlockId) -> clif::Block {
        self.blocks[block.0 as usize]
    }

    fn read(&mut self, operand: Operand) -> Value {
        match operand {
            Operand::Register(register) => {
                self.builder.use_var(self.variables[register.0 as usize])
            }
            Operand::Word(word) => self.builder.ins().iconst(I64, word.cast_signed()),
        }
    }

    fn write(&mut self, register: Register, value: Value) {
        self.builder
            .def_var(self.variables[register.0 as usize], value);
    }

    fn instruction(&mut self, instruction: &Instruction) {
        match instruction {
            Instruction::Copy { to, from } => {
                let value = self.read(*from);
                self.write(*to, value);
            }
            Instruction::Symbol { to, symbol } => {
                if let Import::Word(word) = self.names.imports[symbol.0 as usize] {
                    let global = self.unit.global_value(word, self.builder.func);
                    let value = self.builder.ins().symbol_value(I64, global);
                    self.write(*to, value);
                }
            }
            Instruction::FunctionAddress { to, function } => {
                let id = self.names.functions[function.0 as usize];
                let reference = self.unit.func_ref(id, self.builder.func);
                let value = self.builder.ins().func_addr(I64, reference);
                self.write(*to, value);
            }
            Instruction::StackAddress { to, slot } => {
                let value = self
                    .builder
                    .ins()
                    .stack_addr(I64, self.slots[slot.0 as usize], 0);
                self.write(*to, value);
            }
            Instruction::Load { to, base, offset } => {
                let base = self.read((*base).into());
                let value = self.builder.ins().load(
                    I64,
                    MemFlagsData::trusted(),
                    base,
                    offset.cast_signed(),
                );
                self.write(*to, value);
            }
            Instruction::StackStore { slot, index, from } => {
                let value = self.read(*from);
                let offset = (8 * index).cast_signed();
                self.builder
                    .ins()
                    .stack_store(I64, value, self.slots[slot.0 as usize], offset);
            }
            Instruction::Call {
                to,
                symbol,
                arguments,
            } => {
                let Import::Function(function) = self.names.imports[symbol.0 as usize] else {
                    return;
                };
                let reference = self.unit.func_ref(function, self.builder.func);
                let arguments: Vec<_> = arguments
                    .iter()
                    .map(|argument| self.read(*argument))
                    .collect();
                let call = self.builder.ins().call(reference, &arguments);
                if let Some(to) = to {
                    let value = self.builder.inst_results(call)[0];
                    self.write(*to, value);
                }
            }
            Instruction::Binary {
                operation,
                to,
                left,
                right,
            } => {
                let (left, right) = (self.read(*left), self.read(*right));
                let instructions = self.builder.ins();
                let value = match operation {
                    BinaryOperation::Add => instructions.iadd(left, right),
                    BinaryOperation::Subtract => instructions.isub(left, right),
                    BinaryOperation::And => instructions.band(left, right),
                    BinaryOperation::Or => instructions.bor(left, right),
                    BinaryOperation::ShiftRight => instructions.sshr(left, right),
                };
                self.write(*to, value);
            }
        }
    }

    fn terminator(&mut self, terminator: &Terminator) {
        match terminator {
            Terminator::Jump(to) => {
                let to = self.block(*to);
                self.builder.ins().jump(to, &[]);
            }
            Terminator::Branch {
                comparison,
                left,
                right,
                then,
                otherwise,
            } => {
                let (left, right) = (self.read(*left), self.read(*right));
                let condition = self.builder.ins().icmp(condition(*comparison), left, right);
                let (then, otherwise) = (self.block(*then), self.block(*otherwise));
                self.builder
                    .ins()
                    .brif(condition, then, &[], otherwise, &[]);
            }
            Terminator::Checked {
                operation,
                to,
                left,
                right,
                then,
                overflow,
            } => {
                let (left, right) = (self.read(*left), self.read(*right));
                let instructions = self.builder.ins();
                let (value, overflowed) = match operation {
                    CheckedOperation::Add => instructions.sadd_overflow(left, right),
                    CheckedOperation::Subtract => instructions.ssub_overflow(left, right),
                    CheckedOperation::Multiply => instructions.smul_overflow(left, right),
                };
                self.write(*to, value);
                let (then, overflow) = (self.block(*then), self.block(*overflow));
                self.builder
                    .ins()
                    .brif(overflowed, overflow, &[], then, &[]);
            }
            Terminator::Return(word) => {
                let word = self.read(*word);
                self.builder.ins().return_(&[word]);
            }
        }
    }
}

fn condition(comparison: Comparison) -> IntCC {
    match comparison {
        Comparison::Equal => IntCC::Equal,
        Comparison::NotEqual => IntCC::NotEqual,
        Comparison::Less => IntCC::SignedLessThan,
        Comparison::LessOrEqual => IntCC::SignedLessThanOrEqual,
        Comparison::Greater => IntCC::SignedGreaterThan,
        Comparison::GreaterOrEqual => IntCC::SignedGreaterThanOrEqual,
    }
}
