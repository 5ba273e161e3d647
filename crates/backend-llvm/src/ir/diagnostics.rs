//! What LLVM says while it compiles. A context without a handler of ours ends the process on an error.

use inkwell::context::Context;
use inkwell::llvm_sys::LLVMDiagnosticSeverity;
use inkwell::llvm_sys::core::{
    LLVMContextSetDiagnosticHandler, LLVMDisposeMessage, LLVMGetDiagInfoDescription,
    LLVMGetDiagInfoSeverity,
};
use inkwell::llvm_sys::prelude::LLVMDiagnosticInfoRef;
use std::cell::RefCell;
use std::ffi::{CStr, c_void};
use std::ptr;

/// A context whose errors are gathered.
pub(crate) struct Listening {
    // Dropped first, as it refers to the other field.
    context: Context,
    errors: Box<RefCell<Vec<String>>>,
}

impl Listening {
    /// A fresh context.
    pub(crate) fn new() -> Self {
        let context = Context::create();
        let errors = Box::new(RefCell::new(Vec::new()));
        let data = ptr::from_ref::<RefCell<Vec<String>>>(&errors);
        // SAFETY: the context is alive, `note` has the type of a handler, and `data` is what it takes it
        // for as long as the context lives, which is dropped before the box.
        unsafe {
            LLVMContextSetDiagnosticHandler(
                context.raw(),
                Some(note),
                data.cast_mut().cast::<c_void>(),
            );
        }
        Self { context, errors }
    }

    /// The context.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// The errors so far, a line each; `None` if there are none.
    pub(crate) fn errors(&self) -> Option<String> {
        let errors = self.errors.borrow();
        (!errors.is_empty()).then(|| errors.join("\n"))
    }
}

/// Gathers errors. Warnings and remarks are about optimisations and stack sizes.
extern "C" fn note(info: LLVMDiagnosticInfoRef, data: *mut c_void) {
    // SAFETY: LLVM calls this with a diagnostic that lives meanwhile, and with the pointer that `new` gave
    // it, on the thread that uses the context.
    unsafe {
        if LLVMGetDiagInfoSeverity(info) as u32 != LLVMDiagnosticSeverity::LLVMDSError as u32 {
            return;
        }
        let errors = &*data.cast_const().cast::<RefCell<Vec<String>>>();
        let words = LLVMGetDiagInfoDescription(info);
        if !words.is_null() {
            let text = CStr::from_ptr(words).to_string_lossy().into_owned();
            errors.borrow_mut().push(text);
            LLVMDisposeMessage(words);
        }
    }
}
