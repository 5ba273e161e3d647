//! The frame of a compiled function: how it is entered, how it finds its arguments, how it is left.

use rustc_hash::FxHashMap;

use super::runtime::{self, RuntimeFunction};
use super::words::Arrays;
use super::{FACTORY, ProgramLowering, TooDeep, string_constant};
use crate::compiler::ast::{self, Kind, LocalId, Method, Node, PackedPosition};
use crate::compiler::ir::{
    ARGC, ARGV, BlockId, Builder, CALLEE, CONTEXT, Comparison, Function, Instruction, Operand,
    Register, SymbolId, Terminator,
};

/// What lowering an expression gives: its value, or nothing if control does not come out of it
/// (`recur`, `throw`).
pub(super) type Flow = Result<Option<Operand>, TooDeep>;

/// Where a `recur` goes.
pub(super) struct Target {
    /// The start of what is repeated.
    pub(super) head: BlockId,
    /// What takes the new values.
    pub(super) registers: Vec<Register>,
    /// How far the handle scope is taken down.
    pub(super) mark: Register,
    /// 1 if a value may have been put on the handle scope since the head, else 0.
    pub(super) dirty: Register,
}

/// One function that is being lowered.
pub(super) struct FunctionLowering<'p, 'a> {
    pub(super) program: &'p mut ProgramLowering<'a>,
    pub(super) builder: Builder,
    /// What each local stands for.
    pub(super) locals: Vec<Option<Operand>>,
    /// The handlers of the `try`s around the current expression, innermost last.
    pub(super) handlers: Vec<BlockId>,
    /// The loops around the current expression, innermost last.
    pub(super) targets: Vec<Target>,
    /// The constant that names the function in traces.
    name: Option<SymbolId>,
    /// The word of `ember_enter`, if the function has a part of the handle scope for itself.
    mark: Option<Register>,
    /// The address of the closure's captures.
    captures: Option<Register>,
    pub(super) arrays: Arrays,
    /// Blocks that note where an exception passed, by position and handler.
    errors: FxHashMap<(PackedPosition, Option<BlockId>), BlockId>,
    /// The way out with an exception.
    failure: Option<BlockId>,
}

impl<'p, 'a> FunctionLowering<'p, 'a> {
    pub(super) fn new(program: &'p mut ProgramLowering<'a>, name: Option<&str>) -> Self {
        let name = name.map(|name| program.word(string_constant(name)));
        Self {
            program,
            builder: Builder::new(),
            locals: Vec::new(),
            handlers: Vec::new(),
            targets: Vec::new(),
            name,
            mark: None,
            captures: None,
            arrays: Arrays::default(),
            errors: FxHashMap::default(),
            failure: None,
        }
    }

    /// Lowers the form itself as the factory.
    pub(super) fn factory(mut self, form: &'a Node) -> Result<Function, TooDeep> {
        self.mark = Some(self.builder.register());
        self.enter();
        let value = self.expression(form)?;
        self.leave(value);
        Ok(self.builder.finish(FACTORY.to_owned(), true))
    }

    /// Lowers the code of a closure.
    pub(super) fn compiled(
        mut self,
        function: &'a ast::Function,
        name: String,
    ) -> Result<Function, TooDeep> {
        if !is_light(function) {
            self.mark = Some(self.builder.register());
        }
        for method in &function.methods {
            let required = Operand::Word(method.parameters.len() as u64);
            let comparison = if method.rest.is_some() {
                Comparison::GreaterOrEqual
            } else {
                Comparison::Equal
            };
            let (body, next) = (self.builder.block(), self.builder.block());
            self.builder.branch(comparison, ARGC, required, body, next);
            self.builder.switch_to(body);
            self.method(function, method)?;
            self.builder.switch_to(next);
        }
        // No trace from here: the caller's position is where the wrong number of arguments stands.
        self.call(runtime::ARITY, vec![CALLEE.into(), ARGC.into()]);
        self.builder.end(Terminator::Return(Operand::Word(0)));
        Ok(self.builder.finish(name, false))
    }

    fn method(&mut self, function: &ast::Function, method: &'a Method) -> Result<(), TooDeep> {
        self.enter();
        self.captures = None;
        if !function.captures.is_empty() {
            let symbol = self.program.runtime(runtime::CAPTURES);
            self.captures = Some(self.builder.call(symbol, vec![CALLEE.into()]));
        }
        let mut registers = Vec::new();
        for (index, parameter) in method.parameters.iter().enumerate() {
            let register = self.builder.load(ARGV, 8 * index as u32);
            registers.push(register);
            self.bind(*parameter, register.into());
        }
        if let Some(rest) = method.rest {
            let from = Operand::Word(method.parameters.len() as u64);
            let register = self.call_checked(
                runtime::REST,
                vec![ARGC.into(), ARGV.into(), from],
                function.position,
            );
            registers.push(register);
            self.bind(rest, register.into());
        }
        if let Some(mark) = self.mark {
            self.repeated(registers, mark);
        }
        let value = self.expression(&method.body)?;
        self.targets.clear();
        self.leave(value);
        Ok(())
    }

    /// Makes what follows the target of `recur`.
    pub(super) fn repeated(&mut self, registers: Vec<Register>, mark: Register) {
        let (head, dirty) = (self.builder.block(), self.builder.register());
        self.builder.copy(dirty, Operand::Word(0));
        self.builder.jump(head);
        self.builder.switch_to(head);
        self.targets.push(Target {
            head,
            registers,
            mark,
            dirty,
        });
    }

    fn enter(&mut self) {
        let Some(mark) = self.mark else { return };
        let symbol = self.program.runtime(runtime::ENTER);
        self.builder.push(Instruction::Call {
            to: Some(mark),
            symbol,
            arguments: vec![CONTEXT.into()],
        });
        let (entered, refused) = (self.builder.block(), self.builder.cold_block());
        self.builder
            .branch(Comparison::Equal, mark, Operand::Word(0), refused, entered);
        self.builder.switch_to(refused);
        self.builder.end(Terminator::Return(Operand::Word(0)));
        self.builder.switch_to(entered);
    }

    fn leave(&mut self, value: Option<Operand>) {
        let Some(mut value) = value else { return };
        if let Some(mark) = self.mark {
            value = self.call(runtime::LEAVE, vec![mark.into(), value]).into();
        }
        self.builder.end(Terminator::Return(value));
    }

    pub(super) fn bind(&mut self, local: LocalId, value: Operand) {
        let index = local.0 as usize;
        if self.locals.len() <= index {
            self.locals.resize(index + 1, None);
        }
        self.locals[index] = Some(value);
    }

    /// The value of something captured.
    pub(super) fn captured(&mut self, index: u32) -> Operand {
        let captures = self
            .captures
            .expect("a function that refers to a capture has captures");
        self.builder.load(captures, 8 * index).into()
    }

    /// Calls a function of the runtime with the context and `arguments`.
    pub(super) fn call(&mut self, function: RuntimeFunction, arguments: Vec<Operand>) -> Register {
        let symbol = self.program.runtime(function);
        let mut all = Vec::with_capacity(arguments.len() + 1);
        all.push(CONTEXT.into());
        all.extend(arguments);
        let result = self.builder.call(symbol, all);
        if function.pushes {
            for target in &self.targets {
                self.builder.copy(target.dirty, Operand::Word(1));
            }
        }
        result
    }

    /// Calls a function of C++, which may fail.
    pub(super) fn call_cpp(
        &mut self,
        name: &str,
        arguments: Vec<Operand>,
        position: PackedPosition,
    ) -> Register {
        let symbol = self.program.cpp(name, arguments.len() as u32);
        let mut all = vec![CONTEXT.into()];
        all.extend(arguments);
        let result = self.builder.call(symbol, all);
        for target in &self.targets {
            self.builder.copy(target.dirty, Operand::Word(1));
        }
        self.checked(result, position)
    }

    /// Calls a function of the runtime that may fail; what follows runs only if it did not.
    pub(super) fn call_checked(
        &mut self,
        function: RuntimeFunction,
        arguments: Vec<Operand>,
        position: PackedPosition,
    ) -> Register {
        let result = self.call(function, arguments);
        self.checked(result, position)
    }

    /// Goes on only if a result is one.
    fn checked(&mut self, result: Register, position: PackedPosition) -> Register {
        let error = self.error(position);
        let fine = self.builder.block();
        self.builder
            .branch(Comparison::Equal, result, Operand::Word(0), error, fine);
        self.builder.switch_to(fine);
        result
    }

    /// The block that notes the position in the pending exception and goes on to the handler.
    pub(super) fn error(&mut self, position: PackedPosition) -> BlockId {
        let handler = self.handlers.last().copied();
        if let Some(block) = self.errors.get(&(position, handler)) {
            return *block;
        }
        let (came_from, block) = (self.builder.current(), self.builder.cold_block());
        self.errors.insert((position, handler), block);
        self.builder.switch_to(block);
        let site = self.program.word(runtime::SITE.to_owned());
        let site = self.builder.symbol(site);
        let name = match self.name {
            Some(name) => self.builder.symbol(name).into(),
            None => Operand::Word(crate::compiler::NIL),
        };
        let trace = self.program.runtime(runtime::TRACE);
        let position = Operand::Word(self.program.position(position));
        self.builder
            .call_nothing(trace, vec![CONTEXT.into(), site.into(), position, name]);
        self.fail();
        self.builder.switch_to(came_from);
        block
    }

    /// Ends the current block by going to the handler of the pending exception.
    pub(super) fn fail(&mut self) {
        let handler = match self.handlers.last() {
            Some(handler) => *handler,
            None => self.failure(),
        };
        self.builder.jump(handler);
    }

    fn failure(&mut self) -> BlockId {
        if let Some(block) = self.failure {
            return block;
        }
        let (came_from, block) = (self.builder.current(), self.builder.cold_block());
        self.failure = Some(block);
        self.builder.switch_to(block);
        self.leave(Some(Operand::Word(0)));
        self.builder.switch_to(came_from);
        block
    }
}

/// How large a function may be that does without a part of the handle scope.
const LIGHT_NODES: u32 = 64;

/// Whether a function can do without a part of the handle scope for itself and without the stack
/// check: it is small, repeats nothing and calls nothing but arithmetic, so what it puts on the
/// scope is little and goes with its caller's.
///
/// A function with captures is none: its result may be one of them, which lives only as long as the
/// closure, and leaving the function is what makes the scope hold it.
fn is_light(function: &ast::Function) -> bool {
    let mut left = LIGHT_NODES;
    function.captures.is_empty()
        && function
            .methods
            .iter()
            .all(|method| method.rest.is_none() && light(&method.body, &mut left))
}

fn light(node: &Node, left: &mut u32) -> bool {
    let Some(fewer) = left.checked_sub(1) else {
        return false;
    };
    *left = fewer;
    match &node.kind {
        Kind::Immediate(_) | Kind::Constant(_) | Kind::Local(_) | Kind::Var(_) => true,
        Kind::If {
            test,
            then,
            otherwise,
        } => light(test, left) && light(then, left) && light(otherwise, left),
        Kind::Do(nodes) | Kind::Intrinsic(_, nodes) => nodes.iter().all(|node| light(node, left)),
        Kind::Let { bindings, body } => {
            bindings.iter().all(|(_, value)| light(value, left)) && light(body, left)
        }
        _ => false,
    }
}
