//! Names that code is linked with by every linker, but that the process may not offer.

use crate::memory::process::address_of;
use crate::tls;
use std::ffi::CStr;

/// The address of `name`, if it is one of these.
pub(crate) fn address(name: &str) -> Option<usize> {
    match name {
        // The C++ library's, which is a wrapper around the C library's.
        "__cxa_thread_atexit" => address_of(c"__cxa_thread_atexit_impl"),
        "__emutls_get_address" => Some(tls::emulated_address as *const () as usize),
        // What picks a function for the processor: libgcc offers them to old programs alone.
        "__cpu_model" => versioned(c"__cpu_model"),
        "__cpu_indicator_init" => versioned(c"__cpu_indicator_init"),
        _ => None,
    }
}

fn versioned(name: &CStr) -> Option<usize> {
    // SAFETY: both names end in a zero byte; `RTLD_DEFAULT` is a handle that is always valid.
    let address = unsafe { libc::dlvsym(libc::RTLD_DEFAULT, name.as_ptr(), c"GCC_4.8.0".as_ptr()) };
    (!address.is_null()).then_some(address as usize)
}
