//! lld and the system's dynamic linker.
//!
//! The image is a shared library, linked by lld when it is prepared. The host's words come from a second
//! library, which is made anew for each load and holds nothing but absolute symbols: the image needs it
//! by a name that is written into the copy. What the process has by a name comes before the host's word
//! for it, as the dynamic linker looks at the program and its libraries first.

use crate::error::PeerError;
use crate::outside::{check_roots, checked_copy, given, loaded_size};
use crate::process::{Library, terminated};
use object::write::{Object as Written, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, Object as _, SymbolFlags, SymbolKind, SymbolScope,
};
use rekindle_cache_core::artifact::{Code, FormatId, Image, ImageRef, Loader, Symbols};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// The library of the host's words, as the prepared image names it: the zeros give way to a number.
const HOST_LIBRARY: &str = "rekindle-host-0000000000000000";

/// Digits at the end of [`HOST_LIBRARY`].
const DIGITS: usize = 16;

/// How many libraries of host's words this process has made.
static MADE: AtomicU64 = AtomicU64::new(0);

/// lld and `dlopen` as a loader. What it has loaded stays for the life of the process.
#[derive(Debug)]
pub struct SystemLoader {
    linker: PathBuf,
}

/// Code that the dynamic linker has loaded.
#[derive(Debug)]
pub struct SystemCode {
    library: Library,
    size: usize,
}

impl SystemLoader {
    /// Links by `linker`, which takes the command line of `ld.lld`.
    pub fn new(linker: impl Into<PathBuf>) -> Self {
        Self {
            linker: linker.into(),
        }
    }

    /// Links the object `input` to a shared library of the name `name`.
    fn link(&self, folder: &Path, input: &[u8], name: &str) -> Result<PathBuf, PeerError> {
        let object = folder.join("input.o");
        write(&object, input)?;
        let output = folder.join(name);
        let refused = |words: String| PeerError::Linker {
            linker: self.linker.display().to_string(),
            words,
        };
        let mut command = Command::new(&self.linker);
        command.args(["-shared", "-z", "now", "--eh-frame-hdr", "-soname", name]);
        command.arg("-o").arg(&output).arg(&object);
        if name != HOST_LIBRARY {
            command.arg("--no-as-needed").arg(folder.join(HOST_LIBRARY));
        }
        let ended = command
            .output()
            .map_err(|error| refused(error.to_string()))?;
        match ended.status.success() {
            true => Ok(output),
            false => Err(refused(String::from_utf8_lossy(&ended.stderr).into_owned())),
        }
    }
}

impl Loader for SystemLoader {
    type Code = SystemCode;
    type Error = PeerError;

    fn format(&self) -> FormatId {
        FormatId {
            name: "shared library",
            version: 1,
        }
    }

    fn prepare(&self, object: &[u8], roots: &[&str]) -> Result<Image, PeerError> {
        check_roots(&object::File::parse(object)?, roots)?;
        let folder = temporary_folder()?;
        // What the image is linked with has the name and nothing else.
        self.link(folder.path(), &absolute(&[])?, HOST_LIBRARY)?;
        let linked = self.link(folder.path(), object, "image")?;
        let bytes = std::fs::read(&linked).map_err(|source| PeerError::File {
            path: linked,
            source,
        })?;
        Ok(Image::new(bytes))
    }

    unsafe fn load(
        &self,
        image: ImageRef<'_>,
        symbols: &dyn Symbols,
    ) -> Result<SystemCode, PeerError> {
        let mut copy = checked_copy(image)?;
        let (words, size) = {
            let file = object::File::parse(&*copy)?;
            let given = given(file.dynamic_symbols(), symbols)?;
            (absolute(&given)?, loaded_size(&file))
        };
        let folder = temporary_folder()?;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let (prefix, _) = HOST_LIBRARY.split_at(HOST_LIBRARY.len() - DIGITS);
        let name = format!("{prefix}{number:0DIGITS$x}");
        self.link_words(folder.path(), &words, &name)?;
        rename(&mut copy, &name);
        let library = folder.path().join("image");
        write(&library, &copy)?;
        // The files are gone afterwards. What they held stays mapped, so that no file made later is taken
        // for one of them.
        // SAFETY: it holds no code. Its name is new, so that the image finds it and no other.
        unsafe { open(&folder.path().join(&name))? };
        // SAFETY: the caller vouches for the image.
        let library = unsafe { open(&library)? };
        Ok(SystemCode { library, size })
    }
}

impl SystemLoader {
    /// Links the library of the host's words.
    fn link_words(&self, folder: &Path, words: &[u8], name: &str) -> Result<(), PeerError> {
        let made = self.link(folder, words, HOST_LIBRARY)?;
        let read = |source| PeerError::File {
            path: made.clone(),
            source,
        };
        let mut bytes = std::fs::read(&made).map_err(read)?;
        rename(&mut bytes, name);
        write(&folder.join(name), &bytes)
    }
}

impl Code for SystemCode {
    fn symbol(&self, name: &str) -> Option<*const u8> {
        let found = self.library.symbol(&terminated(name).ok()?)?;
        Some(found.as_ptr().cast_const().cast())
    }

    fn size(&self) -> usize {
        self.size
    }
}

/// Writes `name`, which has the same length, wherever a library names that of the host's words.
fn rename(bytes: &mut [u8], name: &str) {
    let (from, to) = (HOST_LIBRARY.as_bytes(), name.as_bytes());
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| find(rest, from)) {
        if let Some(place) = bytes.get_mut(at + found..at + found + to.len()) {
            place.copy_from_slice(to);
        }
        at += found + from.len();
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// An object that defines each name as a word.
fn absolute(words: &[(&str, u64)]) -> Result<Vec<u8>, PeerError> {
    let mut object = Written::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    for (name, word) in words {
        object.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value: *word,
            size: 0,
            kind: SymbolKind::Data,
            scope: SymbolScope::Dynamic,
            weak: false,
            section: SymbolSection::Absolute,
            flags: SymbolFlags::None,
        });
    }
    let refused = |error: object::write::Error| PeerError::Linker {
        linker: "the writer of objects".to_owned(),
        words: error.to_string(),
    };
    object.write().map_err(refused)
}

fn temporary_folder() -> Result<tempfile::TempDir, PeerError> {
    tempfile::tempdir().map_err(|source| PeerError::File {
        path: std::env::temp_dir(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), PeerError> {
    std::fs::write(path, bytes).map_err(|source| PeerError::File {
        path: path.to_owned(),
        source,
    })
}

/// Opens a library whose symbols nobody else is to see.
///
/// # Safety
/// Its initialisers run; the caller vouches for them.
unsafe fn open(path: &Path) -> Result<Library, PeerError> {
    let text = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
    // SAFETY: the caller vouches for the library.
    unsafe { Library::open(&terminated(&text)?, libc::RTLD_LOCAL) }
}
