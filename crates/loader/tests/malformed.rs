//! Objects and images that were changed in many ways: no panic, no time without end, no memory out of
//! proportion.
//!
//! 10,000 of each as a rule, a million with `REKINDLE_SOAK`. Objects are changed where it matters: in
//! headers, symbols, relocations, unwind tables and names, by numbers that lie at the edge of
//! something.

mod compiled;
#[path = "programs/random.rs"]
mod random;
mod whole;

use compiled::compile;
use random::Random;
use rekindle_cache_core::artifact::Loader as _;
use rekindle_loader::{LoadError, NativeLoader, Options, check};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;
use whole::Answer;

/// Counts what each thread has allocated, and the most that it had at a time.
struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // Fails only while the thread ends, when nobody measures.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(now.get())));
    });
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a piece of work took.
struct Took {
    memory: usize,
    /// Of this thread's processor: other processes do not count.
    time: Duration,
}

fn measure<T>(work: impl FnOnce() -> T) -> (T, Took) {
    let before = NOW.get();
    MOST.set(before);
    let start = processor_time();
    let result = work();
    let time = processor_time().saturating_sub(start);
    let memory = usize::try_from(MOST.get() - before).unwrap_or(0);
    (result, Took { memory, time })
}

fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The most that one input may take. Memory has a floor: what a small object asks for by alignments is
/// granted, and an empty one needs tables, too.
fn assert_in_proportion(took: &Took, size: usize, what: &str) {
    let allowed = size * 10 + (192 << 10);
    assert!(
        took.memory <= allowed,
        "{what}: {} bytes of memory for {size}",
        took.memory
    );
    assert!(
        took.time <= Duration::from_millis(100),
        "{what}: {:?} for {size} bytes",
        took.time
    );
}

/// How many inputs of each sort.
fn rounds() -> u64 {
    match whole::soak() {
        true => 1_000_000,
        false => 10_000,
    }
}

/// Objects with something of everything.
fn objects() -> Answer<Vec<Vec<u8>>> {
    let c = "#include <stdio.h>
        #include <stdlib.h>
        extern int absent __attribute__((weak));
        int common __attribute__((common)); static int zero[10]; static int data[3] = {1, 2, 3};
        int *p = &data[1]; static const char *const names[] = { \"a\", \"b\" };
        #ifdef LOCAL
        static __thread int local = 3;
        #else
        static int local = 3;
        #endif
        __attribute__((constructor)) static void start(void) { p++; }
        __attribute__((destructor(200))) static void end(void) { p--; }
        static int compare(const void *a, const void *b) { return *(int *)a - *(int *)b; }
        int test(int n) {
            switch (n) { case 0: return 3; case 1: puts(names[n]); break; case 2: return common;
                         case 3: return zero[n]; case 4: return absent; case 5: return *p; }
            qsort(data, 3, 4, compare);
            return printf(\"%d\", n) + local++;
        }";
    let cpp = "#include <map>
        #include <string>
        struct base { virtual ~base() {} virtual int get(int n) { if (n > 5) throw n; return n; } };
        struct other : base { std::map<std::string, int> all; int get(int n) override { return all[std::to_string(n)]++; } };
        static other object;
        template <typename T> struct holder { static inline T value = T(); };
        extern \"C\" int test(int n) {
            base *at = &object;
            try { return at->get(n) + holder<int>::value++; } catch (int caught) { return caught; }
        }";
    let assembled = ".text\n.globl test\ntest: call *test@GOTPCREL(%rip)\njmp *x@GOTPCREL(%rip)
        .cfi_startproc\nx: movq x@GOTPCREL(%rip), %rax\n.cfi_endproc\n.data\n.quad x, y, test-x
        .section .rodata.str,\"aMS\",@progbits,1\n.string \"text\"";
    let made = [
        compile("gcc", "c", c, &["-fPIC", "-O2"]),
        compile(
            "gcc",
            "c",
            c,
            &[
                "-fPIC",
                "-O0",
                "-ffunction-sections",
                "-fdata-sections",
                "-g",
            ],
        ),
        compile("gcc", "c", c, &["-fPIC", "-O1", "-DLOCAL"]),
        compile(
            "gcc",
            "c",
            c,
            &["-fPIC", "-O1", "-DLOCAL", "-mtls-dialect=gnu2"],
        ),
        compile("gcc", "c", c, &["-fPIC", "-O1", "-mcmodel=large"]),
        compile("g++", "cpp", cpp, &["-fPIC", "-O1", "-g1"]),
        compile("gcc", "s", assembled, &[]),
        compile("gcc", "c", c, &["-fno-pic", "-fno-pie", "-O2"]),
        compile("g++", "cpp", cpp, &["-fno-pic", "-fno-pie", "-O1"]),
    ];
    let made: Result<Vec<_>, _> = made.into_iter().collect();
    made.map_err(|error| error.to_string().into())
}

/// Numbers at the edge of something.
const EDGES: &[u64] = &[
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    15,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0xfff1,
    0xfff2,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 28,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 7,
    u64::MAX,
];

/// Changes a few places of `bytes`, most of them in `parts`.
fn change(random: &mut Random, bytes: &mut Vec<u8>, parts: &[(usize, usize)]) {
    for _ in 0..random.within(1, 5) {
        if bytes.len() < 64 {
            return;
        }
        // A table as a rule, so that most changes are not in text that nobody reads.
        let whole = (0, bytes.len());
        let (start, size) = match random.one_in(5) || parts.is_empty() {
            true => whole,
            false => *random.pick(parts),
        };
        let width = *random.pick(&[1, 2, 4, 4, 8, 8]);
        let at = start + random.within(0, size.max(1) as u64 - 1) as usize;
        let at = match random.one_in(4) {
            true => at,
            false => at / width * width,
        };
        let Some(place) = bytes.get_mut(at..at + width) else {
            continue;
        };
        let mut old = [0; 8];
        old[..width].copy_from_slice(place);
        let old = u64::from_le_bytes(old);
        let new = match random.within(0, 5) {
            0 => random.next(),
            1 => old ^ (1 << random.within(0, 63)),
            2 => old.wrapping_add(random.within(0, 64)).wrapping_sub(32),
            3 => random.within(0, 64),
            _ => *random.pick(EDGES),
        };
        place.copy_from_slice(&new.to_le_bytes()[..width]);
        if random.one_in(200) {
            bytes.truncate(random.within(0, bytes.len() as u64) as usize);
        }
        if random.one_in(100) {
            repeat_part(random, bytes);
        }
    }
}

/// Copies a piece over another place: tables that overlap, entries that are there twice.
fn repeat_part(random: &mut Random, bytes: &mut [u8]) {
    let size = random.within(1, 64).min(bytes.len() as u64);
    let last = bytes.len() as u64 - size;
    let (from, to) = (
        random.within(0, last) as usize,
        random.within(0, last) as usize,
    );
    bytes.copy_within(from..from + size as usize, to);
}

/// Where the tables of an object lie: header, section headers, and each section.
fn parts_of(object: &[u8]) -> Vec<(usize, usize)> {
    if object.starts_with(b"\xcf\xfa\xed\xfe") {
        // Mach-O: header and commands, then contents, and tables behind them.
        let commands = (0, 1200.min(object.len()));
        let tables = (object.len() / 2, object.len() - object.len() / 2);
        return vec![commands, commands, tables, tables, (0, object.len())];
    }
    let number = |at: usize, width: usize| {
        let bytes = object.get(at..at + width).unwrap_or_default();
        bytes
            .iter()
            .rev()
            .fold(0, |n, byte| n << 8 | usize::from(*byte))
    };
    let (headers, count) = (number(40, 8), number(60, 2));
    let mut parts = vec![(0, 64), (headers, count * 64), (headers, count * 64)];
    for index in 0..count {
        let header = headers + index * 64;
        let (sort, start, size) = (
            number(header + 4, 4),
            number(header + 24, 8),
            number(header + 32, 8),
        );
        // Relocations and symbols twice: they are what linking reads most.
        let weight = match sort {
            2 | 4 => 2,
            8 => 0,
            _ => 1,
        };
        parts.extend(std::iter::repeat_n((start, size), weight));
    }
    parts.retain(|(start, size)| *size > 0 && start + size <= object.len());
    parts
}

/// An object that goes with any other: groups of the same names, weak and common symbols.
fn companion() -> Answer<Vec<u8>> {
    let source = "#include <map>
        #include <string>
        std::map<std::string, int> table;
        __attribute__((weak)) int absent = 5, common[40];
        template <typename T> struct holder { static inline T value = T(); };
        int more() { return table[\"more\"] + holder<int>::value; }";
    compile("g++", "cpp", source, &["-fPIC", "-O1"]).map_err(|error| error.to_string().into())
}

/// Objects for machines and of formats other than this one's.
fn foreign_objects() -> Answer<Vec<Vec<u8>>> {
    let c = "extern int absent __attribute__((weak)); extern int outside(int);
        int common; static int zero[10]; static int data[3] = {1, 2, 3};
        int *p = &data[1]; static const char *const names[] = { \"a\", \"b\" };
        static __thread int local = 3; static double half = 0.5;
        __attribute__((constructor)) static void start(void) { p++; }
        __attribute__((visibility(\"hidden\"))) int hidden = 4;
        int test(int n) {
            switch (n) { case 0: return 3; case 1: outside(*names[n]); break; case 2: return common;
                         case 3: return zero[n]; case 4: return absent; case 5: return *p; }
            return outside(n) + local++ + (int)(half * n) + hidden;
        }";
    let cpp = "struct base { virtual ~base() {} virtual int get(int n) { if (n > 5) throw n; return n; } };
        struct other : base { int m; int get(int n) override { return m + base::get(n); } };
        static other object;
        inline int &counter() { static int value = (int)(long)&object; return value; }
        extern \"C\" int test(int n) {
            base *at = &object;
            try { return at->get(n) + counter()++; } catch (int caught) { return caught; }
        }";
    let mut made = Vec::new();
    if whole::is_installed("aarch64-linux-gnu-gcc") {
        let compiler = "aarch64-linux-gnu-gcc";
        for flags in [
            &["-fPIC", "-O2", "-g"][..],
            &["-fPIC", "-O0", "-ffunction-sections"],
            &["-fpic", "-O1", "-mtls-dialect=trad"],
        ] {
            made.push(compile(compiler, "c", c, flags));
        }
    }
    if whole::is_installed("clang-22") {
        for target in [
            "--target=aarch64-linux-gnu",
            "--target=x86_64-apple-macos11",
            "--target=arm64-apple-macos11",
        ] {
            let exceptions = ["-fPIC", "-fexceptions", "-fcxx-exceptions", "-O1"];
            made.push(compile("clang-22", "c", c, &[target, "-fPIC", "-O0", "-g"]));
            made.push(compile("clang-22", "c", c, &[target, "-fPIC", "-O2"]));
            let flags = [&[target][..], &exceptions].concat();
            made.push(compile("clang-22", "cpp", cpp, &flags));
        }
    }
    let made: Result<Vec<_>, _> = made.into_iter().collect();
    made.map_err(|error| error.to_string().into())
}

#[test]
fn changed_objects() -> Answer<()> {
    change_objects(&objects()?, &companion()?)
}

#[test]
fn changed_objects_of_other_targets() -> Answer<()> {
    let objects = foreign_objects()?;
    let Some(companion) = objects.first() else {
        whole::skip(
            "objects of other targets",
            "no compiler for one is installed",
        );
        return Ok(());
    };
    change_objects(&objects, companion)
}

/// A loader that takes code for the low 2 GiB as well, and keeps debug information if `keep_debug` says so.
fn loader(keep_debug: bool) -> NativeLoader {
    let mut options = Options::default();
    options.position_dependent = true;
    options.gdb = keep_debug;
    NativeLoader::with_options(options)
}

/// Links changed copies of `objects`, some of them together with `companion`.
fn change_objects(objects: &[Vec<u8>], companion: &[u8]) -> Answer<()> {
    let parts: Vec<_> = objects.iter().map(|object| parts_of(object)).collect();
    let loaders = [loader(false), loader(true)];
    let mut random = Random::new(1);
    let (mut linked, mut refused) = (0, 0);
    for round in 0..rounds() {
        let which = (round % objects.len() as u64) as usize;
        let loader = random.pick(&loaders);
        let mut object = objects[which].clone();
        change(&mut random, &mut object, &parts[which]);
        let mut given = vec![object.as_slice()];
        if random.one_in(4) {
            given.insert(random.within(0, 1) as usize, companion);
        }
        let size = given.iter().map(|object| object.len()).sum();
        let (outcome, took) = measure(|| loader.prepare_objects(&given, &["test"]));
        assert_in_proportion(&took, size, &format!("object {which}, round {round}"));
        match outcome {
            Ok(image) => {
                linked += 1;
                let checked = check(&image.bytes);
                assert!(checked.is_ok(), "round {round}: {:?}", checked.err());
            }
            Err(LoadError::Link(error)) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
            Err(other) => return Err(format!("round {round}: {other}").into()),
        }
    }
    // Otherwise the changes are too wild, or too tame, to say anything.
    assert!(linked > rounds() / 20, "{linked} linked");
    assert!(refused > rounds() / 20, "{refused} refused");
    Ok(())
}

#[test]
fn changed_images() -> Answer<()> {
    let loader = loader(true);
    let mut images = Vec::new();
    for object in objects()? {
        // What is not linked yet is not here either.
        if let Ok(image) = loader.prepare(&object, &["test"]) {
            images.push(image.bytes);
        }
    }
    assert!(
        images.len() >= 3,
        "{} of the objects are linked",
        images.len()
    );
    let mut random = Random::new(2);
    let (mut valid, mut refused) = (0, 0);
    for round in 0..rounds() {
        let which = (round % images.len() as u64) as usize;
        let mut image = images[which].clone();
        // The description lies behind the payload, and the footer at the very end.
        let footer = (image.len() - 128, 128);
        let tail = (image.len() / 2, image.len() - image.len() / 2);
        change(&mut random, &mut image, &[footer, tail]);
        let (is_valid, took) = measure(|| {
            check(&image).map(|description| {
                // Whatever it says has to be there.
                description
                    .imports()
                    .map(|import| import.name.len())
                    .sum::<usize>()
                    + description.exports().map(str::len).sum::<usize>()
            })
        });
        assert_in_proportion(&took, image.len(), &format!("image {which}, round {round}"));
        assert_eq!(took.memory, 0, "an image is read where it lies");
        match is_valid {
            Ok(_) => valid += 1,
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(valid > rounds() / 50, "{valid} valid");
    assert!(refused > rounds() / 20, "{refused} refused");
    Ok(())
}
