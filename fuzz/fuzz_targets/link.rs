//! Links any bytes: one object, or two where a second begins among them. What comes out has to be an
//! image, and to be in proportion; nothing of it runs. Code for the low 2 GiB is welcome; what is taken
//! where it is not makes the same image.
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
            // An image that only this loader makes need not be low: where every address that such code wants is of
            // something outside, all of them are borrowed from slots.
            if let Ok(usual) = usual {
                assert!(!description.is_low() && usual.bytes == image.bytes);
            }
        }
        Err(LoadError::Link(error)) => assert!(!error.to_string().is_empty()),
        Err(other) => panic!("not an error of linking: {other}"),
    }
});
