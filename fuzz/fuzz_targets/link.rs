//! Links any bytes: one object, or two where a second begins among them. What comes out has to be an
//! image, and to be in proportion; nothing of it runs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_loader::{LoadError, NativeLoader, check};

/// How objects begin.
const STARTS: [&[u8]; 2] = [b"\x7fELF", b"\xcf\xfa\xed\xfe"];

fuzz_target!(|bytes: &[u8]| {
    let rest = bytes.get(1..).unwrap_or_default();
    let second = rest.windows(4).position(|part| STARTS.contains(&part));
    let (first, second) = bytes.split_at(second.map_or(bytes.len(), |at| at + 1));
    let objects = [first, second];
    let count = if second.is_empty() { 1 } else { 2 };
    match NativeLoader::new().prepare_objects(&objects[..count], &["test"]) {
        Ok(image) => {
            assert!(image.bytes.len() <= bytes.len() * 10 + (64 << 10));
            check(&image.bytes).expect("the linker makes valid images");
        }
        Err(LoadError::Link(error)) => assert!(!error.to_string().is_empty()),
        Err(other) => panic!("not an error of linking: {other}"),
    }
});
