//! What is in the objects: names, references, sections, unwind tables, and nothing that changes from
//! one compilation to the next.

mod building;

use building::{answering, define, signature, word};
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, MemFlagsData, Value};
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionKind, elf,
};
use rekindle_backend_cranelift::{
    Cpu, CraneliftCompiler, DataContents, Error, Linkage, OptLevel, Options, Unit,
};
use rekindle_cache_core::artifact::Compiler;
use std::collections::HashSet;

fn compile(unit: &Unit) -> Vec<u8> {
    compile_with(&Options::default(), unit)
}

fn compile_with(options: &Options, unit: &Unit) -> Vec<u8> {
    let compiler = CraneliftCompiler::new(options).unwrap();
    compiler.compile(unit).unwrap().object.bytes
}

/// A unit with a bit of everything: an own function, imports of both sorts, data of both sorts.
fn mixed() -> Unit {
    let mut unit = Unit::new();
    let unary = signature(&[I64], &[I64]);
    let host = unit.import_function("host", &unary);
    unit.import_word("const:\"a b\"");
    let state = unit.declare_data("state", Linkage::Local);
    unit.define_data(state, DataContents::variable([0; 64]));
    let table = unit.declare_data("table", Linkage::Local);
    let inner = unit.declare_function("inner", Linkage::Local, &unary);
    unit.define_data(
        table,
        DataContents::constant([0; 16]).with_address(8, inner, 4),
    );
    define(&mut unit, inner, |unit, builder, parameters| {
        let word = word(unit, builder, "const:\"a b\"");
        let sum = builder.ins().iadd(parameters[0], word);
        let host = unit.func_ref(host, builder.func);
        let call = builder.ins().call(host, &[sum]);
        let result = builder.inst_results(call)[0];
        builder.ins().return_(&[result]);
    });
    let outer = unit.declare_function("outer", Linkage::Export, &unary);
    define(&mut unit, outer, |unit, builder, parameters| {
        let inner = unit.func_ref(inner, builder.func);
        let call = builder.ins().call(inner, parameters);
        let result = builder.inst_results(call)[0];
        let state = word(unit, builder, "state");
        builder
            .ins()
            .store(MemFlagsData::trusted(), result, state, 8);
        let table = word(unit, builder, "table");
        let code = builder.ins().load(I64, MemFlagsData::trusted(), table, 8);
        let sum = builder.ins().iadd(result, code);
        builder.ins().return_(&[sum]);
    });
    unit
}

#[test]
fn names_of_any_characters_survive() {
    let names = [
        "const:\"a b\"",
        "const:(a \"b\\n\" #{:c})",
        "var:ns/name?!*",
        "const:\n\t",
        "const:λ→日本",
        "a@b",
        " ",
        ".L0",
        "const:\u{1}\u{7f}",
    ];
    let unit = answering(
        |unit| {
            for name in names {
                unit.import_word(name);
            }
        },
        |unit, builder| {
            let mut sum = builder.ins().iconst(I64, 0);
            for name in names {
                let word = word(unit, builder, name);
                sum = builder.ins().iadd(sum, word);
            }
            sum
        },
    );
    let bytes = compile(&unit);
    let file = object::File::parse(&*bytes).unwrap();
    let undefined: HashSet<_> = file
        .symbols()
        .filter(|symbol| symbol.is_undefined())
        .map(|symbol| symbol.name().unwrap())
        .collect();
    for name in names {
        assert!(undefined.contains(name), "{name:?} of {undefined:?}");
    }
    let answer = file.symbol_by_name("answer").unwrap();
    assert!(answer.is_global() && answer.is_definition());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn imports_are_reached_through_slots_and_own_functions_directly() {
    let bytes = compile(&mixed());
    let file = object::File::parse(&*bytes).unwrap();
    let text = file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text);
    let mut seen = HashSet::new();
    for (_, relocation) in text.flat_map(|section| section.relocations()) {
        let RelocationFlags::Elf { r_type } = relocation.flags() else {
            panic!("not ELF: {relocation:?}");
        };
        let RelocationTarget::Symbol(symbol) = relocation.target() else {
            panic!("no symbol: {relocation:?}");
        };
        let symbol = file.symbol_by_index(symbol).unwrap();
        let name = symbol.name().unwrap().to_owned();
        match r_type {
            elf::R_X86_64_GOTPCREL => {}
            elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 => {
                assert!(symbol.is_definition(), "{name} is reached by its distance");
            }
            other => panic!("{name} is reached by relocation {other}"),
        }
        seen.insert(name);
    }
    for name in ["host", "const:\"a b\"", "inner", "state", "table"] {
        assert!(seen.contains(name), "{name} of {seen:?}");
    }
}

#[test]
fn data_lies_where_it_belongs() {
    let mut unit = Unit::new();
    let mut data = |name: &str, contents: DataContents| {
        let data = unit.declare_data(name, Linkage::Export);
        unit.define_data(data, contents);
        data
    };
    data("zero constant", DataContents::constant([0; 16]));
    data("zero variable", DataContents::variable([0; 16]));
    data("variable", DataContents::variable([7; 3]));
    let page = DataContents {
        alignment: 4096,
        ..DataContents::constant(*b"aligned")
    };
    data("page", page);
    data("empty", DataContents::constant([]));
    let target = data("target", DataContents::constant([1; 8]));
    let pointer = DataContents::constant([0; 24]).with_address(12, target, -3);
    data("pointer", pointer);

    let bytes = compile(&unit);
    let file = object::File::parse(&*bytes).unwrap();
    let section = |name: &str| {
        let symbol = file.symbol_by_name(name).unwrap();
        file.section_by_index(symbol.section_index().unwrap())
            .unwrap()
    };
    assert_eq!(section("zero constant").kind(), SectionKind::ReadOnlyData);
    assert_eq!(
        section("zero variable").kind(),
        SectionKind::UninitializedData
    );
    assert_eq!(section("variable").kind(), SectionKind::Data);
    assert!(section("page").align() >= 4096);
    assert_eq!(file.symbol_by_name("page").unwrap().address() % 4096, 0);
    assert_eq!(file.symbol_by_name("empty").unwrap().size(), 0);

    let pointer = file.symbol_by_name("pointer").unwrap();
    let relocations: Vec<_> = section("pointer").relocations().collect();
    let (offset, relocation) = relocations.first().unwrap();
    assert_eq!(relocations.len(), 1);
    assert_eq!(*offset, pointer.address() + 12);
    assert_eq!((relocation.addend(), relocation.size()), (-3, 64));
}

#[test]
fn unwind_tables_come_with_the_code_unless_declined() {
    let has_table = |options: &Options| {
        let bytes = compile_with(options, &mixed());
        let file = object::File::parse(&*bytes).unwrap();
        file.section_by_name(".eh_frame")
            .is_some_and(|section| section.relocations().count() == 2)
    };
    assert!(
        has_table(&Options::default()),
        "one entry for each function"
    );
    assert!(!has_table(&Options::default().unwind_tables(false)));
}

#[test]
fn each_symbol_has_its_section_unless_declined() {
    let text_sections = |options: &Options| {
        let bytes = compile_with(options, &mixed());
        let file = object::File::parse(&*bytes).unwrap();
        let text = file
            .sections()
            .filter(|section| section.kind() == SectionKind::Text && section.size() > 0);
        text.count()
    };
    assert_eq!(text_sections(&Options::default()), 2);
    assert_eq!(
        text_sections(&Options::default().section_per_symbol(false)),
        1
    );
}

#[test]
fn the_same_unit_gives_the_same_object() {
    let first = CraneliftCompiler::native().unwrap();
    let second = CraneliftCompiler::native().unwrap();
    let unit = mixed();
    let object = first.compile(&unit).unwrap();
    assert_eq!(first.compile(&unit).unwrap(), object, "compiled again");
    assert_eq!(
        second.compile(&mixed()).unwrap(),
        object,
        "built and compiled by others"
    );
    assert_eq!(first.digest(&unit), second.digest(&mixed()));
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert!(object.dependencies.is_empty());
}

#[test]
fn every_option_that_reaches_the_code_changes_the_fingerprint() {
    let options = [
        Options::default(),
        Options::default().opt_level(OptLevel::None),
        Options::default().opt_level(OptLevel::SpeedAndSize),
        Options::default().unwind_tables(false),
        Options::default().section_per_symbol(false),
        Options::default().flag("preserve_frame_pointers", "true"),
        Options::default().flag("enable_nan_canonicalization", "true"),
        Options::default().flag("probestack_size_log2", "16"),
    ];
    let fingerprint = |options: &Options| CraneliftCompiler::new(options).unwrap().fingerprint();
    let fingerprints: HashSet<_> = options.iter().map(fingerprint).collect();
    assert_eq!(fingerprints.len(), options.len());
    for verify in [true, false] {
        let checked = fingerprint(&Options::default().verify(verify));
        assert_eq!(
            checked,
            fingerprint(&options[0]),
            "the verifier leaves no mark"
        );
    }
}

#[test]
fn required_features_are_those_of_the_cpu_chosen() {
    let baseline = CraneliftCompiler::new(&Options::default().cpu(Cpu::Baseline)).unwrap();
    let native = CraneliftCompiler::native().unwrap();
    assert_eq!(baseline.target(), native.target());
    let (few, many) = (baseline.required_features(), native.required_features());
    assert!(
        few.iter().all(|feature| many.contains(feature)),
        "{few:?} of {many:?}"
    );
    assert!(many.is_sorted());
    assert_eq!(few == many, baseline.fingerprint() == native.fingerprint());

    #[cfg(target_arch = "x86_64")]
    {
        assert_eq!(few, Vec::<String>::new());
        let options = Options::default()
            .cpu(Cpu::Baseline)
            .flag("has_popcnt", "true");
        let compiler = CraneliftCompiler::new(&options).unwrap();
        assert_eq!(compiler.required_features(), ["has_popcnt"]);
        assert_ne!(compiler.fingerprint(), baseline.fingerprint());
    }
}

/// A unit with data and a body that adds `addend`.
fn adding(addend: i64, edit: impl FnOnce(&mut Unit, &mut DataContents)) -> Unit {
    let mut unit = answering(|_| (), |_, builder| builder.ins().iconst(I64, addend));
    let data = unit.declare_data("data", Linkage::Local);
    let mut contents = DataContents::constant([0; 16]);
    edit(&mut unit, &mut contents);
    unit.define_data(data, contents);
    unit
}

fn import_a_and_b(unit: &mut Unit) {
    unit.import_word("a");
    unit.import_word("b");
}

#[test]
fn digests_tell_units_apart() {
    let own = |unit: &Unit| unit.symbol("answer").unwrap();
    let units = [
        adding(1, |_, _| ()),
        adding(2, |_, _| ()),
        adding(1, |_, data| data.bytes[3] = 1),
        adding(1, |_, data| data.alignment = 16),
        adding(1, |_, data| data.writable = true),
        adding(1, |unit, data| {
            *data = data.clone().with_address(0, own(unit), 0);
        }),
        adding(1, |unit, data| {
            *data = data.clone().with_address(8, own(unit), 0);
        }),
        adding(1, |unit, data| {
            *data = data.clone().with_address(0, own(unit), -1);
        }),
        adding(1, |unit, _| {
            unit.import_word("unused");
        }),
        adding(1, |unit, _| {
            unit.import_word("unused too");
        }),
        adding(1, |unit, _| {
            unit.import_function("unused", &signature(&[], &[]));
        }),
        adding(1, |unit, _| {
            unit.import_function("unused", &signature(&[I64], &[]));
        }),
        answering(import_a_and_b, |unit, builder| word(unit, builder, "a")),
        answering(import_a_and_b, |unit, builder| word(unit, builder, "b")),
    ];
    let compiler = CraneliftCompiler::native().unwrap();
    let digests: HashSet<_> = units.iter().map(|unit| compiler.digest(unit)).collect();
    assert_eq!(digests.len(), units.len());
    for unit in &units {
        assert_eq!(compiler.digest(unit), compiler.digest(&unit.clone()));
        compiler.compile(unit).unwrap();
    }
}

/// Printed CLIF leaves out the memory flags of atomic instructions, so a digest of the text would take
/// two units for one whose code may be ordered differently.
#[test]
fn digests_see_the_flags_of_atomic_instructions() {
    let atomic = |flags: MemFlagsData| {
        answering(
            |unit| {
                unit.import_word("cell");
            },
            |unit, builder| -> Value {
                let cell = word(unit, builder, "cell");
                let one = builder.ins().iconst(I64, 1);
                builder
                    .ins()
                    .atomic_rmw(I64, flags, AtomicRmwOp::Add, cell, one)
            },
        )
    };
    let (plain, trusted) = (atomic(MemFlagsData::new()), atomic(MemFlagsData::trusted()));
    let compiler = CraneliftCompiler::native().unwrap();
    assert_ne!(compiler.digest(&plain), compiler.digest(&trusted));
}

#[test]
fn invalid_clif_is_an_error_in_the_verifiers_words() {
    let mut unit = Unit::new();
    let bad = unit.declare_function("ns/bad name", Linkage::Export, &signature(&[I64], &[I64]));
    define(&mut unit, bad, |_, builder, _| {
        builder.ins().return_(&[]);
    });
    let compiler = CraneliftCompiler::new(&Options::default().verify(true)).unwrap();
    let error = compiler.compile(&unit).unwrap_err();
    let Error::Compile { function, message } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(function, "ns/bad name");
    assert!(message.contains("return"), "{message}");
    assert!(error.to_string().contains("ns/bad name"), "{error}");
}
