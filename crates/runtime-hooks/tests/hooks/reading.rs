//! A compiler that reads files of its own accord, as one of C++ does: what a unit's code is does not follow from the unit.

use crate::sums::NEW;
use rekindle_cache_core::artifact::{
    Compiled, Compiler, Dependency, DependencyKind, file_digest, file_set_digest,
};
use rekindle_loader::NativeLoader;
use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::types::I64;
use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::{
    AbiParam, InstBuilder, Signature,
};
use rekindle_runtime_hooks::cranelift::backend::cranelift_frontend::{
    FunctionBuilder, FunctionBuilderContext,
};
use rekindle_runtime_hooks::cranelift::backend::{CraneliftCompiler, Error, Linkage, Unit};
use rekindle_runtime_hooks::{
    Backend, Cache, Compilation, Definition, Digest, Host, MissReason, ObjectJit, Outcome, Ran,
    Session, native_loader,
};
use std::path::{Path, PathBuf};

/// What is compiled: a function that gives the number in a file.
struct Number(PathBuf);

struct Reading(CraneliftCompiler);

impl Compiler for Reading {
    type Unit = Number;
    type Error = Error;

    fn fingerprint(&self) -> Digest {
        self.0.fingerprint()
    }

    fn digest(&self, unit: &Number) -> Digest {
        Digest::of("number", unit.0.as_os_str().as_encoded_bytes())
    }

    fn compile(&self, number: &Number) -> Result<Compiled, Error> {
        let content = std::fs::read_to_string(&number.0).expect("the file is there");
        let mut signature = Signature::new(self.0.call_conv());
        signature.returns.push(AbiParam::new(I64));
        let mut unit = Unit::new();
        let factory = unit.declare_function("factory", Linkage::Export, &signature);
        let mut body = unit.new_body(factory);
        let mut context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut body, &mut context);
        let block = builder.create_block();
        builder.switch_to_block(block);
        builder.seal_all_blocks();
        let value: i64 = content.trim().parse().expect("it holds a number");
        let value = builder.ins().iconst(I64, value);
        builder.ins().return_(&[value]);
        builder.finalize(self.0.frontend_config());
        unit.define_function(factory, body);
        let mut compiled = self.0.compile(&unit)?;
        compiled.dependencies.push(Dependency {
            kind: DependencyKind::FileSet,
            name: number.0.display().to_string(),
            scope: String::new(),
            digest: file_set_digest([file_digest(Some(content.as_bytes()))]),
        });
        Ok(compiled)
    }
}

struct ReadingBackend(ObjectJit<Reading, NativeLoader>);

// SAFETY: it is Cranelift, for the machine that it runs on.
unsafe impl Backend for ReadingBackend {
    type Unit = Number;
    type Compiler = Reading;
    type Jit = ObjectJit<Reading, NativeLoader>;
    type Loader = NativeLoader;

    fn compiler(&self) -> &Reading {
        self.0.compiler()
    }

    fn jit(&self) -> &Self::Jit {
        &self.0
    }

    fn loader(&self) -> &NativeLoader {
        self.0.loader()
    }

    fn target(&self) -> String {
        self.compiler().0.target()
    }

    fn required_features(&self) -> Vec<String> {
        self.compiler().0.required_features()
    }

    fn libcall(&self, _name: &str) -> Option<u64> {
        None
    }
}

struct Nobody;

impl Host for Nobody {
    fn resolution(&self, _namespace: &str, _symbol: &str) -> Option<Digest> {
        None
    }

    fn symbol(&self, _hash: u64, _name: &str) -> Option<u64> {
        None
    }
}

/// Evaluates the number in `file` as `name`, whose compilation runs `ran`, and cannot be recorded otherwise.
fn eval(
    session: &Session<ReadingBackend>,
    name: &str,
    file: &Path,
    ran: Option<&str>,
) -> (i64, Outcome) {
    let definition = Definition {
        name,
        text: name,
        context: "",
    };
    let evaluated = session.eval_def(&definition, &Nobody, |recorder| {
        match ran {
            Some(ran) => recorder.ran(ran),
            None => recorder.bypass("the time of day"),
        }
        Ok::<_, String>(Compilation {
            unit: Number(file.to_owned()).into(),
            factory: "factory".to_owned(),
            defines: vec![name.to_owned()],
            defines_later: Vec::new(),
            references: Vec::new(),
            side_tables: Vec::new(),
        })
    });
    let evaluated = evaluated.expect("it compiles");
    // SAFETY: the compiler makes factories of this type.
    let factory: extern "C" fn() -> i64 = unsafe { std::mem::transmute(evaluated.factory()) };
    (factory(), evaluated.finish(Ran::Pure))
}

#[test]
fn what_is_not_kept_counts_by_what_its_compiler_read_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let [header, own] = ["header", "own"].map(|name| folder.path().join(name));
    let write = |path: &Path, number: &str| {
        std::fs::write(path, number).expect("it can be written");
    };
    write(&header, "1");
    write(&own, "7");
    let compiler = Reading(CraneliftCompiler::native().expect("Cranelift is there"));
    let backend = ReadingBackend(ObjectJit::new(compiler, native_loader()));
    let cache = Cache::builder(backend)
        .in_memory()
        .open()
        .expect("it opens");
    let cache = std::sync::Arc::new(cache);
    let process = || {
        let session = cache.session();
        let (number, outcome) = eval(&session, "helper", &header, None);
        assert!(matches!(outcome, Outcome::Bypass(_)), "{outcome}");
        (number, eval(&session, "user", &own, Some("helper")).1)
    };
    assert_eq!(process(), (1, NEW));
    assert_eq!(process(), (1, Outcome::Hit));
    write(&header, "2");
    match process() {
        (2, Outcome::Miss(MissReason::Stale(change))) => {
            assert_eq!(
                (change.kind, &*change.name),
                (DependencyKind::Behaviour, "helper")
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(process(), (2, Outcome::Hit));
}
