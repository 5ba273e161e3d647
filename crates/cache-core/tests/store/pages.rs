//! A pack's pages come and go, and its records are what they were.

use crate::records::{Sample, Seen, files, open};
use rekindle_cache_core::store::io::{Disk, Io};
use rekindle_cache_core::store::{FolderStore, Options, Store};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const COUNT: u64 = 1500;
const IMAGE: usize = 3000;

fn name(number: u64) -> String {
    format!("name {number}")
}

/// A folder with one pack of several MiB.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    for number in 0..COUNT {
        crate::records::put(&store, &name(number), number, IMAGE);
    }
    store.flush().expect("flushed");
    folder
}

fn the_pack(folder: &Path) -> std::path::PathBuf {
    let [pack] = files(folder, "pack").try_into().expect("one pack");
    pack
}

/// A store that is tended when it asks for that.
struct Tended {
    store: FolderStore,
    is_asked: Arc<AtomicBool>,
}

impl Tended {
    fn open(folder: &Path) -> Self {
        let (store, is_asked) = (open(folder), Arc::<AtomicBool>::default());
        let wake = Arc::clone(&is_asked);
        store.tended_by(Arc::new(move || wake.store(true, Ordering::Relaxed)));
        Self { store, is_asked }
    }

    fn look_up(&self, number: u64) -> Seen {
        let seen = Seen::of(&self.store, &name(number));
        if self.is_asked.swap(false, Ordering::Relaxed) {
            self.store.tend();
        }
        seen
    }
}

/// Looks each record up, by steps of `step`, which has no divisor in common with their number.
fn look_all_up(store: &Tended, step: u64) {
    for turn in 0..COUNT {
        let number = turn * step % COUNT;
        let seen = store.look_up(number);
        let [found] = &seen.records[..] else {
            panic!("{number}: {seen:?}");
        };
        assert!(found.image_is_right && seen.damage.is_empty());
        assert_eq!(found.image, Sample::new(&name(number), number, IMAGE).image);
    }
}

/// How much of the mapping of `file` counts as this process's memory, in bytes.
#[cfg(target_os = "linux")]
fn resident(file: &Path) -> usize {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("is there");
    let file = file.to_str().expect("text");
    let lines = maps.lines().skip_while(|line| !line.ends_with(file));
    let mut sizes = lines.filter_map(|line| line.strip_prefix("Rss:"));
    let size = sizes.next().expect("it is mapped");
    let kilobytes: usize = size.trim_end_matches("kB").trim().parse().expect("a size");
    kilobytes << 10
}

#[test]
fn what_was_read_once_is_given_back_and_can_be_read_again() {
    let folder = filled();
    for step in [1, 1151] {
        let store = Tended::open(folder.path());
        look_all_up(&store, step);
        #[cfg(target_os = "linux")]
        {
            let pack = the_pack(folder.path());
            let size = std::fs::metadata(&pack).expect("is there").len() as usize;
            let resident = resident(&pack);
            assert!(
                resident < size / 2,
                "{resident} of {size} by steps of {step}"
            );
        }
        for again in [7, 1, 1151] {
            look_all_up(&store, again);
        }
        // What is read again and again stays.
        #[cfg(target_os = "linux")]
        assert!(resident(&the_pack(folder.path())) > 3 << 20);
    }
}

#[test]
fn what_is_damaged_after_it_was_read_is_damage() {
    let folder = filled();
    let store = Tended::open(folder.path());
    look_all_up(&store, 1);
    let pack = the_pack(folder.path());
    let bytes = std::fs::read(&pack).expect("is read");
    let place = |text: &str| {
        let found = bytes
            .windows(text.len())
            .position(|window| window == text.as_bytes());
        found.expect("it is in there") as u64
    };
    let file = std::fs::File::options()
        .write(true)
        .open(&pack)
        .expect("opens");
    // The name in the metadata of a record in the first part, and all of one in the last.
    file.write_all_at(b"Name", place(&name(100)))
        .expect("written");
    file.write_all_at(&[0; IMAGE], place(&name(COUNT - 1)))
        .expect("written");
    for number in [100, COUNT - 1] {
        let seen = store.look_up(number);
        assert!(
            seen.records.is_empty() && !seen.damage.is_empty(),
            "{seen:?}"
        );
    }
    assert_eq!(store.look_up(101).versions(), [101]);
}

/// Counts what is read of files, none of which is mapped.
#[derive(Debug, Default)]
struct Reads(AtomicUsize);

impl Io for Reads {
    fn is_remote(&self, _file: &File, _path: &Path) -> io::Result<bool> {
        Ok(true)
    }

    fn read_at(&self, file: &File, path: &Path, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.fetch_add(into.len(), Ordering::Relaxed);
        Disk.read_at(file, path, into, offset)
    }
}

#[test]
fn no_altered_bit_of_a_record_has_more_read_than_its_own() {
    let folder = filled();
    let pack = the_pack(folder.path());
    let bytes = std::fs::read(&pack).expect("is read");
    let file = File::options().write(true).open(&pack).expect("opens");
    let reads = Arc::new(Reads::default());
    let store = FolderStore::open_with(
        folder.path(),
        Options {
            io: Arc::clone(&reads) as Arc<dyn Io>,
            ..Options::default()
        },
    )
    .expect("opens");
    let number = COUNT / 3;
    assert_eq!(Seen::of(&store, &name(number)).versions(), [number]);
    let record = Sample::new(&name(number), number, IMAGE);
    let key = record.key.0.0;
    let found = bytes.windows(key.len()).position(|window| window == key);
    // The key is in a record's header, 32 bytes behind its start.
    let start = found.expect("it is in there") - 32;
    // The header and a part of the metadata.
    let head = 112 + 200;
    for bit in 0..head * 8 {
        let place = start + bit / 8;
        let altered = [bytes[place] ^ 1 << (bit % 8)];
        file.write_all_at(&altered, place as u64).expect("written");
        let before = reads.0.load(Ordering::Relaxed);
        let seen = Seen::of(&store, &name(number));
        let read = reads.0.load(Ordering::Relaxed) - before;
        // A bucket of the index, and this record and no other.
        assert!(read < IMAGE + (8 << 10), "{read} bytes for bit {bit}");
        assert!(
            seen.records.is_empty() && !seen.damage.is_empty(),
            "bit {bit}: {seen:?}"
        );
        file.write_all_at(&bytes[place..=place], place as u64)
            .expect("written");
    }
    assert_eq!(Seen::of(&store, &name(number)).versions(), [number]);
}
