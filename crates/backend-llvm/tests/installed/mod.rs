//! Folders for a test's headers and compilers, and code that is run.

use rekindle_backend_llvm::clang::Options;
use rekindle_cache_core::artifact::{Code, Loader, Symbols};
use rekindle_loader::NativeLoader;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

/// The clang that is there, by its path.
pub(crate) fn clang() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let names = (15..=22).rev().map(|version| format!("clang++-{version}"));
        let names: Vec<_> = names.chain(["clang++".to_owned()]).collect();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<_> = std::env::split_paths(&path).collect();
        let found = names.iter().find_map(|name| {
            let mut paths = folders.iter().map(|folder| folder.join(name));
            paths.find(|path| path.is_file())
        });
        found.unwrap_or_default()
    })
}

/// Says once that a test is left out where there is no clang.
pub(crate) fn installed() -> Option<()> {
    static SAID: Once = Once::new();
    if clang().as_os_str().is_empty() {
        SAID.call_once(|| {
            eprintln!("left out: what needs clang, which is not installed (package clang-22)");
        });
        return None;
    }
    Some(())
}

/// A test's own folder.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a folder can be made"));
        std::fs::create_dir(place.folder()).expect("it can be made");
        place
    }

    /// Where the compiler keeps what it keeps.
    pub(crate) fn folder(&self) -> PathBuf {
        self.path("kept")
    }

    pub(crate) fn options(&self) -> Options {
        Options::default().folder(self.folder())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let root = self.0.path().canonicalize().expect("the folder is there");
        root.join(name)
    }

    /// A flag with a path in this folder.
    pub(crate) fn flag(&self, flag: &str, name: &str) -> String {
        format!("{flag}{}", self.path(name).display())
    }

    /// Writes a file, in place of what has its name.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it can be made");
        std::fs::write(&path, content).expect("it can be written");
        path
    }

    /// A program of a shell's, put in place whole, as a package would be.
    pub(crate) fn script(&self, name: &str, commands: &str) -> PathBuf {
        let text = self.write(&format!("{name}.text"), &format!("#!/bin/sh\n{commands}\n"));
        std::fs::set_permissions(&text, std::fs::Permissions::from_mode(0o755))
            .expect("it is ours");
        // Copied by another process: a file that this one has written may still be open for writing in a
        // child that a test beside this one is starting, and is then not run.
        let (copy, place) = (self.path(&format!("{name}.new")), self.path(name));
        let copied = std::process::Command::new("cp")
            .arg(&text)
            .arg(&copy)
            .status();
        assert!(copied.expect("cp is there").success());
        std::fs::rename(&copy, &place).expect("it can be moved");
        place
    }

    /// Files of a sort that the compiler keeps: `pch`, `list` or `probe`.
    pub(crate) fn kept(&self, sort: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder()).expect("the folder is there");
        let paths = entries.map(|entry| entry.expect("it can be read").path());
        let is_of_sort = |path: &PathBuf| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            match sort {
                "pch" => name.ends_with(".pch"),
                "probe" => name.starts_with("probe-"),
                "run" => name.starts_with("rekindle-run-"),
                _ => name.starts_with("prelude-") && !name.contains('.'),
            }
        };
        let mut found: Vec<_> = paths.filter(is_of_sort).collect();
        found.sort();
        found
    }

    /// Names and inodes of precompiled headers.
    pub(crate) fn precompiled(&self) -> Vec<(PathBuf, u64)> {
        use std::os::unix::fs::MetadataExt;
        let found = self.kept("pch").into_iter();
        let with_inode = |path: PathBuf| {
            let inode = path.metadata().expect("it is there").ino();
            (path, inode)
        };
        found.map(with_inode).collect()
    }

    pub(crate) fn has_no_temporary_files(&self) -> bool {
        self.kept("run").is_empty()
    }
}

struct Nothing;

impl Symbols for Nothing {
    fn address(&self, _hash: u64, name: &str) -> Option<u64> {
        let name = std::ffi::CString::new(name).ok()?;
        // SAFETY: a look-up of a name among the process's libraries, which stay.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        (!address.is_null()).then_some(address as u64)
    }
}

/// Calls `name` of an object with `x`.
pub(crate) fn call(object: &[u8], name: &str, x: i64) -> i64 {
    with_cpp();
    let loader = NativeLoader::new();
    let image = loader.prepare(object, &[name]).expect("it links");
    // SAFETY: the object is of a text of the test's, bound to the process's own symbols.
    let code = unsafe { loader.load(image.as_ref(), &Nothing) }.expect("it loads");
    let function = code.symbol(name).expect("it is exported");
    // SAFETY: each test's text gives its function this type.
    let function: extern "C" fn(i64) -> i64 = unsafe { std::mem::transmute(function) };
    function(x)
}

/// Has the library of C++ in this process, which Rust does not link.
fn with_cpp() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a library of the system's, whose initialisers may run anywhere.
        let library = unsafe {
            libc::dlopen(
                c"libstdc++.so.6".as_ptr(),
                libc::RTLD_NOW | libc::RTLD_GLOBAL,
            )
        };
        assert!(!library.is_null(), "clang's headers are this library's");
    });
}
