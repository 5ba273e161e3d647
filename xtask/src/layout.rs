//! Where the files of the C library go below a prefix. The tests of `crates/capi` include this file, so that they
//! build hosts against what users get.

use std::fs;
use std::io::{self, Error, ErrorKind};
use std::path::Path;

/// Puts headers, the libraries of the folder `libraries`, and the files of pkg-config and CMake below `prefix`.
///
/// # Errors
/// A file that cannot be read or written.
pub(crate) fn lay_out(package: &Path, libraries: &Path, prefix: &Path) -> io::Result<()> {
    let include = prefix.join("include");
    let lib = prefix.join("lib");
    let cmake = lib.join("cmake/rekindle");
    let pkgconfig = lib.join("pkgconfig");
    for folder in [&include, &cmake, &pkgconfig] {
        fs::create_dir_all(folder).map_err(|error| told(folder, &error))?;
    }
    for header in ["rekindle.h", "rekindle.hpp"] {
        put(&package.join("include").join(header), &include.join(header))?;
    }
    let abi = abi(&package.join("src/lib.rs"))?;
    let soname = format!("librekindle.so.{abi}");
    put(&libraries.join("librekindle.so"), &lib.join(&soname))?;
    put(&libraries.join("librekindle.a"), &lib.join("librekindle.a"))?;
    let link = lib.join("librekindle.so");
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link).map_err(|error| told(&link, &error))?;
    }
    std::os::unix::fs::symlink(&soname, &link).map_err(|error| told(&link, &error))?;
    for (template, folder) in [
        ("rekindle.pc", &pkgconfig),
        ("rekindle-config.cmake", &cmake),
        ("rekindle-config-version.cmake", &cmake),
    ] {
        let source = package.join("package").join(format!("{template}.in"));
        let text = fs::read_to_string(&source).map_err(|error| told(&source, &error))?;
        let text = text
            .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
            .replace("@ABI@", &abi);
        let target = folder.join(template);
        fs::write(&target, text).map_err(|error| told(&target, &error))?;
    }
    Ok(())
}

/// The version of the interface, which is the number in the library's name.
fn abi(source: &Path) -> io::Result<String> {
    let text = fs::read_to_string(source).map_err(|error| told(source, &error))?;
    let (_, rest) = text
        .split_once("REKINDLE_ABI_VERSION: u32 = ")
        .ok_or_else(|| told(source, &Error::other("it names no version")))?;
    Ok(rest.chars().take_while(char::is_ascii_digit).collect())
}

/// Copies a file, and never into one that a process may have mapped.
fn put(source: &Path, target: &Path) -> io::Result<()> {
    match fs::remove_file(target) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(told(target, &error)),
        _ => {}
    }
    fs::copy(source, target)
        .map(drop)
        .map_err(|error| told(source, &error))
}

fn told(path: &Path, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", path.display()))
}
