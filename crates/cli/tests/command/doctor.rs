//! doctor: every problem is found, and what it says mends it.

use crate::cache::{Home, Made};
use rekindle_cache_core::bundle::SigningKey;
use rekindle_cache_core::store::Provenance;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changed");
}

/// What doctor found of this state, as JSON.
fn found(home: &Home, state: &str, code: i32) -> Vec<Value> {
    let ended = home.run(&["doctor", "--json"]).with(code);
    let findings: Value = serde_json::from_str(&ended.out).expect("JSON");
    let checks = findings["checks"].as_array().expect("checks").iter();
    checks
        .filter(|check| check["state"] == state)
        .cloned()
        .collect()
}

/// Does what doctor says, as a user would, until there is nothing more.
#[track_caller]
fn mend(home: &Home, name: &str) {
    let problems = found(home, "problem", 3);
    assert!(
        problems.iter().any(|problem| problem["name"] == name),
        "{name}: {problems:#?}"
    );
    let binary = Path::new(env!("CARGO_BIN_EXE_rekindle"));
    let folder = binary.parent().expect("it is in a folder");
    let path = format!(
        "{}:{}",
        folder.display(),
        std::env::var("PATH").expect("a path")
    );
    for problem in problems {
        let remedy = problem["remedy"].as_str().expect("a remedy");
        let remedy = remedy.replace("HOME", &home.path("").display().to_string());
        let mut shell = Command::new("sh");
        home.surround(&mut shell);
        let status = shell.args(["-c", &remedy]).env("PATH", &path).output();
        assert!(status.expect("runs").status.success(), "{remedy}");
    }
    assert_eq!(found(home, "problem", 0), Vec::<Value>::new());
}

#[test]
fn a_healthy_cache_has_no_problem() {
    let home = Home::with(&[Made::default()]);
    let ended = home.run(&["doctor"]).with(0);
    assert!(ended.out.starts_with("HOME/cache\n\n"), "{ended:?}");
    assert!(
        ended
            .out
            .ends_with("\nNothing keeps the cache from working.\n"),
        "{ended:?}"
    );
    for part in [
        "  good     trust ",
        "  good     contents     1 record in 1 pack, every byte",
    ] {
        assert!(ended.out.contains(part), "{part}: {ended:?}");
    }
    assert_eq!(ended.err, "", "no bar where there is no terminal");
    Home::new().run(&["doctor"]).with(0);
}

#[test]
fn folders_that_others_can_write() {
    let home = Home::with(&[Made::default()]);
    set_mode(&home.cache(), 0o777);
    let versioned = home.packs()[0].parent().expect("a folder").to_owned();
    set_mode(&versioned, 0o770);
    home.run(&["status"]).with(5).complains(&["chmod go-w"]);
    mend(&home, "trust");
    home.run(&["status"]).with(0);
}

#[test]
fn a_pack_that_others_can_write() {
    let home = Home::with(&[Made::default()]);
    set_mode(&home.packs()[0], 0o666);
    mend(&home, "files");
}

#[test]
fn a_link_among_the_files() {
    let home = Home::with(&[Made::default()]);
    let link = home.packs()[0].with_file_name("0123456789abcdef.pack");
    std::os::unix::fs::symlink("/etc/passwd", &link).expect("linked");
    mend(&home, "files");
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn a_damaged_pack() {
    let home = Home::with(&[
        Made::default(),
        Made {
            text: "43",
            ..Made::default()
        },
    ]);
    home.damage();
    mend(&home, "contents");
    let aside = found(&home, "note", 0);
    assert!(
        aside.iter().any(|note| note["name"] == "quarantine"),
        "{aside:#?}"
    );
    assert_eq!(home.json(&["list"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn records_of_a_revoked_key() {
    let key = SigningKey::generate().expect("random").public_key();
    let home = Home::with(&[
        Made::default(),
        Made {
            name: "theirs/one",
            provenance: Provenance::signed_by(key.to_bytes()),
            ..Made::default()
        },
    ]);
    let notes = found(&home, "note", 0);
    assert!(
        notes.iter().any(|note| note["name"] == "keys"),
        "{notes:#?}"
    );
    let folder = home.path("config/rekindle");
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(folder.join("revoked-keys"), format!("{key}\n")).expect("written");
    mend(&home, "keys");
    assert_eq!(home.json(&["list"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn something_else_in_the_place_of_the_folder() {
    let home = Home::new();
    std::fs::write(home.cache(), b"").expect("written");
    mend(&home, "folder");
}

#[test]
fn limits_that_are_no_numbers_and_files_of_another_version() {
    let home = Home::with(&[Made::default()]);
    let mut command = home.command(&["doctor"]);
    command.env("REKINDLE_MAX_BYTES", "plenty");
    let ended = crate::cache::Ended::of(&mut command, &home.path("")).with(3);
    assert!(ended.out.contains("PROBLEM  limits"), "{ended:?}");
    std::fs::create_dir(home.cache().join("v1")).expect("made");
    let notes = found(&home, "note", 0);
    let other = notes
        .iter()
        .find(|note| note["name"] == "versions")
        .expect("noted");
    assert!(
        other["remedy"].as_str().expect("one").starts_with("rm -r "),
        "{other}"
    );
}
