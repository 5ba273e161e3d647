//! What a host gets beside code: constant slots, data to scan, side tables; and what is passed over.

mod compiled;

use compiled::{Host, Outcome, assembly, c, function, load, load_with, refusal};
use rekindle_cache_core::artifact::{Code as _, Loader};
use rekindle_loader::{LinkError, NativeLoader, check};

#[test]
fn constant_slots_can_be_changed_while_the_code_is_there() -> Outcome {
    let objects = [
        c(
            r#"
            extern long first_object, second_object;
            __attribute__((section(".rekindle.constants"))) static long *volatile first = &first_object;
            __attribute__((section(".rekindle.constants"))) static long *volatile second = &second_object;
            long more(void);
            long test(void) { return *first * 100 + *second * 10 + more(); }
            "#,
            &["-O2"],
        )?,
        c(
            r#"
            extern long first_object;
            __attribute__((section(".rekindle.constants"))) static long *volatile third = &first_object;
            static long other = 5;
            long more(void) { return *third + other++ - 5; }
            "#,
            &["-O2", "-fdata-sections"],
        )?,
    ];
    let before: [i64; 2] = [1, 2];
    let host = Host(
        [
            ("first_object", &raw const before[0] as u64),
            ("second_object", &raw const before[1] as u64),
        ]
        .into(),
    );
    let loader = NativeLoader::new();
    let objects: Vec<&[u8]> = objects.iter().map(Vec::as_slice).collect();
    let image = loader.prepare_objects(&objects, &["test"])?;
    assert_eq!(check(&image.bytes)?.constant_slot_count(), 3);
    // SAFETY: the image is of the sources above.
    let code = unsafe { loader.load(image.as_ref(), &host) }?;
    let test = function(&code, "test")?;
    assert_eq!(test(), 121);

    // The collector moves both objects, and finds where they are referred to.
    let after: [i64; 2] = [7, 8];
    let mut moved = 0;
    for slot in code.constant_slots() {
        assert!(code.data().contains(&(slot as usize)));
        // SAFETY: the slots are this code's, which does not run now.
        let object = unsafe { &mut *slot };
        for (old, new) in before.iter().zip(&after) {
            if *object == std::ptr::from_ref(old) as u64 {
                *object = std::ptr::from_ref(new) as u64;
                moved += 1;
                break;
            }
        }
    }
    assert_eq!(moved, 3);
    assert_eq!(test(), 788);

    // Those of another load are its own.
    // SAFETY: as above.
    let other = unsafe { loader.load(image.as_ref(), &host) }?;
    assert_eq!(function(&other, "test")?(), 121);
    Ok(())
}

#[test]
fn constant_slots_are_words() -> Outcome {
    let words = "test: movl slot(%rip), %eax; ret; .section .rekindle.constants,\"aw\"; slot:";
    let refused = refusal(
        &assembly(&format!(".globl test; {words} .long 1"))?,
        &["test"],
    )?;
    assert!(matches!(refused, LinkError::Malformed { what, .. } if what.contains("words")));
    let empty = words.replace("\"aw\"", "\"aw\",@nobits");
    let refused = refusal(
        &assembly(&format!(".globl test; {empty} .zero 8"))?,
        &["test"],
    )?;
    assert!(matches!(refused, LinkError::UnsupportedSection { .. }));
    Ok(())
}

#[test]
fn a_host_that_scans_data_finds_every_pointer() -> Outcome {
    let object = c(
        r#"
        static void *volatile kept, *volatile zero[3];
        static _Thread_local void *volatile own = (void *)0x1234;
        long put(void *object) { kept = zero[2] = own = object; return 0; }
        "#,
        &["-O2"],
    )?;
    let code = load(&object, &["put"])?;
    assert_eq!(code.thread_data(), None, "nothing was used yet");
    let put = code.symbol("put").ok_or("it is a root")?;
    // SAFETY: this is the function's type.
    let put: extern "C" fn(u64) -> i64 = unsafe { std::mem::transmute(put) };
    let object = 0x5ca1_ab1e_0000_0001_u64;
    put(object);
    let count = |range: std::ops::Range<usize>| {
        assert_eq!(range.len() % 8, 0);
        // SAFETY: the code's own data, which nobody writes now.
        let words =
            unsafe { std::slice::from_raw_parts(range.start as *const u64, range.len() / 8) };
        words.iter().filter(|word| **word == object).count()
    };
    assert_eq!(count(code.data()), 2);
    assert_eq!(count(code.thread_data().ok_or("it was used")?), 1);
    let elsewhere = std::thread::scope(|scope| scope.spawn(|| code.thread_data()).join());
    assert_eq!(elsewhere.map_err(|_| "a thread panicked")?, None);
    Ok(())
}

/// A function with a trap that a table is about, and one that nothing reaches with its own table.
const TRAPS: &str = r#"
    .section .text.test,"ax",@progbits
    .globl test
    test: movl $42, %eax
    trap: nop
    ret
    .section .rekindle.side.traps,"ao",@progbits,.text.test
    .quad trap
    .long 7, trap - .
    .section .text.other,"ax",@progbits
    .globl other
    other: call abort@PLT
    .section .rekindle.side.traps,"ao",@progbits,.text.other
    .quad other
    .section .llvm_stackmaps,"a",@progbits
    .byte 3, 0, 0, 0
    .section .rekindle.side.empty,"a",@progbits
    .section .debug_info,"",@progbits
    .quad other
"#;

#[test]
fn side_tables_come_with_the_code_they_are_about() -> Outcome {
    let object = assembly(TRAPS)?;
    let image = NativeLoader::new().prepare(&object, &["test"])?;
    let mut names: Vec<_> = check(&image.bytes)?.side_tables().collect();
    names.sort_unstable();
    assert_eq!(names, [".llvm_stackmaps", "empty", "traps"]);

    let code = load(&object, &["test"])?;
    assert_eq!(code.side_tables().len(), 3);
    let test = code.symbol("test").ok_or("it is a root")? as u64;
    let traps = code.side_table("traps").ok_or("it was kept")?;
    let expected = [&(test + 5).to_le_bytes()[..], &7u32.to_le_bytes()].concat();
    assert_eq!(traps.get(..12), Some(expected.as_slice()));
    let distance = traps.get(12..).and_then(|rest| rest.first_chunk().copied());
    let distance = i32::from_le_bytes(distance.ok_or("it is longer")?);
    let place = traps.as_ptr() as u64 + 12;
    assert_eq!(place.wrapping_add_signed(distance.into()), test + 5);
    assert_eq!(code.side_table(".llvm_stackmaps"), Some(&[3, 0, 0, 0][..]));
    assert_eq!(code.side_table("empty"), Some(&[][..]));
    assert_eq!(code.side_table("none"), None);

    // With both functions there are both tables.
    let code = load(&object, &["test", "other"])?;
    let traps = code.side_tables().filter(|(name, _)| *name == "traps");
    assert_eq!(traps.count(), 2);
    Ok(())
}

#[test]
fn what_has_to_be_kept_is_kept_without_being_reached() -> Outcome {
    let object = assembly(
        ".globl test; test: movl $42, %eax; ret
         .section .rodata.kept,\"aR\",@progbits; .ascii \"this stays\"
         .section .rodata.dropped,\"a\",@progbits; .ascii \"this does not\"",
    )?;
    let image = NativeLoader::new().prepare(&object, &["test"])?;
    let has = |text: &str| {
        let bytes = text.as_bytes();
        image.bytes.windows(bytes.len()).any(|part| part == bytes)
    };
    assert!(has("this stays") && !has("this does not"));
    Ok(())
}

#[test]
fn compressed_debug_information_is_passed_over_and_nothing_else_can_be_compressed() -> Outcome {
    let source =
        "static volatile long numbers[500] = {1, 2}; long test(void) { return numbers[1] + 40; }";
    let plain = c(source, &["-O1"])?;
    let compressed = c(source, &["-O1", "-g3", "-gz=zlib"])?;
    let elf = object::read::elf::ElfFile64::<object::LittleEndian>::parse(compressed.as_slice())?;
    use object::{Object, ObjectSection};
    let is_compressed = |flags: object::SectionFlags| {
        matches!(flags, object::SectionFlags::Elf { sh_flags }
            if sh_flags & u64::from(object::elf::SHF_COMPRESSED) != 0)
    };
    let mut flags = elf.sections().map(|section| section.flags());
    assert!(flags.any(is_compressed), "the compiler did compress");
    let loader = NativeLoader::new();
    let images = [&plain, &compressed].map(|object| loader.prepare(object, &["test"]));
    let [plain_image, compressed_image] = images;
    assert_eq!(plain_image?.bytes, compressed_image?.bytes);

    // ELF forbids it for what is loaded; the flag set on the data all the same:
    let mut changed = plain.clone();
    let elf = object::read::elf::ElfFile64::<object::LittleEndian>::parse(plain.as_slice())?;
    let data = elf.section_by_name(".data").ok_or("there is data")?;
    let header = elf.elf_header().e_shoff.get(object::LittleEndian) as usize + data.index().0 * 64;
    let flags = changed.get_mut(header + 9).ok_or("it is in the file")?;
    *flags |= (object::elf::SHF_COMPRESSED >> 8) as u8;
    match refusal(&changed, &["test"])? {
        LinkError::UnsupportedSection { section, reason } => {
            assert_eq!(section, ".data");
            assert!(reason.contains("compressed"));
        }
        other => return Err(other.into()),
    }
    Ok(())
}

#[test]
fn data_of_the_process_is_reached_by_code_for_executables() -> Outcome {
    // What compilers do by default on many systems: `stderr` is taken to lie near.
    let source = r#"
        #include <stdio.h>
        extern int first_value, second_value;
        __attribute__((noinline)) FILE *value(void) { return stderr; }
        __attribute__((noinline)) FILE **address(void) { return &stderr; }
        extern long table[4];
        __attribute__((noinline)) long third(void) { return table[2]; }
        __attribute__((noinline)) long *fourth(void) { return &table[3]; }
        long test(void) {
            return fileno(value()) + fileno(*address()) * 20 + third() - 3 + *fourth() - 4;
        }
    "#;
    let table = [1_i64, 2, 3, 4];
    for compiler in compiled::compilers() {
        for level in ["-O0", "-O1", "-O2"] {
            let flags = ["-fPIE", "-fno-stack-protector", level];
            let object = compiled::compile(compiler, "c", source, &flags)?;
            let host = Host([("table", &raw const table as u64)].into());
            let code = load_with(&NativeLoader::new(), &object, &["test"], &host);
            assert_eq!(function(&code?, "test")?(), 42, "{compiler} {level}");
        }
    }
    Ok(())
}
