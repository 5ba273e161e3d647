//! Bundles: what goes in comes out, nobody's word is no word, and no byte can be altered unseen.

use proptest::prelude::*;
use rekindle_cache_core::artifact::ImageRef;
use rekindle_cache_core::bundle::{
    self, Acceptance, Bundle, BundleError, BundleStore, Export, SigningKey, TrustedKeys,
};
use rekindle_cache_core::key::FormKey;
use rekindle_cache_core::metadata::{DependencyRecord, Entry, Manifest, Metadata};
use rekindle_cache_core::store::{
    FolderStore, Found, Layer, Layers, MemoryStore, NewRecord, Provenance, Store, StoreError,
};
use rekindle_cache_core::{Digest, checksum};
use std::fs::OpenOptions;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

fn key(name: &str) -> FormKey {
    FormKey(Digest::of("test", name.as_bytes()))
}

fn metadata(name: &str, image: &[u8]) -> Metadata {
    Metadata {
        manifest: Manifest {
            dependencies: vec![DependencyRecord {
                kind: 1,
                is_of_code: false,
                name: "user/other".to_owned(),
                scope: String::new(),
                digest: [3; 32],
            }],
            object_key: *blake3::hash(image).as_bytes(),
        },
        entry: Entry {
            name: name.to_owned(),
            factory: "factory".to_owned(),
            image_checksum: checksum(image),
            ..Entry::default()
        },
    }
}

/// Puts a version of `name`, told from others by its image.
fn put(store: &dyn Store, name: &str, image: &[u8]) {
    let record = NewRecord {
        key: key(name),
        metadata: &metadata(name, image),
        image: ImageRef {
            bytes: image,
            checksum: checksum(image),
        },
        provenance: Provenance::OWN,
    };
    store.put(record).expect("a good record");
}

/// The images of `name`, newest first, and who vouches for them.
fn images(store: &dyn Store, name: &str) -> Vec<(Vec<u8>, Provenance)> {
    let mut found = Vec::new();
    store.get(&key(name), &mut |record| {
        match record {
            Found::Record(record) => {
                assert_eq!(record.metadata.entry.name, name);
                found.push((record.image.bytes.to_vec(), record.provenance));
            }
            Found::Damaged(damage) => panic!("{damage}"),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    found
}

/// Three records of two names, in a bundle.
struct Sample {
    folder: TempDir,
    key: SigningKey,
}

impl Sample {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            key: SigningKey::generate().expect("random"),
        }
    }

    fn source() -> MemoryStore {
        let store = MemoryStore::new();
        put(&store, "user/one", b"one, old");
        put(&store, "user/two", &[0xcc; 77]);
        put(&store, "user/one", b"one, new");
        store
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("sample.rekindle")
    }

    fn export(&self, signed: bool) -> PathBuf {
        let export = Export {
            key: signed.then_some(&self.key),
        };
        let path = self.path();
        let exported = bundle::export(&Self::source(), &path, export, &mut |_| true);
        assert_eq!(exported.expect("exported").records, 3);
        path
    }

    fn trusted(&self) -> TrustedKeys {
        let mut trusted = TrustedKeys::none();
        trusted.trust(self.key.public_key());
        trusted
    }

    fn accept(&self, path: &Path) -> Result<BundleStore, BundleError> {
        Bundle::open(path)?.accept(&Acceptance::of(&self.trusted()).or_unsigned())
    }

    fn provenance(&self) -> Provenance {
        Provenance::signed_by(self.key.public_key().to_bytes())
    }
}

#[test]
fn a_mounted_bundle_shows_what_was_exported() {
    let sample = Sample::new();
    let path = sample.export(true);
    let store = sample.accept(&path).expect("accepted");
    let from = sample.provenance();
    assert_eq!(
        images(&store, "user/one"),
        [(b"one, new".to_vec(), from), (b"one, old".to_vec(), from)],
        "the newest comes first"
    );
    assert_eq!(images(&store, "user/two"), [(vec![0xcc; 77], from)]);
    assert_eq!(images(&store, "user/three"), []);
    assert_eq!(store.statistics().records, 3);
    let mut shown = 0;
    store.for_each(&mut |_| {
        shown += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(shown, 3);

    store.remove(&key("user/one"));
    store.report_damage(&key("user/two"), "the loader said so");
    assert_eq!(images(&store, "user/one"), []);
    assert_eq!(images(&store, "user/two"), []);
    assert_eq!(store.statistics().damaged, 1);
    let image = b"x";
    let refused = store.put(NewRecord {
        key: key("x"),
        metadata: &metadata("x", image),
        image: ImageRef {
            bytes: image,
            checksum: checksum(image),
        },
        provenance: Provenance::OWN,
    });
    assert!(matches!(refused, Err(StoreError::Io { .. })));
}

#[test]
fn a_bundle_is_a_layer_and_its_hits_are_promoted_with_their_provenance() {
    let sample = Sample::new();
    let bundle = Arc::new(sample.accept(&sample.export(true)).expect("accepted"));
    let own = Arc::new(MemoryStore::new());
    put(&*own, "user/mine", b"mine");
    let layers = Layers::new(vec![
        Layer::read_write(own.clone()),
        Layer::read_only(bundle).promoted(),
    ]);
    assert_eq!(images(&layers, "user/mine").len(), 1);
    assert_eq!(images(&*own, "user/two"), []);
    let from_bundle = [(vec![0xcc; 77], sample.provenance())];
    assert_eq!(images(&layers, "user/two"), from_bundle);
    // One that is used, and not only looked at, ends the look-up.
    layers.get(&key("user/two"), &mut |_| ControlFlow::Break(()));
    assert_eq!(
        images(&*own, "user/two"),
        from_bundle,
        "it is in the top layer now"
    );
}

#[test]
fn imported_records_keep_their_order_and_their_provenance() {
    let sample = Sample::new();
    let bundle = sample.accept(&sample.export(true)).expect("accepted");
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).expect("opens");
    let mut steps = Vec::new();
    let imported = bundle
        .import_into(&store, &mut |step| steps.push((step.done, step.total)))
        .expect("imported");
    assert_eq!((imported.records, imported.present), (3, 0));
    assert_eq!(steps, [(1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]);

    let again = bundle.import_into(&store, &mut |_| {}).expect("imported");
    assert_eq!((again.records, again.present), (0, 3));

    let own = MemoryStore::new();
    put(&own, "user/two", &[0xcc; 77]);
    let mixed = bundle.import_into(&own, &mut |_| {}).expect("imported");
    assert_eq!(
        (mixed.records, mixed.present),
        (2, 1),
        "one's own is as good"
    );

    drop(store);
    let store = FolderStore::open(folder.path()).expect("opens");
    let from = sample.provenance();
    assert_eq!(
        images(&store, "user/one"),
        [(b"one, new".to_vec(), from), (b"one, old".to_vec(), from)]
    );
    assert_eq!(images(&store, "user/two"), [(vec![0xcc; 77], from)]);
}

#[test]
fn revoking_a_key_drops_what_came_with_it() {
    let sample = Sample::new();
    let bundle = sample.accept(&sample.export(true)).expect("accepted");
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).expect("opens");
    put(&store, "user/two", b"compiled here");
    bundle.import_into(&store, &mut |_| {}).expect("imported");
    let revoked = sample.key.public_key().to_bytes();
    let dropped = store
        .retain(&mut |record| record.provenance.key() != Some(revoked))
        .expect("rewritten");
    assert_eq!(dropped.records, 3);
    drop(store);
    let store = FolderStore::open(folder.path()).expect("opens");
    assert_eq!(images(&store, "user/one"), []);
    let own = (b"compiled here".to_vec(), Provenance::OWN);
    assert_eq!(images(&store, "user/two"), [own]);
}

#[test]
fn only_those_who_are_trusted_are_taken_at_their_word() {
    let sample = Sample::new();
    let path = sample.export(true);
    let accept = |trusted: &TrustedKeys, unsigned: bool| {
        let acceptance = Acceptance::of(trusted);
        let acceptance = if unsigned {
            acceptance.or_unsigned()
        } else {
            acceptance
        };
        Bundle::open(&path).expect("opens").accept(&acceptance)
    };
    let mut trusted = TrustedKeys::none();
    let error = accept(&trusted, false).expect_err("refused");
    assert!(matches!(error, BundleError::Untrusted { .. }), "{error}");
    let remedy = format!("rekindle key trust {}", sample.key.public_key());
    assert!(error.to_string().contains(&remedy), "{error}");

    let store = accept(&trusted, true).expect("the user said so");
    assert_eq!(
        store.provenance(),
        sample.provenance(),
        "but it is remembered"
    );

    trusted.trust(sample.key.public_key());
    accept(&trusted, false).expect("trusted");
    trusted.revoke(sample.key.public_key());
    for unsigned in [false, true] {
        let error = accept(&trusted, unsigned).expect_err("refused");
        assert!(matches!(error, BundleError::Revoked { .. }), "{error}");
    }

    let path = sample.export(false);
    let bundle = || Bundle::open(&path).expect("opens");
    let trusted = sample.trusted();
    let error = bundle()
        .accept(&Acceptance::of(&trusted))
        .expect_err("refused");
    assert!(matches!(error, BundleError::Unsigned { .. }), "{error}");
    assert!(error.to_string().contains("--allow-unsigned"), "{error}");
    let store = bundle().accept(&Acceptance::of(&trusted).or_unsigned());
    let provenance = store.expect("the user said so").provenance();
    assert_eq!(provenance, Provenance::UNSIGNED);
}

/// Somebody puts another image in and makes all digests fit again, but has not the key.
#[test]
fn digests_without_the_key_are_worth_nothing() {
    let sample = Sample::new();
    let path = sample.export(true);
    let mut forged = std::fs::read(&path).expect("read");
    let table = u64::from_le_bytes(forged[24..32].try_into().expect("8 bytes"));
    let table = usize::try_from(table).expect("small");
    let code = b"one, new";
    let place = forged
        .windows(code.len())
        .position(|window| window == code)
        .expect("the image is in there");
    forged[place] ^= 1;
    let image = blake3::hash(&forged[place..place + code.len()]);
    let digest = blake3::hash(code);
    let entry = forged[table..]
        .windows(32)
        .position(|window| window == digest.as_bytes())
        .expect("its digest is in the table");
    let entry = table + entry;
    forged[entry..entry + 32].copy_from_slice(image.as_bytes());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&forged[..80]).update(&forged[table..]);
    let digest = *hasher.finalize().as_bytes();
    forged[80..112].copy_from_slice(&digest);
    std::fs::write(&path, &forged).expect("written");
    let error = Bundle::open(&path).expect_err("refused");
    assert!(matches!(error, BundleError::Signature { .. }), "{error}");

    // Nor does a valid signature of one's own.
    let forger = Sample::new();
    let own = forger.export(true);
    let error = Bundle::open(&own)
        .expect("opens")
        .accept(&Acceptance::of(&sample.trusted()))
        .expect_err("refused");
    assert!(matches!(error, BundleError::Untrusted { .. }), "{error}");
}

#[test]
fn the_same_records_give_the_same_bytes() {
    let sample = Sample::new();
    let first = std::fs::read(sample.export(true)).expect("read");
    let second = std::fs::read(sample.export(true)).expect("read");
    assert_eq!(first, second);
    let left: Vec<_> = std::fs::read_dir(sample.folder.path())
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(left, [sample.path()], "no temporary file is left");
}

/// Whether the file at `path` can be told from a good one, without a panic on the way.
fn is_refused(sample: &Sample, path: &Path) -> bool {
    match sample.accept(path) {
        Err(_) => true,
        Ok(store) => {
            let target = MemoryStore::new();
            let refused = store.import_into(&target, &mut |_| {}).is_err();
            if refused {
                assert_eq!(
                    target.statistics().records,
                    0,
                    "nothing of it is taken over"
                );
            }
            let mut damaged = false;
            store.for_each(&mut |found| {
                damaged |= matches!(found, Found::Damaged(_));
                ControlFlow::Continue(())
            });
            assert_eq!(refused, damaged, "mounting and importing agree");
            refused
        }
    }
}

/// Writes a file anew without emptying it first: file systems take that for a reason to sync it.
fn rewrite(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .expect("opened");
    file.write_all_at(bytes, 0).expect("written");
    file.set_len(bytes.len() as u64).expect("cut");
}

#[test]
fn every_flipped_byte_and_every_length_is_an_error() {
    for signed in [true, false] {
        let sample = Sample::new();
        let path = sample.export(signed);
        let good = std::fs::read(&path).expect("read");
        let altered = sample.folder.path().join("altered");
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1 << (place % 8);
            rewrite(&altered, &bad);
            assert!(is_refused(&sample, &altered), "byte {place}");
        }
        for length in 0..good.len() {
            rewrite(&altered, &good[..length]);
            assert!(is_refused(&sample, &altered), "{length} bytes");
        }
        for more in [1, 16, 128] {
            let longer = [&good[..], &vec![0; more]].concat();
            rewrite(&altered, &longer);
            assert!(is_refused(&sample, &altered), "{more} bytes more");
        }
        rewrite(&altered, &good);
        assert!(!is_refused(&sample, &altered), "the good one is good");
    }
}

/// The bytes of a sample that nobody signed, made once: to sync a file takes long.
fn unsigned_bundle() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let sample = Sample::new();
        std::fs::read(sample.export(false)).expect("read")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whoever makes digests fit again, as anybody can in an unsigned bundle, still makes no panic.
    #[test]
    fn a_bundle_with_fitting_digests_makes_no_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let sample = Sample::new();
        let path = sample.path();
        let mut bytes = unsigned_bundle().to_vec();
        let length = bytes.len();
        for (place, value) in changes {
            // Those of the digest itself would be undone.
            bytes[place.index(length)] = value;
        }
        let table = u64::from_le_bytes(bytes[24..32].try_into().expect("8 bytes"));
        let table = usize::try_from(table).unwrap_or(length).min(length);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes[..80]);
        hasher.update(&bytes[table..]);
        let digest = *hasher.finalize().as_bytes();
        bytes[80..112].copy_from_slice(&digest);
        std::fs::write(&path, &bytes).expect("written");
        is_refused(&sample, &path);
    }

    #[test]
    fn bytes_that_are_no_bundle_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let sample = Sample::new();
        let mut bytes = bytes;
        std::fs::write(sample.path(), &bytes).expect("written");
        prop_assert!(is_refused(&sample, &sample.path()));
        bytes.splice(0..0, *b"RKBUNDLE\x01\0\0\0");
        rewrite(&sample.path(), &bytes);
        prop_assert!(is_refused(&sample, &sample.path()));
    }
}

#[test]
fn a_file_that_is_altered_under_a_mount_is_damage() {
    let sample = Sample::new();
    let path = sample.export(true);
    let store = sample.accept(&path).expect("accepted");
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[192..].fill(0);
    std::fs::write(&path, bytes).expect("written");
    let mut damage = Vec::new();
    store.get(&key("user/one"), &mut |found| {
        match found {
            Found::Damaged(found) => damage.push(found.to_string()),
            found => panic!("{found:?}"),
        }
        ControlFlow::Continue(())
    });
    assert_eq!(damage.len(), 2, "{damage:?}");
    let target = MemoryStore::new();
    assert!(store.import_into(&target, &mut |_| {}).is_err());
    assert_eq!(target.statistics().records, 0);
}

#[test]
fn other_files_are_refused_by_what_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing");
    assert!(matches!(
        Bundle::open(&missing),
        Err(BundleError::Io { .. })
    ));
    assert!(matches!(
        Bundle::open(folder.path()),
        Err(BundleError::Io { .. })
    ));
    let sample = Sample::new();
    let path = sample.export(false);
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[8] = 9;
    std::fs::write(&path, bytes).expect("written");
    let error = Bundle::open(&path).expect_err("refused");
    assert!(
        matches!(error, BundleError::OtherVersion { found: 9, .. }),
        "{error}"
    );
}

/// A sparse file can claim to be longer than any memory.
#[test]
fn a_file_that_claims_more_than_memory_is_refused_at_once() {
    let sample = Sample::new();
    let path = sample.export(false);
    let mut bytes = std::fs::read(&path).expect("read");
    let huge = 1_u64 << 42;
    let table = u64::from_le_bytes(bytes[24..32].try_into().expect("8 bytes"));
    for (table, records) in [(table, (huge - table) / 128), (huge - 128, 1)] {
        let length = table + records * 128;
        bytes[16..24].copy_from_slice(&records.to_le_bytes());
        bytes[24..32].copy_from_slice(&table.to_le_bytes());
        bytes[32..40].copy_from_slice(&length.to_le_bytes());
        rewrite(&path, &bytes);
        let file = OpenOptions::new().write(true).open(&path).expect("opened");
        if file.set_len(length).is_err() {
            // This file system has no such files.
            return;
        }
        let error = Bundle::open(&path).expect_err("refused");
        assert!(matches!(error, BundleError::Malformed { .. }), "{error}");
    }
}

#[test]
fn a_failed_export_leaves_what_was_there() {
    let sample = Sample::new();
    let path = sample.export(true);
    let good = std::fs::read(&path).expect("read");
    let into_nothing = sample.folder.path().join("no/such/folder.rekindle");
    let failed = bundle::export(
        &Sample::source(),
        &into_nothing,
        Export::default(),
        &mut |_| true,
    );
    assert!(matches!(failed, Err(BundleError::Io { .. })));
    assert_eq!(std::fs::read(&path).expect("read"), good);

    let some = bundle::export(&Sample::source(), &path, Export::default(), &mut |record| {
        record.metadata.entry.name == "user/two"
    });
    assert_eq!(some.expect("exported").records, 1);
    assert_ne!(std::fs::read(&path).expect("read"), good);
}
