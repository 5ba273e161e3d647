//! What a host tells while it compiles.

use crate::boundary::{Bytes, Text, shared, slice};
use crate::error::Failure;
use rekindle_runtime_hooks as hooks;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;

/// Gathers what a compilation depends on. There from the compile callback's start to its end, for its
/// thread alone.
///
/// What is not told is not checked on the next look-up, and not repeated on a hit: a host that cannot tell
/// calls `rekindle_recorder_bypass`. A call that is given something wrong counts as that.
pub struct Recorder {
    _opaque: (),
}

impl Recorder {
    /// The recorder as C has it.
    pub(crate) fn handle(recorder: &hooks::Recorder<'_>) -> *mut Self {
        (&raw const *recorder).cast_mut().cast()
    }
}

/// Records something. What cannot be recorded must not be kept, or it would not be missed later.
///
/// # Safety
/// `recorder` is null or what a callback got and has not returned from, on the callback's thread.
unsafe fn record(
    recorder: *const Recorder,
    record: impl FnOnce(&hooks::Recorder<'_>) -> Result<(), Failure>,
) {
    let recorder: *const hooks::Recorder<'_> = recorder.cast();
    // SAFETY: the caller's promise is the same.
    let Some(recorder) = (unsafe { recorder.as_ref() }) else {
        return;
    };
    let bypass = match catch_unwind(AssertUnwindSafe(|| record(recorder))) {
        Ok(Ok(())) => return,
        Ok(Err(failure)) => failure.text,
        Err(panic) => {
            std::mem::forget(panic);
            "a fault of Rekindle".to_owned()
        }
    };
    if catch_unwind(AssertUnwindSafe(|| recorder.bypass(&bypass))).is_err() {
        // What would be kept now could be a stale hit later.
        abort();
    }
}

/// Notes that the definition `name` runs while compiling: a macro that is expanded. It counts with all that
/// it can reach. To be called before `name` runs, and before the host looks at what it is: while a program is warmed,
/// `name` and what it needs get their values during this call, as a newer definition of it may have been put off. A host that
/// expands first is told nothing, and what it compiled of an older definition is kept as that of the newer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_recorder_ran(recorder: *mut Recorder, name: Text) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        record(recorder, |recorder| {
            recorder.ran(name.text("a name")?);
            Ok(())
        });
    }
}

/// Notes that the definition `name` was read while compiling, and did not run: its type, its arities. It
/// counts by what the host's `interface_of` says of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_recorder_read(recorder: *mut Recorder, name: Text) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        record(recorder, |recorder| {
            recorder.read(name.text("a name")?);
            Ok(())
        });
    }
}

/// Notes that `symbol` was looked up in `name_space`, whatever it was found to mean. To be called before
/// compiling itself changes the answer. It counts by what the host's `resolution` says of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_recorder_resolved(
    recorder: *mut Recorder,
    name_space: Text,
    symbol: Text,
) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        record(recorder, |recorder| {
            recorder.resolved(
                name_space.text("the namespace")?,
                symbol.text("the symbol")?,
            );
            Ok(())
        });
    }
}

/// Notes that a file was looked for while compiling, and what it held: `content` is null if there was none.
/// `name` is what the host's `locate` finds it by; a path otherwise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_recorder_file(
    recorder: *mut Recorder,
    name: Text,
    content: *const Bytes,
) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        record(recorder, |recorder| {
            let content = shared(content, "").ok();
            let content = content.map(|content| content.bytes("the file's content"));
            recorder.file(name.text("the file's name")?, content.transpose()?);
            Ok(())
        });
    }
}

/// Notes that several files were read while compiling: a set of headers. They are looked at now, and count
/// as one dependency.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_recorder_files(
    recorder: *mut Recorder,
    names: *const Text,
    count: usize,
) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        record(recorder, |recorder| {
            let names = slice(names, count, "the list of files")?.iter();
            let names: Result<Vec<&str>, _> =
                names.map(|name| name.text("a file's name")).collect();
            recorder.files(&names?);
            Ok(())
        });
    }
}

/// Notes that an environment variable was looked at while compiling, and its value: null if it was not set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_recorder_variable(
    recorder: *mut Recorder,
    name: Text,
    value: *const Text,
) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        record(recorder, |recorder| {
            let value = shared(value, "").ok();
            let value = value.map(|value| value.bytes("the variable's value"));
            let value = value.transpose()?.map(OsStr::from_bytes);
            recorder.variable(name.text("the variable")?, value);
            Ok(())
        });
    }
}

/// Notes that something of a sort of the host's own was looked at while compiling. It counts by what the
/// host's `dependency` says of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_recorder_host(recorder: *mut Recorder, kind: Text, name: Text) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        record(recorder, |recorder| {
            recorder.host(kind.text("the sort")?, name.text("the name")?);
            Ok(())
        });
    }
}

/// Notes that compiling did something besides making code, which the host's `replay` does again on a hit,
/// after the code is in the process and before its factory runs; in the order of these calls.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_recorder_effect(
    recorder: *mut Recorder,
    kind: Text,
    payload: Bytes,
) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        record(recorder, |recorder| {
            recorder.effect(kind.text("the effect")?, payload.bytes("its payload")?);
            Ok(())
        });
    }
}

/// Declares that the code must not be kept, and why. The first reason stands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_recorder_bypass(recorder: *mut Recorder, reason: Text) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        record(recorder, |recorder| {
            recorder.bypass(&String::from_utf8_lossy(reason.bytes("the reason")?));
            Ok(())
        });
    }
}
