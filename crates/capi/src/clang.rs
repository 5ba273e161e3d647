//! C++ and C as units: how clang is set up. Without the feature `clang` asking for it is an error at opening.

use crate::boundary::Text;
use crate::error::{ErrorCode, Failure};
use crate::options::{Options, set};

#[cfg(feature = "clang")]
pub(crate) use rekindle_backend_llvm::clang::{ClangCompiler, Error, Unit};
#[cfg(feature = "clang")]
use rekindle_backend_llvm::clang::{Language, Options as Settings};
#[cfg(feature = "clang")]
use rekindle_cache_core::artifact::{Compiled, Compiler as _};
#[cfg(not(feature = "clang"))]
pub(crate) use without::*;
#[cfg(not(feature = "clang"))]
use without::{Language, Settings};

/// What clang is to be made with.
#[derive(Default, Clone)]
pub(crate) struct Clang(Option<Settings>);

impl Clang {
    fn change(&mut self, change: impl FnOnce(Settings) -> Settings) {
        self.0 = Some(change(self.0.take().unwrap_or_default()));
    }

    /// The compiler, if one was asked for.
    pub(crate) fn open(&self) -> Result<Option<ClangCompiler>, Failure> {
        let compiler = self.0.as_ref().map(ClangCompiler::new).transpose();
        compiler.map_err(|error| Failure::new(ErrorCode::Compiler, error.to_string()))
    }

    /// The same with more flags, which come last.
    pub(crate) fn with_flags(&self, flags: &[String]) -> Self {
        let with = |settings: &Settings| {
            let all = flags.iter();
            all.fold(settings.clone(), |settings, flag| settings.flag(flag))
        };
        Self(self.0.as_ref().map(with))
    }
}

/// Changes what clang is to be made with.
///
/// # Safety
/// As for [`set`].
unsafe fn clang(options: *mut Options, change: impl FnOnce(Settings) -> Result<Settings, Failure>) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        set(options, |options| {
            let mut result = Ok(());
            options.clang.change(|settings| {
                change(settings.clone()).unwrap_or_else(|failure| {
                    result = Err(failure);
                    settings
                })
            });
            result
        });
    }
}

/// Has clang compile units that are source text: C++ at `-O2`, unless the functions below say otherwise, each of which
/// has clang compile as well. The compiler, its flags and its prelude are part of every key, and the headers of a
/// unit are dependencies of its code. `rekindle_open` fails where there is no clang of version 15 or newer, or the
/// prelude cannot be compiled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_clang(options: *mut Options) {
    // SAFETY: the caller's own.
    unsafe { clang(options, Ok) };
}

/// Names the clang to run, by path. Else it is what `REKINDLE_CLANG` names, or one of the search path.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_clang_program(options: *mut Options, path: Text) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        clang(options, |settings| {
            Ok(settings.compiler(path.text("the compiler")?))
        });
    };
}

/// Says whether units are C rather than C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_clang_is_c(options: *mut Options, is_c: bool) {
    let language = if is_c { Language::C } else { Language::Cpp };
    // SAFETY: the caller's own.
    unsafe { clang(options, |settings| Ok(settings.language(language))) };
}

/// Adds one flag, or a flag's value, for clang. No shell sees it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_clang_flag(options: *mut Options, flag: Text) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        clang(
            options,
            |settings| Ok(settings.flag(flag.text("the flag")?)),
        );
    };
}

/// Gives the text that every unit begins with: its headers are compiled once, and kept in the folder of
/// `rekindle_options_clang_folder`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_clang_prelude(options: *mut Options, text: Text) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        clang(options, |settings| {
            Ok(settings.prelude(text.text("the prelude")?))
        });
    };
}

/// Names the folder that relative paths in flags and `#include "..."` start from; `/` by default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_clang_directory(options: *mut Options, path: Text) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        clang(options, |settings| {
            Ok(settings.directory(path.text("the directory")?))
        });
    };
}

/// Names the folder for precompiled headers, which nobody else may write. By default it is a temporary one that goes
/// away with the cache.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_clang_folder(options: *mut Options, path: Text) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        clang(options, |settings| {
            Ok(settings.folder(path.text("the folder")?))
        });
    };
}

/// Names an environment variable that clang gets to see. Its value counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_clang_variable(options: *mut Options, name: Text) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        clang(options, |settings| {
            Ok(settings.variable(name.text("the variable")?))
        });
    };
}

/// Says how long one run of clang may take, in milliseconds; 120,000 by default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_clang_time_limit(
    options: *mut Options,
    milliseconds: u64,
) {
    let limit = std::time::Duration::from_millis(milliseconds);
    // SAFETY: the caller's own.
    unsafe { clang(options, |settings| Ok(settings.time_limit(limit))) };
}

/// Compiles a unit's text.
#[cfg(feature = "clang")]
pub(crate) fn compile(compiler: &ClangCompiler, text: &str) -> Result<Compiled, Error> {
    compiler.compile(&Unit::new(text))
}

/// What stands for the backend in a library that was built without it.
#[cfg(not(feature = "clang"))]
mod without {
    use rekindle_cache_core::Digest;
    use rekindle_cache_core::artifact::Compiled;

    #[derive(Default, Clone)]
    pub(crate) struct Settings;

    pub(crate) enum Language {
        C,
        Cpp,
    }

    /// There is none.
    pub(crate) enum ClangCompiler {}

    #[derive(Debug, thiserror::Error)]
    #[error("this library was built without clang: build it with its feature `clang`")]
    pub(crate) struct Error;

    macro_rules! unheeded {
        ($($name:ident($type:ty);)*) => {
            impl Settings {
                $(pub(crate) fn $name(self, _: $type) -> Self {
                    self
                })*
            }
        };
    }

    unheeded! {
        compiler(&str);
        language(Language);
        flag(&str);
        prelude(&str);
        directory(&str);
        folder(&str);
        variable(&str);
        time_limit(std::time::Duration);
    }

    impl ClangCompiler {
        pub(crate) fn new(_: &Settings) -> Result<Self, Error> {
            Err(Error)
        }

        pub(crate) fn fingerprint(&self) -> Digest {
            match *self {}
        }

        pub(crate) fn target(&self) -> String {
            match *self {}
        }

        pub(crate) fn required_features(&self) -> Vec<String> {
            match *self {}
        }
    }

    pub(crate) fn compile(compiler: &ClangCompiler, _: &str) -> Result<Compiled, Error> {
        match *compiler {}
    }
}
