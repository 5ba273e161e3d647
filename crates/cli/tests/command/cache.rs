//! A folder for one test, with records in it, and the command to look at it.

use rekindle_cache_core::artifact::ImageRef;
use rekindle_cache_core::key::FormKey;
use rekindle_cache_core::metadata::{
    DependencyRecord, Entry, Manifest, Metadata, NameRecord, NameRole,
};
use rekindle_cache_core::store::{FolderStore, Found, NewRecord, Provenance, Store};
use rekindle_cache_core::{Digest, checksum};
use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::types::I64;
use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::{
    AbiParam, InstBuilder, Signature,
};
use rekindle_runtime_hooks::cranelift::backend::cranelift_frontend::{
    FunctionBuilder, FunctionBuilderContext,
};
use rekindle_runtime_hooks::cranelift::backend::{CraneliftCompiler, Linkage, Unit};
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache};
use rekindle_runtime_hooks::{Compilation, Definition, Host, Ran};
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

pub(crate) const DAY: u64 = 24 * 60 * 60;

/// A user's home with a cache.
pub(crate) struct Home {
    folder: TempDir,
}

/// How a run of the command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A record that differs from others by what a test is about.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) environment: u8,
    pub(crate) dependencies: Vec<(&'static str, u8)>,
    pub(crate) compile_ns: u64,
    pub(crate) days_old: u64,
    pub(crate) provenance: Provenance,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            name: "user/answer",
            text: "42",
            environment: 0xee,
            dependencies: vec![("+", 1)],
            compile_ns: 1_400_000,
            days_old: 2,
            provenance: Provenance::OWN,
        }
    }
}

impl Made {
    pub(crate) fn key(&self) -> FormKey {
        let identity = format!("{} {} {}", self.environment, self.name, self.text);
        FormKey(Digest::of("test", identity.as_bytes()))
    }

    fn metadata(&self, image: &[u8]) -> Metadata {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let dependencies = self
            .dependencies
            .iter()
            .map(|(name, digest)| DependencyRecord {
                kind: 2,
                is_of_code: false,
                name: (*name).to_owned(),
                scope: "user".to_owned(),
                digest: [*digest; 32],
            });
        let dependencies: Vec<_> = dependencies.collect();
        let object_key = Digest::of("test", format!("{:?} {self:?}", self.key()).as_bytes());
        Metadata {
            manifest: Manifest {
                dependencies,
                object_key: object_key.0,
            },
            entry: Entry {
                name: self.name.to_owned(),
                factory: "factory".to_owned(),
                names: vec![NameRecord {
                    role: NameRole::Defined,
                    name: self.name.to_owned(),
                }],
                text_digest: rekindle_cache_core::journal::text_digest(self.text).0,
                environment: [self.environment; 32],
                object_digest: [9; 32],
                compile_ns: self.compile_ns,
                created: now.as_secs() - self.days_old * DAY - 60,
                image_checksum: checksum(image),
                ..Entry::default()
            },
        }
    }
}

impl Home {
    /// A home without a cache.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// A home whose cache has these records, in one pack.
    pub(crate) fn with(records: &[Made]) -> Self {
        let home = Self::new();
        home.put(records);
        home
    }

    /// Adds a pack of these records.
    pub(crate) fn put(&self, records: &[Made]) {
        let store = FolderStore::open(self.cache()).expect("opens");
        let image = image();
        for made in records {
            let record = NewRecord {
                key: made.key(),
                metadata: &made.metadata(image),
                image: ImageRef {
                    bytes: image,
                    checksum: checksum(image),
                },
                provenance: made.provenance,
            };
            store.put(record).expect("put");
        }
        store.flush().expect("flushed");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// The packs of the cache.
    pub(crate) fn packs(&self) -> Vec<PathBuf> {
        let mut packs = Vec::new();
        let mut folders = vec![self.cache()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("listed") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false if path.extension() == Some(OsStr::new("pack")) => packs.push(path),
                    false => {}
                }
            }
        }
        packs.retain(|pack| {
            !pack
                .components()
                .any(|part| part.as_os_str() == "quarantine")
        });
        packs
    }

    /// Alters a byte in the middle of the only pack.
    pub(crate) fn damage(&self) -> PathBuf {
        let [pack] = self.packs().try_into().expect("one pack");
        let mut bytes = std::fs::read(&pack).expect("read");
        // In the first record's metadata.
        let place = bytes
            .windows(11)
            .position(|window| window == b"user/answer")
            .expect("it has the name");
        bytes[place] ^= 1;
        std::fs::write(&pack, bytes).expect("written");
        pack
    }

    /// The command with `arguments`, on this home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        self.surround(&mut command);
        command.args(arguments);
        command
    }

    /// Lets `command` run in this home and no other.
    pub(crate) fn surround(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("REKINDLE_DIR", self.cache())
            .stdin(Stdio::null());
        for name in [
            "REKINDLE_LOG",
            "REKINDLE_MAX_BYTES",
            "REKINDLE_MAX_ENTRIES",
            "REKINDLE_TRUSTED_KEYS",
        ] {
            command.env_remove(name);
        }
    }

    /// Runs the command.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&mut self.command(arguments), self.folder.path())
    }

    /// Runs the command, which has to end well, and gives its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let ended = self.run(&[arguments, &["--json"]].concat()).with(0);
        serde_json::from_str(&ended.out).expect("JSON")
    }
}

impl Ended {
    pub(crate) fn of(command: &mut Command, home: &Path) -> Self {
        let output = command.output().expect("the command runs");
        // One place for all homes, so that texts can be compared.
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).expect("text");
            text.replace(&home.display().to_string(), "HOME")
        };
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Fails the test unless this was the exit code.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Fails the test unless it printed `text`, and nothing on standard error.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert_eq!(self.out, text, "{}", self.err);
        assert_eq!(self.err, "");
        self
    }

    /// Fails the test unless it said all `parts` on standard error, and printed nothing.
    #[track_caller]
    pub(crate) fn complains(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "{part}: {self:#?}");
        }
        assert_eq!(self.out, "");
        self
    }
}

/// The image of code that returns 42, made by the real compiler and linker.
pub(crate) fn image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let builder = CraneliftCache::builder(Cranelift::new().expect("a compiler"));
        let cache = Arc::new(builder.folder(folder.path()).open().expect("opens"));
        let definition = Definition {
            name: "answer",
            text: "42",
            context: "",
        };
        let session = cache.session();
        let evaluated = session
            .eval_def(&definition, &Plain, |_| Ok::<_, String>(answer()))
            .expect("compiles");
        assert_eq!(evaluated.finish(Ran::Pure).name(), "miss");
        cache.flush().expect("flushed");
        let store = FolderStore::open(folder.path()).expect("opens");
        let mut image = Vec::new();
        store.for_each(&mut |found| {
            if let Found::Record(record) = found {
                image = record.image.bytes.to_vec();
            }
            ControlFlow::Continue(())
        });
        assert!(!image.is_empty());
        image
    })
}

/// A host without names.
struct Plain;

impl Host for Plain {
    fn resolution(&self, _: &str, _: &str) -> Option<Digest> {
        None
    }

    fn symbol(&self, _: u64, _: &str) -> Option<u64> {
        None
    }
}

fn answer() -> Compilation<Unit> {
    let compiler = CraneliftCompiler::native().expect("this machine's");
    let mut signature = Signature::new(compiler.call_conv());
    signature.returns.push(AbiParam::new(I64));
    let mut unit = Unit::new();
    let factory = unit.declare_function("factory", Linkage::Export, &signature);
    let mut body = unit.new_body(factory);
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut body, &mut context);
    let block = builder.create_block();
    builder.switch_to_block(block);
    builder.seal_all_blocks();
    let value = builder.ins().iconst(I64, 42);
    builder.ins().return_(&[value]);
    builder.finalize(compiler.frontend_config());
    unit.define_function(factory, body);
    Compilation {
        unit: unit.into(),
        factory: "factory".to_owned(),
        defines: Vec::new(),
        defines_later: Vec::new(),
        references: Vec::new(),
        side_tables: Vec::new(),
    }
}
