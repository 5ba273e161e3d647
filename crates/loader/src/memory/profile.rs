//! Tells profilers the names of loaded functions: perf's map of addresses, and jitdump.
//!
//! Both are files that a profiler finds by the process's number. The map is text, a line for each
//! function, and says what is there at the end; jitdump also keeps the code's bytes and the time, so that
//! memory that was used twice is told apart. Names are those of an image's exports: a function that is
//! none counts as part of the one before it.
//!
//! A profiler is never worth an error: a file that cannot be written is given up, with one warning.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

// tools/perf/Documentation/jitdump-specification.txt in the Linux sources
const MAGIC: u32 = 0x4A69_5444;
const VERSION: u32 = 1;
const HEADER_SIZE: u32 = 40;
const CODE_LOAD: u32 = 0;
const CODE_LOAD_SIZE: usize = 56;

/// The files that were asked for.
#[derive(Default)]
pub(crate) struct Profile {
    map: Option<Mutex<Option<File>>>,
    dump: Option<Mutex<Option<Dump>>>,
}

struct Dump {
    file: File,
    /// Code is numbered from 0.
    index: u64,
    /// Its mapping is how `perf record` learns of the file.
    _marker: memmap2::Mmap,
}

/// A function: its name, and where it lies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) range: Range<usize>,
}

impl Profile {
    /// Opens the files in `folder`.
    pub(crate) fn new(map: bool, dump: bool, folder: &Path) -> Self {
        let pid = std::process::id();
        let map = map.then(|| {
            let path = folder.join(format!("perf-{pid}.map"));
            // Appended to: the host may have another compiler that writes there.
            Mutex::new(warned(open(&path, true), &path))
        });
        let dump = dump.then(|| {
            let path = folder.join(format!("jit-{pid}.dump"));
            Mutex::new(warned(Dump::open(&path), &path))
        });
        Self { map, dump }
    }

    /// Whether anybody wants to know.
    pub(crate) fn is_wanted(&self) -> bool {
        self.map.is_some() || self.dump.is_some()
    }

    /// Notes the functions of an image whose code lies at `text`; `names` are its exports.
    ///
    /// # Safety
    /// The code can be read where it lies.
    pub(crate) unsafe fn loaded(&self, text: Range<usize>, names: &mut Vec<(usize, &str)>) {
        let functions = split(text.clone(), names);
        if let Some(map) = &self.map {
            keep_writing(map, |file| {
                let line = |f: &Function<'_>| {
                    let name = f.name.replace(['\n', '\0'], "?");
                    format!("{:x} {:x} {name}\n", f.range.start, f.range.len())
                };
                file.write_all(functions.iter().map(line).collect::<String>().as_bytes())
            });
        }
        if let Some(dump) = &self.dump {
            // SAFETY: the caller vouches for the text.
            let code = unsafe { std::slice::from_raw_parts(text.start as *const u8, text.len()) };
            keep_writing(dump, |dump| {
                let mut records = Vec::new();
                for function in &functions {
                    let start = function.range.start - text.start;
                    let bytes = code.get(start..start + function.range.len());
                    dump.record(&mut records, function, bytes.unwrap_or_default());
                }
                dump.file.write_all(&records)
            });
        }
    }
}

/// The functions of `text` by the addresses of `names`.
pub(super) fn split<'a>(
    text: Range<usize>,
    names: &mut Vec<(usize, &'a str)>,
) -> Vec<Function<'a>> {
    names.retain(|(address, _)| text.contains(address));
    names.sort_unstable();
    names.dedup_by_key(|(address, _)| *address);
    if names.first().is_none_or(|(first, _)| *first != text.start) {
        names.insert(0, (text.start, "[rekindle]"));
    }
    let ends = names.iter().skip(1).map(|(address, _)| *address);
    names
        .iter()
        .zip(ends.chain([text.end]))
        .map(|(&(start, name), end)| Function {
            name,
            range: start..end,
        })
        .filter(|function| !function.range.is_empty())
        .collect()
}

impl Dump {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = open(path, false)?;
        let mut header = Vec::new();
        for word in [
            MAGIC,
            VERSION,
            HEADER_SIZE,
            crate::image::format::MACHINE_HERE.into(),
            0,
            std::process::id(),
        ] {
            header.extend(word.to_ne_bytes());
        }
        header.extend(now().to_ne_bytes());
        header.extend(0u64.to_ne_bytes());
        file.write_all(&header)?;
        // SAFETY: the mapping is never read.
        let marker = unsafe { memmap2::MmapOptions::new().len(1).map_exec(&file) }?;
        Ok(Self {
            file,
            index: 0,
            _marker: marker,
        })
    }

    fn record(&mut self, out: &mut Vec<u8>, function: &Function<'_>, code: &[u8]) {
        let name = function.name.replace('\0', "?");
        let size = CODE_LOAD_SIZE + name.len() + 1 + code.len();
        let address = function.range.start as u64;
        out.extend(CODE_LOAD.to_ne_bytes());
        out.extend((size as u32).to_ne_bytes());
        out.extend(now().to_ne_bytes());
        out.extend(std::process::id().to_ne_bytes());
        // SAFETY: the call has no arguments and cannot fail.
        let thread = unsafe { libc::gettid() };
        out.extend(thread.to_ne_bytes());
        for number in [address, address, code.len() as u64, self.index] {
            out.extend(number.to_ne_bytes());
        }
        out.extend(name.as_bytes());
        out.push(0);
        out.extend(code);
        self.index += 1;
    }
}

/// The clock that `perf record -k mono` stamps its events with.
fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a place for a time.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Everybody may write to the temporary folder, so that a link there is not followed.
fn open(path: &Path, append: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .append(append)
        .truncate(!append)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

fn warned<T>(opened: io::Result<T>, path: &Path) -> Option<T> {
    let path: PathBuf = path.into();
    opened
        .inspect_err(|error| tracing::warn!(%error, ?path, "profilers will not see loaded code"))
        .ok()
}

fn keep_writing<T>(file: &Mutex<Option<T>>, write: impl FnOnce(&mut T) -> io::Result<()>) {
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(open) = file.as_mut() else { return };
    if let Err(error) = write(open) {
        *file = None;
        // Whoever listens may load code, which is noted here.
        drop(file);
        tracing::warn!(%error, "profilers will not see what is loaded from now on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_split_at_exports() {
        let mut names = vec![(30, "c"), (10, "a"), (10, "b"), (99, "data")];
        let functions = split(0..40, &mut names);
        let expected = [("[rekindle]", 0..10), ("a", 10..30), ("c", 30..40)];
        let expected = expected.map(|(name, range)| Function { name, range });
        assert_eq!(functions, expected);
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_error() {
        let profile = Profile::new(true, true, Path::new("/nowhere/at/all"));
        let text = [0u8; 4];
        let start = text.as_ptr() as usize;
        // SAFETY: the bytes can be read.
        unsafe { profile.loaded(start..start + 4, &mut vec![(start, "f")]) };
    }
}
