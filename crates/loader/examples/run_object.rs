//! Runs a program out of object files, without the system's linker: `main` is loaded and called in this
//! process, which then exits with its status.
//!
//! ```text
//! run_object [--low] [-l LIBRARY]... FILE... [-- ARGUMENT...]
//! ```
//!
//! A FILE is an object or an archive. Objects are linked whole; of an archive the members that define
//! what is still missing, as linkers do. Shared libraries named by `-l` are opened for everybody
//! first (a C++ program wants `-l libstdc++.so.6`). `--low` takes
//! code that is not position-independent, too. What goes wrong before `main` ends with status 125.

use object::read::archive::ArchiveFile;
use object::{Object, ObjectSymbol};
use rekindle_cache_core::artifact::{Code, Loader, Symbols};
use rekindle_loader::{NativeLoader, Options};
use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::ffi::{CString, c_char, c_int};
use std::process::ExitCode;

/// The status for everything that goes wrong before `main` is called.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(status) => {
            // Not by returning: this runs what the program registered with `atexit`, and flushes its
            // streams, as the C library does after a program's own `main`.
            // SAFETY: no other thread of this program is there to be surprised.
            unsafe { libc::exit(status) }
        }
        Err(error) => {
            eprintln!("run_object: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// A program's `main`, environment included. Exceptions that nobody catches end the process here.
type Main = extern "C" fn(c_int, *const *const c_char, *const *const c_char) -> c_int;

fn run(arguments: &[String]) -> Result<c_int, Box<dyn Error>> {
    let arguments = Arguments::read(arguments)?;
    for library in &arguments.libraries {
        open_for_everybody(library)?;
    }
    let files: Vec<Vec<u8>> = arguments
        .files
        .iter()
        .map(|file| std::fs::read(file).map_err(|error| format!("{file}: {error}")))
        .collect::<Result<_, _>>()?;
    let objects = select(&files)?;

    let mut options = Options::default();
    options.position_dependent = arguments.low;
    let loader = NativeLoader::with_options(options);
    let image = loader.prepare_objects(&objects, &["main"])?;
    // SAFETY: whoever runs this program asks for the code of these files to be run.
    let code = unsafe { loader.load(image.as_ref(), &TheProcess) }?;
    let main = code.symbol("main").ok_or("there is no `main`")?;
    // SAFETY: C and C++ have `main` of this type; fewer parameters do no harm in this ABI.
    let main = unsafe { std::mem::transmute::<*const u8, Main>(main) };

    let given: Vec<CString> = arguments
        .files
        .iter()
        .take(1)
        .chain(&arguments.given)
        .map(|argument| CString::new(argument.as_str()))
        .collect::<Result<_, _>>()?;
    let count = c_int::try_from(given.len())?;
    let mut pointers: Vec<*const c_char> = given.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    Ok(main(count, pointers.as_ptr(), environment()))
}

/// What the command line asks for.
#[derive(Default)]
struct Arguments {
    low: bool,
    libraries: Vec<String>,
    files: Vec<String>,
    /// The program's own arguments.
    given: Vec<String>,
}

impl Arguments {
    fn read(words: &[String]) -> Result<Self, Box<dyn Error>> {
        let mut arguments = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-l" => {
                    let library = words.next().ok_or("`-l` wants a library")?;
                    arguments.libraries.push(library.clone());
                }
                "--low" => arguments.low = true,
                "--" => arguments.given.extend(words.by_ref().cloned()),
                _ => arguments.files.push(word.clone()),
            }
        }
        if arguments.files.is_empty() {
            return Err(
                "usage: run_object [--low] [-l LIBRARY]... FILE... [-- ARGUMENT...]".into(),
            );
        }
        Ok(arguments)
    }
}

/// A host without symbols of its own: everything comes from the process.
struct TheProcess;

impl Symbols for TheProcess {
    fn address(&self, _hash: u64, _name: &str) -> Option<u64> {
        None
    }
}

/// The objects among `files`, and the members of archives that they need.
fn select(files: &[Vec<u8>]) -> Result<Vec<&[u8]>, Box<dyn Error>> {
    let mut chosen = Vec::new();
    let mut members = Vec::new();
    for file in files {
        if !file.starts_with(b"!<arch>\n") {
            chosen.push(file.as_slice());
            continue;
        }
        let archive = ArchiveFile::parse(file.as_slice())?;
        for member in archive.members() {
            members.push(member?.data(file.as_slice())?);
        }
    }
    let mut definer = HashMap::new();
    for (index, member) in members.iter().enumerate() {
        for name in names(member, |symbol| {
            symbol.is_global() && symbol.is_definition()
        })? {
            definer.entry(name).or_insert(index);
        }
    }

    let mut taken = HashSet::new();
    let mut at = 0;
    while let Some(object) = chosen.get(at).copied() {
        at += 1;
        for name in names(object, |symbol| symbol.is_undefined() && !symbol.is_weak())? {
            if let Some(&index) = definer.get(name)
                && taken.insert(index)
            {
                chosen.extend(members.get(index));
            }
        }
    }
    Ok(chosen)
}

/// The names of those symbols of `object` that `wanted` picks.
fn names<'data>(
    object: &'data [u8],
    wanted: impl Fn(&object::Symbol<'data, '_>) -> bool,
) -> Result<Vec<&'data str>, Box<dyn Error>> {
    let file = object::File::parse(object)?;
    let symbols = file.symbols().filter(wanted);
    Ok(symbols
        .map(|symbol| symbol.name())
        .collect::<Result<_, _>>()?)
}

/// Opens a shared library so that its symbols are the process's.
fn open_for_everybody(library: &str) -> Result<(), Box<dyn Error>> {
    let name = CString::new(library)?;
    // SAFETY: the name ends in a zero byte; the library's initialisers are the user's choice.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        return Err(format!("cannot open the shared library {library}").into());
    }
    Ok(())
}

/// The process's environment, as `main` gets it.
fn environment() -> *const *const c_char {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the C library has this pointer, and nothing here changes the environment.
    unsafe { environ }
}
