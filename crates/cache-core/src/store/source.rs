//! Where the bytes of a pack come from: a mapping, or reads of the file.
//!
//! On a network file system another machine can replace or shorten a file, and a mapping answers that
//! with SIGBUS. There each part is read when it is needed, and a read that fails is a miss with a reason. So are
//! the first records of a part of a mapped pack whose pages are still to come, and the last ones of one whose
//! pages were given back (see [`mapped`](super::mapped)).

use super::io::{self, Io};
use super::mapped::Mapped;
use super::record::{self, Checked};
use super::tending::Tending;
use memmap2::Advice;
use rkyv::util::AlignedVec;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are read before the length of a record is known: all of a small one.
const BEGINNING: usize = 4 << 10;

/// A file that is read, and its mapping where it has one.
pub(super) struct Source {
    reader: Reader,
    mapped: Option<Mapped>,
}

pub(super) struct Reader {
    io: Arc<dyn Io>,
    file: File,
    path: PathBuf,
    length: usize,
}

impl Source {
    /// Maps `file`, or prepares to read it if it lies on a network file system or cannot be mapped.
    pub(super) fn new(io: &Arc<dyn Io>, file: File, path: &Path) -> std::io::Result<Self> {
        let mut mapped = None;
        if !io.is_remote(&file, path)? {
            match io.map(&file, path) {
                Ok(map) => {
                    map.advise(Advice::Random, 0..map.len());
                    mapped = Some(Mapped::new(map));
                }
                Err(error) => {
                    tracing::debug!(file = %path.display(), %error, "cannot be mapped and is read");
                }
            }
        }
        let length = match &mapped {
            Some(mapped) => mapped.map().len(),
            None => usize::try_from(file.metadata()?.len())
                .map_err(|_| std::io::Error::other("the file is larger than memory"))?,
        };
        let reader = Reader {
            io: Arc::clone(io),
            file,
            path: path.to_owned(),
            length,
        };
        Ok(Self { reader, mapped })
    }

    /// Says where the parts of the file lie, as they will be read: records one after the other, since they
    /// lie in the order of loading, and a large index at random. Before this is called, all is taken to
    /// be read at random, so that opening does not read ahead. The pages of records are left to who tends the store.
    pub(super) fn expect(
        &mut self,
        records: Range<usize>,
        index: Range<usize>,
        tending: &Arc<Tending>,
    ) {
        /// An index up to this size may as well be read as a whole.
        const SMALL_INDEX: usize = 1 << 20;
        if let Some(mapped) = &mut self.mapped {
            let map = mapped.map();
            map.advise(Advice::Normal, records.clone());
            if index.len() <= SMALL_INDEX {
                map.advise(Advice::Normal, index);
            }
            mapped.count_until(records.end, tending);
        }
    }

    /// The length of the file when it was opened.
    pub(super) fn len(&self) -> usize {
        self.reader.length
    }

    /// Says that a look-up comes to the record at `offset`, whose start the processor is to fetch.
    pub(super) fn fetch(&self, offset: usize) {
        if let Some(mapped) = &self.mapped {
            mapped.begin(offset);
            record::fetch_beginning(mapped.map().get(offset..).unwrap_or_default());
        }
    }

    /// Sees to the pages that are wanted, or wanted no more.
    pub(super) fn tend(&self) {
        if let Some(mapped) = &self.mapped {
            mapped.tend();
        }
    }

    /// Counts that the record at `range` was read by a look-up.
    pub(super) fn note(&self, range: Range<usize>) {
        if let Some(mapped) = &self.mapped {
            mapped.note(range);
        }
    }

    /// The bytes at `range`: in place if they are mapped, else read into `scratch`.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn part<'a>(
        &'a self,
        range: Range<usize>,
        scratch: &'a mut AlignedVec,
    ) -> Result<&'a [u8], &'static str> {
        match &self.mapped {
            Some(mapped) => mapped.map().get(range).ok_or("the file is cut off"),
            None => {
                scratch.clear();
                self.reader.read(range, scratch)?;
                Ok(scratch)
            }
        }
    }

    /// Appends the bytes at `range` to `into`.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn copy(
        &self,
        range: Range<usize>,
        into: &mut AlignedVec,
    ) -> Result<(), &'static str> {
        match &self.mapped {
            Some(mapped) => {
                let bytes = mapped.map().get(range).ok_or("the file is cut off")?;
                into.extend_from_slice(bytes);
                Ok(())
            }
            None => self.reader.read(range, into),
        }
    }
}

impl Reader {
    /// Appends the bytes at `range` to `into`.
    fn read(&self, range: Range<usize>, into: &mut AlignedVec) -> Result<(), &'static str> {
        // Before any memory is taken: the range may come from a damaged file.
        if range.start > range.end || range.end > self.length {
            return Err("the file is cut off");
        }
        let before = into.len();
        into.resize(before + range.len(), 0);
        let place = into.get_mut(before..).unwrap_or_default();
        match io::read_full_at(&*self.io, &self.file, &self.path, place, range.start as u64) {
            Ok(read) if read == range.len() => Ok(()),
            Ok(_) => Err("the file is cut off"),
            Err(error) => {
                tracing::debug!(file = %self.path.display(), %error, "a pack cannot be read");
                Err("the file cannot be read any more")
            }
        }
    }
}

/// Copies header and metadata of the record at `offset` into `buffer`, where `records` are, and checks the
/// copy.
///
/// # Errors
/// What is wrong.
pub(super) fn read_record<'a>(
    source: &'a Source,
    records: &Range<usize>,
    offset: usize,
    buffer: &'a mut AlignedVec,
) -> Result<Checked<'a>, &'static str> {
    let outside = "the index points outside of the records";
    let range = offset.max(records.start)..records.end;
    if range.start >= range.end {
        return Err(outside);
    }
    match &source.mapped {
        Some(mapped) if !mapped.is_absent(offset) => {
            record::check(mapped.map().get(range).ok_or(outside)?, buffer)
        }
        _ => read_parts(&source.reader, range, buffer),
    }
}

/// Reads the record at the start of `range` from the file: no more of it at a time than what was read before
/// vouches for.
fn read_parts<'a>(
    reader: &Reader,
    range: Range<usize>,
    buffer: &'a mut AlignedVec,
) -> Result<Checked<'a>, &'static str> {
    let (start, rest) = (range.start, range.len());
    buffer.clear();
    reader.read(start..start + rest.min(BEGINNING), buffer)?;
    let claimed = record::extent_vouched(buffer)?;
    if claimed.length > rest {
        return Err("the image is cut off");
    }
    let cut_off = "the metadata is cut off";
    let read_until = |end: usize, buffer: &mut AlignedVec| match buffer.len() {
        have if have < end => reader.read(start + have..start + end, buffer),
        _ => Ok(()),
    };
    read_until(claimed.metadata.end, buffer)?;
    record::check_head(buffer.get(..claimed.metadata.end).ok_or(cut_off)?)?;
    read_until(claimed.length, buffer)?;
    let copy: &'a [u8] = buffer;
    let head = copy.get(..claimed.metadata.end).ok_or(cut_off)?;
    record::checked(head, copy.get(claimed.image))
}

/// Goes through the records from the first, shows `each` with its offset, and gives the offset at which
/// there is no more, or none that is intact.
///
/// It does not look for records behind a broken one: something that only looks like a record may lie
/// inside an image.
pub(super) fn walk(
    source: &Source,
    records: &Range<usize>,
    each: &mut dyn FnMut(usize, &Checked<'_>),
) -> usize {
    let mut offset = records.start.min(records.end);
    let mut buffer = AlignedVec::new();
    while offset < records.end {
        let Ok(found) = read_record(source, records, offset, &mut buffer) else {
            break;
        };
        each(offset, &found);
        offset += found.extent.length;
    }
    offset
}
