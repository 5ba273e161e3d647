//! Opens any bytes as a bundle and reads all that it shows. What is found has the right digest, and nothing
//! panics or takes more memory than the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_cache_core::bundle::{Acceptance, Bundle, TrustedKeys};
use rekindle_cache_core::store::{Found, Store};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::OnceLock;

fn file() -> &'static PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("rekindle-fuzz-bundle-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder of one's own");
        folder.join("bundle")
    })
}

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(file(), bytes).expect("written");
    let Ok(bundle) = Bundle::open(file()) else {
        return;
    };
    let Ok(store) = bundle.accept(&Acceptance::of(&TrustedKeys::none()).or_unsigned()) else {
        return;
    };
    store.for_each(&mut |found| {
        if let Found::Record(record) = found {
            assert!(record.image.bytes.len() <= bytes.len());
        }
        ControlFlow::Continue(())
    });
});
