//! Whatever happens to a pack's bytes, a look-up gives what was put, or says what was wrong.

use crate::records::{Sample, Seen, SeenRecord, files};
use proptest::prelude::*;
use rekindle_cache_core::store::{FolderStore, Store};
use std::path::Path;

const ABSENT: &str = "was never put";

fn samples() -> Vec<Sample> {
    vec![
        Sample::new("a", 1, 40),
        Sample::new("b", 2, 7),
        Sample::new("a", 3, 33),
        Sample::new("c", 4, 0),
    ]
}

/// A folder in memory where the system has one: thousands of packs are synced here.
fn new_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
}

/// The bytes of a pack of `samples`.
fn pack(samples: &[Sample]) -> Vec<u8> {
    let folder = new_folder();
    let store = FolderStore::open(folder.path()).expect("opens");
    for sample in samples {
        sample.put(&store).expect("put");
    }
    store.flush().expect("flushed");
    let [pack] = files(folder.path(), "pack").try_into().expect("one pack");
    std::fs::read(pack).expect("is read")
}

/// A store's folder in which `bytes` are a file called `name`.
fn folder_with(name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let folder = new_folder();
    drop(FolderStore::open(folder.path()).expect("opens"));
    std::fs::write(folder.path().join("v3").join(name), bytes).expect("written");
    folder
}

/// Opens the store and checks that every look-up is right; gives the records whose images are.
fn look_up_all(folder: &Path, samples: &[Sample], what: &str) -> Vec<SeenRecord> {
    let store = FolderStore::open(folder).expect("opens");
    let mut good = Vec::new();
    for name in ["a", "b", "c", ABSENT] {
        let seen = Seen::of(&store, name);
        let put: Vec<_> = samples
            .iter()
            .filter(|sample| sample.metadata.entry.name == name)
            .collect();
        assert!(seen.records.len() <= put.len(), "{what}: {seen:?}");
        if seen.records.is_empty() && !put.is_empty() {
            assert!(
                !seen.damage.is_empty(),
                "{what}: {name} is missing without a reason"
            );
            assert!(store.statistics().damaged > 0, "{what}");
        }
        for record in seen.records {
            let is_that = |sample: &&&Sample| sample.metadata == record.metadata;
            let sample = put
                .iter()
                .find(is_that)
                .unwrap_or_else(|| panic!("{what}: {record:?}"));
            if record.image_is_right {
                assert_eq!(record.image, sample.image, "{what}");
                good.push(record);
            }
        }
    }
    let damage = Seen::all(&store).damage;
    assert!(
        damage.iter().all(|damage| damage.file.is_some()),
        "{what}: {damage:?}"
    );
    good
}

/// Checks a first look at altered bytes, and that the next process finds no less.
fn check(bytes: &[u8], samples: &[Sample], what: &str) {
    let folder = folder_with("0123456789abcdef.pack", bytes);
    let first = look_up_all(folder.path(), samples, what);
    let store = FolderStore::open(folder.path()).expect("opens");
    for record in first {
        let again = Seen::of(&store, &record.metadata.entry.name);
        assert!(
            again.records.contains(&record),
            "{what}: lost by the next process: {record:?}"
        );
    }
    assert!(files(folder.path(), "segment").is_empty(), "{what}");
}

#[test]
fn every_byte_flipped() {
    let samples = samples();
    let good = pack(&samples);
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1 << (place % 8);
        check(
            &bad,
            &samples,
            &format!("byte {place} of {} flipped", good.len()),
        );
    }
}

#[test]
fn every_length() {
    let samples = samples();
    let good = pack(&samples);
    for length in 0..good.len() {
        check(
            &good[..length],
            &samples,
            &format!("{length} bytes of {}", good.len()),
        );
    }
    let mut longer = good;
    longer.push(0);
    check(&longer, &samples, "one byte more");
}

#[test]
fn zeros() {
    let samples = samples();
    let good = pack(&samples);
    check(&vec![0; good.len()], &samples, "all zeros");
    for place in (0..good.len()).step_by(16) {
        let mut bad = good.clone();
        bad[place..].fill(0);
        check(&bad, &samples, &format!("zeros from {place}"));
        let mut bad = good.clone();
        bad[..place].fill(0);
        check(&bad, &samples, &format!("zeros up to {place}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn several_places(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let samples = samples();
        let mut bad = pack(&samples);
        for (place, byte) in &changes {
            let place = place.index(bad.len());
            bad[place] = *byte;
        }
        check(&bad, &samples, &format!("{changes:?}"));
    }
}

#[test]
fn a_damaged_pack_is_set_aside_once_and_what_is_intact_stays() {
    let samples = samples();
    let mut bad = pack(&samples);
    bad.truncate(bad.len() - 1);
    let folder = folder_with("0123456789abcdef.pack", &bad);

    let first = FolderStore::open(folder.path()).expect("opens");
    assert_eq!(Seen::of(&first, "a").versions(), [3, 1]);
    assert!(
        Seen::of(&first, "a").damage.is_empty(),
        "found, so nothing is amiss"
    );
    let missing = Seen::of(&first, ABSENT).damage;
    let quarantined = folder.path().join("v3/quarantine/0123456789abcdef.pack");
    assert_eq!(missing.len(), 1, "once per look-up");
    assert_eq!(missing[0].file.as_deref(), Some(quarantined.as_path()));
    assert!(
        missing[0].to_string().contains("the footer is missing"),
        "{}",
        missing[0]
    );
    assert_eq!(first.statistics().damaged, 1);
    assert_eq!(first.statistics().records, 4);
    assert_eq!(std::fs::read(&quarantined).expect("is there"), bad);

    let second = FolderStore::open(folder.path()).expect("opens");
    assert_eq!(Seen::of(&second, "a").versions(), [3, 1]);
    assert!(Seen::of(&second, ABSENT).damage.is_empty());
    assert_eq!(second.statistics().damaged, 0);
    assert_eq!(files(folder.path(), "pack").len(), 1);
    first.refresh().expect("refreshed");
    assert_eq!(first.statistics().records, 4);
}

#[test]
fn looking_on_changes_nothing() {
    let samples = samples();
    let mut bad = pack(&samples);
    bad.truncate(bad.len() - 1);
    let folder = folder_with("0123456789abcdef.pack", &bad);
    std::fs::write(folder.path().join("v3/00000000000000aa.segment"), &bad).expect("written");
    let store = FolderStore::open_read_only(folder.path()).expect("opens");
    assert_eq!(Seen::of(&store, "a").versions(), [3, 1]);
    assert_eq!(Seen::of(&store, ABSENT).damage.len(), 1);
    store.refresh().expect("refreshed");
    assert_eq!(store.statistics().damaged, 1);
    drop(store);
    assert_eq!(files(folder.path(), "pack").len(), 1);
    assert_eq!(files(folder.path(), "segment").len(), 1);
    assert!(files(folder.path(), "quarantined").is_empty());
}

#[test]
fn a_pack_of_another_version_is_left_alone() {
    let samples = samples();
    let mut other = pack(&samples);
    other[8] += 1;
    let sum = rekindle_cache_core::checksum(&other[..12]).to_le_bytes();
    other[12..16].copy_from_slice(&sum[..4]);
    let folder = folder_with("0123456789abcdef.pack", &other);
    std::fs::write(folder.path().join("v3/00000000000000aa.segment"), &other).expect("written");
    let store = FolderStore::open(folder.path()).expect("opens");
    let seen = Seen::of(&store, "a");
    assert!(
        seen.records.is_empty() && seen.damage.is_empty(),
        "{seen:?}"
    );
    assert_eq!(store.statistics().damaged, 0);
    assert_eq!(files(folder.path(), "pack").len(), 1);
    assert_eq!(files(folder.path(), "segment").len(), 1);
}

#[test]
fn a_dead_segment_is_adopted_up_to_what_is_broken() {
    let samples = samples();
    let whole = pack(&samples);
    // A sealed file that was not renamed yet: its index is no record.
    for length in [
        whole.len(),
        whole.len() - 1,
        whole.len() / 2,
        200,
        32,
        16,
        0,
    ] {
        let folder = folder_with("0123456789abcdef.segment", &whole[..length]);
        let store = FolderStore::open(folder.path()).expect("opens");
        let seen = Seen::all(&store);
        assert!(
            seen.damage.is_empty(),
            "an end that was not written is no damage: {seen:?}"
        );
        let expected: Vec<_> = samples.iter().take(seen.records.len()).collect();
        for (record, sample) in seen.records.iter().zip(expected) {
            assert_eq!(
                (&record.metadata, &record.image),
                (&sample.metadata, &sample.image)
            );
        }
        if length >= whole.len() - 1 {
            assert_eq!(seen.records.len(), samples.len());
        }
        assert!(files(folder.path(), "segment").is_empty());
        assert_eq!(
            files(folder.path(), "pack").len(),
            usize::from(!seen.records.is_empty())
        );
    }
}

#[test]
fn an_adopted_segment_leaves_out_images_that_were_not_written() {
    let samples = samples();
    let mut whole = pack(&samples);
    // The bytes of the first image, as a machine that lost power may leave them.
    let place = whole
        .windows(samples[0].image.len())
        .position(|window| window == samples[0].image)
        .expect("the image is there");
    whole[place..place + 8].fill(0);
    let folder = folder_with("0123456789abcdef.segment", &whole);
    let store = FolderStore::open(folder.path()).expect("opens");
    assert_eq!(Seen::of(&store, "a").versions(), [3]);
    assert_eq!(Seen::of(&store, "b").versions(), [2]);
}

/// A pack that replaces others and says what is removed, and the packs that it replaces.
fn merged_pack() -> (Vec<u8>, Vec<Sample>) {
    let samples = samples();
    let folder = new_folder();
    let store = FolderStore::open(folder.path()).expect("opens");
    Sample::new("large", 9, 30_000).put(&store).expect("put");
    Sample::new("removed", 5, 30_000).put(&store).expect("put");
    store.flush().expect("flushed");
    store.remove(&crate::records::key("removed"));
    for (number, sample) in (0..).zip(&samples) {
        sample.put(&store).expect("put");
        store.flush().expect("flushed");
        if number == 0 {
            // So that there are enough to be merged without the large one.
            for version in 20..27 {
                Sample::new("other", version, 1).put(&store).expect("put");
                store.flush().expect("flushed");
            }
        }
    }
    store
        .merge(rekindle_cache_core::store::Merge::Due)
        .expect("merged");
    let merged = files(folder.path(), "pack")
        .into_iter()
        .map(|path| std::fs::read(path).expect("is read"))
        .min_by_key(Vec::len)
        .expect("packs");
    (merged, samples)
}

/// Where index, lists and footer are; what comes before is records like any other pack's.
fn tail(pack: &[u8]) -> std::ops::Range<usize> {
    let records_end = pack[pack.len() - 96 + 16..][..8].try_into().expect("eight");
    let index = u64::from_le_bytes(records_end).next_multiple_of(64);
    index as usize..pack.len()
}

/// An index of several buckets, replaced numbers, a removed identity and the footer.
#[test]
fn every_byte_of_a_merged_packs_tail_flipped() {
    let (good, samples) = merged_pack();
    for place in tail(&good) {
        let mut bad = good.clone();
        bad[place] ^= 1 << (place % 8);
        let what = format!("byte {place} of {} flipped", good.len());
        let folder = folder_with("0123456789abcdef.pack", &bad);
        look_up_all(folder.path(), &samples, &what);
        // A bucket that was wrong is a miss with a reason for all that is in it, until somebody sets the
        // pack aside and saves the records, which are all intact.
        let store = FolderStore::open(folder.path()).expect("opens");
        Seen::all(&store);
        store.maintain().expect("maintained");
        let found = look_up_all(folder.path(), &samples, &what).len();
        assert_eq!(found, samples.len(), "{what}");
    }
}

#[test]
fn every_length_of_a_merged_packs_tail() {
    let (good, samples) = merged_pack();
    for length in tail(&good) {
        let folder = folder_with("0123456789abcdef.pack", &good[..length]);
        let what = format!("{length} bytes of {}", good.len());
        let found = look_up_all(folder.path(), &samples, &what).len();
        assert_eq!(found, samples.len(), "{what}");
    }
}

/// Reading rather than mapping meets the same damage, and answers in the same way.
#[test]
fn every_byte_flipped_where_packs_are_read() {
    use crate::fault_layer::FaultyIo;
    use rekindle_cache_core::store::Options;
    use std::sync::Arc;
    let samples = samples();
    let good = pack(&samples);
    let io = Arc::new(FaultyIo::sound(new_folder().path()));
    io.is_remote
        .store(true, std::sync::atomic::Ordering::Relaxed);
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1 << (place % 8);
        let folder = folder_with("0123456789abcdef.pack", &bad);
        let options = Options {
            io: io.clone(),
            read_only: true,
            ..Options::default()
        };
        let store = FolderStore::open_with(folder.path(), options).expect("opens");
        for sample in &samples {
            let seen = Seen::of(&store, &sample.metadata.entry.name);
            let found = seen
                .records
                .iter()
                .any(|record| record.metadata == sample.metadata && record.image_is_right);
            let has_reason =
                !seen.damage.is_empty() || seen.records.iter().any(|record| !record.image_is_right);
            assert!(found || has_reason, "byte {place}: {seen:?}");
            for record in seen.records.iter().filter(|record| record.image_is_right) {
                assert!(samples.iter().any(|sample| sample.image == record.image));
            }
        }
    }
}

#[test]
fn every_byte_of_a_segment_flipped() {
    let samples = samples();
    let whole = pack(&samples);
    // What a process that died has written: the records and nothing else.
    let segment = &whole[..tail(&whole).start];
    for place in 0..segment.len() {
        let mut bad = segment.to_vec();
        bad[place] ^= 1 << (place % 8);
        let folder = folder_with("0123456789abcdef.segment", &bad);
        let store = FolderStore::open(folder.path()).expect("opens");
        let seen = Seen::all(&store);
        assert!(seen.damage.is_empty(), "byte {place}: {:?}", seen.damage);
        for record in &seen.records {
            assert!(record.image_is_right, "byte {place}");
            let is_put = |sample: &Sample| {
                (&sample.metadata, &sample.image) == (&record.metadata, &record.image)
            };
            assert!(samples.iter().any(is_put), "byte {place}");
        }
        assert!(files(folder.path(), "segment").is_empty());
    }
}

#[test]
fn damaged_uses_cost_nothing_but_the_order_of_eviction() {
    let samples = samples();
    let folder = new_folder();
    let store = FolderStore::open(folder.path()).expect("opens");
    samples[0].put(&store).expect("put");
    store.flush().expect("flushed");
    store.get(&samples[0].key, &mut |_| std::ops::ControlFlow::Break(()));
    store.flush().expect("flushed");
    let uses = folder.path().join("v3/uses");
    let good = std::fs::read(&uses).expect("is there");
    let hits = |store: &FolderStore| {
        let mut hits = 0;
        store.inventory(&mut |listed| {
            hits += listed.hits;
            std::ops::ControlFlow::Continue(())
        });
        hits
    };
    assert_eq!(hits(&store), 1);
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1 << (place % 8);
        std::fs::write(&uses, bad).expect("written");
        assert_eq!(hits(&store), 0, "byte {place}");
        std::fs::write(&uses, &good[..place]).expect("written");
        assert_eq!(hits(&store), 0, "{place} bytes");
    }
    store.maintain().expect("maintained");
    assert_eq!(Seen::of(&store, "a").versions(), [1]);
}
