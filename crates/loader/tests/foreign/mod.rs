//! Running images for AArch64 without such a machine: a small program of its own (`runner.c`), built by
//! a cross compiler and run by qemu, is handed an image that was bound for its address by the test.

// Each test program uses a part of this.
#![allow(dead_code)]

use crate::placed::{Answer, Import, Placed};
use crate::whole::{end_of, is_installed, succeed};
use object::{Object, ObjectSymbol};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// Where images are put: far from where a static program and its stacks lie. Not at a multiple of 4 GiB,
/// where libgcc takes the entry of a function for that of one that was dropped.
pub(crate) const BASE: u64 = 0x50_0010_0000;

/// Names of the libraries that objects of the tests refer to.
const WANTED: &[&str] = &[
    "labs",
    "malloc",
    "free",
    "memcpy",
    "abort",
    "atexit",
    "_Unwind_Resume",
    "__cxa_throw",
    "__cxa_rethrow",
    "__cxa_begin_catch",
    "__cxa_end_catch",
    "__cxa_allocate_exception",
    "__cxa_free_exception",
    "__cxa_get_exception_ptr",
    "__cxa_atexit",
    "__cxa_guard_acquire",
    "__cxa_guard_release",
    "__cxa_guard_abort",
    "__cxa_pure_virtual",
    "__gxx_personality_v0",
    "__dynamic_cast",
    "__errno_location",
    "_ZSt9terminatev",
    "_ZTIi",
    "_ZTIPKc",
    "_ZTISt9exception",
    "_ZNSt9exceptionD2Ev",
    "_ZNKSt9exception4whatEv",
    "_ZTVN10__cxxabiv117__class_type_infoE",
    "_ZTVN10__cxxabiv120__si_class_type_infoE",
    "_ZTVN10__cxxabiv121__vmi_class_type_infoE",
    "_Znwm",
    "_ZdlPv",
    "_ZdlPvm",
    "_Znam",
    "_ZdaPv",
];

/// The runner, and what it has.
pub(crate) struct Runner {
    program: PathBuf,
    symbols: HashMap<String, u64>,
    thread_alignment: u64,
    _folder: TempDir,
}

/// The compilers for AArch64 that are there, as a program with its first arguments.
pub(crate) fn compilers() -> Vec<Vec<&'static str>> {
    let mut found = Vec::new();
    if is_installed("aarch64-linux-gnu-gcc") {
        found.push(vec!["aarch64-linux-gnu-gcc"]);
    }
    if is_installed("clang-22") {
        found.push(vec!["clang-22", "--target=aarch64-linux-gnu"]);
    }
    found
}

/// Why nothing for AArch64 can be run here, if so.
pub(crate) fn lacks() -> Option<&'static str> {
    if !is_installed("aarch64-linux-gnu-gcc") || !is_installed("aarch64-linux-gnu-g++") {
        return Some("no aarch64-linux-gnu-gcc and -g++ are installed");
    }
    if !is_installed("qemu-aarch64") {
        return Some("qemu-aarch64 is not installed");
    }
    None
}

impl Runner {
    /// The one of this process, built when it is first asked for.
    pub(crate) fn get() -> Answer<&'static Self> {
        static BUILT: OnceLock<Result<Runner, String>> = OnceLock::new();
        let built = BUILT.get_or_init(|| Self::build().map_err(|error| error.to_string()));
        built.as_ref().map_err(|error| error.clone().into())
    }

    fn build() -> Answer<Self> {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("runner");
        let mut command = Command::new("aarch64-linux-gnu-g++");
        command.args(["-O1", "-static", "-no-pie", "-pthread", "-x", "c"]);
        command.arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/foreign/runner.c"
        ));
        for name in WANTED {
            command.arg(format!("-Wl,-u,{name}"));
        }
        succeed(command.arg("-o").arg(&program))?;
        let bytes = std::fs::read(&program)?;
        let file = object::File::parse(bytes.as_slice())?;
        let mut symbols = HashMap::new();
        for symbol in file.symbols().filter(|symbol| symbol.is_global()) {
            symbols.insert(symbol.name()?.to_owned(), symbol.address());
        }
        let object::File::Elf64(elf) = &file else {
            return Err("the runner is no ELF program".into());
        };
        let alignment = elf
            .elf_program_headers()
            .iter()
            .find(|header| header.p_type.get(object::Endianness::Little) == object::elf::PT_TLS)
            .map_or(1, |header| header.p_align.get(object::Endianness::Little));
        Ok(Self {
            program,
            symbols,
            thread_alignment: alignment,
            _folder: folder,
        })
    }

    /// The value of an import in the runner.
    pub(crate) fn resolve(&self, import: &Import) -> Option<u64> {
        let known = |name: &str| self.symbols.get(name).copied();
        // A program's thread-locals lie behind two words at the thread pointer.
        let distance =
            |name: &str| Some(16u64.next_multiple_of(self.thread_alignment) + known(name)?);
        match import.kind {
            0 => known(&import.name),
            2 => Some(2),
            3 | 4 => distance(&import.name),
            5 => Some(1),
            6 => known("runner_get_address"),
            7 => known("runner_descriptor"),
            8 => known("runner_variable"),
            _ => None,
        }
    }

    /// `image`, bound for [`BASE`] and this runner.
    pub(crate) fn place(&self, image: &[u8]) -> Answer<Placed> {
        Placed::new(image, BASE, |import| self.resolve(import))
    }

    /// What `function` of the image returns.
    pub(crate) fn call(&self, placed: &Placed, function: &str, argument: u64) -> Answer<i32> {
        let entry = placed.symbol(function).ok_or("no such function")?;
        let folder = tempfile::tempdir()?;
        let dump = folder.path().join("dump");
        std::fs::write(&dump, placed.dump(entry, argument))?;
        let mut command = Command::new("qemu-aarch64");
        let ended = end_of(command.arg(&self.program).arg(&dump), "")?;
        let returned = ended.stdout.strip_prefix("returned ").map(str::trim);
        match returned.and_then(|number| number.parse().ok()) {
            Some(number) => Ok(number),
            None => Err(format!("{ended:?}").into()),
        }
    }
}
