//! Other loaders behind [`Loader`](rekindle_cache_core::artifact::Loader): LLVM's ORC, and lld with
//! `dlopen`.
//!
//! They are here to be compared with, in what they load and in what it costs, and for whoever wants to
//! try another loader under the same cache. Each is a feature. `docs/loaders.md` has what each of them
//! loads of what compilers emit, as found by this crate's tests.
//!
//! | | [`OrcLoader`] | [`SystemLoader`] |
//! | --- | --- | --- |
//! | feature | `orc` | `dlopen` |
//! | wants | `libLLVM`, opened at run time | lld |
//! | image | the object | a shared library |
//! | `prepare` | looks whether the roots are there | links |
//! | `load` | links, in LLVM's way | `dlopen` |
//! | namespaces | one `JITDylib` an image | what the process has by a name comes before the host's |

mod error;
#[cfg(feature = "orc")]
pub mod orc;
mod outside;
mod process;
#[cfg(feature = "dlopen")]
mod system;

pub use error::PeerError;
#[cfg(feature = "orc")]
pub use orc::{LLVM_19, LLVM_22, Linker, OrcCode, OrcLoader};
#[cfg(feature = "dlopen")]
pub use system::{SystemCode, SystemLoader};
