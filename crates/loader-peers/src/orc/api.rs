//! LLVM's C API as far as ORC is wanted, taken from `libLLVM` at run time; the benchmarks use it too.
//!
//! Linking it would make everybody who builds this crate install LLVM's headers, and would allow one
//! version only. Its symbols carry versions, so that two versions can be in one process, each opened
//! for itself. The signatures are those of `llvm-c/Orc.h` and `llvm-c/LLJIT.h`, which versions 19 to 22
//! have alike.

use crate::error::PeerError;
use crate::process::Library;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;

/// The library of LLVM 22.
pub const LLVM_22: &CStr = c"libLLVM.so.22.1";

/// The library of LLVM 19.
pub const LLVM_19: &CStr = c"libLLVM.so.19.1";

/// A pointer to one of LLVM's own objects.
pub type Ref = *mut c_void;

/// An error of LLVM's, or null.
pub type ErrorRef = *mut c_void;

/// `LLVMJITSymbolGenericFlagsExported`.
pub const EXPORTED: u8 = 1;

/// `LLVMOrcCJITDylibSearchOrderElement`.
#[repr(C)]
pub struct SearchOrder {
    /// The `JITDylib`.
    pub library: Ref,
    /// 0: exported symbols only.
    pub flags: i32,
}

/// `LLVMOrcCLookupSetElement`.
#[repr(C)]
pub struct LookupName {
    /// An interned name.
    pub name: Ref,
    /// 0: required.
    pub flags: i32,
}

/// `LLVMOrcCSymbolMapPair`, with `LLVMJITEvaluatedSymbol` unfolded.
#[repr(C)]
pub struct SymbolPair {
    /// An interned name.
    pub name: Ref,
    /// What it stands for.
    pub address: u64,
    /// `LLVMJITSymbolGenericFlags`.
    pub generic_flags: u8,
    /// Flags of the target's own.
    pub target_flags: u8,
}

/// What `LLVMOrcExecutionSessionLookup` calls with the addresses.
pub type HandleResult =
    extern "C" fn(error: ErrorRef, result: *const SymbolPair, count: usize, context: *mut c_void);

/// What makes an object layer for a JIT.
pub type MakeLayer =
    extern "C" fn(context: *mut c_void, session: Ref, triple: *const c_char) -> Ref;

macro_rules! functions {
    ($($field:ident: $symbol:literal, fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions, by their names without the prefix.
        pub struct Api {
            $(#[doc = "A function of LLVM's C interface."] pub $field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Api {
            /// Opens `library` and finds them all.
            ///
            /// # Errors
            /// It cannot be opened, or has not all of them.
            pub fn open(library: &CStr) -> Result<Self, PeerError> {
                // SAFETY: LLVM's initialisers may run at any time.
                let opened = unsafe { Library::open(library, libc::RTLD_LOCAL) }?;
                Ok(Self {
                    $($field: {
                        let missing = || PeerError::Llvm(
                            format!("{library:?} has no function {:?}", $symbol));
                        let address = opened.symbol($symbol).ok_or_else(missing)?;
                        type Function = unsafe extern "C" fn($($argument),*) $(-> $result)?;
                        // SAFETY: the type is the one in LLVM's header, the same in these versions.
                        unsafe { std::mem::transmute::<*mut c_void, Function>(address.as_ptr()) }
                    },)*
                })
            }
        }
    };
}

functions! {
    target_info: c"LLVMInitializeX86TargetInfo", fn();
    target: c"LLVMInitializeX86Target", fn();
    target_mc: c"LLVMInitializeX86TargetMC", fn();
    asm_parser: c"LLVMInitializeX86AsmParser", fn();
    asm_printer: c"LLVMInitializeX86AsmPrinter", fn();
    error_message: c"LLVMGetErrorMessage", fn(ErrorRef) -> *mut c_char;
    dispose_error_message: c"LLVMDisposeErrorMessage", fn(*mut c_char);
    memory_buffer: c"LLVMCreateMemoryBufferWithMemoryRangeCopy",
        fn(*const c_char, usize, *const c_char) -> Ref;
    borrowing_buffer: c"LLVMCreateMemoryBufferWithMemoryRange",
        fn(*const c_char, usize, *const c_char, i32) -> Ref;
    create_builder: c"LLVMOrcCreateLLJITBuilder", fn() -> Ref;
    set_layer_creator: c"LLVMOrcLLJITBuilderSetObjectLinkingLayerCreator",
        fn(Ref, MakeLayer, *mut c_void);
    rtdyld_layer: c"LLVMOrcCreateRTDyldObjectLinkingLayerWithSectionMemoryManager",
        fn(Ref) -> Ref;
    create_jit: c"LLVMOrcCreateLLJIT", fn(*mut Ref, Ref) -> ErrorRef;
    dispose_jit: c"LLVMOrcDisposeLLJIT", fn(Ref) -> ErrorRef;
    session: c"LLVMOrcLLJITGetExecutionSession", fn(Ref) -> Ref;
    create_library: c"LLVMOrcExecutionSessionCreateBareJITDylib",
        fn(Ref, *const c_char) -> Ref;
    process_generator: c"LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess",
        fn(*mut Ref, c_char, *const c_void, *const c_void) -> ErrorRef;
    add_generator: c"LLVMOrcJITDylibAddGenerator", fn(Ref, Ref);
    absolute_symbols: c"LLVMOrcAbsoluteSymbols", fn(*const SymbolPair, usize) -> Ref;
    define: c"LLVMOrcJITDylibDefine", fn(Ref, Ref) -> ErrorRef;
    add_object: c"LLVMOrcLLJITAddObjectFile", fn(Ref, Ref, Ref) -> ErrorRef;
    intern: c"LLVMOrcExecutionSessionIntern", fn(Ref, *const c_char) -> Ref;
    look_up: c"LLVMOrcExecutionSessionLookup",
        fn(Ref, i32, *const SearchOrder, usize, *const LookupName, usize, HandleResult, *mut c_void);
}

impl Api {
    /// What an error says, or nothing.
    ///
    /// # Errors
    /// The error's words.
    ///
    /// # Safety
    /// The error is one that LLVM just gave, or null. It is consumed.
    pub unsafe fn check(&self, error: ErrorRef) -> Result<(), PeerError> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: the caller vouches for the error, which is not null and is consumed; the message is a string, and freed by the
        // function that is there for it, once it is copied.
        let message = unsafe {
            let raw = (self.error_message)(error);
            let message = CStr::from_ptr(raw).to_string_lossy().into_owned();
            (self.dispose_error_message)(raw);
            message
        };
        Err(PeerError::Llvm(message))
    }

    /// The address of the first of `names`, which are interned, in `library`; links what they all need.
    ///
    /// # Errors
    /// LLVM's words about names that are not there, or code that cannot be linked.
    ///
    /// # Safety
    /// The session has the library and the names, and no dispatcher of its own, so that everything is done
    /// on this thread. The names are consumed.
    pub unsafe fn find(&self, session: Ref, library: Ref, names: &[Ref]) -> Result<u64, PeerError> {
        let mut found = Found {
            address: 0,
            error: null_mut(),
        };
        let wanted: Vec<_> = (names.iter())
            .map(|&name| LookupName { name, flags: 0 })
            .collect();
        let order = SearchOrder { library, flags: 0 };
        // SAFETY: the pointers are valid for the call, which ends after `receive` was called, as the caller
        // vouches.
        unsafe {
            let context = (&raw mut found).cast();
            (self.look_up)(
                session,
                0,
                &raw const order,
                1,
                wanted.as_ptr(),
                wanted.len(),
                receive,
                context,
            );
        }
        // SAFETY: LLVM gave the error just now.
        unsafe { self.check(found.error) }?;
        Ok(found.address)
    }
}

/// What a look-up gives: the first address, or an error.
struct Found {
    address: u64,
    error: ErrorRef,
}

extern "C" fn receive(
    error: ErrorRef,
    result: *const SymbolPair,
    count: usize,
    found: *mut c_void,
) {
    let found = found.cast::<Found>();
    // SAFETY: `found` is what `find` passed and waits for; LLVM gives `count` results.
    unsafe {
        (*found).error = error;
        if error.is_null() && count > 0 {
            (*found).address = (*result).address;
        }
    }
}
