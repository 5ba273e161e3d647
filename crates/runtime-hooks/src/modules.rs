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
use std::ffi::{CStr, CString, c_int, c_void};
use std::mem::offset_of;
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
    /// The same name to the byte, which need not be text.
    name: CString,
}

impl Module {
    /// Whether this is the executable.
    pub fn is_executable(&self) -> bool {
        self.path.is_empty()
    }

    /// The name of its file without folders; empty for the executable.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Keeps the module in the process from now on: code that is bound to it stays, so it must too. `false`
    /// of one that is not there by this name: it has gone, or is none of the dynamic linker's.
    pub(crate) fn pin(&self) -> bool {
        if self.is_executable() {
            return true;
        }
        // SAFETY: the module is in the process already, so RTLD_NOLOAD runs nothing of it; the handle is
        // never closed, and RTLD_NODELETE makes that last even if others close theirs.
        unsafe {
            let flags = libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
            !libc::dlopen(self.name.as_ptr(), flags).is_null()
        }
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

/// How often modules came and went: a list is true for as long as this stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Census {
    added: u64,
    removed: u64,
}

impl Census {
    /// The count at this moment; `None` where the dynamic linker does not count.
    pub(crate) fn now() -> Option<Self> {
        let mut census: Option<Self> = None;
        // SAFETY: as in `modules`; this callback ends the walk at the first module.
        unsafe {
            libc::dl_iterate_phdr(Some(note_census), (&raw mut census).cast::<c_void>());
        }
        census
    }
}

unsafe extern "C" fn note_census(
    info: *mut libc::dl_phdr_info,
    size: usize,
    census: *mut c_void,
) -> c_int {
    let counted = offset_of!(libc::dl_phdr_info, dlpi_subs) + size_of::<u64>();
    if size >= counted {
        // SAFETY: the dynamic linker says by `size` that both counts are there, and `census` is what
        // `Census::now` passed, to which nothing else refers during the call. `info` may be shorter than
        // the type, so it is read by its parts.
        unsafe {
            *census.cast::<Option<Census>>() = Some(Census {
                added: (&raw const (*info).dlpi_adds).read(),
                removed: (&raw const (*info).dlpi_subs).read(),
            });
        }
    }
    1
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
    // SAFETY: `modules` is what `modules()` passed, to which nothing else refers during the call.
    let modules = unsafe { &mut *modules.cast::<Vec<Module>>() };
    // SAFETY: the dynamic linker passes a valid `info` whose first four parts every version has; the type
    // as a whole may be longer than what is there.
    let (base, name, headers, count) = unsafe {
        (
            (&raw const (*info).dlpi_addr).read(),
            (&raw const (*info).dlpi_name).read(),
            (&raw const (*info).dlpi_phdr).read(),
            (&raw const (*info).dlpi_phnum).read(),
        )
    };
    // The executable comes first; some dynamic linkers give it a name, others do not.
    let is_executable = modules.is_empty();
    let name = if is_executable || name.is_null() {
        c""
    } else {
        // SAFETY: a name that is not null is a C string that lives as long as the module is loaded, which it
        // is during the callback.
        unsafe { CStr::from_ptr(name) }
    };
    if headers.is_null() || (name.is_empty() && !is_executable) {
        return 0;
    }
    // SAFETY: `dlpi_phdr` is not null and points to `dlpi_phnum` program headers of a loaded module.
    let headers = unsafe { std::slice::from_raw_parts(headers, usize::from(count)) };
    modules.push(Module {
        path: name.to_string_lossy().into_owned(),
        name: name.to_owned(),
        addresses: addresses(base, headers),
        build_id: build_id(base, headers),
    });
    0
}

fn addresses(base: u64, headers: &[libc::Elf64_Phdr]) -> Range<u64> {
    let segments = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD);
    let ranges = segments.map(|header| placed(base, header));
    let whole = ranges.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
    whole.unwrap_or(0..0)
}

fn placed(base: u64, header: &libc::Elf64_Phdr) -> Range<u64> {
    let start = base.wrapping_add(header.p_vaddr);
    start..start.saturating_add(header.p_memsz)
}

fn build_id(base: u64, headers: &[libc::Elf64_Phdr]) -> Option<Digest> {
    let is_mapped = |notes: &Range<u64>| {
        headers.iter().any(|header| {
            let segment = placed(base, header);
            header.p_type == libc::PT_LOAD
                && header.p_flags & libc::PF_R != 0
                && segment.start <= notes.start
                && notes.end <= segment.end
        })
    };
    let notes = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_NOTE);
    notes
        .map(|header| (placed(base, header), header.p_align))
        .filter(|(range, _)| is_mapped(range))
        .find_map(|(range, alignment)| {
            let length = usize::try_from(range.end - range.start).ok()?;
            // SAFETY: the notes lie within a segment that is mapped and readable, and stay as they are
            // while the module is loaded, which it is during the callback: the linker's lock is held.
            let notes = unsafe { std::slice::from_raw_parts(range.start as *const u8, length) };
            build_id_in(notes, alignment)
        })
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
        assert!(Census::now().is_some());
    }
}
