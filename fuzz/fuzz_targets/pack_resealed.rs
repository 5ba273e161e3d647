//! Changes a good pack as the input says, makes its checksums right again, and looks into it: what reads
//! behind the checksums must not trust them.
//!
//! The input is a sequence of edits: two bytes of place, one byte of value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_cache_core::artifact::ImageRef;
use rekindle_cache_core::key::FormKey;
use rekindle_cache_core::metadata::{
    DependencyRecord, Entry, Manifest, Metadata, NameRecord, NameRole, SideTableRecord,
};
use rekindle_cache_core::store::{FolderStore, Limits, Merge, NewRecord, Options, Provenance, Store};
use rekindle_cache_core::{Digest, checksum};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::OnceLock;

const FOOTER: usize = 96;
const HEADER: usize = 112;
const BUCKET: usize = 64;

fn key(name: &str) -> FormKey {
    FormKey(Digest::of("fuzz", name.as_bytes()))
}

fn put(store: &FolderStore, name: &str, image: &[u8]) {
    let metadata = Metadata {
        manifest: Manifest {
            dependencies: vec![DependencyRecord {
                kind: 2,
                is_of_code: false,
                name: "inc".to_owned(),
                scope: "user".to_owned(),
                digest: [1; 32],
            }],
            object_key: Digest::of("object", image).0,
        },
        entry: Entry {
            name: name.to_owned(),
            factory: "make".to_owned(),
            names: [(NameRole::Defined, name), (NameRole::Referred, "other")]
                .map(|(role, name)| NameRecord {
                    role,
                    name: name.to_owned(),
                })
                .to_vec(),
            compile_ns: 5,
            image_checksum: checksum(image),
            side_tables: vec![SideTableRecord {
                is_of_host: false,
                name: "traps".to_owned(),
                bytes: vec![1, 2, 3],
            }],
            ..Entry::default()
        },
    };
    let image = ImageRef {
        bytes: image,
        checksum: metadata.entry.image_checksum,
    };
    let record = NewRecord {
        key: key(name),
        metadata: &metadata,
        image,
        provenance: Provenance::OWN,
    };
    store.put(record).expect("put");
}

struct Good {
    folder: PathBuf,
    pack: Vec<u8>,
    records: Vec<usize>,
}

fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    GOOD.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("rekindle-fuzz-reseal-{}", std::process::id()));
        let store = FolderStore::open(&folder).expect("a folder of one's own");
        for (name, image) in [("a", &b"code"[..]), ("b", b"more code"), ("a", b"newer")] {
            put(&store, name, image);
        }
        store.remove(&key("b"));
        store.flush().expect("flushed");
        let paths = std::fs::read_dir(store.folder()).expect("listed");
        let mut paths = paths.map(|entry| entry.expect("an entry").path());
        let path = paths.find(|path| path.extension().is_some_and(|end| end == "pack"));
        let pack = std::fs::read(path.expect("a pack")).expect("read");
        store.clear().expect("cleared");
        let magic = pack.windows(4).enumerate().filter(|(_, window)| window == b"RKRC");
        let records = magic.map(|(place, _)| place - 8).collect();
        Good { folder, pack, records }
    })
}

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

/// As the test `forged` of the store does; a bucket's checksum has the bucket's number as its seed.
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
    let index = number(pack, footer + 16).checked_next_multiple_of(64).unwrap_or(usize::MAX);
    for bucket in 0..count.div_ceil(3).min(1000) {
        let start = index.saturating_add(bucket * BUCKET);
        if let Some(bytes) = pack.get(start.saturating_add(8)..start.saturating_add(BUCKET)) {
            let sum = twox_hash::XxHash3_64::oneshot_with_seed(bucket as u64, bytes);
            pack[start..start + 8].copy_from_slice(&sum.to_le_bytes());
        }
    }
    let lists = index.saturating_add(count.div_ceil(3).saturating_mul(BUCKET));
    if lists <= footer {
        put_sum(pack, lists..footer, footer + 40, 8);
    }
    put_sum(pack, footer..footer + 88, footer + 88, 8);
}

fuzz_target!(|bytes: &[u8]| {
    let good = good();
    let mut pack = good.pack.clone();
    for edit in bytes.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % pack.len();
        pack[place] = edit[2];
    }
    reseal(&mut pack, &good.records);
    std::fs::write(good.folder.join("v3/0000000000000001.pack"), &pack).expect("written");
    for read_only in [true, false] {
        let options = Options {
            limits: Limits::NONE,
            read_only,
            ..Options::default()
        };
        let store = FolderStore::open_with(&good.folder, options).expect("opens whatever is in it");
        for name in ["a", "b", "never put"] {
            store.get(&key(name), &mut |_| ControlFlow::Continue(()));
        }
        store.inventory(&mut |_| ControlFlow::Continue(()));
        let _ = store.verify(&mut |_| {});
        if !read_only {
            store.maintain().expect("maintained");
            store.merge(Merge::All).expect("merged");
            assert!(store.verify(&mut |_| {}).expect("verified").damage.is_empty());
            store.clear().expect("cleared");
        }
    }
});
