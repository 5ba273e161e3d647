//! Gives the `ember` binary a build id, by which kept code knows which build it belongs to. Without one,
//! opening the cache would have to read the whole executable.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,--build-id=sha1");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
