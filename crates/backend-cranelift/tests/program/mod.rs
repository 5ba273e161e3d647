//! Random programs: what they are made of, and how they are drawn.
//!
//! A program ends whatever is drawn: functions call only later ones, and loops are counted. It never
//! traps: divisors are odd, conversions saturate, and indices are reduced to the size of what they
//! index.

pub(crate) mod build;
pub(crate) mod host;

use proptest::prelude::*;

/// Integer variables of each function.
pub(crate) const INTEGERS: usize = 4;
/// Float variables of each function.
pub(crate) const FLOATS: usize = 2;
/// Words of each function's stack slot, and of each data object.
pub(crate) const WORDS: usize = 8;

/// Functions, of which the first is the program, and the contents of its data.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) functions: Vec<Vec<Statement>>,
    /// What the read-only data begins with.
    pub(crate) table: [i64; WORDS],
    /// What the writable data begins with; all zero, it is in `.bss`.
    pub(crate) state: [i64; WORDS],
}

/// An integer or float variable.
pub(crate) type Variable = usize;

#[derive(Debug, Clone)]
pub(crate) enum Statement {
    Set(Variable, i64),
    SetFloat(Variable, f64),
    Integer(IntegerOp, Variable, Variable, Variable),
    /// The same in 32 bits, the result extended with its sign.
    Narrow(IntegerOp, Variable, Variable, Variable),
    Float(FloatOp, Variable, Variable, Variable),
    ToFloat(Variable, Variable),
    ToInteger(Variable, Variable),
    Bits(Variable, Variable),
    Load(Place, Variable, Variable),
    Store(Place, Variable, Variable),
    /// Adds an imported word.
    Word(usize, Variable),
    /// Calls the host with an integer and a float.
    Host(Variable, Variable),
    /// Calls a later function of the program, if there is one.
    Call(usize, Variable, Variable),
    /// The same through the pointer that the read-only data has to it.
    CallPointer(usize, Variable, Variable),
    If(Variable, Variable, Vec<Statement>, Vec<Statement>),
    Repeat(u8, Vec<Statement>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum IntegerOp {
    Add,
    Subtract,
    Multiply,
    MultiplyHigh,
    Divide,
    Remainder,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
    ShiftRightSigned,
    Rotate,
    Minimum,
    Less,
    LeadingZeros,
    Population,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum FloatOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Minimum,
    Root,
    Floor,
    Nearest,
    Fused,
}

/// Where words are loaded from and stored to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Stack,
    State,
    /// Read-only: stores to it go to the state.
    Table,
}

/// Any program.
pub(crate) fn programs() -> impl Strategy<Value = Program> {
    let functions = prop::collection::vec(prop::collection::vec(statements(), 1..10), 1..5);
    let state = prop_oneof![Just([0; WORDS]), any::<[i64; WORDS]>()];
    (functions, any::<[i64; WORDS]>(), state).prop_map(|(functions, table, state)| Program {
        functions,
        table,
        state,
    })
}

fn statements() -> impl Strategy<Value = Statement> {
    let (i, f) = (0..INTEGERS, 0..FLOATS);
    let constants = prop_oneof![
        any::<i64>(),
        -10i64..10,
        Just(i64::MIN),
        Just(0x1_0000_0000)
    ];
    let floats = prop_oneof![any::<f64>(), -10.0..10.0, Just(f64::NAN), Just(-0.0)];
    let places = prop_oneof![Just(Place::Stack), Just(Place::State), Just(Place::Table)];
    let (any_i, any_f) = (i.clone(), f.clone());
    let simple = prop_oneof![
        (i.clone(), constants).prop_map(|(to, value)| Statement::Set(to, value)),
        (f.clone(), floats).prop_map(|(to, value)| Statement::SetFloat(to, value)),
        (integer_ops(), i.clone(), i.clone(), i.clone())
            .prop_map(|(op, to, a, b)| Statement::Integer(op, to, a, b)),
        (integer_ops(), i.clone(), i.clone(), i.clone())
            .prop_map(|(op, to, a, b)| Statement::Narrow(op, to, a, b)),
        (float_ops(), f.clone(), f.clone(), f.clone())
            .prop_map(|(op, to, a, b)| Statement::Float(op, to, a, b)),
        (f.clone(), i.clone()).prop_map(|(to, from)| Statement::ToFloat(to, from)),
        (i.clone(), f.clone()).prop_map(|(to, from)| Statement::ToInteger(to, from)),
        (i.clone(), f.clone()).prop_map(|(to, from)| Statement::Bits(to, from)),
        (places.clone(), i.clone(), i.clone())
            .prop_map(|(place, at, to)| Statement::Load(place, at, to)),
        (places, i.clone(), i.clone())
            .prop_map(|(place, at, from)| Statement::Store(place, at, from)),
        (0..host::WORDS.len(), i.clone()).prop_map(|(word, to)| Statement::Word(word, to)),
        (any_i.clone(), any_f.clone()).prop_map(|(integer, float)| Statement::Host(integer, float)),
        (0usize..4, any_i.clone(), any_f.clone())
            .prop_map(|(callee, integer, float)| Statement::Call(callee, integer, float)),
        (0usize..4, any_i.clone(), any_f)
            .prop_map(|(callee, integer, float)| Statement::CallPointer(callee, integer, float)),
    ];
    simple.prop_recursive(2, 12, 4, move |inner| {
        let block = prop::collection::vec(inner, 0..4);
        prop_oneof![
            (any_i.clone(), any_i.clone(), block.clone(), block.clone())
                .prop_map(|(a, b, then, otherwise)| Statement::If(a, b, then, otherwise)),
            (0u8..4, block).prop_map(|(times, block)| Statement::Repeat(times, block)),
        ]
    })
}

fn integer_ops() -> impl Strategy<Value = IntegerOp> {
    use IntegerOp::*;
    prop::sample::select(vec![
        Add,
        Subtract,
        Multiply,
        MultiplyHigh,
        Divide,
        Remainder,
        And,
        Or,
        Xor,
        ShiftLeft,
        ShiftRight,
        ShiftRightSigned,
        Rotate,
        Minimum,
        Less,
        LeadingZeros,
        Population,
    ])
}

fn float_ops() -> impl Strategy<Value = FloatOp> {
    use FloatOp::*;
    prop::sample::select(vec![
        Add, Subtract, Multiply, Divide, Minimum, Root, Floor, Nearest, Fused,
    ])
}
