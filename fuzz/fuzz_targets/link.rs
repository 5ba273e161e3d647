//! Links any bytes. What comes out has to be an image, and to be in proportion; nothing of it runs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_cache_core::artifact::Loader;
use rekindle_loader::{LoadError, NativeLoader, check};

fuzz_target!(|object: &[u8]| {
    match NativeLoader::new().prepare(object, &["test"]) {
        Ok(image) => {
            assert!(image.bytes.len() <= object.len() * 10 + (64 << 10));
            check(&image.bytes).expect("the linker makes valid images");
        }
        Err(LoadError::Link(error)) => assert!(!error.to_string().is_empty()),
        Err(other) => panic!("not an error of linking: {other}"),
    }
});
