//! Stored bytes that were altered or cut are damage, and never more than that.

mod compiled;

use compiled::{Host, Outcome, c, compile, load_with};
use rekindle_cache_core::artifact::{Image, ImageRef, LoadFailure, Loader};
use rekindle_loader::{ImageError, LoadError, NativeLoader, Options, check};
use std::error::Error;

/// An image that has something in every table but one.
fn image() -> Result<Image, Box<dyn Error>> {
    let source = "int puts(const char *); extern int absent __attribute__((weak));
        static int n = 1; int *p = &n; static char zeros[50];
        __attribute__((constructor)) static void start(void) { n = 2; }
        __attribute__((destructor)) static void end(void) { n = 3; }
        int test(int i) { zeros[i] = *p; return &absent ? absent : puts(\"\") + zeros[1]; }";
    Ok(NativeLoader::new().prepare(&c(source, &["-O1"])?, &["test"])?)
}

/// An image for the low 2 GiB, which has something in that one.
fn low_image() -> Result<Image, Box<dyn Error>> {
    let source = "int puts(const char *); static int n[3]; int *volatile p = n;
        int (*volatile function)(const char *) = puts;
        int test(int i) { n[i] = *p; return function(\"\") + n[1]; }";
    let mut options = Options::default();
    options.position_dependent = true;
    let object = c(source, &["-O1", "-fno-pic", "-fno-pie"])?;
    Ok(NativeLoader::with_options(options).prepare(&object, &["test"])?)
}

#[test]
fn every_flipped_byte_is_damage() -> Outcome {
    let image = image()?;
    let loader = NativeLoader::new();
    for position in 0..image.bytes.len() {
        for mask in [1, 0x80, 0xff] {
            let mut altered = image.clone();
            if let Some(byte) = altered.bytes.get_mut(position) {
                *byte ^= mask;
            }
            // SAFETY: the checksum does not fit, so nothing of it runs.
            let refused = unsafe { loader.load(altered.as_ref(), &Host::default()) };
            let error = refused.err().ok_or("damage went unseen")?;
            assert!(error.is_damage(), "byte {position}: {error}");
        }
    }
    assert_eq!(loader.memory_used(), 0, "the space is given back");
    Ok(())
}

/// Its figures are read before the checksum can be: what they ask for is not given for good.
#[test]
fn altered_figures_take_no_memory() -> Outcome {
    let image = image()?;
    let loader = NativeLoader::new();
    // SAFETY: the image is of the source above.
    unsafe { loader.load(image.as_ref(), &Host::default()) }?;
    let before = loader.memory_statistics().windows;
    for position in image.bytes.len().saturating_sub(256)..image.bytes.len() {
        for bit in 0..8 {
            let mut altered = image.clone();
            if let Some(byte) = altered.bytes.get_mut(position) {
                *byte ^= 1 << bit;
            }
            // SAFETY: the checksum does not fit, so nothing of it runs.
            let refused = unsafe { loader.load(altered.as_ref(), &Host::default()) };
            assert!(refused.is_err_and(|error| error.is_damage()));
            let windows = loader.memory_statistics().windows;
            assert_eq!(windows, before, "byte {position}, bit {bit}");
        }
    }
    Ok(())
}

#[test]
fn every_truncation_is_damage() -> Outcome {
    let image = image()?;
    let loader = NativeLoader::new();
    for size in 0..image.bytes.len() {
        let bytes = image.bytes.get(..size).unwrap_or_default();
        for checksum in [image.checksum, rekindle_cache_core::checksum(bytes)] {
            // SAFETY: its figures do not fit its size, so nothing of it runs.
            let refused = unsafe { loader.load(ImageRef { bytes, checksum }, &Host::default()) };
            assert!(
                refused.is_err_and(|error| error.is_damage()),
                "{size} bytes"
            );
        }
        assert!(check(bytes).is_err());
    }
    assert_eq!(loader.memory_used(), 0);
    Ok(())
}

#[test]
fn validation_survives_any_single_change() -> Outcome {
    survives_any_single_change(&image()?)?;
    if cfg!(target_arch = "x86_64") {
        let image = low_image()?;
        assert!(check(&image.bytes)?.is_low());
        survives_any_single_change(&image)?;
    }
    Ok(())
}

fn survives_any_single_change(image: &Image) -> Outcome {
    let mut refused = 0;
    for position in 0..image.bytes.len() {
        for mask in 1..=255 {
            let mut bytes = image.bytes.clone();
            if let Some(byte) = bytes.get_mut(position) {
                *byte ^= mask;
            }
            // Not run: with its checksum made right, a changed instruction is a right image.
            match check(&bytes) {
                Err(_) => refused += 1,
                Ok(description) => {
                    assert!(
                        description
                            .imports()
                            .all(|import| import.name.len() < bytes.len())
                    );
                    assert!(description.exports().count() <= bytes.len());
                }
            }
        }
    }
    assert!(refused > 10_000, "{refused}");
    Ok(())
}

#[test]
fn altered_contents_fail_the_checksum_and_say_so() -> Outcome {
    let mut image = image()?;
    if let Some(byte) = image.bytes.first_mut() {
        *byte ^= 1;
    }
    // SAFETY: the checksum does not fit, so nothing of it runs.
    let refused = unsafe { NativeLoader::new().load(image.as_ref(), &Host::default()) };
    let Err(LoadError::Checksum { found, expected }) = refused else {
        return Err("the checksum does not fit".into());
    };
    assert_eq!(expected, image.checksum);
    assert_eq!(found, rekindle_cache_core::checksum(&image.bytes));
    Ok(())
}

#[test]
fn another_version_and_another_machine_are_told_apart() -> Outcome {
    let image = image()?;
    // The footer's last 14 bytes: version, machine, reserved, magic.
    let with = |from_end: usize, value: u16| {
        let mut bytes = image.bytes.clone();
        let at = bytes.len() - from_end;
        bytes.splice(at..at + 2, value.to_le_bytes());
        check(&bytes).err()
    };
    let found = 7;
    assert!(matches!(with(14, 7), Some(ImageError::Version { found: f, .. }) if f == found));
    assert!(matches!(
        with(12, 243),
        Some(ImageError::Machine { found: 243, .. })
    ));
    assert_eq!(with(2, 0), Some(ImageError::Magic));
    Ok(())
}

#[test]
fn a_failed_load_leaves_no_trace_in_the_next_image() -> Outcome {
    // The first has initial data that must not be found where the second expects zeros.
    let full = c(
        "long nobody_has_this(void); static long data[64] = { 1, 2, 3 };
         long test(long i) { return data[i] + nobody_has_this(); }",
        &["-O1"],
    )?;
    let empty = c(
        "static long zeros[64];
         long test(void) { long n = 0; for (int i = 0; i < 64; i++) n |= zeros[i]++; return n; }",
        &["-O1"],
    )?;
    let loader = NativeLoader::new();
    for _ in 0..3 {
        let failed = load_with(&loader, &full, &["test"], &Host::default());
        assert!(failed.is_err_and(|error| !error.is_damage()));
        let code = load_with(&loader, &empty, &["test"], &Host::default())?;
        assert_eq!(compiled::function(&code, "test")?(), 0);
    }
    Ok(())
}

#[test]
fn the_description_says_what_is_inside() -> Outcome {
    let image = image()?;
    let description = check(&image.bytes)?;
    let mut imports: Vec<_> = description.imports().map(|i| (i.name, i.weak)).collect();
    imports.sort_unstable();
    assert_eq!(imports, [("absent", true), ("puts", false)]);
    assert!(description.imports().all(|import| import.hash_is_right()));
    assert_eq!(description.exports().collect::<Vec<_>>(), ["test"]);
    assert!(description.text_size() < description.payload_size());
    assert!(description.data_size() >= 50);
    // Two slots, `p`, one initialiser and one finaliser.
    assert_eq!(description.fixup_count(), 5);
    Ok(())
}

#[test]
fn debug_information_does_not_reach_the_image() -> Outcome {
    let source = "int test(int n) { return n + 1; }";
    let plain = compile("gcc", "c", source, &["-fPIC", "-O2"])?;
    let debug = compile("gcc", "c", source, &["-fPIC", "-O2", "-g3"])?;
    let loader = NativeLoader::new();
    assert_eq!(
        loader.prepare(&plain, &["test"])?,
        loader.prepare(&debug, &["test"])?
    );
    Ok(())
}
