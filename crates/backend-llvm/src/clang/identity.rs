//! Which compiler it is: not by its name or version, as a package that is upgraded in place keeps both, but
//! by the build ids of its program and of the libraries that its code is in. They are read when a file's
//! stamp is new; a file of a hundred megabytes is never read whole.

use crate::clang::error::Error;
use crate::clang::stamp::Stamp;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, FileHeader64};
use object::read::elf::{Dyn, ElfFile, SectionHeader};
use object::{Endianness, Object, ReadCache};
use rekindle_cache_core::{Digest, DigestBuilder};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Libraries that hold the compiler's code; the others are the system's, and translate nothing.
const OWN_LIBRARIES: [&str; 2] = ["libclang", "libLLVM"];

/// Where libraries lie that no program says the folder of.
const LIBRARY_FOLDERS: [&str; 8] = [
    "/usr/local/lib",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// A file without a build id is digested whole up to this size: scripts, mostly.
const READ_WHOLE: u64 = 4 << 20;

/// One file of the compiler's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
    pub(crate) digest: Digest,
}

impl Part {
    /// Whether the file is another one now.
    pub(crate) fn is_replaced(&self) -> bool {
        Stamp::of(&self.path).ok() != Some(self.stamp)
    }
}

/// The files that `program` is made of, by the paths that they are run by.
pub(crate) fn parts(program: &Path) -> Result<Vec<Part>, Error> {
    let mut parts: Vec<Part> = Vec::new();
    let mut waiting = vec![program.to_owned()];
    while let Some(path) = waiting.pop() {
        if parts.iter().any(|part| part.path == path) {
            continue;
        }
        let error = |error: &std::io::Error| Error::file(&path, "read", error);
        // Before the content, so that a change in between is seen.
        let stamp = Stamp::of(&path).map_err(|e| error(&e))?;
        let cache = ReadCache::new(File::open(&path).map_err(|e| error(&e))?);
        let elf = ElfFile::<FileHeader64<Endianness>, _>::parse(&cache).ok();
        let id = elf.as_ref().and_then(|elf| elf.build_id().ok().flatten());
        let digest = match id {
            Some(id) => Digest::of("rekindle build id", id),
            None => without_build_id(&path, &stamp)?,
        };
        if let Some(elf) = &elf {
            waiting.extend(libraries(elf, &path));
        }
        parts.push(Part {
            path,
            stamp,
            digest,
        });
    }
    Ok(parts)
}

/// The digest of a small file, or the stamp of a large one.
fn without_build_id(path: &Path, stamp: &Stamp) -> Result<Digest, Error> {
    let size = path.metadata().map_or(u64::MAX, |file| file.len());
    if size <= READ_WHOLE {
        let content = std::fs::read(path).map_err(|error| Error::file(path, "read", &error))?;
        return Ok(Digest::of("rekindle program", &content));
    }
    let mut builder = DigestBuilder::new("rekindle stamped program");
    stamp.digest(&mut builder);
    Ok(builder.finish())
}

/// The libraries that an ELF file names and that are part of the compiler.
fn libraries<'d, R: object::ReadRef<'d>>(
    elf: &ElfFile<'d, FileHeader64<Endianness>, R>,
    path: &Path,
) -> Vec<PathBuf> {
    let (mut names, mut folders) = (Vec::new(), Vec::new());
    let endian = elf.endian();
    let sections = elf.elf_section_table();
    let dynamic = sections
        .iter()
        .find_map(|section| section.dynamic(endian, elf.data()).ok().flatten());
    let Some((entries, strings)) = dynamic else {
        return Vec::new();
    };
    let strings = sections.strings(endian, elf.data(), strings).ok();
    let text = |offset: u64| {
        let offset = u32::try_from(offset).ok()?;
        let bytes = strings.as_ref()?.get(offset).ok()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    for entry in entries {
        let text = || text(entry.d_val(endian));
        match entry.d_tag(endian) {
            DT_NEEDED => names.extend(text()),
            DT_RUNPATH | DT_RPATH => folders.extend(text()),
            _ => {}
        }
    }
    // The dynamic linker takes the program's place with links resolved.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let origin = real
        .parent()
        .unwrap_or(Path::new("/"))
        .display()
        .to_string();
    let folders: Vec<_> = (folders.iter())
        .flat_map(|list| list.split(':'))
        .map(|folder| {
            folder
                .replace("${ORIGIN}", &origin)
                .replace("$ORIGIN", &origin)
        })
        .chain(LIBRARY_FOLDERS.map(str::to_owned))
        .collect();
    let is_own = |name: &&String| OWN_LIBRARIES.iter().any(|own| name.starts_with(own));
    let found = names.iter().filter(is_own).filter_map(|name| {
        let mut paths = folders.iter().map(|folder| Path::new(folder).join(name));
        paths.find(|path| path.is_file())
    });
    found.collect()
}
