//! export, import, key: code from elsewhere is taken on somebody's word only.

use crate::cache::{Ended, Home, Made};
use rekindle_cache_core::store::Provenance;
use serde_json::json;

fn sample() -> Vec<Made> {
    vec![
        Made::default(),
        Made {
            name: "user/other",
            ..Made::default()
        },
        Made {
            name: "tools/one",
            ..Made::default()
        },
    ]
}

/// A home that has exported all it has, and the key that vouches for it.
fn exported() -> (Home, String, String) {
    let home = Home::with(&sample());
    let key = home.json(&["key", "new"])["public_key"]
        .as_str()
        .expect("a key")
        .to_owned();
    let file = home.path("code.rekindle").display().to_string();
    home.run(&["export", &file]).with(0);
    (home, key, file)
}

#[test]
fn what_is_exported_can_be_imported_by_those_who_trust() {
    let (from, key, file) = exported();
    let to = Home::new();
    to.run(&["import", &file]).with(5).complains(&[
        &key,
        "not trusted",
        &format!("rekindle key trust {key}"),
    ]);
    assert!(!to.cache().exists(), "nothing was made for nothing");

    to.run(&["key", "trust", &key, "--comment", "build server"])
        .with(0)
        .prints(&format!("{key} is trusted\n"));
    to.run(&["import", &file]).with(0).prints(&format!(
        "3 records taken over, 0 there already; {key} vouches for them\n"
    ));
    let again = to.json(&["import", &file]);
    assert_eq!(
        (&again["records"], &again["present"]),
        (&json!(0), &json!(3))
    );
    assert_eq!(
        to.json(&["list", "--source", &key])
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    let status = to.json(&["status"]);
    assert_eq!(status["hits"], 0, "taking over is no use");
    to.run(&["doctor"]).with(0);

    // Their own go on to others only on their own word.
    let onward = to.path("onward.rekindle").display().to_string();
    to.run(&["key", "new"]).with(0);
    let ended = to.run(&["export", &onward]).with(4);
    assert!(
        ended.out.contains("3 records from elsewhere left out"),
        "{ended:?}"
    );
    let vouched = to.json(&["export", &onward, "--all-sources"]);
    assert_eq!(vouched["records"], 3);
    drop(from);
}

#[test]
fn the_variable_names_whom_to_trust() {
    let (_from, key, file) = exported();
    let to = Home::new();
    let mut command = to.command(&["import", &file]);
    command.env("REKINDLE_TRUSTED_KEYS", &key);
    Ended::of(&mut command, &to.path("")).with(0);
    let mut command = to.command(&["import", &file]);
    command.env("REKINDLE_TRUSTED_KEYS", "nonsense");
    Ended::of(&mut command, &to.path(""))
        .with(1)
        .complains(&["`nonsense` is no public key"]);
}

#[test]
fn revoking_a_key_drops_its_records_and_refuses_more() {
    let (_from, key, file) = exported();
    let to = Home::with(&[Made {
        name: "own/one",
        ..Made::default()
    }]);
    to.run(&["key", "trust", &key]).with(0);
    to.run(&["import", &file]).with(0);
    to.run(&["key", "revoke", &key])
        .with(0)
        .prints(&format!("{key} is revoked; 3 records dropped\n"));
    let left = to.json(&["list"]);
    assert_eq!(left.as_array().map(Vec::len), Some(1));
    assert_eq!(left[0]["name"], "own/one");
    for more in [&[][..], &["--allow-unsigned"]] {
        to.run(&[&["import", &file], more].concat())
            .with(5)
            .complains(&["which was revoked"]);
    }
    to.run(&["key", "trust", &key])
        .with(1)
        .complains(&["was revoked"]);
    let known = to.json(&["key", "list"]);
    assert_eq!(known, json!({"trusted": [], "revoked": [key]}));
    to.run(&["key", "list"])
        .with(0)
        .prints(&format!("revoked  {key}\n"));
}

#[test]
fn nobodys_word_is_taken_only_where_the_user_says_so() {
    let from = Home::with(&sample());
    let file = from.path("code.rekindle").display().to_string();
    from.run(&["export", &file])
        .with(1)
        .complains(&["rekindle key new", "--unsigned"]);
    let ended = from.run(&["export", &file, "user/*", "--unsigned"]).with(0);
    assert!(
        ended.out.starts_with("HOME/code.rekindle: 2 records, "),
        "{ended:?}"
    );
    assert!(ended.out.ends_with(", not signed\n"), "{ended:?}");

    let to = Home::new();
    to.run(&["import", &file])
        .with(5)
        .complains(&["is not signed", "--allow-unsigned"]);
    to.run(&["import", &file, "--allow-unsigned"])
        .with(0)
        .prints("2 records taken over, 0 there already; nobody vouches for them\n");
    let doctor = to.run(&["doctor"]).with(0);
    assert!(
        doctor.out.contains("2 records that nobody vouches for"),
        "{doctor:?}"
    );
    let gone = to.json(&["clear", "--yes", "--source", "unsigned"]);
    assert_eq!(gone["removed"], 2);
}

#[test]
fn a_bundle_can_be_looked_into_without_trust() {
    let (home, key, file) = exported();
    let elsewhere = Home::new();
    let rows = elsewhere.json(&["list", "--bundle", &file]);
    assert_eq!(rows.as_array().map(Vec::len), Some(3));
    assert_eq!(rows[0]["source"], key);
    let shown = elsewhere
        .run(&["show", "user/answer", "--bundle", &file])
        .with(0);
    assert!(
        shown.out.contains(&format!("  source       {key}\n")),
        "{shown:?}"
    );
    let checked = elsewhere.run(&["verify", "--bundle", &file]).with(0);
    assert!(
        checked.out.ends_with("in 1 file: all good\n"),
        "{checked:?}"
    );
    assert!(!elsewhere.cache().exists());
    drop(home);
}

#[test]
fn altered_bundles_are_damage() {
    let (home, key, file) = exported();
    home.run(&["key", "trust", &key]).with(0);
    let good = std::fs::read(&file).expect("read");
    let mut bad = good.clone();
    bad[200] ^= 1;
    std::fs::write(&file, bad).expect("written");
    for arguments in [&["import", &file][..], &["verify", "--bundle", &file]] {
        home.run(arguments)
            .with(3)
            .complains(&["is damaged at offset 192"]);
    }
    std::fs::write(&file, &good[..good.len() - 1]).expect("written");
    home.run(&["import", &file])
        .with(3)
        .complains(&["another length"]);
    std::fs::write(&file, b"something else").expect("written");
    home.run(&["import", &file])
        .with(3)
        .complains(&["get it again"]);
    home.run(&["import", "missing"])
        .with(1)
        .complains(&["cannot open missing"]);
}

#[test]
fn a_key_is_made_once_and_shown() {
    let home = Home::new();
    home.run(&["key", "show"])
        .with(1)
        .complains(&["`rekindle key new` makes one"]);
    let made = home.json(&["key", "new"]);
    let key = made["public_key"].as_str().expect("a key");
    home.run(&["key", "show"])
        .with(0)
        .prints(&format!("{key}\n"));
    home.run(&["key", "new"])
        .with(1)
        .complains(&["there is a key in HOME/config"]);
    let other = home.path("other.key").display().to_string();
    let another = home.json(&["key", "new", "--out", &other]);
    assert_ne!(another["public_key"], made["public_key"]);
    let file = home.path("code.rekindle").display().to_string();
    home.put(&sample());
    let exported = home.json(&["export", &file, "--key", &other]);
    assert_eq!(exported["signer"], another["public_key"]);
    home.run(&["key", "trust", "ed25519:00"]).with(2);
}

#[test]
fn provenance_is_kept_in_what_is_listed() {
    let key = [5; 32];
    let home = Home::with(&[Made {
        provenance: Provenance::signed_by(key),
        ..Made::default()
    }]);
    let rows = home.json(&["list"]);
    assert_eq!(rows[0]["source"], format!("ed25519:{}", "05".repeat(32)));
}
