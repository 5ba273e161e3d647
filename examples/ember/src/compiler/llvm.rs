//! From the [IR](super::ir) to an LLVM module.
//!
//! Registers become stack variables, which LLVM's first pass turns into SSA form; everything else is one
//! to one.

use rekindle_runtime_hooks::llvm::backend::Unit;
use rekindle_runtime_hooks::llvm::backend::inkwell::AddressSpace;
use rekindle_runtime_hooks::llvm::backend::inkwell::IntPredicate;
use rekindle_runtime_hooks::llvm::backend::inkwell::basic_block::BasicBlock;
use rekindle_runtime_hooks::llvm::backend::inkwell::builder::{Builder, BuilderError};
use rekindle_runtime_hooks::llvm::backend::inkwell::context::Context;
use rekindle_runtime_hooks::llvm::backend::inkwell::intrinsics::Intrinsic;
use rekindle_runtime_hooks::llvm::backend::inkwell::module::{Linkage, Module};
use rekindle_runtime_hooks::llvm::backend::inkwell::types::{FunctionType, IntType, StructType};
use rekindle_runtime_hooks::llvm::backend::inkwell::values::{
    BasicMetadataValueEnum, BasicValueEnum, FunctionValue, GlobalValue, IntValue, PointerValue,
};

use super::ir::{
    BinaryOperation, BlockId, CheckedOperation, Comparison, Function, Instruction, Operand,
    PARAMETERS, Program, Register, SymbolKind, Terminator,
};

/// The unit of a program. The program must be well formed.
///
/// # Panics
/// If LLVM finds the module wrong, which is a mistake in this file.
pub fn unit(program: &Program) -> Unit {
    let context = Context::create();
    let module = context.create_module("");
    let built = Lowering::new(&context, &module, program).build(program);
    built.expect("instructions are appended to blocks only");
    Unit::from_module(&module).expect("a program that is well formed makes a valid module")
}

enum Import<'c> {
    Word(GlobalValue<'c>),
    Function(FunctionValue<'c>),
}

/// What the program's ids are in the module.
struct Lowering<'c> {
    context: &'c Context,
    builder: Builder<'c>,
    word: IntType<'c>,
    imports: Vec<Import<'c>>,
    functions: Vec<FunctionValue<'c>>,
    /// For addition, subtraction and multiplication.
    checked: [FunctionValue<'c>; 3],
}

impl<'c> Lowering<'c> {
    fn new(context: &'c Context, module: &Module<'c>, program: &Program) -> Self {
        let word = context.i64_type();
        let signature = |parameters: u32, returns: bool| -> FunctionType<'c> {
            let parameters = vec![word.into(); parameters as usize];
            match returns {
                true => word.fn_type(&parameters, false),
                false => context.void_type().fn_type(&parameters, false),
            }
        };
        let import = |name: &str, kind: SymbolKind| match kind {
            SymbolKind::Word => {
                let global = module.add_global(context.i8_type(), None, name);
                global.set_alignment(1);
                Import::Word(global)
            }
            // The analyser lets no such call stand without a compiler of C++.
            SymbolKind::Cpp { parameters } => {
                let signature = signature(parameters + 1, true);
                Import::Function(module.add_function(name, signature, None))
            }
            SymbolKind::Function {
                parameters,
                returns,
            } => Import::Function(module.add_function(name, signature(parameters, returns), None)),
        };
        let symbols = program.symbols.iter();
        let functions = program.functions.iter().map(|function| {
            let linkage = if function.exported {
                Linkage::External
            } else {
                Linkage::Internal
            };
            module.add_function(&function.name, signature(PARAMETERS, true), Some(linkage))
        });
        let checked = |name: &str| {
            Intrinsic::find(name)
                .and_then(|intrinsic| intrinsic.get_declaration(module, &[word.into()]))
                .expect("every LLVM has it")
        };
        Self {
            context,
            builder: context.create_builder(),
            word,
            imports: symbols
                .map(|symbol| import(&symbol.name, symbol.kind))
                .collect(),
            functions: functions.collect(),
            checked: [
                checked("llvm.sadd.with.overflow"),
                checked("llvm.ssub.with.overflow"),
                checked("llvm.smul.with.overflow"),
            ],
        }
    }

    fn build(&self, program: &Program) -> Result<(), BuilderError> {
        for (function, value) in program.functions.iter().zip(&self.functions) {
            Body::new(self, function, *value)?.build(function)?;
        }
        Ok(())
    }
}

struct Body<'l, 'c> {
    lowering: &'l Lowering<'c>,
    blocks: Vec<BasicBlock<'c>>,
    registers: Vec<PointerValue<'c>>,
    slots: Vec<(StructType<'c>, PointerValue<'c>)>,
}

impl<'l, 'c> Body<'l, 'c> {
    fn new(
        lowering: &'l Lowering<'c>,
        function: &Function,
        value: FunctionValue<'c>,
    ) -> Result<Self, BuilderError> {
        let (context, builder, word) = (lowering.context, &lowering.builder, lowering.word);
        // Frames larger than a page touch each page in turn, so that running out of stack meets the guard
        // page and not what lies behind it.
        let probes = context.create_string_attribute("probe-stack", "inline-asm");
        value.add_attribute(
            rekindle_runtime_hooks::llvm::backend::inkwell::attributes::AttributeLoc::Function,
            probes,
        );
        let blocks: Vec<_> = (0..function.blocks.len())
            .map(|_| context.append_basic_block(value, ""))
            .collect();
        builder.position_at_end(blocks[0]);
        let mut registers = Vec::with_capacity(function.registers as usize);
        for _ in 0..function.registers {
            registers.push(builder.build_alloca(word, "")?);
        }
        let mut slots = Vec::with_capacity(function.slots.len());
        for words in &function.slots {
            let array = context.struct_type(&vec![word.into(); *words as usize], false);
            slots.push((array, builder.build_alloca(array, "")?));
        }
        for (parameter, register) in value.get_param_iter().zip(&registers) {
            builder.build_store(*register, parameter)?;
        }
        Ok(Self {
            lowering,
            blocks,
            registers,
            slots,
        })
    }

    fn build(&self, function: &Function) -> Result<(), BuilderError> {
        for (block, place) in function.blocks.iter().zip(&self.blocks) {
            self.builder().position_at_end(*place);
            for instruction in &block.instructions {
                self.instruction(instruction)?;
            }
            self.terminator(&block.terminator)?;
        }
        Ok(())
    }

    fn builder(&self) -> &'l Builder<'c> {
        &self.lowering.builder
    }

    fn block(&self, block: BlockId) -> BasicBlock<'c> {
        self.blocks[block.0 as usize]
    }

    fn read(&self, operand: Operand) -> Result<IntValue<'c>, BuilderError> {
        let word = self.lowering.word;
        Ok(match operand {
            Operand::Register(register) => {
                let place = self.registers[register.0 as usize];
                self.builder().build_load(word, place, "")?.into_int_value()
            }
            Operand::Word(constant) => word.const_int(constant, false),
        })
    }

    fn write(&self, register: Register, value: IntValue<'c>) -> Result<(), BuilderError> {
        let place = self.registers[register.0 as usize];
        self.builder().build_store(place, value)?;
        Ok(())
    }

    fn address(&self, pointer: PointerValue<'c>) -> Result<IntValue<'c>, BuilderError> {
        self.builder()
            .build_ptr_to_int(pointer, self.lowering.word, "")
    }

    fn instruction(&self, instruction: &Instruction) -> Result<(), BuilderError> {
        let builder = self.builder();
        match instruction {
            Instruction::Copy { to, from } => self.write(*to, self.read(*from)?),
            Instruction::Symbol { to, symbol } => {
                let Import::Word(global) = &self.lowering.imports[symbol.0 as usize] else {
                    return Ok(());
                };
                let word = self.address(global.as_pointer_value())?;
                self.write(*to, self.opaque(word)?)
            }
            Instruction::FunctionAddress { to, function } => {
                let function = self.lowering.functions[function.0 as usize];
                let address = self.address(function.as_global_value().as_pointer_value())?;
                self.write(*to, address)
            }
            Instruction::StackAddress { to, slot } => {
                let (_, slot) = self.slots[slot.0 as usize];
                self.write(*to, self.address(slot)?)
            }
            Instruction::Load { to, base, offset } => {
                let word = self.lowering.word;
                let base = self.read((*base).into())?;
                let offset = word.const_int((*offset).into(), false);
                let address = builder.build_int_add(base, offset, "")?;
                let pointer = self.lowering.context.ptr_type(AddressSpace::default());
                let place = builder.build_int_to_ptr(address, pointer, "")?;
                let value = builder.build_load(word, place, "")?.into_int_value();
                self.write(*to, value)
            }
            Instruction::StackStore { slot, index, from } => {
                let (array, slot) = self.slots[slot.0 as usize];
                let place = builder.build_struct_gep(array, slot, *index, "")?;
                builder.build_store(place, self.read(*from)?)?;
                Ok(())
            }
            Instruction::Call {
                to,
                symbol,
                arguments,
            } => {
                let Import::Function(function) = &self.lowering.imports[symbol.0 as usize] else {
                    return Ok(());
                };
                let mut values: Vec<BasicMetadataValueEnum<'c>> = Vec::new();
                for argument in arguments {
                    values.push(self.read(*argument)?.into());
                }
                let call = builder.build_call(*function, &values, "")?;
                match (to, call.try_as_basic_value().basic()) {
                    (Some(to), Some(BasicValueEnum::IntValue(value))) => self.write(*to, value),
                    _ => Ok(()),
                }
            }
            Instruction::Binary {
                operation,
                to,
                left,
                right,
            } => {
                let (left, right) = (self.read(*left)?, self.read(*right)?);
                let value = match operation {
                    BinaryOperation::Add => builder.build_int_add(left, right, ""),
                    BinaryOperation::Subtract => builder.build_int_sub(left, right, ""),
                    BinaryOperation::And => builder.build_and(left, right, ""),
                    BinaryOperation::Or => builder.build_or(left, right, ""),
                    BinaryOperation::ShiftRight => builder.build_right_shift(left, right, true, ""),
                };
                self.write(*to, value?)
            }
        }
    }

    /// The word, of which LLVM is to know nothing: what stands for a symbol is any word, and LLVM takes it
    /// for the address of a variable, which is not null and differs from all others.
    fn opaque(&self, word: IntValue<'c>) -> Result<IntValue<'c>, BuilderError> {
        let word_type = self.lowering.word;
        let same = word_type.fn_type(&[word_type.into()], false);
        let nothing = self.lowering.context.create_inline_asm(
            same,
            String::new(),
            "=r,0".to_owned(),
            false,
            false,
            None,
            false,
        );
        let call = self
            .builder()
            .build_indirect_call(same, nothing, &[word.into()], "")?;
        let value = call.try_as_basic_value().basic();
        Ok(value.map_or(word, BasicValueEnum::into_int_value))
    }

    fn terminator(&self, terminator: &Terminator) -> Result<(), BuilderError> {
        let builder = self.builder();
        match terminator {
            Terminator::Jump(to) => {
                builder.build_unconditional_branch(self.block(*to))?;
            }
            Terminator::Branch {
                comparison,
                left,
                right,
                then,
                otherwise,
            } => {
                let (left, right) = (self.read(*left)?, self.read(*right)?);
                let holds = builder.build_int_compare(predicate(*comparison), left, right, "")?;
                let (then, otherwise) = (self.block(*then), self.block(*otherwise));
                builder.build_conditional_branch(holds, then, otherwise)?;
            }
            Terminator::Checked {
                operation,
                to,
                left,
                right,
                then,
                overflow,
            } => {
                let [add, subtract, multiply] = self.lowering.checked;
                let function = match operation {
                    CheckedOperation::Add => add,
                    CheckedOperation::Subtract => subtract,
                    CheckedOperation::Multiply => multiply,
                };
                let (left, right) = (self.read(*left)?, self.read(*right)?);
                let call = builder.build_call(function, &[left.into(), right.into()], "")?;
                let Some(BasicValueEnum::StructValue(pair)) = call.try_as_basic_value().basic()
                else {
                    return Ok(());
                };
                let value = builder.build_extract_value(pair, 0, "")?;
                let overflowed = builder.build_extract_value(pair, 1, "")?;
                self.write(*to, value.into_int_value())?;
                let (then, overflow) = (self.block(*then), self.block(*overflow));
                builder.build_conditional_branch(overflowed.into_int_value(), overflow, then)?;
            }
            Terminator::Return(word) => {
                let word = self.read(*word)?;
                builder.build_return(Some(&word))?;
            }
        }
        Ok(())
    }
}

fn predicate(comparison: Comparison) -> IntPredicate {
    match comparison {
        Comparison::Equal => IntPredicate::EQ,
        Comparison::NotEqual => IntPredicate::NE,
        Comparison::Less => IntPredicate::SLT,
        Comparison::LessOrEqual => IntPredicate::SLE,
        Comparison::Greater => IntPredicate::SGT,
        Comparison::GreaterOrEqual => IntPredicate::SGE,
    }
}
