//! How a Vm has clang called.

use super::{BackendOptions, CachePlace};
use crate::compiler::cpp::{FLAGS, PRELUDE};
use rekindle_cache_core::folder::default_folder;
use rekindle_runtime_hooks::clang::backend::Options;
use std::sync::Once;

/// The folder for precompiled headers, in that of the cache.
const FOLDER: &str = "clang";

/// What clang is given, and its folder in that of `cache`.
pub(super) fn options(options: &BackendOptions, cache: &CachePlace) -> Options {
    let mut clang = FLAGS
        .iter()
        .fold(Options::default(), |clang, flag| clang.flag(*flag));
    for flag in &options.cpp_flags {
        clang = clang.flag(flag);
    }
    let prelude = format!("{PRELUDE}\n{}", options.cpp_prelude);
    let folder = match cache {
        CachePlace::Default => default_folder().ok(),
        CachePlace::Folder(folder) => Some(folder.clone()),
        CachePlace::Memory | CachePlace::Off => None,
    };
    let clang = clang.prelude(prelude);
    match folder {
        Some(folder) => clang.folder(folder.join(FOLDER)),
        None => clang,
    }
}

/// Has the library of C++ in this process, which Rust does not link and C++ calls.
pub(super) fn load_library() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a library of the system's, whose initialisers may run at any time.
        let library = unsafe {
            libc::dlopen(
                c"libstdc++.so.6".as_ptr(),
                libc::RTLD_NOW | libc::RTLD_GLOBAL,
            )
        };
        if library.is_null() {
            tracing::debug!("there is no libstdc++: C++ that needs it cannot be loaded");
        }
    });
}
