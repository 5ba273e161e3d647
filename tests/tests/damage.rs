//! Packs truncated, zeroed and flipped: the output stays what it was, what was hit by the damage is
//! compiled again and counted as rejected, and the process after that finds everything mended.
//!
//! sccache#738 and #836: a corrupt entry ended the build. numba#4807: a partial write poisoned an entry.

use rekindle_tests::{Run, Workplace};
use std::path::PathBuf;

const PROGRAM: &str = "\
(defn square [x] (* x x))
(defn squares [n] (map square (range n)))
(println (squares 5) \"and\" {:a [1 2.5 nil]})
";
const OUTPUT: &str = "(0 1 4 9 16) and {:a [1 2.5 nil]}\n";

struct Damaged {
    workplace: Workplace,
    program: PathBuf,
    pack: PathBuf,
    whole: Vec<u8>,
    definitions: u64,
}

impl Damaged {
    fn new() -> Self {
        let workplace = Workplace::new();
        let program = workplace.write("program.em", PROGRAM);
        let run = workplace.run(&program).succeeded();
        assert_eq!(run.stdout, OUTPUT);
        let packs = workplace.cache_files("pack");
        let [pack] = &packs[..] else {
            panic!("one process leaves one pack: {packs:?}");
        };
        Self {
            whole: std::fs::read(pack).expect("it can be read"),
            pack: pack.clone(),
            workplace,
            program,
            definitions: run.statistics.definitions,
        }
    }

    /// Runs on a cache that holds nothing but `bytes` as its pack, twice.
    #[track_caller]
    fn run_on(&self, bytes: &[u8], what: &str) -> Run {
        for extension in ["pack", "segment", "quarantined"] {
            for file in self.workplace.cache_files(extension) {
                std::fs::remove_file(file).expect("it can be removed");
            }
        }
        std::fs::write(&self.pack, bytes).expect("it can be written");
        let run = self.workplace.run(&self.program);
        assert_eq!(run.code, Some(0), "{what}: {}", run.stderr);
        assert_eq!(run.stdout, OUTPUT, "{what}");
        let counts = run.statistics;
        assert_eq!(counts.definitions, self.definitions, "{what}");
        assert_eq!(counts.compiled, counts.rejected + counts.misses, "{what}");
        let mended = self.workplace.run(&self.program).succeeded();
        assert_eq!(mended.stdout, OUTPUT, "{what}, the process after");
        assert_eq!(
            mended.statistics.hits, self.definitions,
            "{what}, the process after"
        );
        run
    }
}

#[test]
fn a_truncated_pack_loses_what_was_cut_off_and_no_more() {
    let damaged = Damaged::new();
    let length = damaged.whole.len();
    let mut hits = Vec::new();
    for kept in [
        0,
        1,
        40,
        length / 4,
        length / 2,
        length - 4096,
        length - 17,
        length - 1,
    ] {
        let run = damaged.run_on(
            &damaged.whole[..kept],
            &format!("cut to {kept} of {length}"),
        );
        let counts = run.statistics;
        assert_eq!(
            counts.misses, 0,
            "what may have been there is rejected, not missed: {counts:?}"
        );
        hits.push(counts.hits);
    }
    assert!(hits.is_sorted(), "{hits:?}");
    assert_eq!(hits[0], 0);
    assert_eq!(
        hits.last(),
        Some(&damaged.definitions),
        "only the footer was cut: {hits:?}"
    );
}

#[test]
fn a_zeroed_pack_is_compiled_again() {
    let damaged = Damaged::new();
    let run = damaged.run_on(&vec![0; damaged.whole.len()], "zeroed");
    assert_eq!(run.statistics.rejected, damaged.definitions);
    let mut half = damaged.whole.clone();
    let middle = half.len() / 2;
    half[middle..].fill(0);
    let run = damaged.run_on(&half, "half zeroed");
    assert!(run.statistics.rejected > 0 && run.statistics.hits > 0);
}

#[test]
fn a_flipped_byte_rejects_one_record_at_most_and_never_changes_the_output() {
    let damaged = Damaged::new();
    let length = damaged.whole.len();
    let mut rejections = 0;
    // A prime stride meets headers, metadata, images, padding, index and footer alike.
    let stride = (length / 40) | 1;
    for position in (0..length).step_by(stride).chain([0, 8, 70, length - 1]) {
        let mut bytes = damaged.whole.clone();
        bytes[position] ^= 0x10;
        let run = damaged.run_on(&bytes, &format!("byte {position} of {length} flipped"));
        rejections += u64::from(run.statistics.rejected > 0);
    }
    assert!(
        rejections >= 20,
        "most bytes matter to some record: {rejections}"
    );
}

#[test]
fn the_reason_of_a_rejection_can_be_seen() {
    let damaged = Damaged::new();
    let mut bytes = damaged.whole.clone();
    // More than one record: not each is looked at when its definition is a hit.
    let middle = bytes.len() / 2;
    bytes[middle..middle + damaged.whole.len() / 8].fill(0xA5);
    std::fs::write(&damaged.pack, &bytes).expect("it can be written");
    let mut command = damaged.workplace.ember(["run", "program.em"]);
    let output = command
        .env("REKINDLE_LOG", "debug")
        .output()
        .expect("ember starts");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), OUTPUT);
    assert!(log.contains("rejected: "), "{log}");
}
