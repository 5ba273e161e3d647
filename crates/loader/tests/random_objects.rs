//! Linking takes any bytes: random ones, and objects that were changed on purpose.

mod compiled;

use compiled::{assembly, c};
use proptest::prelude::*;
use rekindle_cache_core::artifact::Loader;
use rekindle_loader::{LoadError, NativeLoader, Options, check};
use std::sync::LazyLock;

/// Objects with something of everything: groups, unwind tables, tables of pointers, all sorts of
/// symbol.
static OBJECTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let source = "#include <stdio.h>
        #include <stdlib.h>
        extern int absent __attribute__((weak));
        int common __attribute__((common)); static int zero[10]; static int data[3] = {1, 2, 3};
        int *p = &data[1]; static const char *const names[] = { \"a\", \"b\" };
        __attribute__((constructor)) static void start(void) { p++; }
        static int compare(const void *a, const void *b) { return *(int *)a - *(int *)b; }
        int test(int n) {
            switch (n) { case 0: return 3; case 1: puts(names[n]); break; case 2: return common;
                         case 3: return zero[n]; case 4: return absent; case 5: return *p; }
            qsort(data, 3, 4, compare);
            return printf(\"%d\", n);
        }";
    let assembled = ".text\n.globl test\ntest: call *test@GOTPCREL(%rip)\njmp *x@GOTPCREL(%rip)
        .cfi_startproc\nx: movq x@GOTPCREL(%rip), %rax\n.cfi_endproc\n.data\n.quad x, y, test-x";
    [
        c(source, &["-O2"]),
        c(
            source,
            &["-O0", "-ffunction-sections", "-fdata-sections", "-g"],
        ),
        assembly(assembled),
        c(source, &["-O2", "-fno-pic", "-fno-pie"]),
    ]
    .into_iter()
    .map(|object| object.expect("gcc compiles it"))
    .collect()
});

/// Links and, if that works, checks that the result is an image. Nothing of it is run.
fn link(object: &[u8]) -> Result<(), TestCaseError> {
    let mut options = Options::default();
    options.position_dependent = true;
    match NativeLoader::with_options(options).prepare(object, &["test"]) {
        Ok(image) => {
            prop_assert!(image.bytes.len() <= object.len() * 10 + (64 << 10));
            prop_assert!(
                check(&image.bytes).is_ok(),
                "{:?}",
                check(&image.bytes).err()
            );
        }
        Err(LoadError::Link(_)) => {}
        Err(other) => prop_assert!(false, "{other}"),
    }
    Ok(())
}

#[derive(Debug, Clone)]
enum Change {
    Byte(prop::sample::Index, u8),
    /// Numbers that often matter.
    Word(prop::sample::Index, u32),
    Long(prop::sample::Index, u64),
    Cut(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let word = prop_oneof![
        Just(0),
        Just(u32::MAX),
        Just(0x7fff_ffff),
        0u32..64,
        any::<u32>()
    ];
    let long = prop_oneof![
        Just(u64::MAX),
        Just(1 << 63),
        Just(u64::MAX - 7),
        0u64..100_000,
        any::<u64>()
    ];
    prop_oneof![
        8 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        8 => (at(), word).prop_map(|(at, word)| Change::Word(at, word)),
        8 => (at(), long).prop_map(|(at, long)| Change::Long(at, long)),
        1 => at().prop_map(Change::Cut),
    ]
}

fn apply(object: &mut Vec<u8>, change: &Change) {
    if object.len() < 64 {
        return;
    }
    let (at, bytes) = match change {
        Change::Byte(at, byte) => (at.index(object.len()), vec![*byte]),
        Change::Word(at, word) => (at.index(object.len() / 4) * 4, word.to_le_bytes().to_vec()),
        Change::Long(at, long) => (at.index(object.len() / 8) * 8, long.to_le_bytes().to_vec()),
        Change::Cut(at) => return object.truncate(at.index(object.len())),
    };
    for (target, byte) in object.iter_mut().skip(at).zip(bytes) {
        *target = byte;
    }
}

/// Changes in the headers, symbols and relocations, which are a small part of an object's bytes.
fn change_of_tables(object: &mut Vec<u8>, table: prop::sample::Index, change: &Change) {
    let sections = object
        .get(40..48)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_le_bytes) as usize;
    let count = object.len().saturating_sub(sections) / 64;
    if count == 0 {
        return;
    }
    let header = sections + table.index(count) * 64;
    let field = |at: usize| {
        let bytes = object.get(header + at..header + at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let (Some(offset), Some(size)) = (field(24), field(32)) else {
        return;
    };
    let Some(end) = offset.checked_add(size).filter(|end| *end <= object.len()) else {
        return;
    };
    let mut part = object.get(offset..end).unwrap_or_default().to_vec();
    apply(&mut part, change);
    if part.len() == size {
        object.splice(offset..end, part);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        link(&bytes)?;
        prop_assert!(check(&bytes).is_err());
    }

    #[test]
    fn random_bytes_behind_a_right_header(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let header = OBJECTS.first().and_then(|object| object.get(..64)).unwrap_or_default();
        link(&[header, &bytes].concat())?;
    }

    #[test]
    fn changed_objects(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), change()), 1..8),
        in_tables in any::<bool>(),
    ) {
        let mut object = which.get(&OBJECTS).clone();
        for (table, change) in &changes {
            match in_tables {
                true => change_of_tables(&mut object, *table, change),
                false => apply(&mut object, change),
            }
        }
        link(&object)?;
    }

    #[test]
    fn changed_section_headers(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), change()), 1..4),
    ) {
        let mut object = which.get(&OBJECTS).clone();
        let start = object.get(40..48).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        let start = (start as usize).min(object.len());
        let mut headers = object.split_off(start);
        let size = headers.len();
        for (_, change) in &changes {
            if !matches!(change, Change::Cut(_)) {
                apply(&mut headers, change);
            }
        }
        prop_assert_eq!(headers.len(), size);
        object.extend(headers);
        link(&object)?;
    }
}
