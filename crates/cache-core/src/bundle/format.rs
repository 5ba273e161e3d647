//! What a bundle holds, byte by byte.
//!
//! Header, records, table; nothing else, and nothing in between. Numbers are little-endian, and bytes
//! without a meaning are zero and checked, so that every altered byte is met.
//!
//! Header, 192 bytes:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic, `RKBUNDLE` |
//! | 8 | 4 | [`VERSION`] |
//! | 12 | 4 | 1 if it is signed, 0 if not |
//! | 16 | 8 | number of records |
//! | 24 | 8 | offset of the table, which is where the records end |
//! | 32 | 8 | length of the file |
//! | 40 | 8 | zeros |
//! | 48 | 32 | ed25519 public key of the signer, or zeros |
//! | 80 | 32 | BLAKE3 of bytes 0 to 80 and of the table, one after the other |
//! | 112 | 64 | ed25519 signature of [`SIGNED_PREFIX`] and the 32 bytes before, or zeros |
//! | 176 | 16 | zeros |
//!
//! A record starts at a multiple of 16 and is at most 1 GiB long:
//!
//! | bytes | what |
//! | --- | --- |
//! | M | metadata, archived by rkyv: see [`Metadata`](crate::metadata::Metadata) |
//! | | zeros up to a multiple of 16 |
//! | I | image |
//! | | zeros up to a multiple of 16 |
//!
//! Table: for each record 128 bytes, sorted by key; of records with the same key the newest comes first.
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 32 | form key |
//! | 32 | 32 | BLAKE3 of the metadata, in which the manifest is |
//! | 64 | 32 | BLAKE3 of the image |
//! | 96 | 8 | offset of the record |
//! | 104 | 8 | I, the length of the image |
//! | 112 | 4 | M, the length of the metadata |
//! | 116 | 4 | version of the metadata: records of another version are passed over |
//! | 120 | 8 | zeros |

use super::PublicKey;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, LittleEndian, U32, U64, Unaligned};

/// The version of this layout.
pub const VERSION: u32 = 1;

/// What is signed begins with this, so that a signature of something else is never taken for one of a
/// bundle.
pub const SIGNED_PREFIX: &[u8] = b"rekindle bundle, version 1\n";

/// Bytes before the first record.
pub(super) const HEADER: u64 = size_of::<Header>() as u64;

/// Bytes of the table for each record.
pub(super) const ENTRY: u64 = size_of::<Entry>() as u64;

/// The longest record, padding included: no image comes near it, and whoever claims more wants memory
/// to run out.
pub(super) const LONGEST_RECORD: u64 = 1 << 30;

const ALIGNMENT: u64 = 16;
const MAGIC: [u8; 8] = *b"RKBUNDLE";

/// The first bytes of a bundle.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    magic: [u8; 8],
    version: U32<LittleEndian>,
    signed: U32<LittleEndian>,
    records: U64<LittleEndian>,
    table: U64<LittleEndian>,
    length: U64<LittleEndian>,
    reserved: [u8; 8],
    pub(super) key: [u8; 32],
    pub(super) digest: [u8; 32],
    pub(super) signature: [u8; 64],
    reserved_end: [u8; 16],
}

/// One record in the table.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Entry {
    pub(super) key: [u8; 32],
    pub(super) metadata_digest: [u8; 32],
    pub(super) image_digest: [u8; 32],
    pub(super) offset: U64<LittleEndian>,
    pub(super) image_length: U64<LittleEndian>,
    pub(super) metadata_length: U32<LittleEndian>,
    pub(super) metadata_version: U32<LittleEndian>,
    reserved: [u8; 8],
}

/// What is wrong with a bundle.
pub(super) enum Wrong {
    At(u64, &'static str),
    Version(u32),
}

impl Header {
    /// The header of `table`, not signed yet. The key is part of what will be signed.
    pub(super) fn new(table: &[Entry], table_offset: u64, key: Option<[u8; 32]>) -> Self {
        let length = table_offset + size_of_val(table) as u64;
        let mut header = Self {
            magic: MAGIC,
            version: U32::new(VERSION),
            signed: U32::new(u32::from(key.is_some())),
            records: U64::new(table.len() as u64),
            table: U64::new(table_offset),
            length: U64::new(length),
            reserved: [0; 8],
            key: key.unwrap_or_default(),
            digest: [0; 32],
            signature: [0; 64],
            reserved_end: [0; 16],
        };
        let digest = header.hasher().update(table.as_bytes()).finalize();
        header.digest = *digest.as_bytes();
        header
    }

    /// Reads the header of a file of `length` bytes. The table has not been looked at.
    pub(super) fn read(bytes: &[u8], length: u64) -> Result<Self, Wrong> {
        let at = |offset, what| Err(Wrong::At(offset, what));
        let Ok((header, _)) = Self::read_from_prefix(bytes) else {
            return at(0, "the header is cut off");
        };
        if header.magic != MAGIC {
            return at(0, "it is not a bundle");
        }
        if header.version.get() != VERSION {
            return Err(Wrong::Version(header.version.get()));
        }
        if header.signed.get() > 1 {
            return at(12, "it is neither signed nor unsigned");
        }
        if header.length.get() != length {
            return at(32, "the file has another length than it should have");
        }
        let table = header.table.get();
        let size = header.records.get().checked_mul(ENTRY);
        if table < HEADER || size.and_then(|size| table.checked_add(size)) != Some(length) {
            return at(16, "the table is not where it should be");
        }
        if header.reserved != [0; 8] || header.reserved_end != [0; 16] {
            return at(40, "there is something where nothing should be");
        }
        let unsigned_parts = (header.key, header.signature) != ([0; 32], [0; 64]);
        if header.signed.get() == 0 && unsigned_parts {
            return at(48, "it is unsigned and has a signature");
        }
        Ok(header)
    }

    /// Who is said to have signed.
    pub(super) fn signer(&self) -> Option<PublicKey> {
        (self.signed.get() == 1).then(|| PublicKey::from_bytes(self.key))
    }

    pub(super) fn table_offset(&self) -> u64 {
        self.table.get()
    }

    /// Takes the digest of this header and of the table that it is to be given.
    pub(super) fn hasher(&self) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.as_bytes().get(..80).unwrap_or_default());
        hasher
    }

    /// What the signer signs.
    pub(super) fn signed_message(&self) -> Vec<u8> {
        [SIGNED_PREFIX, &self.digest].concat()
    }
}

impl Entry {
    /// The entry of a record whose parts will be at `offset`; `None` if it is too long.
    pub(super) fn new(
        key: [u8; 32],
        metadata: (&[u8], u32),
        image: &[u8],
        offset: u64,
    ) -> Option<Self> {
        let (metadata, version) = metadata;
        let entry = Self {
            key,
            metadata_digest: *blake3::hash(metadata).as_bytes(),
            image_digest: *blake3::hash(image).as_bytes(),
            offset: U64::new(offset),
            image_length: U64::new(image.len() as u64),
            metadata_length: U32::new(u32::try_from(metadata.len()).ok()?),
            metadata_version: U32::new(version),
            reserved: [0; 8],
        };
        let length = entry.length()?;
        (length <= LONGEST_RECORD).then_some(entry)
    }

    /// Bytes of metadata and padding.
    pub(super) fn image_start(&self) -> u64 {
        u64::from(self.metadata_length.get()).next_multiple_of(ALIGNMENT)
    }

    /// Bytes of the record, with padding; `None` if that is no number.
    pub(super) fn length(&self) -> Option<u64> {
        self.image_start()
            .checked_add(self.image_length.get())?
            .checked_next_multiple_of(ALIGNMENT)
    }
}

/// Checks what a table is made of while it is read, and at its end.
pub(super) struct TableCheck {
    end: u64,
    entries: u64,
    before: [u8; 32],
}

impl TableCheck {
    /// For the table at offset `end`, where the records end.
    pub(super) fn new(end: u64) -> Self {
        Self {
            end,
            entries: 0,
            before: [0; 32],
        }
    }

    fn place(&self, number: u64) -> u64 {
        self.end + number * ENTRY
    }

    /// Checks the next entry by itself: its record lies among the records, and is not too long.
    pub(super) fn entry(&mut self, entry: &Entry) -> Result<(), Wrong> {
        let place = self.place(self.entries);
        if self.before > entry.key {
            return Err(Wrong::At(place, "the table is not sorted"));
        }
        if entry.reserved != [0; 8] {
            let what = "there is something where nothing should be";
            return Err(Wrong::At(place + 120, what));
        }
        let offset = entry.offset.get();
        let length = entry.length().filter(|length| *length <= LONGEST_RECORD);
        let ends = length.and_then(|length| offset.checked_add(length));
        if offset < HEADER || ends.is_none_or(|ends| ends > self.end) {
            return Err(Wrong::At(
                place + 96,
                "the record is not where it should be",
            ));
        }
        self.entries += 1;
        self.before = entry.key;
        Ok(())
    }

    /// Checks that the records fill the file from the header to the table.
    pub(super) fn finish(&self, table: &[Entry]) -> Result<(), Wrong> {
        let numbered = (0..).zip(table);
        let mut by_offset: Vec<(u64, u64, u64)> = numbered
            .map(|(number, entry)| {
                // An empty record comes before the one that starts where it is.
                let length = entry.length().unwrap_or(u64::MAX);
                (entry.offset.get(), length, number)
            })
            .collect();
        by_offset.sort_unstable();
        let mut next = HEADER;
        for (offset, length, number) in by_offset {
            if offset != next {
                let place = self.place(number) + 96;
                return Err(Wrong::At(place, "the record is not where it should be"));
            }
            next = next.saturating_add(length);
        }
        match next == self.end {
            true => Ok(()),
            false => Err(Wrong::At(
                next,
                "there is something where nothing should be",
            )),
        }
    }
}
