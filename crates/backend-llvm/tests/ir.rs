//! Modules compiled by the linked LLVM, loaded by the project's own loader, and run.
#![cfg(feature = "any-ir")]

use rekindle_backend_llvm::ir::inkwell::context::Context;
use rekindle_backend_llvm::ir::{Cpu, Error, LlvmCompiler, OptLevel, Options, Unit, llvm_version};
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{Code, Compiler, Loader, Symbols};
use rekindle_loader::NativeLoader;

struct Host;

extern "C" fn host_triple(x: i64) -> i64 {
    3 * x
}

impl Symbols for Host {
    fn address(&self, _hash: u64, name: &str) -> Option<u64> {
        (name == "host_triple").then_some(host_triple as extern "C" fn(i64) -> i64 as usize as u64)
    }
}

/// Calls `name` of an object with `x`.
fn call(object: &[u8], name: &str, x: i64) -> i64 {
    let loader = NativeLoader::new();
    let image = loader.prepare(object, &[name]).expect("it links");
    // SAFETY: the object is of a module of this test, bound to what it takes `Host`'s symbol for.
    let code = unsafe { loader.load(image.as_ref(), &Host) }.expect("it loads");
    let function = code.symbol(name).expect("it is exported");
    // SAFETY: each test's module gives its function this type.
    let function: extern "C" fn(i64) -> i64 = unsafe { std::mem::transmute(function) };
    function(x)
}

/// A recursion, a call of its own, one of the host's, and a constant table.
const PROGRAM: &str = "
@table = private constant [4 x i64] [i64 1, i64 10, i64 100, i64 1000]
declare i64 @host_triple(i64)
define internal i64 @sum(i64 %n) {
entry:
  %done = icmp eq i64 %n, 0
  br i1 %done, label %stop, label %go
go:
  %less = sub i64 %n, 1
  %rest = call i64 @sum(i64 %less)
  %all = add i64 %rest, %n
  ret i64 %all
stop:
  ret i64 0
}
define i64 @run(i64 %n) {
  %sum = call i64 @sum(i64 %n)
  %triple = call i64 @host_triple(i64 %sum)
  ret i64 %triple
}";

fn with(options: &Options, text: &str) -> Result<Vec<u8>, Error> {
    let unit = Unit::from_ir(text)?;
    Ok(LlvmCompiler::new(options)?.compile(&unit)?.object.bytes)
}

#[test]
fn every_level_gives_code_that_runs() {
    let levels = [
        OptLevel::None,
        OptLevel::Less,
        OptLevel::Default,
        OptLevel::Aggressive,
        OptLevel::Size,
        OptLevel::MinSize,
    ];
    let mut sizes = Vec::new();
    for level in levels {
        let object = with(&Options::default().opt_level(level), PROGRAM).expect("it compiles");
        assert_eq!(call(&object, "run", 100), 3 * 5050, "at {level:?}");
        sizes.push(object);
    }
    assert_ne!(sizes[0], sizes[2], "levels differ");
}

#[test]
fn custom_passes_and_cpus_reach_the_code_and_the_fingerprint() {
    let plain = LlvmCompiler::native().expect("this machine");
    let options = Options::default();
    let others = [
        options.clone().passes("function(instcombine)"),
        options.clone().cpu(Cpu::Baseline),
        options.clone().opt_level(OptLevel::Aggressive),
        options.clone().unwind_tables(false),
        options
            .clone()
            .input("library", Digest::of("test", b"another build")),
        options.clone().cpu(Cpu::Baseline).feature("+popcnt"),
    ];
    let mut fingerprints = vec![plain.fingerprint()];
    for options in &others {
        let compiler = LlvmCompiler::new(options).expect("LLVM knows it");
        fingerprints.push(compiler.fingerprint());
        let unit = Unit::from_ir(PROGRAM).expect("it is valid");
        let object = compiler.compile(&unit).expect("it compiles").object;
        assert_eq!(call(&object.bytes, "run", 10), 165);
    }
    fingerprints.sort();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), others.len() + 1);
    let again = LlvmCompiler::native().expect("this machine");
    assert_eq!(plain.fingerprint(), again.fingerprint());
    let popcnt = LlvmCompiler::new(&others[5]).expect("LLVM knows it");
    assert_eq!(popcnt.required_features(), ["+popcnt"]);
    assert!(!llvm_version().is_empty());
}

#[test]
fn what_llvm_refuses_comes_back_in_its_words() {
    let parse = Unit::from_ir("define i64 @f( { ret i64 }");
    match parse {
        Err(Error::Parse { reason }) => assert!(reason.contains("1:"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        Unit::from_bitcode(b"BC\xc0\xde and no more"),
        Err(Error::Parse { .. })
    ));
    let invalid = Unit::from_ir(
        "define i64 @f(i64 %x) {
         entry:
           br label %next
         other:
           %late = add i64 %x, 1
           br label %next
         next:
           ret i64 %late
         }",
    );
    match invalid {
        Err(Error::Invalid { reason }) => assert!(reason.contains("dominate"), "{reason}"),
        other => panic!("{other:?}"),
    }
    match with(&Options::default().passes("default<O2>,nonsense"), PROGRAM) {
        Err(Error::Passes { passes, reason }) => {
            assert_eq!(passes, "default<O2>,nonsense");
            assert!(reason.contains("nonsense"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    match with(&Options::default().target("vax-dec-vms"), PROGRAM) {
        Err(Error::Target { target, .. }) => assert!(target.starts_with("vax"), "{target}"),
        other => panic!("{other:?}"),
    }
    let elsewhere = format!("target triple = \"aarch64-unknown-linux-gnu\"\n{PROGRAM}");
    assert!(matches!(
        with(&Options::default(), &elsewhere),
        Err(Error::OtherTarget { .. })
    ));
}

#[test]
fn wrong_assembly_is_an_error_and_the_program_goes_on() {
    let source = "define void @f() {
        call void asm sideeffect \"no such instruction\", \"\"()
        ret void
      }";
    match with(&Options::default(), source) {
        Err(Error::Compile { reason }) => assert!(!reason.is_empty()),
        other => panic!("{other:?}"),
    }
    let object = with(&Options::default(), PROGRAM).expect("the next one compiles");
    assert_eq!(call(&object, "run", 4), 30);
}

#[test]
fn names_of_modules_and_sources_do_not_count() {
    let unit = |name: &str, constant: u64| {
        let context = Context::create();
        let module = context.create_module(name);
        module.set_source_file_name(&format!("{name}.src"));
        let word = context.i64_type();
        let function = module.add_function("answer", word.fn_type(&[word.into()], false), None);
        let builder = context.create_builder();
        builder.position_at_end(context.append_basic_block(function, "entry"));
        let value = word.const_int(constant, false);
        builder
            .build_return(Some(&value))
            .expect("a place to build at");
        let unit = Unit::from_module(&module).expect("it is valid");
        assert_eq!(
            module.get_name().to_str(),
            Ok(name),
            "the module is left as it was"
        );
        unit
    };
    let compiler = LlvmCompiler::native().expect("this machine");
    let (one, same, other) = (unit("one", 7), unit("two", 7), unit("one", 8));
    assert_eq!(compiler.digest(&one), compiler.digest(&same));
    assert_ne!(compiler.digest(&one), compiler.digest(&other));
    let [one, same] = [one, same].map(|unit| compiler.compile(&unit).expect("it compiles"));
    assert_eq!(one, same);
    assert_eq!(call(&one.object.bytes, "answer", 0), 7);
}

#[test]
fn text_and_its_bitcode_are_the_same_unit() {
    let unit = Unit::from_ir(PROGRAM).expect("it is valid");
    let context = Context::create();
    let buffer = rekindle_backend_llvm::ir::inkwell::memory_buffer::MemoryBuffer::create_from_memory_range_copy(
        PROGRAM.as_bytes(),
        "program",
    );
    let module = context.create_module_from_ir(buffer).expect("it parses");
    let bitcode = module.write_bitcode_to_memory();
    let same = Unit::from_bitcode(bitcode.as_slice()).expect("it is valid");
    assert_eq!(unit, same);
    assert!(unit.to_string().contains("define i64 @run(i64 %n)"));
    let assembly = LlvmCompiler::native()
        .expect("this machine")
        .assembly(&unit);
    assert!(assembly.expect("it compiles").contains("run:"));
}

#[test]
fn unwind_tables_unless_they_are_not_wanted() {
    use object::{Object as _, ObjectSection as _};
    let leaf = "define i64 @f(i64 %x) nounwind { ret i64 %x }";
    let size = |on: bool| {
        let object = with(&Options::default().unwind_tables(on), leaf).expect("it compiles");
        let file = object::File::parse(&*object).expect("it is an object");
        file.section_by_name(".eh_frame")
            .map_or(0, |section| section.size())
    };
    assert!(size(true) > 0);
    assert_eq!(size(false), 0);
}

#[test]
fn threads_compile_side_by_side() {
    let compiler = LlvmCompiler::native().expect("this machine");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let compiler = &compiler;
                scope.spawn(move || {
                    for round in 0..20 {
                        let value = number * 100 + round;
                        let text = format!(
                            "define i64 @f(i64 %x) {{ %y = add i64 %x, {value}\n ret i64 %y }}"
                        );
                        let unit = Unit::from_ir(&text).expect("it is valid");
                        let object = compiler.compile(&unit).expect("it compiles").object;
                        assert_eq!(call(&object.bytes, "f", 1000), 1000 + value);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no thread panics");
        }
    });
}

#[test]
fn foreign_targets_are_compiled_for() {
    use object::Object as _;
    let options = Options::default().target("aarch64-unknown-linux-gnu");
    let object = with(&options, PROGRAM).expect("it compiles");
    let file = object::File::parse(&*object).expect("it is an object");
    assert_eq!(file.architecture(), object::Architecture::Aarch64);
}
