//! Text files beside the packs that people are told from, and on which nothing depends: how they are read,
//! appended to and replaced. A link in a file's place is never followed.
//!
//! Where fields may hold anything, a tab is written `\t`, a new line `\n`, a carriage return `\r`, and a
//! backslash `\\`.

use crate::store::StoreError;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let options = options.mode(0o600).custom_flags(flags.bits().cast_signed());
    options.open(path)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        action,
        path,
        source,
    }
}

/// The first `most` bytes of a file; nothing of one that is not there.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let read = open(OpenOptions::new().read(true), path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Appends lines, and gives the size that the file has then.
pub(crate) fn append(path: &Path, lines: &str) -> Result<u64, StoreError> {
    let append = || {
        let mut file = open(OpenOptions::new().append(true).create(true), path)?;
        // One call, so that lines of several processes do not mix.
        file.write_all(lines.as_bytes())?;
        Ok(file.metadata()?.len())
    };
    append().map_err(failed("write", path))
}

/// Puts what `make` gives in the place of a file, by way of the file `new`. While another process does so,
/// nothing is done.
pub(crate) fn replace(
    path: &Path,
    new: &Path,
    make: impl FnOnce() -> Result<String, StoreError>,
) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let mut file = open(&mut options, new).map_err(failed("write", new))?;
    if file.try_lock().is_err() {
        return Ok(());
    }
    let text = make()?;
    let mut write = || {
        file.set_len(0)?;
        file.write_all(text.as_bytes())?;
        match std::fs::rename(new, path) {
            // Opened before another process had put it in place: then that was read and is replaced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed,
        }
    };
    write().map_err(failed("write", path))
}

/// Adds a line of fields that may hold anything.
pub(crate) fn push_line(text: &mut String, fields: &[&str]) {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            text.push('\t');
        }
        for piece in field.split_inclusive(['\\', '\t', '\n', '\r']) {
            let escaped = match piece.as_bytes().last() {
                Some(b'\\') => "\\\\",
                Some(b'\t') => "\\t",
                Some(b'\n') => "\\n",
                Some(b'\r') => "\\r",
                _ => {
                    text.push_str(piece);
                    continue;
                }
            };
            text.push_str(&piece[..piece.len() - 1]);
            text.push_str(escaped);
        }
    }
    text.push('\n');
}

/// The fields of such a line.
pub(crate) fn fields(line: &str) -> Vec<String> {
    line.split('\t').map(unescape).collect()
}

fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut letters = field.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('t') => text.push('\t'),
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some(other) => text.push(other),
                None => {}
            },
            _ => text.push(letter),
        }
    }
    text
}
