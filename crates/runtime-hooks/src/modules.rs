//! The modules of this process and the identity of each: the ABI part of the environment.
//!
//! Kept code calls into the executable and into libraries by address, and relies on the layout of what
//! it finds there, so it is valid beside exactly the builds that it was compiled beside. A build is told
//! by its build id, the note that linkers write (`--build-id`). An executable without one is told by the
//! contents of its file; a library without one cannot be told and is an error, since its file may have
//! been replaced since it was loaded.
//!
//! The layout of notes is that of the ELF gABI, "Note Section"; the name and type of the build id are
//! `GNU` and `NT_GNU_BUILD_ID` (3).

use crate::HookError;
use rekindle_cache_core::Digest;
use std::ffi::{CStr, c_int, c_void};
use std::ops::Range;
use std::path::PathBuf;

/// A module that was loaded when the list was made.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its file as the dynamic linker names it; empty for the executable.
    pub path: String,
    /// The addresses from its first segment to the end of its last.
    pub addresses: Range<u64>,
    /// The build id, if it has one.
    pub build_id: Option<Digest>,
}

impl Module {
    /// Whether this is the executable.
    pub fn is_executable(&self) -> bool {
        self.path.is_empty()
    }

    /// What tells this build of the module from every other.
    ///
    /// # Errors
    /// A library without a build id, or an executable without one whose file cannot be read.
    pub fn identity(&self) -> Result<Digest, HookError> {
        if let Some(build_id) = self.build_id {
            return Ok(build_id);
        }
        if !self.is_executable() {
            return Err(HookError::NoBuildId {
                module: PathBuf::from(&self.path),
            });
        }
        // The link leads to the file that was started, even when another has its name by now.
        let path = PathBuf::from("/proc/self/exe");
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Digest::of("rekindle executable", &bytes)),
            Err(source) => Err(HookError::Executable { path, source }),
        }
    }
}

/// The modules of this process, the executable first.
pub fn modules() -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    // SAFETY: the callback matches the type that `dl_iterate_phdr` calls, gets back the pointer to
    // `modules` that is passed here, which outlives the call, and does not unwind: it only copies.
    unsafe {
        libc::dl_iterate_phdr(Some(note_module), (&raw mut modules).cast::<c_void>());
    }
    modules
}

/// The module of `modules` that holds `address`.
pub fn module_of(modules: &[Module], address: u64) -> Option<&Module> {
    modules
        .iter()
        .find(|module| module.addresses.contains(&address))
}

unsafe extern "C" fn note_module(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    modules: *mut c_void,
) -> c_int {
    // SAFETY: the dynamic linker passes a valid `info`, and `modules` is what `modules()` passed, to
    // which nothing else refers during the call.
    let (info, modules) = unsafe { (&*info, &mut *modules.cast::<Vec<Module>>()) };
    let path = if info.dlpi_name.is_null() {
        String::new()
    } else {
        // SAFETY: a name that is not null is a C string that lives as long as the module is loaded.
        let name = unsafe { CStr::from_ptr(info.dlpi_name) };
        name.to_string_lossy().into_owned()
    };
    // The kernel's page of system calls has no file and provides nothing that code is bound to.
    if path.starts_with("linux-vdso") || (path.is_empty() && !modules.is_empty()) {
        return 0;
    }
    // SAFETY: `dlpi_phdr` points to `dlpi_phnum` program headers of a loaded module.
    let headers =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let mut addresses: Option<Range<u64>> = None;
    let mut build_id = None;
    for header in headers {
        let start = info.dlpi_addr.wrapping_add(header.p_vaddr);
        let end = start.wrapping_add(header.p_memsz);
        match header.p_type {
            libc::PT_LOAD => {
                let range = addresses.get_or_insert(start..end);
                *range = range.start.min(start)..range.end.max(end);
            }
            libc::PT_NOTE => {
                // SAFETY: notes of a loaded module lie in one of its mapped, readable segments, and stay
                // as they are while it is loaded; the linker's lock is held during the callback.
                let notes = unsafe {
                    std::slice::from_raw_parts(start as *const u8, header.p_memsz as usize)
                };
                build_id = build_id.or_else(|| build_id_in(notes, header.p_align));
            }
            _ => {}
        }
    }
    modules.push(Module {
        path,
        addresses: addresses.unwrap_or(0..0),
        build_id,
    });
    0
}

/// The digest of the build id among `notes`, whose parts are aligned to 8 if `alignment` says so and
/// to 4 otherwise.
fn build_id_in(mut notes: &[u8], alignment: u64) -> Option<Digest> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let align = |length: usize| length.checked_next_multiple_of(if alignment == 8 { 8 } else { 4 });
    let word = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    loop {
        let name_length = word(notes, 0)? as usize;
        let content_length = word(notes, 4)? as usize;
        let kind = word(notes, 8)?;
        let content_start = align(12usize.checked_add(name_length)?)?;
        let content_end = content_start.checked_add(content_length)?;
        let name = notes.get(12..12usize.checked_add(name_length)?)?;
        let content = notes.get(content_start..content_end)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" && !content.is_empty() {
            return Some(Digest::of("rekindle build id", content));
        }
        notes = notes.get(align(content_end)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: u32, name: &[u8], content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((name.len() as u32).to_ne_bytes());
        bytes.extend((content.len() as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        for part in [name, content] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes_and_broken_notes_give_none() {
        let mut notes = note(1, b"GNU\0", &[0; 16]);
        notes.extend(note(3, b"Other\0", b"no"));
        notes.extend(note(3, b"GNU\0", b"identity"));
        let expected = Some(Digest::of("rekindle build id", b"identity"));
        assert_eq!(build_id_in(&notes, 4), expected);
        for length in 0..notes.len() {
            assert_eq!(build_id_in(&notes[..length], 4), None);
        }
        let mut huge = notes.clone();
        huge[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(build_id_in(&huge, 4), None);
    }

    #[test]
    fn this_process_is_its_executable_and_its_libraries() {
        let modules = modules();
        let executable = &modules[0];
        assert!(executable.is_executable());
        assert!(executable.identity().is_ok());
        let here = this_process_is_its_executable_and_its_libraries as *const () as u64;
        assert!(module_of(&modules, here).is_some_and(Module::is_executable));
        let strlen = libc::strlen as *const () as u64;
        assert!(module_of(&modules, strlen).is_some());
        assert!(
            modules
                .iter()
                .any(|module| module.path.contains("libc.so") && module.build_id.is_some())
        );
        assert!(module_of(&modules, 1).is_none());
    }
}
