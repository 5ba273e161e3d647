//! Terminals, pipes, help, completions, manual pages.

use crate::cache::{Home, Made};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

#[test]
fn whoever_has_read_enough_is_no_error() {
    let many: Vec<Made> = (0..255)
        .map(|environment| Made {
            environment,
            ..Made::default()
        })
        .collect();
    let home = Home::with(&many);
    // More than a pipe holds.
    let mut child = home
        .command(&["list", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("read");
    assert_eq!(line, "[\n");
    drop(reader);
    let mut complaint = String::new();
    child
        .stderr
        .take()
        .expect("a pipe")
        .read_to_string(&mut complaint)
        .expect("read");
    assert_eq!(child.wait().expect("ended").code(), Some(0));
    assert_eq!(complaint, "");
}

#[test]
fn long_work_draws_nothing_where_there_is_no_terminal() {
    let home = Home::with(&[Made::default()]);
    let file = home.path("code.rekindle").display().to_string();
    for arguments in [
        &["verify"][..],
        &["export", &file, "--unsigned"],
        &["import", &file, "--allow-unsigned"],
        &["doctor"],
    ] {
        let ended = home.run(arguments).with(0);
        assert_eq!(ended.err, "", "{arguments:?}");
        assert!(!ended.out.contains('\u{1b}'), "{arguments:?}");
    }
}

#[test]
fn help_tells_the_exit_codes() {
    let home = Home::new();
    let help = home.run(&["--help"]).with(0);
    for part in [
        "Exit codes:",
        "  5  refused",
        "status",
        "doctor",
        "--json",
        "REKINDLE_DIR",
    ] {
        assert!(help.out.contains(part), "{part}: {}", help.out);
    }
    home.run(&["no-such-command"]).with(2);
    home.run(&[]).with(2);
    let version = home.run(&["--version"]).with(0);
    assert!(version.out.starts_with("rekindle "), "{version:?}");
}

#[test]
fn completions_and_manual_pages_know_every_subcommand() {
    let home = Home::new();
    let all = [
        "status", "list", "show", "why", "verify", "prune", "pack", "export", "import", "clear",
        "doctor", "key",
    ];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = home.run(&["completions", shell]).with(0);
        for name in all {
            assert!(script.out.contains(name), "{shell}: {name}");
        }
    }
    std::fs::create_dir(home.path("man")).expect("made");
    home.run(&["man", "man"]).with(0);
    for name in all {
        let page = std::fs::read_to_string(home.path(&format!("man/rekindle-{name}.1")));
        assert!(page.expect("a page").contains(".TH"), "{name}");
    }
    let page = std::fs::read_to_string(home.path("man/rekindle.1")).expect("a page");
    assert!(page.contains("Exit codes"), "{page}");
    home.run(&["man", "missing"])
        .with(1)
        .complains(&["no manual pages go to missing"]);
}
