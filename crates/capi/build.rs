//! Gives the shared library its name for the dynamic linker, and the build id that keys are made of.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The number is that of the ABI: `REKINDLE_ABI_VERSION` of `src/lib.rs`.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,librekindle.so.1");
    println!("cargo::rustc-cdylib-link-arg=-Wl,--build-id=sha1");
}
