//! A pack's pages come and go, and its records are what they were.

use crate::records::{Sample, Seen, files, open};
use rekindle_cache_core::store::{FolderStore, Store};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
