//! Where clang is.

use crate::clang::error::Error;
use crate::clang::options::{COMPILER_VARIABLE, LEAST_VERSION, Language, Options};
use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The newest version that is looked for by its number; newer ones are found without one.
const NEWEST: u32 = 22;

/// The clang of `options`, of the environment, or of the search path.
pub(crate) fn find(options: &Options) -> Result<PathBuf, Error> {
    let named = match &options.compiler {
        Some(path) => Some(path.clone()),
        None => env::var_os(COMPILER_VARIABLE)
            .filter(|name| !name.is_empty())
            .map(PathBuf::from),
    };
    let names = match named {
        Some(named) => vec![named],
        None => usual_names(options.language),
    };
    let found = names.iter().find_map(|name| on_the_path(name));
    found.ok_or_else(|| Error::NotFound {
        tried: names
            .iter()
            .map(|name| name.display().to_string())
            .collect(),
    })
}

fn usual_names(language: Language) -> Vec<PathBuf> {
    let name = match language {
        Language::Cpp => "clang++",
        Language::C => "clang",
    };
    let versions = (LEAST_VERSION..=NEWEST).rev();
    let versioned = versions.map(|version| PathBuf::from(format!("{name}-{version}")));
    versioned.chain([PathBuf::from(name)]).collect()
}

/// A program by its path, or by its name alone on the search path.
fn on_the_path(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 || name.is_absolute() {
        let path = std::path::absolute(name).ok()?;
        return is_program(&path).then_some(path);
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let mut paths = env::split_paths(&folders)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name));
    paths.find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
