//! Every part of the environment: a change of it alone is a miss that says which part, and what is no part
//! of it changes nothing.

use crate::sums::Sums;
use rekindle_cache_core::artifact::{
    Compiled, Compiler, FormatId, Image, ImageRef, Loader, Symbols,
};
use rekindle_loader::NativeLoader;
use rekindle_runtime_hooks::cranelift::Cranelift;
use rekindle_runtime_hooks::cranelift::backend::{
    Cpu, CraneliftCompiler, CraneliftJit, OptLevel, Options, Unit,
};
use rekindle_runtime_hooks::{Backend, Cache, Digest, SymbolTable};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Evaluates one definition in `folder` as a process with this backend would, and says what came of it.
fn evaluate(folder: &Path, backend: impl Backend<Unit = Unit>, symbols: SymbolTable) -> String {
    let builder = Cache::builder(backend).folder(folder).symbols(symbols);
    let cache = Arc::new(builder.explain(true).open().expect("it opens"));
    let (sum, outcome) = Sums::default().eval(&cache.session(), "a", "1+2");
    assert_eq!(sum, 3);
    outcome.to_string()
}

fn with_options(folder: &Path, options: &Options) -> String {
    let backend = Cranelift::with(options).expect("Cranelift compiles for this machine");
    evaluate(folder, backend, SymbolTable::new())
}

/// Cranelift that says something else of itself than is true, so that one part of the environment changes
/// and the code does not.
struct Disguised {
    inner: Cranelift,
    compiler: Aged,
    loader: Dated,
    target: String,
    features: Vec<String>,
}

/// The compiler, as if it were of another version.
struct Aged {
    inner: CraneliftCompiler,
    version: u64,
}

/// The loader, as if its images were of another version.
struct Dated {
    inner: NativeLoader,
    version: u32,
}

impl Disguised {
    fn new() -> Self {
        let inner = Cranelift::new().expect("Cranelift compiles for this machine");
        Self {
            compiler: Aged {
                inner: CraneliftCompiler::native().expect("as before"),
                version: 0,
            },
            loader: Dated {
                version: inner.loader().format().version,
                inner: NativeLoader::new(),
            },
            target: inner.target(),
            features: inner.required_features(),
            inner,
        }
    }
}

// SAFETY: everything is Cranelift's and this project's loader's own but for what is said of it, and what
// is said differs only where the tests want other keys for the same code.
unsafe impl Backend for Disguised {
    type Unit = Unit;
    type Compiler = Aged;
    type Jit = CraneliftJit;
    type Loader = Dated;

    fn compiler(&self) -> &Aged {
        &self.compiler
    }

    fn jit(&self) -> &CraneliftJit {
        self.inner.jit()
    }

    fn loader(&self) -> &Dated {
        &self.loader
    }

    fn target(&self) -> String {
        self.target.clone()
    }

    fn required_features(&self) -> Vec<String> {
        self.features.clone()
    }

    fn libcall(&self, name: &str) -> Option<u64> {
        self.inner.libcall(name)
    }
}

impl Compiler for Aged {
    type Unit = Unit;
    type Error = <CraneliftCompiler as Compiler>::Error;

    fn fingerprint(&self) -> Digest {
        match self.version {
            0 => self.inner.fingerprint(),
            version => Digest::of("another version", &version.to_le_bytes()),
        }
    }

    fn digest(&self, unit: &Unit) -> Digest {
        self.inner.digest(unit)
    }

    fn compile(&self, unit: &Unit) -> Result<Compiled, Self::Error> {
        self.inner.compile(unit)
    }
}

impl Loader for Dated {
    type Code = <NativeLoader as Loader>::Code;
    type Error = <NativeLoader as Loader>::Error;

    fn format(&self) -> FormatId {
        FormatId {
            version: self.version,
            ..self.inner.format()
        }
    }

    fn prepare(&self, object: &[u8], roots: &[&str]) -> Result<Image, Self::Error> {
        self.inner.prepare(object, roots)
    }

    unsafe fn load(
        &self,
        image: ImageRef<'_>,
        symbols: &dyn Symbols,
    ) -> Result<Self::Code, Self::Error> {
        // SAFETY: the caller's own promise.
        unsafe { self.inner.load(image, symbols) }
    }
}

fn in_disguise(folder: &Path, change: impl FnOnce(&mut Disguised)) -> String {
    let mut backend = Disguised::new();
    change(&mut backend);
    evaluate(folder, backend, SymbolTable::new())
}

#[track_caller]
fn assert_starts(text: &str, start: &str) {
    assert!(
        text.starts_with(start),
        "{text:?} does not start with {start:?}"
    );
}

const NEW: &str = "miss: no record of this text";

#[test]
fn options_that_reach_the_code_count_and_the_verifier_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let usual = Options::default;
    assert_starts(&with_options(folder, &usual()), NEW);
    assert_eq!(with_options(folder, &usual().verify(false)), "hit");
    assert_eq!(with_options(folder, &usual().verify(true)), "hit");
    let others = [
        usual().opt_level(OptLevel::None),
        usual().opt_level(OptLevel::SpeedAndSize),
        usual().unwind_tables(false),
        usual().section_per_symbol(false),
        usual().flag("preserve_frame_pointers", "true"),
    ];
    for other in &others {
        let outcome = with_options(folder, other);
        assert_starts(&outcome, "miss: compiler has changed, from");
        assert!(!outcome.contains(';'), "nothing else differs: {outcome}");
    }
    for same in others.iter().chain([&usual()]) {
        assert_eq!(with_options(folder, same), "hit");
    }
}

#[test]
fn the_cpu_that_code_is_for_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let native = Cranelift::new().expect("Cranelift compiles for this machine");
    let features = native.required_features();
    let baseline = || Options::default().cpu(Cpu::Baseline);
    assert_starts(&with_options(folder.path(), &Options::default()), NEW);
    if features.is_empty() {
        // A machine without anything beyond the architecture: there is nothing to take away.
        return;
    }
    let outcome = with_options(folder.path(), &baseline());
    for feature in &features {
        assert!(
            outcome.contains(&format!("cpu feature {feature} is gone")),
            "{outcome}"
        );
    }
    assert_eq!(with_options(folder.path(), &baseline()), "hit");
    assert_eq!(with_options(folder.path(), &Options::default()), "hit");
}

#[test]
fn version_target_features_and_image_format_each_count_alone() {
    type Change = fn(&mut Disguised);
    // What is changed, and what is said of it: each part is told by itself.
    let changes: [(Change, &[&str]); 4] = [
        (
            |backend| backend.compiler.version = 2,
            &["compiler has changed, from"],
        ),
        (
            |backend| backend.target = "nowhere-unknown-none".to_owned(),
            &["is gone", "target nowhere-unknown-none is new"],
        ),
        (
            |backend| backend.features.push("has_wings".to_owned()),
            &["cpu feature has_wings is new"],
        ),
        (|backend| backend.loader.version += 1, &["image format"]),
    ];
    for (change, words) in changes {
        // A miss is compared with the newest record, so each change has its own folder.
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        assert_starts(&in_disguise(folder, |_| {}), NEW);
        // The plain backend says the same of itself.
        assert_eq!(with_options(folder, &Options::default()), "hit");
        let outcome = in_disguise(folder, change);
        assert_starts(&outcome, "miss: ");
        for word in words {
            assert!(outcome.contains(word), "{outcome:?} does not say {word:?}");
        }
        assert_eq!(outcome.split("; ").count(), words.len(), "{outcome}");
        assert_eq!(in_disguise(folder, change), "hit");
        assert_eq!(in_disguise(folder, |_| {}), "hit");
    }
}

#[test]
fn the_order_of_features_does_not_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let with = |features: [&'static str; 2]| {
        in_disguise(folder.path(), move |backend| {
            backend.features = features.map(str::to_owned).to_vec();
        })
    };
    assert_starts(&with(["has_wings", "has_fins"]), NEW);
    assert_eq!(with(["has_fins", "has_wings"]), "hit");
}

/// Starts this program from `executable`, which may be a copy of it, with a library that provides a symbol.
fn process(folder: &Path, executable: &Path, library: Option<&Path>) -> String {
    let mut child = Command::new(executable);
    child.args(["--ignored", "--exact", "environments::child", "--nocapture"]);
    child.env("REKINDLE_TEST_FOLDER", folder.join("cache"));
    child.env_remove("REKINDLE_TEST_LIBRARY");
    if let Some(library) = library {
        child.env("REKINDLE_TEST_LIBRARY", library);
    }
    let output = child.output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let outcome = text.lines().find_map(|line| line.split_once("outcome: "));
    outcome.expect("it prints one").1.to_owned()
}

#[test]
#[ignore = "is no test: others start it as a process of its own"]
fn child() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_FOLDER") else {
        return;
    };
    let mut symbols = SymbolTable::new();
    if let Some(library) = std::env::var_os("REKINDLE_TEST_LIBRARY") {
        let library = CString::new(library.into_encoded_bytes()).expect("a path");
        // SAFETY: the library was made by the test, has no initialisers, and is never closed.
        let address = unsafe {
            let library = libc::dlopen(library.as_ptr(), libc::RTLD_NOW);
            assert!(!library.is_null(), "the library is loaded");
            libc::dlsym(library, c"rekindle_test_number".as_ptr())
        };
        assert!(!address.is_null(), "the library provides it");
        symbols.insert("rekindle_test_number", address as u64);
    }
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    println!("outcome: {}", evaluate(folder.as_ref(), backend, symbols));
}

fn this() -> PathBuf {
    std::env::current_exe().expect("a test has a file")
}

/// A copy of this program with another build id, or with other bytes where there is none.
fn rebuilt(folder: &Path) -> PathBuf {
    let mut bytes = std::fs::read(this()).expect("it can be read");
    // The name's length, that of the id, the type of note, the name.
    let note = |at: &[u8]| at[..4] == [4, 0, 0, 0] && at[8..16] == *b"\x03\0\0\0GNU\0";
    match bytes.windows(16).position(note) {
        Some(place) => bytes[place + 16] ^= 1,
        None => bytes.push(0),
    }
    let path = folder.join("rebuilt");
    write_executable(&path, &bytes);
    path
}

fn write_executable(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, bytes).expect("it can be written");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, executable).expect("it is ours");
}

#[test]
fn the_build_of_the_executable_counts_and_its_path_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let copy = folder.join("copy");
    write_executable(&copy, &std::fs::read(this()).expect("it can be read"));
    let other = rebuilt(folder);
    assert_starts(&process(folder, &this(), None), NEW);
    assert_eq!(process(folder, &copy, None), "hit");
    let outcome = process(folder, &other, None);
    assert_starts(&outcome, "miss: abi");
    assert!(outcome.contains("has changed, from"), "{outcome}");
    assert_eq!(process(folder, &other, None), "hit");
    assert_eq!(process(folder, &this(), None), "hit");
}

#[test]
fn the_build_of_a_library_that_provides_a_symbol_counts_and_its_path_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let source = folder.join("number.c");
    std::fs::write(&source, "long rekindle_test_number(void) { return 7; }\n").expect("it can be");
    let library = |place: &str, build: &str| {
        let path = folder.join(place).join("libnumber.so");
        std::fs::create_dir(folder.join(place)).expect("it can be made");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-nostdlib", "-o"]);
        compiler.arg(&path).arg(&source);
        compiler.arg(format!("-Wl,--build-id=0x{build}"));
        assert!(compiler.status().expect("cc runs").success());
        path
    };
    let (first, moved, second) = (
        library("first", "0102030405060708"),
        library("moved", "0102030405060708"),
        library("second", "1112131415161718"),
    );
    assert_starts(&process(folder, &this(), None), NEW);
    let outcome = process(folder, &this(), Some(&first));
    assert_eq!(outcome, "miss: abi libnumber.so is new");
    assert_eq!(process(folder, &this(), Some(&moved)), "hit");
    let outcome = process(folder, &this(), Some(&second));
    assert_starts(&outcome, "miss: abi libnumber.so has changed, from");
    assert_eq!(process(folder, &this(), Some(&first)), "hit");
    assert_eq!(process(folder, &this(), None), "hit");
}
