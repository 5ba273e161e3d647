//! Runs a program out of one object file by the loader that is named.
//!
//! ```text
//! run_with rekindle|orc-jitlink|orc-rtdyld|dlopen OBJECT [ARGUMENT...]
//! ```
//!
//! What goes wrong before `main` ends with status 125, and the loader's words on standard error.

use rekindle_cache_core::artifact::{Code, Loader, Symbols};
use rekindle_loader::NativeLoader;
use rekindle_loader_peers::{LLVM_22, Linker, OrcLoader, SystemLoader};
use std::error::Error;
use std::ffi::{CString, c_char, c_int};
use std::process::ExitCode;

/// The status for everything that goes wrong before `main` is called.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        // Runs what the program registered with `atexit`, and flushes its streams.
        // SAFETY: no other thread of this program is there to be surprised.
        Ok(status) => unsafe { libc::exit(status) },
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(arguments: &[String]) -> Result<c_int, Box<dyn Error>> {
    let [loader, object, given @ ..] = arguments else {
        return Err("usage: run_with LOADER OBJECT [ARGUMENT...]".into());
    };
    // A C++ program's library is no dependency of a Rust program.
    // SAFETY: the library's initialisers are made to be run like this.
    unsafe {
        libc::dlopen(
            c"libstdc++.so.6".as_ptr(),
            libc::RTLD_NOW | libc::RTLD_GLOBAL,
        );
    }
    let object = std::fs::read(object)?;
    match loader.as_str() {
        "rekindle" => call_main(&NativeLoader::new(), &object, given),
        "orc-jitlink" => call_main(&OrcLoader::new(LLVM_22, Linker::JitLink)?, &object, given),
        "orc-rtdyld" => call_main(
            &OrcLoader::new(LLVM_22, Linker::RuntimeDyld)?,
            &object,
            given,
        ),
        "dlopen" => call_main(&SystemLoader::new("ld.lld-22"), &object, given),
        other => Err(format!("there is no loader {other}").into()),
    }
}

/// A host without symbols of its own: everything comes from the process.
struct TheProcess;

impl Symbols for TheProcess {
    fn address(&self, _hash: u64, _name: &str) -> Option<u64> {
        None
    }
}

fn call_main<L: Loader>(
    loader: &L,
    object: &[u8],
    arguments: &[String],
) -> Result<c_int, Box<dyn Error>> {
    let image = loader.prepare(object, &["main"])?;
    // SAFETY: whoever runs this program asks for the code of this file to be run.
    let code = unsafe { loader.load(image.as_ref(), &TheProcess) }?;
    let main = code.symbol("main").ok_or("there is no `main`")?;
    type Main = extern "C" fn(c_int, *const *const c_char) -> c_int;
    // SAFETY: C and C++ have `main` of this type; fewer parameters do no harm in this ABI.
    let main = unsafe { std::mem::transmute::<*const u8, Main>(main) };
    let given: Vec<CString> = std::iter::once("program")
        .chain(arguments.iter().map(String::as_str))
        .map(CString::new)
        .collect::<Result<_, _>>()?;
    let count = c_int::try_from(given.len())?;
    let mut pointers: Vec<*const c_char> = given.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    Ok(main(count, pointers.as_ptr()))
}
