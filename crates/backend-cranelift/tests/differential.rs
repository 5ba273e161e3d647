//! Random programs, run by Cranelift's JIT and as objects by the loader, give the same results.

mod building;
mod program;

use building::{Words, answer, answering, word};
use program::build::{MAIN, STATE, unit};
use program::{Program, WORDS, host, programs};
use proptest::prelude::*;
use rekindle_backend_cranelift::{
    Cpu, CraneliftCompiler, CraneliftJit, JitCode, OptLevel, Options, Unit,
};
use rekindle_cache_core::artifact::{Code, Compiler, Jit, Loader};
use rekindle_loader::NativeLoader;
use std::sync::LazyLock;

/// One for the process, as a host has.
static LOADER: LazyLock<NativeLoader> = LazyLock::new(NativeLoader::new);

/// Everything that running a program can be seen to do: results, writable data, calls of the host.
#[derive(Debug, PartialEq)]
struct Outcome {
    results: Vec<i64>,
    state: [i64; WORDS],
    log: Vec<(i64, u64)>,
}

fn outcome(code: &impl Code) -> Outcome {
    let main = code.symbol(MAIN).expect("the unit exports it");
    // SAFETY: the unit gives the function this type, and code stays for the life of the process.
    let main: extern "C" fn(i64, f64) -> i64 = unsafe { std::mem::transmute(main) };
    let state = code.symbol(STATE).expect("the unit exports it");
    host::take_log();
    // Twice, as the second run finds the state that the first left.
    let results = [(3, 0.5), (i64::MIN, -1e300)]
        .map(|(a, b)| main(a, b))
        .to_vec();
    // SAFETY: the unit gives its state this size and alignment.
    let state = unsafe { state.cast::<[i64; WORDS]>().read() };
    Outcome {
        results,
        state,
        log: host::take_log(),
    }
}

fn run(options: &Options, unit: &Unit, symbols: &Words) -> JitCode {
    let jit = CraneliftJit::new(options).unwrap();
    // SAFETY: the programs call only their own functions and the host's, by their types.
    unsafe { jit.run(unit, symbols) }.unwrap()
}

fn load(options: &Options, unit: &Unit, symbols: &Words) -> impl Code {
    let object = CraneliftCompiler::new(options)
        .unwrap()
        .compile(unit)
        .unwrap()
        .object;
    let roots: Vec<_> = unit.exports().collect();
    let image = LOADER.prepare(&object.bytes, &roots).unwrap();
    // SAFETY: the image is what the loader made of an object of this compiler's, and as above.
    unsafe { LOADER.load(image.as_ref(), symbols) }.unwrap()
}

fn options() -> impl Strategy<Value = Options> {
    let levels = vec![OptLevel::None, OptLevel::Speed, OptLevel::SpeedAndSize];
    let cpus = prop_oneof![Just(Cpu::Native), Just(Cpu::Baseline)];
    (prop::sample::select(levels), cpus, any::<bool>()).prop_map(|(level, cpu, sections)| {
        Options::default()
            .opt_level(level)
            .cpu(cpu)
            .section_per_symbol(sections)
            // Which of two NaNs an instruction gives is the register allocator's choice.
            .flag("enable_nan_canonicalization", "true")
    })
}

fn agrees(program: &Program, jit: &Options, object: &Options) -> Result<(), TestCaseError> {
    let unit = unit(program);
    let symbols = host::symbols();
    let expected = outcome(&run(jit, &unit, &symbols));
    let loaded = outcome(&load(object, &unit, &symbols));
    prop_assert_eq!(loaded, expected, "{}", unit);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn programs_do_the_same_in_the_jit_and_loaded(
        program in programs(),
        jit in options(),
        object in options(),
    ) {
        agrees(&program, &jit, &object)?;
    }

    #[test]
    fn words_of_any_name_and_value_arrive(name in "[^\\x00]{1,24}", given in any::<u64>()) {
        let unit = answering(
            |unit| {
                unit.import_word(&name);
            },
            |unit, builder| word(unit, builder, &name),
        );
        let symbols = Words::new([(name.as_str(), given)]);
        let options = Options::default();
        prop_assert_eq!(answer(&run(&options, &unit, &symbols)), given);
        prop_assert_eq!(answer(&load(&options, &unit, &symbols)), given);
    }
}
