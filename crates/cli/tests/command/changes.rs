//! verify, prune, pack, clear: what goes, what stays, and what scripts are told.

use crate::cache::{DAY, Home, Made};
use serde_json::json;
use std::time::{Duration, Instant};

fn numbered(count: u8) -> Vec<Made> {
    let texts: &[&'static str] = &["1", "2", "3", "4", "5", "6", "7", "8"];
    let made = (0..count).map(|number| Made {
        text: texts[usize::from(number)],
        days_old: u64::from(number),
        ..Made::default()
    });
    made.collect()
}

#[test]
fn verify_reads_every_byte_and_repair_keeps_the_rest() {
    let home = Home::with(&numbered(4));
    let ended = home.run(&["verify"]).with(0);
    assert!(ended.out.starts_with("4 records and "), "{ended:?}");
    assert!(ended.out.ends_with(" in 1 file: all good\n"), "{ended:?}");
    let good = home.json(&["verify"]);
    assert_eq!((&good["records"], &good["packs"]), (&json!(4), &json!(1)));
    assert_eq!(
        (&good["damage"], &good["set_aside"]),
        (&json!([]), &json!(null))
    );

    let pack = home.damage();
    let ended = home.run(&["verify"]).with(3);
    assert!(
        ended
            .out
            .contains(&format!("{}, offset ", "HOME/cache/")[..5]),
        "{ended:?}"
    );
    assert!(
        ended.out.contains("`rekindle verify --repair`"),
        "{ended:?}"
    );
    assert!(pack.exists(), "looking changes nothing");
    let ended = home.run(&["verify", "--json"]).with(3);
    let bad: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_ne!(bad["damage"], json!([]));
    assert!(bad["damage"][0]["what"].is_string() && bad["damage"][0]["offset"].is_u64());

    let ended = home.run(&["verify", "--repair"]).with(0);
    assert!(
        ended
            .out
            .contains("set aside; what was intact in them is kept"),
        "{ended:?}"
    );
    let ended = home.run(&["verify"]).with(0);
    assert!(ended.out.starts_with("3 records"), "{ended:?}");
}

#[test]
fn pack_merges_packs() {
    let home = Home::with(&numbered(1));
    home.put(&numbered(2)[1..]);
    home.put(&numbered(3)[2..]);
    assert_eq!(home.packs().len(), 3);
    home.run(&["pack"])
        .with(0)
        .prints("3 packs merged into 1: 3 records, 0 dropped\n");
    assert_eq!(home.packs().len(), 1);
    home.run(&["pack"])
        .with(0)
        .prints("there is nothing to merge\n");
    let again = home.json(&["pack"]);
    assert_eq!(
        (&again["dropped"], &again["busy"]),
        (&json!(0), &json!(false))
    );
    assert_eq!(home.json(&["list"]).as_array().map(Vec::len), Some(3));
}

#[test]
fn prune_goes_down_to_the_limits_it_is_given() {
    let home = Home::with(&numbered(8));
    let pruned = home.json(&["prune"]);
    assert_eq!(pruned["removed"], 0, "the limits are far away");
    let pruned = home.json(&["prune", "--max-entries", "4"]);
    let kept = pruned["kept"].as_u64().expect("a number");
    assert!(kept <= 4, "{pruned}");
    assert_eq!(pruned["removed"], 8 - kept);
    let left = home.json(&["list"]);
    assert_eq!(left.as_array().map(Vec::len), Some(kept as usize));
}

#[test]
fn prune_by_age_leaves_the_younger() {
    let home = Home::with(&numbered(8));
    let ended = home.run(&["prune", "--older-than", "4d"]).with(0);
    assert!(ended.out.starts_with("4 records ("), "{ended:?}");
    assert!(ended.out.ends_with(" removed, 4 kept\n"), "{ended:?}");
    let left = home.json(&["list", "--sort", "age"]);
    let times: Vec<u64> = left
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["created"].as_u64().expect("a time"))
        .collect();
    assert!(times.first().expect("some") - times.last().expect("some") < 4 * DAY);
    home.run(&["prune", "--older-than", "soon"]).with(2);
}

#[test]
fn clear_asks_and_where_nobody_answers_does_nothing() {
    let home = Home::with(&numbered(2));
    home.put(&[Made {
        name: "other/one",
        ..Made::default()
    }]);
    home.run(&["clear"])
        .with(1)
        .complains(&["nobody to ask whether all records may go", "--yes"]);
    let ended = home.run(&["clear", "--yes", "other/*"]).with(0);
    assert!(ended.out.starts_with("1 record ("), "{ended:?}");
    assert_eq!(home.json(&["list"]).as_array().map(Vec::len), Some(2));
    home.run(&["clear", "--yes", "other/*"]).with(4);
    let cleared = home.json(&["clear", "--yes"]);
    assert_eq!(
        (&cleared["removed"], &cleared["kept"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(home.json(&["list"]), json!([]));
}

#[test]
fn while_another_process_maintains_the_folder_it_is_busy() {
    let home = Home::with(&numbered(2));
    home.put(&numbered(3)[2..]);
    let lock = home.packs()[0].with_file_name("maintenance.lock");
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(lock)
        .expect("opened");
    file.try_lock().expect("free");
    for arguments in [
        &["pack"][..],
        &["prune", "--max-entries", "1"],
        &["clear", "--yes"],
    ] {
        let ended = home.run(arguments).with(6);
        assert!(ended.out.contains("another process"), "{ended:?}");
    }
    drop(file);
    // Processes that other tests are just starting may have the lock until they are started.
    let deadline = Instant::now() + Duration::from_secs(60);
    while home.run(&["pack"]).code == Some(6) {
        assert!(Instant::now() < deadline, "the lock is never free");
    }
    home.run(&["pack"])
        .with(0)
        .prints("there is nothing to merge\n");
}
