//! Packs whose checksums are all right and whose contents are not: what a bug in another version, or somebody
//! who can write the folder, might leave. Whatever they say, looking into them neither panics nor reads
//! outside of the file.

use crate::records::{Sample, Seen, files, key};
use proptest::prelude::*;
use rekindle_cache_core::store::{FolderStore, Limits, Merge, Options, Store};
use rekindle_cache_core::{Digest, checksum};
use std::ops::Range;
use std::path::Path;
use twox_hash::XxHash3_64;

const FOOTER: usize = 96;
const HEADER: usize = 112;
const BUCKET: usize = 64;

fn number(bytes: &[u8], at: usize) -> usize {
    let eight = bytes.get(at..at + 8).and_then(|part| part.try_into().ok());
    usize::try_from(u64::from_le_bytes(eight.unwrap_or_default())).unwrap_or(usize::MAX)
}

fn put_sum(bytes: &mut [u8], covered: Range<usize>, at: usize, length: usize) {
    let sum = bytes.get(covered).map(checksum).unwrap_or_default();
    if let Some(place) = bytes.get_mut(at..at + length) {
        place.copy_from_slice(&sum.to_le_bytes()[..length]);
    }
}

/// Makes all checksums right again, as far as the numbers in `pack` say where they are. `records` are the
/// offsets at which records start.
fn reseal(pack: &mut [u8], records: &[usize]) {
    put_sum(pack, 0..12, 12, 4);
    put_sum(pack, 0..24, 24, 8);
    for &record in records {
        let length = number(pack, record + 20) & 0xffff_ffff;
        let end = record.saturating_add(HEADER).saturating_add(length);
        if end <= pack.len() {
            put_sum(pack, record + 8..end, record, 8);
        }
    }
    let footer = pack.len() - FOOTER;
    let count = number(pack, footer + 8);
    let records_end = number(pack, footer + 16);
    let index = records_end
        .checked_next_multiple_of(64)
        .unwrap_or(usize::MAX);
    for bucket in 0..count.div_ceil(3).min(1000) {
        let start = index.saturating_add(bucket * BUCKET);
        let slots = start.saturating_add(8)..start.saturating_add(BUCKET);
        if let Some(bytes) = pack.get(slots) {
            let sum = XxHash3_64::oneshot_with_seed(bucket as u64, bytes);
            pack[start..start + 8].copy_from_slice(&sum.to_le_bytes());
        }
    }
    let lists = index.saturating_add(count.div_ceil(3).saturating_mul(BUCKET));
    if lists <= footer {
        put_sum(pack, lists..footer, footer + 40, 8);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&pack[..footer]);
    pack[footer + 48..footer + 80].copy_from_slice(hasher.finalize().as_bytes());
    put_sum(pack, footer..footer + 88, footer + 88, 8);
}

/// A sealed pack with a few records and a removal, and where its records start.
fn good_pack() -> (Vec<u8>, Vec<usize>) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).expect("opens");
    Sample::new("removed", 9, 20).put(&store).expect("put");
    store.remove(&key("removed"));
    for (name, version) in [("a", 1), ("b", 2), ("a", 3)] {
        Sample::new(name, version, 30).put(&store).expect("put");
    }
    Sample::new("removed", 9, 20).put(&store).expect("put");
    store.remove(&key("b"));
    store.flush().expect("flushed");
    let [path]: [_; 1] = files(folder.path(), "pack").try_into().expect("one");
    let pack = std::fs::read(path).expect("read");
    let records = pack.windows(4).enumerate();
    let records = records.filter(|(_, window)| window == b"RKRC");
    let records = records.map(|(place, _)| place - 8).collect();
    (pack, records)
}

/// Does all that reads or copies records.
fn use_all(folder: &Path, read_only: bool) {
    let options = Options {
        limits: Limits::NONE,
        read_only,
        ..Options::default()
    };
    let store = FolderStore::open_with(folder, options).expect("opens");
    for name in ["a", "b", "removed", "never put"] {
        let _ = Seen::of(&store, name);
    }
    let _ = Seen::all(&store);
    store.inventory(&mut |_| std::ops::ControlFlow::Continue(()));
    let _ = store.removals();
    let _ = store.verify(&mut |_| {});
    if !read_only {
        store.report_damage(&key("a"), "for the test");
        store.flush().expect("flushed");
        store.maintain().expect("maintained");
        store.merge(Merge::All).expect("merged");
        assert_eq!(
            store.verify(&mut |_| {}).expect("verified").damage,
            [],
            "what is written anew is right"
        );
    }
}

fn try_forged(good: &[u8], records: &[usize], edits: &[(usize, u8)]) {
    let mut bad = good.to_vec();
    for (place, byte) in edits {
        let length = bad.len();
        bad[place % length] = *byte;
    }
    reseal(&mut bad, records);
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let folder = folder.expect("a folder");
    drop(FolderStore::open(folder.path()).expect("opens"));
    std::fs::write(folder.path().join("v3/0000000000000001.pack"), &bad).expect("written");
    use_all(folder.path(), true);
    use_all(folder.path(), false);
    std::fs::write(
        folder.path().join("v3/0000000000000002.segment"),
        &bad[..bad.len() - FOOTER],
    )
    .expect("written");
    use_all(folder.path(), false);
}

#[test]
fn resealing_changes_nothing_by_itself() {
    let (good, records) = good_pack();
    assert_eq!(records.len(), 5);
    let mut again = good.clone();
    reseal(&mut again, &records);
    assert_eq!(Digest::of("test", &good), Digest::of("test", &again));
}

#[test]
fn every_byte_of_what_describes_the_rest() {
    let (good, records) = good_pack();
    let index = number(&good, good.len() - FOOTER + 16).next_multiple_of(64);
    let of_records = records[..3]
        .iter()
        .flat_map(|record| *record + 8..record + HEADER);
    for place in (8..32).chain(of_records).chain(index..good.len()) {
        let byte = good[place] ^ (0x81 >> (place % 3));
        try_forged(&good, &records, &[(place, byte)]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("REKINDLE_SOAK").is_some() { 20_000 } else { 200 },
        ..ProptestConfig::default()
    })]

    #[test]
    fn anything_anywhere(edits in prop::collection::vec((any::<usize>(), any::<u8>()), 1..12)) {
        let (good, records) = good_pack();
        try_forged(&good, &records, &edits);
    }
}
