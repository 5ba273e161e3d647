//! What profilers are told of loaded code, read back as they read it.
//!
//! One test in a program of its own, as the files are the whole process's.

mod compiled;

use compiled::{Host, Outcome, c, function, load_with};
use rekindle_cache_core::artifact::Code;
use rekindle_loader::{NativeLoader, Options};

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[test]
fn functions_are_named_in_the_files_of_this_process() -> Outcome {
    let pid = std::process::id();
    let folder = std::env::temp_dir();
    let (map, dump) = (
        folder.join(format!("perf-{pid}.map")),
        folder.join(format!("jit-{pid}.dump")),
    );
    // Left by an earlier process of this number.
    for file in [&map, &dump] {
        if file.exists() {
            std::fs::remove_file(file)?;
        }
    }
    let object = c(
        "long one(void) { return 41; } long test(void) { return one() + 1; }",
        &["-O0"],
    )?;
    let code = load_with(&NativeLoader::new(), &object, &["test"], &Host::default())?;
    assert_eq!(function(&code, "test")?(), 42);
    assert!(!map.exists() && !dump.exists(), "nobody asked for them");

    let mut options = Options::default();
    options.perf_map = true;
    options.jitdump = true;
    let loader = NativeLoader::with_options(options);
    let code = load_with(&loader, &object, &["one", "test"], &Host::default())?;
    assert_eq!(function(&code, "test")?(), 42);
    let one = code.symbol("one").ok_or("it is a root")? as usize;
    let test = code.symbol("test").ok_or("it is a root")? as usize;

    let lines = std::fs::read_to_string(&map)?;
    let expected = format!(
        "{one:x} {:x} one\n{test:x} {:x} test\n",
        test - one,
        code.text().end - test
    );
    assert_eq!(lines, expected);

    let bytes = std::fs::read(&dump)?;
    assert_eq!(word(&bytes, 0), Some(0x4A69_5444));
    assert_eq!(word(&bytes, 8), Some(40));
    assert_eq!(word(&bytes, 20), Some(pid));
    let mut found = Vec::new();
    let mut at = 40;
    while at < bytes.len() {
        assert_eq!(word(&bytes, at), Some(0), "code is loaded");
        let size = word(&bytes, at + 4).ok_or("cut off")? as usize;
        let address = long(&bytes, at + 32).ok_or("cut off")? as usize;
        let length = long(&bytes, at + 40).ok_or("cut off")? as usize;
        assert_eq!(long(&bytes, at + 48), Some(found.len() as u64));
        let rest = bytes.get(at + 56..at + size).ok_or("cut off")?;
        let (name, code) = rest.split_at(rest.len() - length);
        // SAFETY: the code is loaded there.
        let there = unsafe { std::slice::from_raw_parts(address as *const u8, length) };
        assert_eq!(code, there);
        found.push((name.to_vec(), address));
        at += size;
    }
    assert_eq!(
        found,
        [(b"one\0".to_vec(), one), (b"test\0".to_vec(), test)]
    );
    std::fs::remove_file(map)?;
    std::fs::remove_file(dump)?;
    Ok(())
}
