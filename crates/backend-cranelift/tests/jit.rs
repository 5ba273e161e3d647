//! The JIT: words of any value, data, errors instead of panics, and code that stays.

mod building;

use building::{Words, answer, answering, define, signature, word};
use cranelift_codegen::ir::immediates::Imm64;
use cranelift_codegen::ir::types::{F64, I64};
use cranelift_codegen::ir::{GlobalValueData, InstBuilder, MemFlagsData};
use proptest::prelude::*;
use rekindle_backend_cranelift::{
    Cpu, CraneliftJit, DataContents, Error, JitCode, Linkage, Options, Unit,
};
use rekindle_cache_core::artifact::{Code, Jit, Symbols};
use std::cell::RefCell;

fn run(unit: &Unit, symbols: &dyn Symbols) -> Result<JitCode, Error> {
    let jit = CraneliftJit::new(&Options::default()).unwrap();
    // SAFETY: the tests' units call only what the tests' hosts offer, by its type.
    unsafe { jit.run(unit, symbols) }
}

fn reading(name: &str) -> Unit {
    answering(
        |unit| {
            unit.import_word(name);
        },
        |unit, builder| word(unit, builder, name),
    )
}

proptest! {
    #[test]
    fn an_imported_word_is_what_the_host_gives(given in any::<u64>()) {
        let code = run(&reading("const:\"a b\""), &Words::new([("const:\"a b\"", given)])).unwrap();
        prop_assert_eq!(answer(&code), given);
    }
}

#[test]
fn words_that_are_no_addresses() {
    for given in [0, 1, 0x15, u64::MAX, 1 << 63, 0x7fff_ffff, 0x8000_0000] {
        let code = run(&reading("w"), &Words::new([("w", given)])).unwrap();
        assert_eq!(answer(&code), given);
    }
}

#[test]
fn data_is_relocated_and_stays_when_the_handle_goes() {
    let mut unit = Unit::new();
    let nullary = signature(&[], &[I64]);
    unit.import_word("w");
    let counter = unit.declare_data("counter", Linkage::Export);
    unit.define_data(counter, DataContents::variable(41u64.to_le_bytes()));
    let zeros = unit.declare_data("zeros", Linkage::Export);
    unit.define_data(zeros, DataContents::variable([0; 64]));
    let answer_function = unit.declare_function("answer", Linkage::Export, &nullary);
    let table = unit.declare_data("table", Linkage::Export);
    let contents = DataContents::constant([0xff; 40])
        .with_address(0, unit.symbol("w").unwrap(), -2)
        .with_address(8, counter, 4)
        .with_address(20, answer_function, 0);
    unit.define_data(table, contents);
    define(&mut unit, answer_function, |unit, builder, _| {
        let counter = word(unit, builder, "counter");
        let value = builder.ins().load(I64, MemFlagsData::trusted(), counter, 0);
        let one = builder.ins().iconst(I64, 1);
        let value = builder.ins().iadd(value, one);
        builder
            .ins()
            .store(MemFlagsData::trusted(), value, counter, 0);
        builder.ins().return_(&[value]);
    });

    let code = run(&unit, &Words::new([("w", 0x15)])).unwrap();
    assert_eq!(answer(&code), 42);
    assert_eq!(answer(&code), 43);
    let table = code.symbol("table").unwrap();
    let at = |offset: usize| {
        // SAFETY: the table has 40 bytes and stays for the life of the process.
        unsafe { table.add(offset).cast::<u64>().read_unaligned() }
    };
    assert_eq!(at(0), 0x13);
    let counter = code.symbol("counter").unwrap();
    assert_eq!(at(8), counter as u64 + 4);
    assert_eq!(at(20), code.symbol("answer").unwrap() as u64);
    assert_eq!(at(32), u64::MAX);
    assert!(code.size() >= 8 + 64 + 40, "{}", code.size());
    assert_eq!(code.symbol("w"), None, "imports are not exports");

    drop(code);
    // SAFETY: dropping the handle frees the handle alone.
    assert_eq!(unsafe { counter.cast::<u64>().read() }, 43);
}

#[test]
fn an_unknown_symbol_is_an_error_if_it_is_used() {
    let error = run(&reading("const:x"), &Words::default()).unwrap_err();
    let expected = Error::UnknownSymbol {
        name: "const:x".into(),
        user: "answer".into(),
    };
    assert_eq!(error, expected);

    let unused = answering(
        |unit| {
            unit.import_word("unused");
            unit.import_function("unused function", &signature(&[], &[]));
        },
        |_, builder| builder.ins().iconst(I64, 7),
    );
    assert_eq!(answer(&run(&unused, &Words::default()).unwrap()), 7);

    let mut unit = reading("known");
    let absent = unit.import_word("absent");
    let data = unit.declare_data("data", Linkage::Local);
    unit.define_data(
        data,
        DataContents::constant([0; 8]).with_address(0, absent, 0),
    );
    let error = run(&unit, &Words::new([("known", 1)])).unwrap_err();
    assert_eq!(
        error,
        Error::UnknownSymbol {
            name: "absent".into(),
            user: "data".into()
        }
    );
}

/// Cranelift's JIT panics when a word and what is to be added to it overflow.
#[test]
fn a_sum_that_overflows_is_an_error() {
    let with_offset = |offset: i64| {
        answering(
            |unit| {
                unit.import_word("w");
            },
            |unit, builder| {
                let value = unit.global_value(unit.symbol("w").unwrap(), builder.func);
                let GlobalValueData::Symbol { offset: field, .. } =
                    &mut builder.func.global_values[value]
                else {
                    unreachable!("it was made as a symbol");
                };
                *field = Imm64::new(offset);
                builder.ins().symbol_value(I64, value)
            },
        )
    };
    let code = run(&with_offset(-8), &Words::new([("w", 0x15)])).unwrap();
    assert_eq!(answer(&code), 0x15 - 8);
    for (offset, given) in [(-8, 7), (1, u64::MAX)] {
        let error = run(&with_offset(offset), &Words::new([("w", given)])).unwrap_err();
        assert!(matches!(error, Error::Relocation { .. }), "{error}");
    }
    let mut unit = reading("w");
    let absent = unit.import_word("w");
    let data = unit.declare_data("data", Linkage::Local);
    unit.define_data(
        data,
        DataContents::constant([0; 8]).with_address(0, absent, -1),
    );
    let error = run(&unit, &Words::new([("w", 0)])).unwrap_err();
    assert!(
        matches!(error, Error::Relocation { ref name, .. } if name == "data"),
        "{error}"
    );
}

/// Where the CPU has no instruction for it, Cranelift calls a routine that no front end asked for.
#[test]
fn routines_that_cranelift_calls_are_there() {
    let mut unit = Unit::new();
    let rounded = unit.declare_function("rounded", Linkage::Export, &signature(&[F64], &[F64]));
    define(&mut unit, rounded, |_, builder, parameters| {
        let floor = builder.ins().floor(parameters[0]);
        let nearest = builder.ins().nearest(parameters[0]);
        let sum = builder.ins().fma(floor, nearest, parameters[0]);
        builder.ins().return_(&[sum]);
    });
    let jit = CraneliftJit::new(&Options::default().cpu(Cpu::Baseline)).unwrap();

    struct Nothing;
    impl Symbols for Nothing {
        fn address(&self, _hash: u64, _name: &str) -> Option<u64> {
            None
        }
    }
    // SAFETY: the unit calls only what Cranelift itself wants called.
    let code = unsafe { jit.run(&unit, &Nothing) }.unwrap();
    // SAFETY: the unit gives the function this type.
    let rounded: extern "C" fn(f64) -> f64 =
        unsafe { std::mem::transmute(code.symbol("rounded").unwrap()) };
    assert_eq!(rounded(2.5), 2.0 * 2.0 + 2.5);
    assert_eq!(rounded(-0.75), 0.25);
}

#[test]
fn hosts_are_called_and_may_run_the_jit_again() {
    thread_local! {
        static SEEN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }

    extern "C" fn nest(depth: u64) -> u64 {
        SEEN.with_borrow_mut(|seen| seen.push(depth));
        if depth == 0 {
            return 100;
        }
        let unit = nesting(depth - 1);
        let address = nest as extern "C" fn(u64) -> u64 as usize as u64;
        answer(&run(&unit, &Words::new([("nest", address)])).unwrap()) + 1
    }

    fn nesting(depth: u64) -> Unit {
        answering(
            |unit| {
                unit.import_function("nest", &signature(&[I64], &[I64]));
            },
            |unit, builder| {
                let nest = unit.symbol("nest").unwrap();
                let rekindle_backend_cranelift::SymbolId::Function(nest) = nest else {
                    unreachable!("it was imported as a function");
                };
                let nest = unit.func_ref(nest, builder.func);
                let depth = builder.ins().iconst(I64, depth as i64);
                let call = builder.ins().call(nest, &[depth]);
                builder.inst_results(call)[0]
            },
        )
    }

    assert_eq!(nest(3), 103);
    SEEN.with_borrow(|seen| assert_eq!(*seen, [3, 2, 1, 0]));
}
