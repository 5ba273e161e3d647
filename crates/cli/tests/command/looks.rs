//! status, list, show, why: what is told, and that telling changes nothing.

use crate::cache::{Home, Made, image};
use rekindle_cache_core::store::FolderStore;
use serde_json::json;

fn sample() -> Vec<Made> {
    vec![
        Made {
            days_old: 3,
            ..Made::default()
        },
        Made {
            // The meaning of a name in its text has changed.
            dependencies: vec![("+", 2), ("inc", 1)],
            ..Made::default()
        },
        Made {
            name: "user/other",
            compile_ns: 1_500_000_000,
            ..Made::default()
        },
    ]
}

/// Bytes as people read them.
fn amount(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        _ => format!("{:.1} KiB", bytes as f64 / 1024.0),
    }
}

/// `text` with the size of the files left out, which is the store's own business.
fn without_size(text: &str) -> String {
    let lines = text.lines().map(|line| match line.starts_with("  size ") {
        true => "  size       SIZE\n".to_owned(),
        false => format!("{line}\n"),
    });
    lines.collect()
}

#[test]
fn status_reads_like_a_page() {
    let home = Home::with(&sample());
    let ended = home.run(&["status"]).with(0);
    let expected = format!(
        "HOME/cache

  records    3 of 2 definitions, in 1 pack
  size       SIZE
  worth      1.5 s of compiling, in {} of code
  compiled   last 2 days ago, first 3 days ago
  from       3 compiled here
  costliest      1.5 s  user/other
                1.4 ms  user/answer
                1.4 ms  user/answer
  health     good, as far as looked (`rekindle verify` reads every byte)
",
        amount(image().len() * 3)
    );
    assert_eq!(without_size(&ended.out), expected);
    assert!(
        ended
            .out
            .contains(" of 4.0 GiB  [....................] 0.0 %\n")
    );

    let mut bounded = home.command(&["status"]);
    bounded.env("REKINDLE_MAX_BYTES", "1K");
    let ended = crate::cache::Ended::of(&mut bounded, &home.path("")).with(0);
    assert!(
        ended
            .out
            .contains("of 1.0 KiB  [####################] 100.0 %"),
        "{ended:?}"
    );
}

#[test]
fn status_is_json_for_programs() {
    let home = Home::with(&sample());
    let status = home.json(&["status"]);
    let number = |name: &str| status[name].as_u64().expect("a number");
    assert_eq!(status["folder"], "HOME/cache");
    assert_eq!((number("records"), number("definitions")), (3, 2));
    assert_eq!((number("environments"), number("packs")), (1, 1));
    assert_eq!(number("image_bytes"), image().len() as u64 * 3);
    assert_eq!(number("compile_ns"), 1_502_800_000);
    assert_eq!(status["sources"], json!({"own": 3}));
    assert_eq!(status["damage"], json!([]));
    let costliest = json!({"name": "user/other", "compile_ns": 1_500_000_000});
    assert_eq!(status["costliest"][0], costliest);
    let size = &status["size"];
    let parts = ["packs", "segments", "retired", "quarantined", "other"];
    let sum: u64 = parts
        .iter()
        .map(|part| size[part].as_u64().expect("a number"))
        .sum();
    assert_eq!(size["total"].as_u64(), Some(sum));
    assert_eq!(
        status["limits"],
        json!({"bytes": 4_u64 << 30, "records": 4_000_000})
    );
}

#[test]
fn status_tells_what_processes_counted() {
    let home = Home::with(&sample());
    let life = &home.json(&["status"])["life"];
    assert_eq!(
        (&life["processes"], &life["counts"]),
        (&json!(0), &json!({}))
    );
    let store = FolderStore::open_read_only(home.cache()).expect("it opens");
    let lines = "S\t1\t2\tdefinitions=1000\thits=995\tsaved_ns=2000000000\tmiss behaviour=4\thit~80:995\tverified=40\n\
                 S\t2\t1\tmiss new=1\nS\t3\n";
    std::fs::write(store.folder().join("statistics"), lines).expect("it is ours");
    let life = &home.json(&["status"])["life"];
    assert_eq!((&life["processes"], &life["since"]), (&json!(3), &json!(1)));
    assert_eq!(life["counts"]["miss behaviour"], 4);
    assert_eq!(life["latency_ns"]["hit"]["count"], 995);
    assert_eq!(life["latency_ns"]["hit"]["p99"], 4608);
    assert_eq!(life["ignored"].as_array().map(Vec::len), Some(1));
    let text = home.run(&["status"]).with(0).out;
    for part in [
        "1,000 evaluations in 3 runs",
        "99.5 % hits, 2",
        "40 hits verified, all right",
        "4 times miss behaviour",
        "line 3",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn an_empty_cache_has_a_status_and_a_missing_one_is_not_made() {
    let home = Home::with(&[]);
    let ended = home.run(&["status"]).with(0);
    let expected = "HOME/cache

  records    none yet
  size       SIZE
  health     good, as far as looked (`rekindle verify` reads every byte)
";
    assert_eq!(without_size(&ended.out), expected);
    home.run(&["list"]).with(0).prints("");
    assert_eq!(home.json(&["list"]), json!([]));

    let nowhere = Home::new();
    nowhere
        .run(&["status"])
        .with(1)
        .complains(&["no cache can be read in HOME/cache", "No such file"]);
    assert!(!nowhere.cache().exists());
}

#[test]
fn status_names_damage_and_leaves_it_alone() {
    let home = Home::with(&sample());
    let pack = home.damage();
    let ended = home.run(&["status"]).with(0);
    assert!(ended.out.contains("  damaged    HOME/cache/"), "{ended:?}");
    assert!(
        ended.out.ends_with("  health     run `rekindle doctor`\n"),
        "{ended:?}"
    );
    assert!(pack.exists(), "looking changes nothing");
}

#[test]
fn list_has_a_line_for_each_record() {
    let home = Home::with(&sample());
    let ended = home.run(&["list", "--sort", "cost"]).with(0);
    let size = amount(image().len());
    let line = |made: &Made, cost: &str, age: &str| {
        let key = made.key().to_string();
        format!(
            "{} {size:>10} {cost:>10}       0  {age:<15} {}\n",
            &key[..16],
            made.name
        )
    };
    let records = sample();
    let heading = "KEY                   IMAGE    COMPILE    HITS  COMPILED        NAME\n";
    let other = line(&records[2], "1.5 s", "2 days ago");
    let newer = line(&records[1], "1.4 ms", "2 days ago");
    let older = line(&records[0], "1.4 ms", "3 days ago");
    assert_eq!(ended.out.lines().next(), heading.lines().next());
    for expected in [&other, &newer, &older] {
        assert!(
            ended.out.contains(expected.as_str()),
            "{expected}{}",
            ended.out
        );
    }
    assert!(
        ended.out.starts_with(&format!("{heading}{other}")),
        "{}",
        ended.out
    );

    let one = home.run(&["list", "user/o*"]).with(0);
    one.prints(&format!("{heading}{other}"));
    home.run(&["list", "nobody/*"]).with(4).prints("");
    home.run(&["list", "--limit", "1", "--sort", "age"]).with(0);
    let rows = home.json(&[
        "list",
        "--environment",
        "ee",
        "--source",
        "own",
        "user/answer",
    ]);
    assert_eq!(rows.as_array().map(Vec::len), Some(2));
    assert_eq!(rows[0]["key"], records[0].key().to_string());
    assert_eq!(rows[0]["image_bytes"], image().len() as u64);
    assert_eq!(rows[0]["source"], "own");
    home.run(&["list", "--environment", "00", "--json"])
        .with(4)
        .prints("[]\n");
}

#[test]
fn show_tells_everything_of_a_record() {
    let home = Home::with(&sample());
    let ended = home.run(&["show", "user/answer"]).with(0);
    let made = &sample()[1];
    let key = made.key().to_string();
    let environment = "ee".repeat(32);
    for part in [
        "user/answer\n\n".to_owned(),
        format!("  form key     {key}\n"),
        format!("  environment  {environment}\n"),
        "  source       own\n".to_owned(),
        "  compiled     in 1.4 ms, 2 days ago\n".to_owned(),
        "  used         not noted\n".to_owned(),
        "  factory      factory\n".to_owned(),
        "  defines      user/answer\n".to_owned(),
        "  depends on   0202020202020202  resolution + in user\n".to_owned(),
        "               0101010101010101  resolution inc in user\n".to_owned(),
        "  exports      factory\n".to_owned(),
        "\n1 record older; `--all` shows them, and `rekindle why` how they differ\n".to_owned(),
    ] {
        assert!(ended.out.contains(&part), "{part}\n{}", ended.out);
    }
    let without = home.run(&["show", "user/answer", "--no-code"]).with(0);
    assert!(!without.out.contains("instructions"), "{}", without.out);

    let by_key = home.run(&["show", &key[..10], "--all"]).with(0);
    assert_eq!(by_key.out.matches("  form key     ").count(), 2);

    let rows = home.json(&["show", "user/answer"]);
    let row = &rows[0];
    assert_eq!(row["checksum_right"], true);
    assert_eq!(row["image"]["exports"], json!(["factory"]));
    assert_eq!(row["image"]["data_bytes"], 0);
    let dependency =
        json!({"kind": "resolution", "name": "+", "scope": "user", "digest": "02".repeat(32)});
    assert_eq!(row["dependencies"][0], dependency);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn show_disassembles_the_code() {
    let home = Home::with(&sample());
    let ended = home.run(&["show", "user/other"]).with(0);
    assert!(ended.out.contains("mov eax, 0x2A\n"), "{}", ended.out);
    assert!(ended.out.contains("ret\n"), "{}", ended.out);
    let rows = home.json(&["show", "user/other"]);
    let code = rows[0]["image"]["code"].as_array().expect("instructions");
    let text = rows[0]["image"]["text_bytes"].as_u64().expect("a number");
    let bytes: usize = code
        .iter()
        .map(|each| each["bytes"].as_str().expect("hexadecimal").len() / 2)
        .sum();
    assert_eq!(bytes as u64, text, "nothing is left out");
}

#[test]
fn a_name_that_is_not_there_is_answered_by_those_that_are() {
    let home = Home::with(&sample());
    for command in ["show", "why"] {
        home.run(&[command, "user/anwser"]).with(4).complains(&[
            "no record of user/anwser in the cache; there are records of user/answer",
        ]);
    }
    home.run(&["show", "42"])
        .with(4)
        .complains(&["no record of 42"]);
}

#[test]
fn why_tells_how_records_differ() {
    let mut records = sample();
    records.push(Made {
        text: "41",
        days_old: 4,
        ..Made::default()
    });
    records.push(Made {
        environment: 0xaa,
        days_old: 5,
        ..Made::default()
    });
    let home = Home::with(&records);
    let start = |made: &Made| made.key().to_string()[..16].to_owned();
    let (newest, text, environment) = (start(&records[1]), start(&records[3]), start(&records[4]));
    home.run(&["why", "user/answer"]).with(0).prints(&format!(
        "user/answer: 4 records

  {newest}  2 days ago, 1.4 ms, 2 dependencies, environment eeeeeeeeeeeeeeee
    the next older one was not used for it, because of
      changed: resolution + in user
      added: resolution inc in user
  {newest}  3 days ago, 1.4 ms, 1 dependency, environment eeeeeeeeeeeeeeee
    the next older one was not used for it, because of
      another text
  {text}  4 days ago, 1.4 ms, 1 dependency, environment eeeeeeeeeeeeeeee
    the next older one was not used for it, because of
      another environment: the compiler or its options, the CPU features that the code needs, the \
         program or one of its libraries
  {environment}  5 days ago, 1.4 ms, 1 dependency, environment aaaaaaaaaaaaaaaa
"
    ));
    let reasons = home.json(&["why", "user/answer"]);
    assert_eq!(reasons["misses"], serde_json::json!([]));
    let kinds: Vec<_> = reasons["records"]
        .as_array()
        .expect("records")
        .iter()
        .map(|record| record["differs"][0]["kind"].as_str())
        .collect();
    assert_eq!(
        kinds,
        [Some("changed"), Some("text"), Some("environment"), None]
    );

    let only = home.run(&["why", "user/other"]).with(0);
    assert!(
        only.out.contains("everything that it depends on as it was"),
        "{}",
        only.out
    );
}
