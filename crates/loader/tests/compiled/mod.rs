//! Objects made by the system's compilers when a test runs, and symbols for them.

// Each test program uses a part of this.
#![allow(dead_code)]

use rekindle_cache_core::artifact::{Code, Loader, Symbols};
use rekindle_loader::{LinkError, LoadError, NativeLoader};
use std::collections::HashMap;
use std::error::Error;
use std::ffi::CStr;
use std::path::Path;
use std::process::Command;

/// What a test returns.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// The object that `compiler` makes of `source` (whose language is that of the file name's ending).
///
/// A compiler that is there but refuses the source is an error, with its words.
pub(crate) fn compile(
    compiler: &str,
    ending: &str,
    source: &str,
    flags: &[&str],
) -> Result<Vec<u8>, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join(format!("unit.{ending}"));
    let object = folder.path().join("unit.o");
    std::fs::write(&file, source)?;
    let output = Command::new(compiler)
        .args(flags)
        .arg("-c")
        .arg(&file)
        .arg("-o")
        .arg(&object)
        .output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{compiler} {flags:?}: {message}").into());
    }
    Ok(std::fs::read(object)?)
}

/// Brings a library into the process, whose symbols are found by name from then on.
pub(crate) fn bring(library: &CStr) {
    // SAFETY: the library's initialisers are made to be run like this; it is the system's or a test's own.
    let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    assert!(!handle.is_null(), "{library:?} is there");
}

/// Brings the C++ library, which is no dependency of a Rust program.
pub(crate) fn bring_cpp_library() {
    bring(c"libstdc++.so.6");
}

/// The object of a C source, position-independent.
pub(crate) fn c(source: &str, flags: &[&str]) -> Result<Vec<u8>, Box<dyn Error>> {
    compile("gcc", "c", source, &[&["-fPIC"], flags].concat())
}

/// The object of an assembler source.
pub(crate) fn assembly(source: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    compile("gcc", "s", source, &[])
}

/// The C compilers that are there: gcc always, as Rust links with it.
pub(crate) fn compilers() -> Vec<&'static str> {
    let is_there = |name: &&&str| {
        std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join(Path::new(name)).is_file())
        })
    };
    ["gcc", "clang", "clang-22", "clang-19", "clang-14"]
        .iter()
        .filter(is_there)
        .copied()
        .collect()
}

/// Symbols of a host that provides a few functions.
#[derive(Default)]
pub(crate) struct Host(pub(crate) HashMap<&'static str, u64>);

impl Symbols for Host {
    fn address(&self, hash: u64, name: &str) -> Option<u64> {
        assert_eq!(hash, rekindle_cache_core::symbol_hash(name));
        self.0.get(name).copied()
    }
}

/// Code of an object, with nothing from the host.
pub(crate) fn load(object: &[u8], roots: &[&str]) -> Result<rekindle_loader::Code, LoadError> {
    load_with(&NativeLoader::new(), object, roots, &Host::default())
}

/// Code of an object.
pub(crate) fn load_with(
    loader: &NativeLoader,
    object: &[u8],
    roots: &[&str],
    symbols: &dyn Symbols,
) -> Result<rekindle_loader::Code, LoadError> {
    let image = loader.prepare(object, roots)?;
    // SAFETY: the image is of an object that a compiler made of a test's source.
    unsafe { loader.load(image.as_ref(), symbols) }
}

/// The function `name` of `code`, without arguments.
pub(crate) fn function(
    code: &impl Code,
    name: &str,
) -> Result<extern "C" fn() -> i64, Box<dyn Error>> {
    let address = code
        .symbol(name)
        .ok_or_else(|| format!("no symbol {name}"))?;
    // SAFETY: the tests ask for functions of this type alone, and code stays for ever.
    Ok(unsafe { std::mem::transmute::<*const u8, extern "C" fn() -> i64>(address) })
}

/// Why linking fails.
pub(crate) fn refusal(object: &[u8], roots: &[&str]) -> Result<LinkError, Box<dyn Error>> {
    match NativeLoader::new().prepare(object, roots) {
        Err(LoadError::Link(error)) => Ok(error),
        other => Err(format!("a link error was due, not {other:?}").into()),
    }
}
