//! The C and C++ interfaces, by programs that the system's compilers make: each is compiled against the
//! headers of this crate and the library that was built with this test, and run as a process.

mod build;
mod c_host;
mod cpp_host;
mod guide;
mod headers;
mod installed;
mod modules;

#[path = "../../../../xtask/src/layout.rs"]
mod layout;
