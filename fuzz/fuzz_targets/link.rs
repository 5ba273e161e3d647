//! Links any bytes: one object, or two where a second begins among them. What comes out has to be an
//! image, and to be in proportion; nothing of it runs. Code for the low 2 GiB is welcome; an image of other
//! code is the same where it is not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_loader::{LoadError, NativeLoader, Options, check};

/// How objects begin.
const STARTS: [&[u8]; 2] = [b"\x7fELF", b"\xcf\xfa\xed\xfe"];

fuzz_target!(|bytes: &[u8]| {
    let rest = bytes.get(1..).unwrap_or_default();
    let second = rest.windows(4).position(|part| STARTS.contains(&part));
    let (first, second) = bytes.split_at(second.map_or(bytes.len(), |at| at + 1));
    let objects = [first, second];
    let count = if second.is_empty() { 1 } else { 2 };
    let mut options = Options::default();
    options.position_dependent = true;
    options.gdb = true;
    let debug = NativeLoader::with_options(options).prepare_objects(&objects[..count], &["test"]);
    if let Ok(image) = debug {
        check(&image.bytes).expect("debug information is a part of an image as others");
    }
    options.gdb = false;
    let low = NativeLoader::with_options(options);
    match low.prepare_objects(&objects[..count], &["test"]) {
        Ok(image) => {
            assert!(image.bytes.len() <= bytes.len() * 10 + (64 << 10));
            let description = check(&image.bytes).expect("the linker makes valid images");
            let usual = NativeLoader::new().prepare_objects(&objects[..count], &["test"]);
            match description.is_low() {
                false => assert!(usual.is_ok_and(|usual| usual.bytes == image.bytes)),
                true => assert!(usual.is_err()),
            }
        }
        Err(LoadError::Link(error)) => assert!(!error.to_string().is_empty()),
        Err(other) => panic!("not an error of linking: {other}"),
    }
});
