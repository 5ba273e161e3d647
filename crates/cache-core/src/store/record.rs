//! One record: its bytes, and the only way from bytes to a view of them.
//!
//! A record stands at a multiple of 16 bytes in its file. Numbers are little-endian.
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | checksum: XXH3 of everything from offset 8 to the end of the metadata |
//! | 8 | 4 | magic, `RKRC` |
//! | 12 | 4 | kind: 1 code, 2 removal |
//! | 16 | 4 | version of the metadata: [`METADATA_VERSION`] |
//! | 20 | 4 | M, the length of the metadata |
//! | 24 | 8 | I, the length of the image |
//! | 32 | 32 | form key |
//! | 64 | 32 | provenance: see [`Provenance`] |
//! | 96 | 8 | number that no other record of the same content has, see [`nonce`] |
//! | 104 | 8 | XXH3 of bytes 8 to 104 |
//! | 112 | M | metadata, archived by rkyv |
//! | | | zeros up to a multiple of 16 |
//! | | I | image, whose own checksum is in the metadata's entry |
//! | | | zeros up to a multiple of 16 |
//!
//! The checksum stands first so that what it covers is one run of bytes. The image is covered through
//! its own checksum, which lies in the metadata: the loader takes it on the copy that it runs. So one
//! number covers key, provenance, manifest, metadata and image, and serves as the record's identity.
//! The header's own checksum is looked at where its lengths say how much is to be read or copied before the
//! other one can be: one altered bit must not have the rest of a pack read.
//!
//! A removal says which records of its key are not to be found any more, wherever they are. Its metadata
//! is the number of them in 8 bytes, their checksums, and the reason as UTF-8; it has no image.

use super::{NewRecord, Provenance, Record, StoreError};
use crate::artifact::ImageRef;
use crate::digest::{Digest, checksum};
use crate::key::FormKey;
use crate::metadata::{METADATA_VERSION, Metadata};
use rkyv::util::AlignedVec;
use std::cell::RefCell;
use std::mem::offset_of;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, LittleEndian, U32, U64, Unaligned};

/// Records and images start at multiples of this.
const ALIGNMENT: usize = 16;

/// Bytes of a record before its metadata.
pub(super) const HEADER: usize = size_of::<Header>();

/// Bytes at the start of a record that its checksum does not cover: the checksum itself.
const UNCOVERED: usize = 8;

const MAGIC: [u8; 4] = *b"RKRC";

/// Kinds of record.
const CODE: u32 = 1;
const REMOVAL: u32 = 2;

/// Bytes that the processor fetches at once.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Bytes at the start of a record that are fetched before anything is known of it.
const BEGINNING: usize = 12 * 64;

/// The most bytes that are fetched ahead.
#[cfg(target_arch = "x86_64")]
const FETCHED: usize = 8 << 10;

/// More metadata than this is copied only if the header says by its own checksum that there is so much.
const MUCH_METADATA: usize = 64 << 10;

/// A thread keeps the buffers of its look-ups for the next ones, up to this size each.
const KEPT_BUFFER: usize = 1 << 20;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    checksum: U64<LittleEndian>,
    magic: [u8; 4],
    kind: U32<LittleEndian>,
    version: U32<LittleEndian>,
    metadata_length: U32<LittleEndian>,
    image_length: U64<LittleEndian>,
    key: [u8; 32],
    provenance: [u8; 32],
    nonce: U64<LittleEndian>,
    own_checksum: U64<LittleEndian>,
}

impl Header {
    /// The checksum of the header alone.
    fn own(&self) -> u64 {
        const END: usize = offset_of!(Header, own_checksum);
        checksum(self.as_bytes().get(UNCOVERED..END).unwrap_or_default())
    }
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
    let (mut bytes, extent) = compose(
        &record.key,
        CODE,
        record.provenance,
        &metadata,
        record.image.bytes.len(),
    )
    .map_err(refused)?;
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

/// The bytes of a removal of the records of `key` that have these identities.
pub(super) fn encode_removal(
    key: &FormKey,
    identities: &[u64],
    reason: &str,
) -> Result<(AlignedVec, Extent), StoreError> {
    let mut metadata = Vec::with_capacity(8 + identities.len() * 8 + reason.len());
    metadata.extend_from_slice(&(identities.len() as u64).to_le_bytes());
    for identity in identities {
        metadata.extend_from_slice(&identity.to_le_bytes());
    }
    metadata.extend_from_slice(reason.as_bytes());
    let (mut bytes, extent) = compose(key, REMOVAL, Provenance::OWN, &metadata, 0)
        .map_err(|reason| StoreError::Record { key: *key, reason })?;
    bytes.resize(extent.length, 0);
    Ok((bytes, extent))
}

/// Header and metadata of a record, with their checksum.
fn compose(
    key: &FormKey,
    kind: u32,
    provenance: Provenance,
    metadata: &[u8],
    image_length: usize,
) -> Result<(AlignedVec, Extent), String> {
    let metadata_length = u32::try_from(metadata.len())
        .map_err(|_| format!("{} bytes of metadata", metadata.len()))?;
    let extent = Extent::new(metadata.len(), image_length)
        .ok_or_else(|| format!("an image of {image_length} bytes"))?;
    let mut header = Header {
        checksum: U64::new(0),
        magic: MAGIC,
        kind: U32::new(kind),
        version: U32::new(METADATA_VERSION),
        metadata_length: U32::new(metadata_length),
        image_length: U64::new(image_length as u64),
        key: key.0.0,
        provenance: provenance.0,
        nonce: U64::new(nonce()),
        own_checksum: U64::new(0),
    };
    header.own_checksum.set(header.own());
    let mut bytes = AlignedVec::with_capacity(extent.length);
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(metadata);
    let covered = checksum(bytes.get(UNCOVERED..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(..UNCOVERED) {
        place.copy_from_slice(&covered.to_le_bytes());
    }
    Ok((bytes, extent))
}

/// A number for a record that is put, so that a record that is put again after it was removed is another
/// one, though it says the same.
fn nonce() -> u64 {
    static BASE: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // Without random numbers no file can be named, so nothing is kept that could be removed.
    let base = *BASE.get_or_init(|| getrandom::u64().unwrap_or(0));
    // A forked process has the same base and count.
    let process = u64::from(std::process::id()) << 32;
    base.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) ^ process
}

/// The identity of a record in private memory: its checksum.
pub(super) fn identity(bytes: &[u8]) -> u64 {
    Header::ref_from_prefix(bytes).map_or(0, |(header, _)| header.checksum.get())
}

/// A record whose header and metadata were copied, and whose copy has the right checksum.
pub(super) struct Checked<'a> {
    /// The key that is in the record.
    pub(super) key: FormKey,
    /// Where its parts are.
    pub(super) extent: Extent,
    /// Its checksum, by which removals name it.
    pub(super) identity: u64,
    pub(super) provenance: Provenance,
    kind: u32,
    version: u32,
    metadata: &'a [u8],
    image: &'a [u8],
}

/// What a record holds.
pub(super) enum Content<'a> {
    Code(Record<'a>),
    Removal(Removal<'a>),
    /// Something of another version, which is no damage.
    Unknown,
}

/// Which records are not to be found any more.
pub(super) struct Removal<'a> {
    identities: &'a [U64<LittleEndian>],
    /// Why they are not.
    pub(super) reason: &'a str,
}

impl<'a> Removal<'a> {
    pub(super) fn identities(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.identities.iter().map(|identity| identity.get())
    }
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
    let claimed = extent_claimed(stored)?;
    if claimed.metadata.len() > MUCH_METADATA {
        extent_vouched(stored)?;
    }
    let head = stored
        .get(..claimed.metadata.end)
        .ok_or("the metadata is cut off")?;
    let whole = stored.get(..claimed.length).ok_or("the image is cut off")?;
    fetch(whole.get(BEGINNING..).unwrap_or_default());
    buffer.clear();
    buffer.extend_from_slice(head);
    check_copy(buffer, whole.get(claimed.image.clone()))
}

/// Has the processor fetch the start of a record, so that what is read one after the other is waited for once:
/// as many cache lines as it fetches at a time.
pub(super) fn fetch_beginning(stored: &[u8]) {
    fetch(stored.get(..BEGINNING).unwrap_or(stored));
}

/// Has the processor fetch `bytes`, unless they are so many that it fetches them by itself in time: the image
/// is needed a microsecond after the metadata.
fn fetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.get(..FETCHED).unwrap_or(bytes).chunks(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: Prefetching reads nothing that the program can see and cannot fault, and the pointer is one
        // of the bytes'.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// Where the parts of the record at the start of `stored` are, as its header says.
///
/// # Errors
/// What is wrong.
pub(super) fn extent_claimed(stored: &[u8]) -> Result<Extent, &'static str> {
    let (unchecked, _) = Header::ref_from_prefix(stored).map_err(|_| "the record is cut off")?;
    if unchecked.magic != MAGIC {
        return Err("no record starts here");
    }
    Extent::of(unchecked).ok_or("the lengths of the record are impossible")
}

/// Where the parts of the record at the start of `copy` are, as its header says, whose own checksum is right.
///
/// # Errors
/// What is wrong.
pub(super) fn extent_vouched(copy: &[u8]) -> Result<Extent, &'static str> {
    let claimed = extent_claimed(copy)?;
    match Header::ref_from_prefix(copy) {
        Ok((header, _)) if header.own() == header.own_checksum.get() => Ok(claimed),
        _ => Err("the checksum of the header is wrong"),
    }
}

/// Checks header and metadata, which lie in private memory and are all of `copy`.
///
/// # Errors
/// What is wrong.
pub(super) fn check_copy<'a>(
    copy: &'a [u8],
    image: Option<&'a [u8]>,
) -> Result<Checked<'a>, &'static str> {
    check_head(copy)?;
    checked(copy, image)
}

/// Checks the checksum of header and metadata, which lie in private memory and are all of `copy`.
///
/// # Errors
/// That it is wrong.
#[inline]
pub(super) fn check_head(copy: &[u8]) -> Result<(), &'static str> {
    let (header, _) = Header::ref_from_prefix(copy).map_err(|_| "the record is cut off")?;
    match copy.get(UNCOVERED..).map(checksum) == Some(header.checksum.get()) {
        true => Ok(()),
        false => Err("the checksum of header and metadata is wrong"),
    }
}

/// The record with this `image`, whose header and metadata are all of `copy` and were checked.
///
/// # Errors
/// What is wrong.
#[inline]
pub(super) fn checked<'a>(
    copy: &'a [u8],
    image: Option<&'a [u8]>,
) -> Result<Checked<'a>, &'static str> {
    let (header, _) = Header::ref_from_prefix(copy).map_err(|_| "the record is cut off")?;
    let extent = Extent::of(header).ok_or("the lengths of the record are impossible")?;
    let changed = "the record changed while it was read";
    let image = image.ok_or(changed)?;
    if header.magic != MAGIC
        || extent.metadata.end != copy.len()
        || extent.image.len() != image.len()
    {
        return Err(changed);
    }
    Ok(Checked {
        key: FormKey(Digest(header.key)),
        identity: header.checksum.get(),
        provenance: Provenance(header.provenance),
        kind: header.kind.get(),
        version: header.version.get(),
        metadata: copy.get(extent.metadata.clone()).ok_or(changed)?,
        image,
        extent,
    })
}

impl<'a> Checked<'a> {
    /// The validated view of what it holds.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn content(&self) -> Result<Content<'a>, &'static str> {
        match (self.kind, self.version) {
            (CODE, METADATA_VERSION) => {
                view(self.key, self.provenance, self.metadata, self.image).map(Content::Code)
            }
            (REMOVAL, METADATA_VERSION) => self.removal().map(Content::Removal),
            _ => Ok(Content::Unknown),
        }
    }

    pub(super) fn is_removal(&self) -> bool {
        self.kind == REMOVAL
    }

    fn removal(&self) -> Result<Removal<'a>, &'static str> {
        let malformed = "the removal is malformed";
        let (count, rest) =
            U64::<LittleEndian>::ref_from_prefix(self.metadata).map_err(|_| malformed)?;
        let count = usize::try_from(count.get()).map_err(|_| malformed)?;
        let (identities, reason) = <[U64<LittleEndian>]>::ref_from_prefix_with_elems(rest, count)
            .map_err(|_| malformed)?;
        Ok(Removal {
            identities,
            reason: std::str::from_utf8(reason).map_err(|_| malformed)?,
        })
    }
}

/// The validated view of metadata that is in private memory, aligned to 16.
///
/// # Errors
/// What is wrong.
pub(super) fn view<'a>(
    key: FormKey,
    provenance: Provenance,
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
        provenance,
    })
}

/// What a record holds that this process has made and that nobody else writes.
pub(super) fn in_memory<'a>(bytes: &'a [u8], extent: &Extent) -> Result<Content<'a>, &'static str> {
    let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| "the record is cut off")?;
    let checked = Checked {
        key: FormKey(Digest(header.key)),
        identity: header.checksum.get(),
        provenance: Provenance(header.provenance),
        kind: header.kind.get(),
        version: header.version.get(),
        metadata: bytes.get(extent.metadata.clone()).unwrap_or_default(),
        image: bytes.get(extent.image.clone()).unwrap_or_default(),
        extent: extent.clone(),
    };
    checked.content()
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
    use crate::metadata::{Entry, Manifest, NameRecord, NameRole};

    /// Metadata that differs by `name`, for `image`.
    pub(crate) fn metadata(name: &str, image: &[u8]) -> Metadata {
        Metadata {
            manifest: Manifest {
                dependencies: Vec::new(),
                object_key: [7; 32],
            },
            entry: Entry {
                name: name.to_owned(),
                factory: format!("make {name}"),
                names: vec![NameRecord {
                    role: NameRole::Defined,
                    name: name.to_owned(),
                }],
                environment: [8; 32],
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
            provenance: Provenance::OWN,
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
        assert_eq!(checked.identity, identity(&bytes));
        let Ok(Content::Code(record)) = checked.content() else {
            panic!("no code");
        };
        assert_eq!(record.provenance, Provenance::OWN);
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
        assert!(matches!(checked.content(), Ok(Content::Unknown)));
    }

    #[test]
    fn a_removal_names_identities_and_a_reason() {
        let (bytes, _) = encode_removal(&key("user/one"), &[3, u64::MAX], "altered").expect("fits");
        let mut buffer = AlignedVec::new();
        let checked = check(&bytes, &mut buffer).expect("intact");
        let Ok(Content::Removal(removal)) = checked.content() else {
            panic!("no removal");
        };
        assert_eq!(removal.identities().collect::<Vec<_>>(), [3, u64::MAX]);
        assert_eq!(removal.reason, "altered");
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
    fn only_a_header_that_is_right_vouches_for_lengths() {
        let good = encoded("user/one", b"code");
        let extent = extent_vouched(&good).expect("intact");
        assert_eq!(extent.length, good.len());
        for bit in UNCOVERED * 8..HEADER * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(extent_vouched(&bytes).is_err(), "bit {bit}");
        }
        // Nothing is copied of metadata that a header claims wrongly, though the file has room for it.
        let mut bytes = good;
        bytes[20 + 2] ^= 0x40;
        bytes.resize(16 << 20, 0);
        let mut buffer = AlignedVec::new();
        assert!(check(&bytes, &mut buffer).is_err());
        assert_eq!(buffer.capacity(), 0);
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
            provenance: Provenance::OWN,
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
