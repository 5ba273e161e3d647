//! Panics of the host cross the frames of loaded code, and what lies between is dropped.

mod building;

use building::{Words, define, signature};
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind};
use rekindle_backend_cranelift::{CraneliftCompiler, FunctionId, Linkage, OptLevel, Options, Unit};
use rekindle_cache_core::artifact::{Code, Compiler, Loader};
use rekindle_loader::NativeLoader;
use std::cell::Cell;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::LazyLock;

/// One for the process, as a host has.
static LOADER: LazyLock<NativeLoader> = LazyLock::new(NativeLoader::new);

type Function = extern "C-unwind" fn(u64, u64) -> u64;

thread_local! {
    static DROPPED: Cell<u64> = const { Cell::new(0) };
}

/// Counts that it was dropped.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        DROPPED.set(DROPPED.get() + 1);
    }
}

/// What is thrown, so that it cannot be taken for another panic.
#[derive(Debug, PartialEq)]
struct Thrown(u64);

/// Calls loaded code again until `depth` is 0, then panics with `word`.
extern "C-unwind" fn host_step(depth: u64, word: u64) -> u64 {
    let _guard = Guard;
    if depth == 0 {
        // Unlike `panic!` it prints nothing, and it unwinds in the same way.
        resume_unwind(Box::new(Thrown(word)));
    }
    let loaded = NEXT.get().expect("the test sets it");
    loaded(depth - 1, word)
}

thread_local! {
    static NEXT: Cell<Option<Function>> = const { Cell::new(None) };
}

/// A function that calls `callee` with its own arguments, from a frame with a slot of `size` bytes.
fn forwarding(unit: &mut Unit, name: &str, callee: FunctionId, size: u32) -> FunctionId {
    let signature = signature(&[I64, I64], &[I64]);
    let function = unit.declare_function(name, Linkage::Export, &signature);
    define(unit, function, |unit, builder, parameters| {
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, size, 4);
        let slot = builder.create_sized_stack_slot(slot);
        builder.ins().stack_store(I64, parameters[0], slot, 0);
        let callee = unit.func_ref(callee, builder.func);
        let call = builder.ins().call(callee, parameters);
        // The slot is used after the call, so this is no tail call and the frame is there.
        let result = builder.inst_results(call)[0];
        let kept = builder.ins().stack_load(I64, I64, slot, 0);
        let sum = builder.ins().iadd(result, kept);
        builder.ins().return_(&[sum]);
    });
    function
}

/// A unit whose `entry` reaches the host through `frames` frames of its own, of various sizes.
fn chain(frames: usize) -> Unit {
    let mut unit = Unit::new();
    let mut callee = unit.import_function("host_step", &signature(&[I64, I64], &[I64]));
    for frame in 1..frames {
        // Up to several pages, so that some have to be described by more than one instruction.
        let size = 16 + 1000 * (frame as u32 % 12);
        callee = forwarding(&mut unit, &format!("frame {frame}"), callee, size);
    }
    forwarding(&mut unit, "entry", callee, 16);
    unit
}

fn load(options: &Options, unit: &Unit) -> Function {
    let object = CraneliftCompiler::new(options)
        .unwrap()
        .compile(unit)
        .unwrap()
        .object;
    let image = LOADER.prepare(&object.bytes, &["entry"]).unwrap();
    let symbols = Words::new([("host_step", host_step as Function as usize as u64)]);
    // SAFETY: the image is what the loader made of an object of this compiler's, whose code calls only
    // the host's function, by its type.
    let code = unsafe { LOADER.load(image.as_ref(), &symbols) }.unwrap();
    let entry = code.symbol("entry").unwrap();
    // SAFETY: the unit gives the function this type, and code stays for the life of the process.
    unsafe { std::mem::transmute(entry) }
}

/// Throws at `depth` below `entry`, and checks what arrives and what was dropped on the way.
fn throw_and_catch(entry: Function, depth: u64) {
    NEXT.set(Some(entry));
    DROPPED.set(0);
    let caught = catch_unwind(|| {
        let _guard = Guard;
        entry(depth, 0x15 + depth)
    });
    let thrown = caught.expect_err("the host throws").downcast::<Thrown>();
    assert_eq!(
        *thrown.expect("nothing else is thrown"),
        Thrown(0x15 + depth)
    );
    assert_eq!(
        DROPPED.get(),
        depth + 2,
        "one guard each call of the host, and one outside"
    );
}

#[test]
fn a_panic_crosses_one_frame() {
    throw_and_catch(load(&Options::default(), &chain(1)), 0);
}

#[test]
fn a_panic_crosses_many_frames_of_one_image() {
    for level in [OptLevel::None, OptLevel::Speed] {
        let entry = load(&Options::default().opt_level(level), &chain(30));
        throw_and_catch(entry, 0);
    }
}

#[test]
fn a_panic_crosses_frames_of_code_and_host_in_turn() {
    for sections in [false, true] {
        let options = Options::default().section_per_symbol(sections);
        let entry = load(&options, &chain(3));
        for depth in [1, 50] {
            throw_and_catch(entry, depth);
        }
    }
}

#[test]
fn many_images_are_known_to_the_unwinder() {
    let unit = chain(2);
    let entries: Vec<_> = (0..200).map(|_| load(&Options::default(), &unit)).collect();
    for entry in entries.iter().rev().chain(&entries) {
        throw_and_catch(*entry, 2);
    }
}

#[test]
fn a_panic_that_is_caught_leaves_the_thread_as_it_was() {
    let entry = load(&Options::default(), &chain(5));
    let other_threads = (0..4).map(|_| {
        std::thread::spawn(move || (0..50).for_each(|depth| throw_and_catch(entry, depth % 5)))
    });
    for thread in other_threads.collect::<Vec<_>>() {
        thread.join().expect("no check failed");
    }
}
