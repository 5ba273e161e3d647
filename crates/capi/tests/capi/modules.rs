//! Libraries that provide symbols: their build counts, whether the host names them by table or by callback.

use crate::build::{Linked, compile, succeed};
use std::path::Path;
use std::process::Command;

struct Case {
    folder: tempfile::TempDir,
    way: &'static str,
}

impl Case {
    fn new(way: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let program = folder.path().join("modules");
        let flags = ["-std=c11", "-D_GNU_SOURCE"];
        compile("cc", &flags, &["modules.c"], Linked::Shared, &program);
        Self { folder, way }
    }

    fn build(&self, value: &str, build_id: &str) {
        // Under a new name first: a library is not changed while somebody has it.
        let library = self.folder.path().join("libprovider.new");
        let value = format!("-DVALUE={value}");
        let flags = ["-shared", "-fPIC", &value, build_id];
        compile("cc", &flags, &["provider.c"], Linked::Shared, &library);
        std::fs::rename(&library, self.library()).expect("it can be renamed");
    }

    fn library(&self) -> std::path::PathBuf {
        self.folder.path().join("libprovider.so")
    }

    fn run(&self) -> String {
        let path: &Path = self.folder.path();
        let mut command = Command::new(path.join("modules"));
        command
            .arg(self.way)
            .arg(path.join("cache"))
            .arg(self.library());
        // To tell an environment that has changed from none that was there.
        command.env("REKINDLE_EXPLAIN", "on");
        succeed(&mut command)
    }
}

#[test]
fn another_build_of_a_library_that_a_callback_gives_is_a_dependency_that_changed() {
    let case = Case::new("callback");
    case.build("1", "-Wl,--build-id");
    assert!(case.run().starts_with("1 miss: no record"));
    assert_eq!(case.run(), "1 hit\n");
    case.build("2", "-Wl,--build-id");
    let changed = case.run();
    assert!(
        changed.starts_with("2 miss: the module libprovider.so has changed"),
        "{changed}"
    );
    assert_eq!(case.run(), "2 hit\n");
    // What cannot be told from other builds is not kept.
    case.build("3", "-Wl,--build-id=none");
    for _ in 0..2 {
        let untold = case.run();
        assert!(untold.starts_with("3 miss: "), "{untold}");
    }
}

#[test]
fn another_build_of_a_library_in_the_table_is_another_environment() {
    let case = Case::new("table");
    case.build("1", "-Wl,--build-id");
    assert!(case.run().starts_with("1 miss: no record"));
    assert_eq!(case.run(), "1 hit\n");
    case.build("2", "-Wl,--build-id");
    let changed = case.run();
    assert!(
        changed.starts_with("2 miss: ") && changed.contains("libprovider.so"),
        "{changed}"
    );
    case.build("3", "-Wl,--build-id=none");
    assert_eq!(case.run(), "refused\n");
}
