//! What is kept of shared code: where it starts, its exports, its names, and what is said each time that it is
//! used. All of it lies in one piece of an arena, one part behind the other.

use crate::arena::{Absent, Arena, Piece};
use crate::definitions::NameId;
use crate::host::Host;
use crate::names::{NamesRef, Parts};
use rekindle_cache_core::artifact::Code;
use rekindle_cache_core::key::Definition;
use rekindle_cache_core::metadata::ArchivedMetadata;
use rekindle_cache_core::{Digest, symbol_hash};
use smallvec::SmallVec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first part. Its numbers are of this process, and so are their bytes' order and size.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Head {
    /// The address of the factory.
    factory: u64,
    /// What compiling took, when it was compiled.
    compile_ns: u64,
    object: [u8; 32],
    /// What tells the record that it came from, and so what is said, from others of the definition.
    object_key: [u8; 32],
    image: u64,
    /// How many there are of each of the parts that follow.
    exports: u32,
    ids: u32,
    later_from: u32,
    references_from: u32,
    /// How many of the pairs that are said are side tables; the others are effects.
    tables: u32,
    /// Which compiler made it.
    tier: u32,
}

/// An exported symbol, by the hash of its name.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Export {
    hash: u64,
    address: u64,
}

/// Code that equal definitions share, and what is done with it each time.
#[derive(Clone, Copy)]
pub(crate) struct SharedCode<'s> {
    head: &'s Head,
    exports: &'s [Export],
    ids: &'s [NameId],
    /// The name, the text, the context; then side tables and effects, as pairs.
    said: Fields<'s>,
}

/// Writes down what there is to keep of `code`, of which `metadata` tells, and gives what of the arena is to be made
/// present. `None` if there is no room.
pub(super) fn write(
    accounts: &Arena,
    definition: &Definition<'_>,
    code: &impl Code,
    factory: *const u8,
    names: NamesRef<'_>,
    metadata: &ArchivedMetadata,
) -> Option<(Piece, Option<Absent>)> {
    let entry = &metadata.entry;
    let mut exports: SmallVec<[Export; 4]> = SmallVec::new();
    code.for_each_export(&mut |hash, address| {
        exports.push(Export {
            hash,
            address: address as u64,
        });
    });
    let of_definition = [definition.name, definition.text, definition.context];
    let of_definition = of_definition.into_iter().map(str::as_bytes);
    let tables = (entry.side_tables.iter())
        .flat_map(|table| [table.name.as_bytes(), table.bytes.as_slice()]);
    let effects = (entry.effects.iter())
        .flat_map(|effect| [effect.kind.as_bytes(), effect.payload.as_slice()]);
    let said = of_definition.chain(tables).chain(effects);
    let head = Head {
        factory: factory as u64,
        compile_ns: entry.compile_ns.to_native(),
        object: names.object.0,
        object_key: metadata.manifest.object_key,
        image: entry.image_checksum.to_native(),
        exports: u32::try_from(exports.len()).ok()?,
        ids: u32::try_from(names.ids.len()).ok()?,
        later_from: names.parts.later_from,
        references_from: names.parts.references_from,
        tables: u32::try_from(entry.side_tables.len()).ok()?,
        tier: u32::from(entry.tier),
    };
    let parts = [head.as_bytes(), exports.as_bytes(), names.ids.as_bytes()];
    let size: usize = parts.iter().map(|part| part.len()).sum();
    let size = size.checked_add(Fields::size(said.clone()))?;
    accounts.keep_ahead(size, |mut piece| {
        for part in parts {
            put(&mut piece, part);
        }
        Fields::write(said, &mut piece);
    })
}

impl<'s> SharedCode<'s> {
    /// Reads what was written; `None` if that is something else.
    #[inline]
    pub(super) fn read(account: &'s [u8]) -> Option<Self> {
        let (head, rest) = Head::ref_from_prefix(account).ok()?;
        let (exports, rest) =
            <[Export]>::ref_from_prefix_with_elems(rest, head.exports as usize).ok()?;
        let (ids, said) = <[NameId]>::ref_from_prefix_with_elems(rest, head.ids as usize).ok()?;
        Some(Self {
            head,
            exports,
            ids,
            said: Fields(said),
        })
    }

    pub(crate) fn factory(&self) -> *const u8 {
        self.head.factory as *const u8
    }

    pub(crate) fn symbol(&self, name: &str) -> Option<*const u8> {
        let hash = symbol_hash(name);
        let export = self.exports.iter().find(|export| export.hash == hash)?;
        Some(export.address as *const u8)
    }

    pub(crate) fn names(&self) -> NamesRef<'s> {
        NamesRef {
            object: Digest(self.head.object),
            ids: self.ids,
            parts: Parts {
                later_from: self.head.later_from,
                references_from: self.head.references_from,
            },
            put_off: None,
        }
    }

    /// What compiling it took, when it was compiled.
    pub(crate) fn compile_ns(&self) -> u64 {
        self.head.compile_ns
    }

    /// Which compiler made it.
    pub(crate) fn tier(&self) -> u8 {
        u8::try_from(self.head.tier).unwrap_or_default()
    }

    /// Whether this is the code of that record, and what is said is what the record has.
    ///
    /// The object alone does not tell: it may be the same where a macro makes other names known by now, and
    /// better code goes by the object that it stands in for.
    pub(super) fn is_of_record(&self, metadata: &ArchivedMetadata) -> bool {
        let entry = &metadata.entry;
        self.head.object_key == metadata.manifest.object_key
            && self.head.object == entry.object_digest
            && self.head.image == entry.image_checksum.to_native()
    }

    #[inline]
    pub(super) fn is_of(&self, definition: &Definition<'_>) -> bool {
        let of_definition = [definition.name, definition.text, definition.context];
        let mut said = self.said;
        (of_definition.iter()).all(|field| said.next() == Some(field.as_bytes()))
    }

    /// Gives the tables and repeats the effects; `false` if one of these could not be repeated.
    #[inline]
    pub(crate) fn repeat(&self, host: &dyn Host) -> bool {
        let mut said = self.said;
        let _of_definition = (said.next(), said.next(), said.next());
        let mut pair = || {
            let name = std::str::from_utf8(said.next()?).ok()?;
            Some((name, said.next()?))
        };
        for _ in 0..self.head.tables {
            if let Some((name, bytes)) = pair() {
                host.side_table(name, bytes);
            }
        }
        while let Some((kind, payload)) = pair() {
            if !host.replay(kind, payload) {
                return false;
            }
        }
        true
    }
}

/// Byte strings one behind the other, each after its length, in groups of seven bits from the lowest.
#[derive(Clone, Copy)]
struct Fields<'f>(&'f [u8]);

impl<'f> Fields<'f> {
    fn size<'a>(fields: impl Iterator<Item = &'a [u8]>) -> usize {
        let groups =
            |length: usize| (usize::BITS - (length | 1).leading_zeros()).div_ceil(7) as usize;
        fields.map(|field| groups(field.len()) + field.len()).sum()
    }

    fn write<'a>(fields: impl Iterator<Item = &'a [u8]>, into: &mut &mut [u8]) {
        for field in fields {
            let mut length = field.len();
            while length >= 0x80 {
                put(into, &[length as u8 | 0x80]);
                length >>= 7;
            }
            put(into, &[length as u8]);
            put(into, field);
        }
    }
}

impl<'f> Iterator for Fields<'f> {
    type Item = &'f [u8];

    #[inline]
    fn next(&mut self) -> Option<&'f [u8]> {
        let mut length = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let (&group, after) = self.0.split_first()?;
            self.0 = after;
            length |= usize::from(group & 0x7f) << shift;
            if group < 0x80 {
                break;
            }
        }
        let (field, after) = self.0.split_at_checked(length)?;
        self.0 = after;
        Some(field)
    }
}

/// Writes `bytes` to the front of `into`, which is what is left then. There is room: it was measured before.
#[inline]
fn put(into: &mut &mut [u8], bytes: &[u8]) {
    if let Some((place, rest)) = std::mem::take(into).split_at_mut_checked(bytes.len()) {
        place.copy_from_slice(bytes);
        *into = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were() {
        let fields: [&[u8]; 6] = [b"one", b"", b"three", &[1; 127], &[2; 128], &[3; 70_000]];
        for fields in [&fields[..], &[]] {
            let mut packed = vec![0; Fields::size(fields.iter().copied())];
            let mut rest = &mut packed[..];
            Fields::write(fields.iter().copied(), &mut rest);
            assert!(rest.is_empty());
            assert!(Fields(&packed).eq(fields.iter().copied()));
        }
    }

    #[test]
    fn what_is_no_account_is_not_read() {
        assert!(SharedCode::read(&[]).is_none());
        let head = Head {
            factory: 0,
            compile_ns: 0,
            object: [0; 32],
            object_key: [0; 32],
            image: 0,
            exports: u32::MAX,
            ids: 0,
            later_from: 0,
            references_from: 0,
            tables: 0,
            tier: 0,
        };
        assert!(SharedCode::read(head.as_bytes()).is_none());
    }
}
