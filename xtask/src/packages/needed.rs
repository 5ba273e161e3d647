//! The list of them: what it is found by, the Debian package that has it, and what it is for.

use super::FoundBy::{BesideLlvm, Library, Programs};
use super::{FoundBy, Needed};

/// For the tests.
pub(super) const NEEDED: &[Needed] = &[
    required(
        Programs(&["cc", "gcc", "clang"]),
        "gcc",
        "a C compiler: links everything, and makes objects for the loader's tests",
    ),
    required(
        Programs(&["c++", "g++", "clang++"]),
        "g++",
        "a C++ compiler: makes objects for the loader's tests",
    ),
    required(
        Programs(&["setpriv"]),
        "util-linux",
        "runs tests of file permissions as another user, since root ignores them",
    ),
    wanted(
        Programs(&["clang-22"]),
        "clang-22",
        "compiles C++ for the cache, and objects that differ from gcc's for the loader's tests",
    ),
    wanted(
        Programs(&["ld.lld-22"]),
        "lld-22",
        "a linker that knows the right bytes of every relocation",
    ),
    wanted(
        Programs(&["llvm-config-22"]),
        "llvm-22-dev",
        "the library that compiles LLVM IR for the cache",
    ),
    wanted(
        Library("libzstd.a"),
        "libzstd-dev",
        "what the library of LLVM is linked with",
    ),
    wanted(
        Programs(&["aarch64-linux-gnu-gcc"]),
        "gcc-aarch64-linux-gnu",
        "a cross compiler: makes objects for AArch64",
    ),
    wanted(
        Programs(&["aarch64-linux-gnu-g++"]),
        "g++-aarch64-linux-gnu",
        "its C++: objects with exceptions, and the library that throws them",
    ),
    wanted(
        Programs(&["qemu-aarch64"]),
        "qemu-user",
        "runs what was linked for AArch64",
    ),
    wanted(
        Programs(&["gdb"]),
        "gdb",
        "a debugger, to be told of loaded code",
    ),
    wanted(
        Library("libsqlite3.a"),
        "libsqlite3-dev",
        "a whole library to run through the loader",
    ),
    wanted(
        Programs(&["sqlite3"]),
        "sqlite3",
        "knows the answers that the loaded sqlite has to give",
    ),
    wanted(
        Library("libz.a"),
        "zlib1g-dev",
        "a whole library to run through the loader",
    ),
    wanted(
        Programs(&["gzip"]),
        "gzip",
        "reads what the loaded zlib wrote",
    ),
    wanted(
        Library("libgmp.a"),
        "libgmp-dev",
        "a whole library to run through the loader, much of it assembler",
    ),
    wanted(
        Programs(&["cmake"]),
        "cmake",
        "builds the C++ host against the installed C library",
    ),
    wanted(
        Programs(&["pkg-config"]),
        "pkg-config",
        "finds the installed C library for compilers",
    ),
    wanted(
        Library("libgc.a"),
        "libgc-dev",
        "the collector of the C++ host",
    ),
    wanted(
        Programs(&["chromium", "chromium-browser", "google-chrome"]),
        "chromium",
        "a browser: opens the page of `rekindle report`",
    ),
    wanted(
        Programs(&["valgrind"]),
        "valgrind",
        "sees what the loader reads and writes without right",
    ),
];

/// For the benchmark that compares loaders.
pub(super) const NEEDED_TO_COMPARE_LOADERS: &[Needed] = &[
    required(
        Programs(&["clang++-22", "clang++", "c++", "g++"]),
        "g++",
        "a C++ compiler: makes the objects that are loaded",
    ),
    wanted(
        Programs(&["clang++-22"]),
        "clang-22",
        "the compiler whose objects the bars are about",
    ),
    wanted(
        Programs(&["ld.lld-22"]),
        "lld-22",
        "links the libraries for dlopen",
    ),
    wanted(
        Library("libLLVM.so.22.1"),
        "libllvm22",
        "ORC with JITLink and RuntimeDyld, to be held against",
    ),
    wanted(
        Library("libLLVM.so.19.1"),
        "libllvm19",
        "an older ORC, which is faster at COMDAT groups",
    ),
];

/// For the benchmark that compares whole processes.
pub(super) const NEEDED_TO_COMPARE_PROCESSES: &[Needed] = &[
    wanted(
        Programs(&["python3"]),
        "python3-venv",
        "runs Numba, to be held against",
    ),
    wanted(
        Programs(&["clang-22"]),
        "clang-22",
        "plain recompilation, to be held against",
    ),
    wanted(
        Programs(&["ld.lld-22"]),
        "lld-22",
        "links the libraries for dlopen",
    ),
    wanted(
        Library("libLLVM.so.22.1"),
        "libllvm22",
        "ORC, to be held against",
    ),
];

/// For the benchmark of clang.
pub(super) const NEEDED_FOR_CLANG: &[Needed] = &[
    required(
        Programs(&["clang++-22"]),
        "clang-22",
        "compiles the definitions",
    ),
    required(
        Programs(&["llvm-config-22"]),
        "llvm-22-dev",
        "says where LLVM is",
    ),
    required(
        BesideLlvm("libclangInterpreter.a"),
        "libclang-22-dev",
        "the headers of clang as a library, to be held against",
    ),
    required(
        BesideLlvm("libclang-cpp.so"),
        "libclang-cpp22-dev",
        "clang as a library",
    ),
];

/// For the benchmark of the C++ host.
pub(super) const NEEDED_FOR_CPP: &[Needed] = &[
    required(Programs(&["cmake"]), "cmake", "builds the C++ host"),
    required(
        Programs(&["clang++-22"]),
        "clang-22",
        "compiles the host's definitions",
    ),
    required(
        Programs(&["llvm-config-22"]),
        "llvm-22-dev",
        "ORC, to be held against",
    ),
];

const fn required(found_by: FoundBy, package: &'static str, purpose: &'static str) -> Needed {
    Needed {
        found_by,
        purpose,
        package,
        required: true,
    }
}

const fn wanted(found_by: FoundBy, package: &'static str, purpose: &'static str) -> Needed {
    Needed {
        found_by,
        purpose,
        package,
        required: false,
    }
}
