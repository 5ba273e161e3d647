//! Units to objects.

use crate::clang::depfile;
use crate::clang::diagnostic::{self, Diagnostic, Severity};
use crate::clang::error::Error;
use crate::clang::find::find;
use crate::clang::gather::{Gatherer, Scanned};
use crate::clang::options::Options;
use crate::clang::prelude::{ATTEMPTS, Prelude, Workshop};
use crate::clang::probe::Probe;
use crate::clang::run::{Finished, Runner, read_text};
use crate::clang::temporary::{TemporaryFolder, sweep};
use crate::clang::unit::Unit;
use rekindle_cache_core::artifact::{Compiled, Compiler, Object};
use rekindle_cache_core::{Digest, DigestBuilder};
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The version of what this crate itself adds to the code: a change of it changes every key.
const BACKEND_VERSION: u64 = 2;

/// Flags of every run: a section for each function and variable, so that a loader leaves out what its roots
/// do not reach; no files beside the object, and messages that can be read back.
pub(crate) fn common_arguments() -> [&'static str; 5] {
    [
        "-ffunction-sections",
        "-fdata-sections",
        "-fintegrated-as",
        "-fno-crash-diagnostics",
        "-fno-color-diagnostics",
    ]
}

/// Compiles [`Unit`]s to position-independent object files, each in one process of clang's.
///
/// One compiler may be used by many threads at once.
#[derive(Debug)]
pub struct ClangCompiler {
    options: Options,
    runner: Runner,
    probe: Probe,
    // Given up before the folder that it lies in.
    prelude: Option<Prelude>,
    scanned: Scanned,
    fingerprint: Digest,
    folder: PathBuf,
    _own_folder: Option<TemporaryFolder>,
}

/// A unit that was compiled, and what clang had to say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// The object and its headers.
    pub compiled: Compiled,
    /// Warnings and remarks.
    pub diagnostics: Vec<Diagnostic>,
}

impl ClangCompiler {
    /// A compiler with `options`. Asks clang about itself and compiles the prelude, unless the folder tells
    /// what came of that before.
    ///
    /// # Errors
    /// No clang, an old one, or a folder or flags that are not good; and all that can be wrong with the
    /// prelude.
    pub fn new(options: &Options) -> Result<Self, Error> {
        options.check()?;
        let (folder, own_folder) = match &options.folder {
            Some(folder) => (open_folder(folder)?, None),
            None => {
                let own = TemporaryFolder::new(&std::env::temp_dir())?;
                (own.path().to_owned(), Some(own))
            }
        };
        let variables = options.variables.iter();
        let runner = Runner {
            program: find(options)?,
            directory: options.directory.clone(),
            search_path: std::env::var_os("PATH").unwrap_or_default(),
            variables: variables
                .map(|name| (name.clone(), std::env::var_os(name)))
                .collect(),
            time_limit: options.time_limit,
        };
        let probe = Probe::new(&runner, options, &folder)?;
        let key = digest(&runner, &probe, options);
        let prelude = options.prelude.as_ref().map(|text| {
            let workshop = Workshop {
                runner: &runner,
                options,
                search: &probe.path,
                folder: &folder,
                key,
            };
            workshop.prelude(text)
        });
        let prelude = prelude.transpose()?;
        let mut builder = DigestBuilder::new("rekindle clang compiler with its headers");
        builder.digest(&key);
        if let Some(prelude) = &prelude {
            builder.digest(&prelude.headers.digest());
            if prelude.headers.has_changed || prelude.headers.is_untold {
                builder.bytes(&unlike_any_other()?);
            }
        }
        Ok(Self {
            options: options.clone(),
            runner,
            probe,
            prelude,
            scanned: Scanned::default(),
            fingerprint: builder.finish(),
            folder,
            _own_folder: own_folder,
        })
    }

    /// The program that is run.
    pub fn program(&self) -> &Path {
        &self.runner.program
    }

    /// What clang says of its version.
    pub fn version(&self) -> &str {
        &self.probe.version
    }

    /// The target triple that the code is for.
    pub fn target(&self) -> String {
        self.probe.target.clone()
    }

    /// What the code may use of the CPU, by clang's names (`+avx2`, `cpu:x86-64-v3`), in order. It is part
    /// of the [`fingerprint`](Compiler::fingerprint) as well.
    pub fn required_features(&self) -> Vec<String> {
        let is_on = |name: &&String| name.starts_with('+');
        let cpu = (!self.probe.cpu.is_empty()).then(|| format!("cpu:{}", self.probe.cpu));
        let features = self.probe.features.iter().filter(is_on).cloned();
        let mut features: Vec<_> = features.chain(cpu).collect();
        features.sort_unstable();
        features
    }

    /// What clang said of the prelude when this compiler had it compiled; nothing where it was there.
    pub fn prelude_diagnostics(&self) -> &[Diagnostic] {
        let prelude = self.prelude.as_ref();
        prelude.map_or(&[], |prelude| &prelude.diagnostics)
    }

    /// Compiles `unit`, and returns what clang said as well.
    ///
    /// # Errors
    /// [`Error::Refused`] with all that is wrong with the text; a compiler that crashes, takes too long, or
    /// is not the one that it was.
    pub fn translate(&self, unit: &Unit) -> Result<Translated, Error> {
        let mut attempt = 1;
        loop {
            self.check_compiler()?;
            let temporary = TemporaryFolder::new(&self.folder)?;
            let (object, dependencies) = (temporary.file("unit.o"), temporary.file("headers"));
            let started = SystemTime::now();
            let arguments = self.arguments(&object, &dependencies);
            let finished = self.runner.run(&arguments, unit.text(), &temporary)?;
            self.check_compiler()?;
            if !finished.status.success() {
                return Err(failure(&finished));
            }
            let gatherer = Gatherer {
                path: &self.probe.path,
                directory: &self.options.directory,
                known: self.prelude.as_ref().map(|prelude| &prelude.headers.files),
                scanned: &self.scanned,
                started,
            };
            let mut files = depfile::parse(&read_text(&dependencies)?);
            if let Some(prelude) = &self.prelude {
                files.retain(|file| Path::new(file) != prelude.path);
            }
            let headers = gatherer.gather(unit.text(), &files);
            if headers.has_changed && attempt < ATTEMPTS {
                attempt += 1;
                continue;
            }
            let bytes =
                std::fs::read(&object).map_err(|error| Error::file(&object, "read", &error))?;
            return Ok(Translated {
                compiled: Compiled {
                    object: Object {
                        bytes,
                        side_tables: Vec::new(),
                    },
                    dependencies: headers.dependency().into_iter().collect(),
                },
                diagnostics: diagnostic::parse(&finished.said),
            });
        }
    }

    fn arguments(&self, object: &Path, dependencies: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = self.options.flags.iter().map(OsString::from).collect();
        if let Some(prelude) = &self.prelude {
            arguments.extend(["-include-pch".into(), prelude.path.clone().into()]);
        }
        let language = self.options.language.name();
        arguments.extend(["-fPIC", "-x", language, "-c", "-"].map(OsString::from));
        arguments.extend(common_arguments().map(OsString::from));
        arguments.extend(["-MD", "-MT", "unit", "-MF"].map(OsString::from));
        arguments.extend([dependencies.into(), "-o".into(), object.into()]);
        arguments
    }

    /// That the compiler's files are those that its fingerprint is of.
    fn check_compiler(&self) -> Result<(), Error> {
        match self.probe.changed() {
            Some(path) => Err(Error::Replaced { path }),
            None => Ok(()),
        }
    }
}

impl Compiler for ClangCompiler {
    type Unit = Unit;
    type Error = Error;

    fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    fn digest(&self, unit: &Unit) -> Digest {
        unit.digest()
    }

    fn expected_cost(&self) -> Duration {
        Duration::from_millis(50)
    }

    /// As [`translate`](Self::translate), with what clang said as events of `tracing`.
    fn compile(&self, unit: &Unit) -> Result<Compiled, Error> {
        let translated = self.translate(unit)?;
        for one in &translated.diagnostics {
            match one.severity {
                Severity::Note | Severity::Remark => tracing::info!("clang: {one}"),
                _ => tracing::warn!("clang: {one}"),
            }
        }
        Ok(translated.compiled)
    }
}

/// The digest of the compiler, of what it is given, and of the prelude's text.
fn digest(runner: &Runner, probe: &Probe, options: &Options) -> Digest {
    let mut builder = DigestBuilder::new("rekindle clang compiler");
    builder
        .number(BACKEND_VERSION)
        .text(options.language.name())
        .bytes(options.directory.as_os_str().as_encoded_bytes());
    probe.digest(&mut builder);
    let common = common_arguments();
    builder.list(common.len() + options.flags.len());
    for flag in common
        .into_iter()
        .chain(options.flags.iter().map(String::as_str))
    {
        builder.text(flag);
    }
    runner.digest_variables(&mut builder);
    builder.text(options.prelude.as_deref().unwrap_or(""));
    builder.finish()
}

/// Bytes that make a fingerprint this process's own.
fn unlike_any_other() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Folder {
        path: PathBuf::from("/dev/urandom"),
        reason: error.to_string(),
    })?;
    Ok(bytes)
}

/// What a run that was no success means.
pub(crate) fn failure(finished: &Finished) -> Error {
    let diagnostics = diagnostic::parse(&finished.said);
    let has_errors = diagnostics.iter().any(|one| one.severity.is_error());
    let output = finished.said.clone();
    // After an error in the text clang ends with 1; when it crashes it ends otherwise, or by a signal, and
    // what the driver then says of that reads like an error as well.
    match finished.status.code() {
        Some(1) if has_errors => Error::Refused {
            diagnostics,
            output,
        },
        _ => Error::Failed {
            status: finished.status.to_string(),
            output,
        },
    }
}

/// Makes the folder where it is not there, and sees to it that nobody else gets into it.
fn open_folder(path: &Path) -> Result<PathBuf, Error> {
    let refused = |reason: String| Error::Folder {
        path: path.to_owned(),
        reason,
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| refused(error.to_string()))?;
    let path = path
        .canonicalize()
        .map_err(|error| refused(error.to_string()))?;
    let folder = path
        .metadata()
        .map_err(|error| refused(error.to_string()))?;
    let own = rustix::process::geteuid().as_raw();
    if folder.uid() != own {
        return Err(refused("it belongs to somebody else".to_owned()));
    }
    if folder.mode() & 0o022 != 0 {
        return Err(refused("others can write it".to_owned()));
    }
    sweep(&path);
    Ok(path)
}
