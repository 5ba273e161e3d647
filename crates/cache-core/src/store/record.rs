//! One record: its bytes, and the only way from bytes to a view of them.
//!
//! A record stands at a multiple of 16 bytes in its file. Numbers are little-endian.
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | checksum: XXH3 of everything from offset 8 to the end of the metadata |
//! | 8 | 8 | magic, `RKRECORD` |
//! | 16 | 4 | version of the metadata: [`METADATA_VERSION`] |
//! | 20 | 4 | M, the length of the metadata |
//! | 24 | 8 | I, the length of the image |
//! | 32 | 32 | form key |
//! | 64 | M | metadata, archived by rkyv |
//! | | | zeros up to a multiple of 16 |
//! | | I | image, whose own checksum is in the metadata's entry |
//! | | | zeros up to a multiple of 16 |
//!
//! The checksum stands first so that what it covers is one run of bytes. It leaves out the image: that
//! is checked by the loader, on the copy that it runs.

use super::{NewRecord, Record, StoreError};
use crate::artifact::ImageRef;
use crate::digest::{Digest, checksum};
use crate::key::FormKey;
use crate::metadata::{METADATA_VERSION, Metadata};
use rkyv::util::AlignedVec;
use std::cell::RefCell;
use std::ops::Range;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, LittleEndian, U32, U64, Unaligned};

/// Records and images start at multiples of this.
const ALIGNMENT: usize = 16;

/// Bytes of a record before its metadata.
const HEADER: usize = size_of::<Header>();

/// Bytes at the start of a record that its checksum does not cover: the checksum itself.
const UNCOVERED: usize = 8;

const MAGIC: [u8; 8] = *b"RKRECORD";

/// A thread keeps the buffers of its look-ups for the next ones, up to this size each.
const KEPT_BUFFER: usize = 1 << 20;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    checksum: U64<LittleEndian>,
    magic: [u8; 8],
    version: U32<LittleEndian>,
    metadata_length: U32<LittleEndian>,
    image_length: U64<LittleEndian>,
    key: [u8; 32],
}

/// Where the parts of a record are, from its start.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    pub(super) metadata: Range<usize>,
    pub(super) image: Range<usize>,
    /// Of the whole record, with padding.
    pub(super) length: usize,
}

impl Extent {
    /// The extent for these lengths, unless it is larger than memory.
    fn new(metadata_length: usize, image_length: usize) -> Option<Self> {
        let metadata_end = HEADER.checked_add(metadata_length)?;
        let image_start = metadata_end.checked_next_multiple_of(ALIGNMENT)?;
        let image_end = image_start.checked_add(image_length)?;
        Some(Self {
            metadata: HEADER..metadata_end,
            image: image_start..image_end,
            length: image_end.checked_next_multiple_of(ALIGNMENT)?,
        })
    }

    fn of(header: &Header) -> Option<Self> {
        Self::new(
            usize::try_from(header.metadata_length.get()).ok()?,
            usize::try_from(header.image_length.get()).ok()?,
        )
    }
}

/// The bytes of a record that is to be kept, and where its parts are.
///
/// The image's checksum is taken here, of the copy, so that nothing wrong is ever written.
pub(super) fn encode(record: &NewRecord<'_>) -> Result<(AlignedVec, Extent), StoreError> {
    let refused = |reason: String| StoreError::Record {
        key: record.key,
        reason,
    };
    let metadata = record
        .metadata
        .to_bytes()
        .map_err(|error| refused(format!("its metadata cannot be archived: {error}")))?;
    let metadata_length = u32::try_from(metadata.len())
        .map_err(|_| refused(format!("{} bytes of metadata", metadata.len())))?;
    let extent = Extent::new(metadata.len(), record.image.bytes.len())
        .ok_or_else(|| refused(format!("an image of {} bytes", record.image.bytes.len())))?;
    let header = Header {
        checksum: U64::new(0),
        magic: MAGIC,
        version: U32::new(METADATA_VERSION),
        metadata_length: U32::new(metadata_length),
        image_length: U64::new(record.image.bytes.len() as u64),
        key: record.key.0.0,
    };
    let mut bytes = AlignedVec::with_capacity(extent.length);
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&metadata);
    let covered = checksum(bytes.get(UNCOVERED..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(..UNCOVERED) {
        place.copy_from_slice(&covered.to_le_bytes());
    }
    bytes.resize(extent.image.start, 0);
    bytes.extend_from_slice(record.image.bytes);
    let copied = checksum(bytes.get(extent.image.clone()).unwrap_or_default());
    if copied != record.image.checksum || copied != record.metadata.entry.image_checksum {
        return Err(refused(format!(
            "the image's checksum is {copied:016x}, but {:016x} was given with the image and {:016x} \
             in the entry",
            record.image.checksum, record.metadata.entry.image_checksum,
        )));
    }
    bytes.resize(extent.length, 0);
    Ok((bytes, extent))
}

/// A record whose header and metadata were copied, and whose copy has the right checksum.
pub(super) struct Checked<'a> {
    /// The key that is in the record.
    pub(super) key: FormKey,
    /// Where its parts are.
    pub(super) extent: Extent,
    version: u32,
    metadata: &'a [u8],
    image: &'a [u8],
}

/// Copies header and metadata of the record at the start of `stored` into `buffer`, and checks the
/// copy. What comes after the record in `stored` does not matter.
///
/// # Errors
/// What is wrong.
pub(super) fn check<'a>(
    stored: &'a [u8],
    buffer: &'a mut AlignedVec,
) -> Result<Checked<'a>, &'static str> {
    let (unchecked, _) = Header::ref_from_prefix(stored).map_err(|_| "the record is cut off")?;
    if unchecked.magic != MAGIC {
        return Err("no record starts here");
    }
    let claimed = Extent::of(unchecked).ok_or("the lengths of the record are impossible")?;
    let head = stored
        .get(..claimed.metadata.end)
        .ok_or("the metadata is cut off")?;
    buffer.clear();
    buffer.extend_from_slice(head);

    // From here on only the copy is read: the file may change underneath.
    let copy: &[u8] = buffer;
    let (header, _) = Header::ref_from_prefix(copy).map_err(|_| "the record is cut off")?;
    if copy.get(UNCOVERED..).map(checksum) != Some(header.checksum.get()) {
        return Err("the checksum of header and metadata is wrong");
    }
    let extent = Extent::of(header).ok_or("the lengths of the record are impossible")?;
    let changed = "the record changed while it was read";
    if header.magic != MAGIC || extent.metadata.end != copy.len() {
        return Err(changed);
    }
    let whole = stored.get(..extent.length).ok_or("the image is cut off")?;
    Ok(Checked {
        key: FormKey(Digest(header.key)),
        version: header.version.get(),
        metadata: copy.get(extent.metadata.clone()).ok_or(changed)?,
        image: whole.get(extent.image.clone()).ok_or(changed)?,
        extent,
    })
}

impl<'a> Checked<'a> {
    /// The validated view; `None` if its metadata is of another version, which is no damage.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn record(&self) -> Result<Option<Record<'a>>, &'static str> {
        if self.version != METADATA_VERSION {
            return Ok(None);
        }
        view(self.key, self.metadata, self.image).map(Some)
    }
}

/// The validated view of metadata that is in private memory, aligned to 16.
///
/// # Errors
/// What is wrong.
pub(super) fn view<'a>(
    key: FormKey,
    metadata: &'a [u8],
    image: &'a [u8],
) -> Result<Record<'a>, &'static str> {
    let metadata = Metadata::access(metadata).map_err(|_| "the metadata is malformed")?;
    Ok(Record {
        key,
        metadata,
        image: ImageRef {
            bytes: image,
            checksum: metadata.entry.image_checksum.to_native(),
        },
    })
}

thread_local! {
    /// A stack, because a visitor may look up another key while it reads this one's copy.
    static BUFFERS: RefCell<Vec<AlignedVec>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` with a buffer of this thread's, kept from look-up to look-up.
pub(super) fn with_buffer<R>(work: impl FnOnce(&mut AlignedVec) -> R) -> R {
    // A thread that is ending may have no buffers any more; then this one is made and dropped.
    let kept = BUFFERS.try_with(|buffers| buffers.borrow_mut().pop());
    let mut buffer = kept.ok().flatten().unwrap_or_default();
    let result = work(&mut buffer);
    if buffer.capacity() <= KEPT_BUFFER {
        let _ = BUFFERS.try_with(|buffers| buffers.borrow_mut().push(buffer));
    }
    result
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::metadata::{Entry, Manifest};

    /// Metadata that differs by `name`, for `image`.
    pub(crate) fn metadata(name: &str, image: &[u8]) -> Metadata {
        Metadata {
            manifest: Manifest {
                dependencies: Vec::new(),
                object_key: [7; 32],
                ..Manifest::default()
            },
            entry: Entry {
                name: name.to_owned(),
                factory: format!("make {name}"),
                defines: vec![name.to_owned()],
                defines_later: Vec::new(),
                references: Vec::new(),
                object_digest: [9; 32],
                compile_ns: 1_400_000,
                created: 0,
                image_checksum: checksum(image),
                ..Entry::default()
            },
        }
    }

    /// The key of test records called `name`.
    pub(crate) fn key(name: &str) -> FormKey {
        FormKey(Digest::of("test", name.as_bytes()))
    }

    fn encoded(name: &str, image: &[u8]) -> AlignedVec {
        let metadata = metadata(name, image);
        let record = NewRecord {
            key: key(name),
            metadata: &metadata,
            image: ImageRef {
                bytes: image,
                checksum: checksum(image),
            },
        };
        encode(&record).expect("a good record").0
    }

    #[test]
    fn what_was_encoded_is_what_is_seen() {
        let bytes = encoded("user/one", b"code");
        assert_eq!(bytes.len() % ALIGNMENT, 0);
        let mut buffer = AlignedVec::new();
        let checked = check(&bytes, &mut buffer).expect("intact");
        assert_eq!(checked.key, key("user/one"));
        assert_eq!(checked.extent.length, bytes.len());
        assert_eq!(checked.extent.image.start % ALIGNMENT, 0);
        let record = checked.record().expect("valid").expect("of our version");
        assert_eq!(record.metadata.entry.name, "user/one");
        assert_eq!(record.image.bytes, b"code");
        assert_eq!(record.image.checksum, checksum(b"code"));
    }

    #[test]
    fn metadata_of_another_version_is_no_damage() {
        let mut bytes = encoded("user/one", b"code");
        let metadata_end = Extent::of(Header::ref_from_prefix(&bytes).expect("long").0)
            .expect("possible")
            .metadata
            .end;
        bytes[16] ^= 0x40;
        let mut buffer = AlignedVec::new();
        assert!(
            check(&bytes, &mut buffer).is_err(),
            "a flip alone is damage"
        );
        let covered = checksum(&bytes[UNCOVERED..metadata_end]);
        bytes[..UNCOVERED].copy_from_slice(&covered.to_le_bytes());
        let checked = check(&bytes, &mut buffer).expect("intact");
        assert!(checked.record().expect("no damage").is_none());
    }

    #[test]
    fn impossible_lengths_are_errors() {
        for place in 20..32 {
            let mut bytes = encoded("user/one", b"code");
            bytes[place] = 0xff;
            assert!(
                check(&bytes, &mut AlignedVec::new()).is_err(),
                "byte {place}"
            );
        }
    }

    #[test]
    fn an_image_with_another_checksum_is_refused() {
        let metadata = metadata("user/one", b"code");
        let record = NewRecord {
            key: key("user/one"),
            metadata: &metadata,
            image: ImageRef {
                bytes: b"c0de",
                checksum: checksum(b"code"),
            },
        };
        assert!(matches!(encode(&record), Err(StoreError::Record { .. })));
    }

    #[test]
    fn buffers_are_reused_and_may_be_nested() {
        with_buffer(|outer| {
            outer.extend_from_slice(b"outer");
            with_buffer(|inner| {
                inner.extend_from_slice(b"inner");
                assert_eq!(outer.as_slice(), b"outer");
            });
        });
        with_buffer(|again| assert!(again.capacity() > 0));
    }
}
