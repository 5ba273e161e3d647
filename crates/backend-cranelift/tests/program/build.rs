//! Random programs as units.

use super::{
    FLOATS, FloatOp, INTEGERS, IntegerOp, Place, Program, Statement, Variable, WORDS, host,
};
use crate::building::{define, signature, word};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F64, I32, I64};
use cranelift_codegen::ir::{
    InstBuilder, MemFlagsData, Signature, StackSlot, StackSlotData, StackSlotKind, Type, Value,
};
use cranelift_frontend::{FunctionBuilder, Variable as Slot};
use rekindle_backend_cranelift::{DataContents, FunctionId, Linkage, Unit};

/// The name of the program's first function, which takes an integer and a float.
pub(crate) const MAIN: &str = "main";
/// The name of the writable data.
pub(crate) const STATE: &str = "state";
const TABLE: &str = "table of \"constants\"";

/// The unit of `program`.
pub(crate) fn unit(program: &Program) -> Unit {
    let mut unit = Unit::new();
    let signature = signature(&[I64, F64], &[I64]);
    let host = unit.import_function(host::FUNCTION, &signature);
    for (name, _) in host::WORDS {
        unit.import_word(name);
    }
    let mut functions = Vec::new();
    for index in 0..program.functions.len() {
        let (name, linkage) = match index {
            0 => (MAIN.to_owned(), Linkage::Export),
            _ => (format!("fn {index}"), Linkage::Local),
        };
        functions.push(unit.declare_function(&name, linkage, &signature));
    }

    let state = unit.declare_data(STATE, Linkage::Export);
    unit.define_data(state, DataContents::variable(bytes(&program.state)));
    // Behind its constants the table has a pointer to each function.
    let table = unit.declare_data(TABLE, Linkage::Local);
    let mut contents = bytes(&program.table);
    contents.resize(contents.len() + 8 * functions.len(), 0);
    let mut contents = DataContents::constant(contents);
    for (index, function) in functions.iter().enumerate() {
        contents = contents.with_address(8 * (WORDS + index) as u32, *function, 0);
    }
    unit.define_data(table, contents);

    for (index, statements) in program.functions.iter().enumerate() {
        define(&mut unit, functions[index], |unit, builder, parameters| {
            let mut body = Body::new(unit, builder, &functions, index, host, &signature);
            body.begin(parameters);
            body.block(statements);
            body.end();
        });
    }
    unit
}

fn bytes(words: &[i64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

struct Body<'a, 'b> {
    unit: &'a Unit,
    builder: &'a mut FunctionBuilder<'b>,
    functions: &'a [FunctionId],
    index: usize,
    host: FunctionId,
    signature: &'a Signature,
    integers: Vec<Slot>,
    floats: Vec<Slot>,
    stack: StackSlot,
}

impl<'a, 'b> Body<'a, 'b> {
    fn new(
        unit: &'a Unit,
        builder: &'a mut FunctionBuilder<'b>,
        functions: &'a [FunctionId],
        index: usize,
        host: FunctionId,
        signature: &'a Signature,
    ) -> Self {
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 8 * WORDS as u32, 3);
        Self {
            unit,
            functions,
            index,
            host,
            signature,
            integers: (0..INTEGERS).map(|_| builder.declare_var(I64)).collect(),
            floats: (0..FLOATS).map(|_| builder.declare_var(F64)).collect(),
            stack: builder.create_sized_stack_slot(data),
            builder,
        }
    }

    fn begin(&mut self, parameters: &[Value]) {
        for variable in 0..INTEGERS {
            let value = match variable {
                0 => parameters[0],
                _ => self.builder.ins().iconst(I64, variable as i64),
            };
            self.set(variable, value);
        }
        for variable in 0..FLOATS {
            self.set_float(variable, parameters[1]);
        }
        for word in 0..WORDS {
            let value = self.builder.ins().iconst(I64, word as i64);
            self.builder
                .ins()
                .stack_store(I64, value, self.stack, 8 * word as i32);
        }
    }

    /// Returns a mix of all variables and of the stack slot.
    fn end(&mut self) {
        let mut sum = self.get(0);
        let mut values: Vec<_> = (1..INTEGERS).map(|variable| self.get(variable)).collect();
        for variable in 0..FLOATS {
            let float = self.get_float(variable);
            values.push(self.builder.ins().bitcast(I64, MemFlagsData::new(), float));
        }
        for word in 0..WORDS {
            values.push(
                self.builder
                    .ins()
                    .stack_load(I64, I64, self.stack, 8 * word as i32),
            );
        }
        for value in values {
            let turned = self.builder.ins().rotl_imm_u(sum, 7);
            sum = self.builder.ins().bxor(turned, value);
        }
        self.builder.ins().return_(&[sum]);
    }

    fn block(&mut self, statements: &[Statement]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Set(to, value) => {
                let value = self.builder.ins().iconst(I64, *value);
                self.set(*to, value);
            }
            Statement::SetFloat(to, value) => {
                let value = self.builder.ins().f64const(*value);
                self.set_float(*to, value);
            }
            Statement::Integer(op, to, a, b) => {
                let (a, b) = (self.get(*a), self.get(*b));
                let value = self.integer(*op, I64, a, b);
                self.set(*to, value);
            }
            Statement::Narrow(op, to, a, b) => {
                let (a, b) = (self.get(*a), self.get(*b));
                let a = self.builder.ins().ireduce(I32, a);
                let b = self.builder.ins().ireduce(I32, b);
                let value = self.integer(*op, I32, a, b);
                let value = self.builder.ins().sextend(I64, value);
                self.set(*to, value);
            }
            Statement::Float(op, to, a, b) => {
                let (a, b) = (self.get_float(*a), self.get_float(*b));
                let value = self.float(*op, a, b);
                self.set_float(*to, value);
            }
            Statement::ToFloat(to, from) => {
                let from = self.get(*from);
                let value = self.builder.ins().fcvt_from_sint(F64, from);
                self.set_float(*to, value);
            }
            Statement::ToInteger(to, from) => {
                let from = self.get_float(*from);
                let value = self.builder.ins().fcvt_to_sint_sat(I64, from);
                self.set(*to, value);
            }
            Statement::Bits(to, from) => {
                let from = self.get_float(*from);
                let value = self.builder.ins().bitcast(I64, MemFlagsData::new(), from);
                self.set(*to, value);
            }
            Statement::Load(place, at, to) => {
                let address = self.address(*place, *at);
                let value = self
                    .builder
                    .ins()
                    .load(I64, MemFlagsData::trusted(), address, 0);
                self.set(*to, value);
            }
            Statement::Store(place, at, from) => {
                let place = match place {
                    Place::Table => Place::State,
                    other => *other,
                };
                let address = self.address(place, *at);
                let value = self.get(*from);
                self.builder
                    .ins()
                    .store(MemFlagsData::trusted(), value, address, 0);
            }
            Statement::Word(index, to) => {
                let word = word(self.unit, self.builder, host::WORDS[*index].0);
                let value = self.get(*to);
                let value = self.builder.ins().iadd(value, word);
                self.set(*to, value);
            }
            Statement::Host(integer, float) => {
                let host = self.unit.func_ref(self.host, self.builder.func);
                let arguments = [self.get(*integer), self.get_float(*float)];
                let call = self.builder.ins().call(host, &arguments);
                let value = self.builder.inst_results(call)[0];
                self.set(*integer, value);
            }
            Statement::Call(callee, integer, float) => {
                let Some((_, callee)) = self.later(*callee) else {
                    return;
                };
                let callee = self.unit.func_ref(callee, self.builder.func);
                let arguments = [self.get(*integer), self.get_float(*float)];
                let call = self.builder.ins().call(callee, &arguments);
                let value = self.builder.inst_results(call)[0];
                self.set(*integer, value);
            }
            Statement::CallPointer(callee, integer, float) => {
                let Some((index, _)) = self.later(*callee) else {
                    return;
                };
                let table = word(self.unit, self.builder, TABLE);
                let offset = 8 * (WORDS + index) as i32;
                let flags = MemFlagsData::trusted();
                let pointer = self.builder.ins().load(I64, flags, table, offset);
                let signature = self.builder.import_signature(self.signature.clone());
                let arguments = [self.get(*integer), self.get_float(*float)];
                let call = self
                    .builder
                    .ins()
                    .call_indirect(signature, pointer, &arguments);
                let value = self.builder.inst_results(call)[0];
                self.set(*integer, value);
            }
            Statement::If(a, b, then, otherwise) => self.if_less(*a, *b, then, otherwise),
            Statement::Repeat(times, block) => self.repeat(*times, block),
        }
    }

    fn if_less(&mut self, a: Variable, b: Variable, then: &[Statement], otherwise: &[Statement]) {
        let (a, b) = (self.get(a), self.get(b));
        let condition = self.builder.ins().icmp(IntCC::SignedLessThan, a, b);
        let then_block = self.builder.create_block();
        let else_block = self.builder.create_block();
        let after = self.builder.create_block();
        self.builder
            .ins()
            .brif(condition, then_block, &[], else_block, &[]);
        for (block, statements) in [(then_block, then), (else_block, otherwise)] {
            self.builder.switch_to_block(block);
            self.block(statements);
            self.builder.ins().jump(after, &[]);
        }
        self.builder.switch_to_block(after);
    }

    fn repeat(&mut self, times: u8, statements: &[Statement]) {
        let counter = self.builder.declare_var(I64);
        let start = self.builder.ins().iconst(I64, i64::from(times));
        self.builder.def_var(counter, start);
        let head = self.builder.create_block();
        let body = self.builder.create_block();
        let after = self.builder.create_block();
        self.builder.ins().jump(head, &[]);
        self.builder.switch_to_block(head);
        let left = self.builder.use_var(counter);
        self.builder.ins().brif(left, body, &[], after, &[]);
        self.builder.switch_to_block(body);
        self.block(statements);
        let left = self.builder.use_var(counter);
        let left = self.builder.ins().iadd_imm_s(left, -1);
        self.builder.def_var(counter, left);
        self.builder.ins().jump(head, &[]);
        self.builder.switch_to_block(after);
    }

    fn integer(&mut self, op: IntegerOp, width: Type, a: Value, b: Value) -> Value {
        let ins = self.builder.ins();
        match op {
            IntegerOp::Add => ins.iadd(a, b),
            IntegerOp::Subtract => ins.isub(a, b),
            IntegerOp::Multiply => ins.imul(a, b),
            IntegerOp::MultiplyHigh => ins.smulhi(a, b),
            IntegerOp::Divide | IntegerOp::Remainder => {
                // Unsigned, as a signed one may overflow; odd, as zero would trap.
                let odd = ins.bor_imm_u(b, 1);
                match op {
                    IntegerOp::Divide => self.builder.ins().udiv(a, odd),
                    _ => self.builder.ins().urem(a, odd),
                }
            }
            IntegerOp::And => ins.band(a, b),
            IntegerOp::Or => ins.bor(a, b),
            IntegerOp::Xor => ins.bxor(a, b),
            IntegerOp::ShiftLeft => ins.ishl(a, b),
            IntegerOp::ShiftRight => ins.ushr(a, b),
            IntegerOp::ShiftRightSigned => ins.sshr(a, b),
            IntegerOp::Rotate => ins.rotl(a, b),
            IntegerOp::Minimum => ins.smin(a, b),
            IntegerOp::Less => {
                let less = ins.icmp(IntCC::UnsignedLessThan, a, b);
                self.builder.ins().uextend(width, less)
            }
            IntegerOp::LeadingZeros => ins.clz(a),
            IntegerOp::Population => ins.popcnt(a),
        }
    }

    fn float(&mut self, op: FloatOp, a: Value, b: Value) -> Value {
        let ins = self.builder.ins();
        match op {
            FloatOp::Add => ins.fadd(a, b),
            FloatOp::Subtract => ins.fsub(a, b),
            FloatOp::Multiply => ins.fmul(a, b),
            FloatOp::Divide => ins.fdiv(a, b),
            FloatOp::Minimum => ins.fmin(a, b),
            FloatOp::Root => ins.sqrt(a),
            FloatOp::Floor => ins.floor(a),
            FloatOp::Nearest => ins.nearest(a),
            FloatOp::Fused => ins.fma(a, b, a),
        }
    }

    /// The address of a word whose index is in the variable `at`.
    fn address(&mut self, place: Place, at: Variable) -> Value {
        let base = match place {
            Place::Stack => self.builder.ins().stack_addr(I64, self.stack, 0),
            Place::State => word(self.unit, self.builder, STATE),
            Place::Table => word(self.unit, self.builder, TABLE),
        };
        let at = self.get(at);
        let at = self.builder.ins().band_imm_u(at, WORDS as i64 - 1);
        let at = self.builder.ins().ishl_imm_u(at, 3);
        self.builder.ins().iadd(base, at)
    }

    /// One of the functions after this one, with its index.
    fn later(&self, choice: usize) -> Option<(usize, FunctionId)> {
        let first = self.index + 1;
        let count = self
            .functions
            .len()
            .checked_sub(first)
            .filter(|count| *count > 0)?;
        let index = first + choice % count;
        Some((index, *self.functions.get(index)?))
    }

    fn get(&mut self, variable: Variable) -> Value {
        self.builder.use_var(self.integers[variable])
    }

    fn set(&mut self, variable: Variable, value: Value) {
        self.builder.def_var(self.integers[variable], value);
    }

    fn get_float(&mut self, variable: Variable) -> Value {
        self.builder.use_var(self.floats[variable])
    }

    fn set_float(&mut self, variable: Variable, value: Value) {
        self.builder.def_var(self.floats[variable], value);
    }
}
