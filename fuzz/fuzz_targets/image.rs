//! Validates any bytes as an image. What a valid one says of itself has to be there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_loader::check;

fuzz_target!(|bytes: &[u8]| {
    match check(bytes) {
        Ok(description) => {
            assert!(description.text_size() <= description.payload_size());
            assert!(description.payload_size() <= bytes.len());
            assert!(description.imports().count() <= bytes.len());
            for import in description.imports() {
                assert!(import.name.len() <= bytes.len());
                let _ = import.hash_is_right();
            }
            assert!(description.exports().all(|name| name.len() <= bytes.len()));
            assert!(description.side_tables().all(|name| name.len() <= bytes.len()));
            assert!(description.shared_variables().all(|name| name.len() <= bytes.len()));
            assert!(description.constant_slot_count() * 8 <= description.data_size());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
