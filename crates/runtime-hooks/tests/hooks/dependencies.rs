//! Every kind of dependency: a change of it alone is a miss with that reason, a change of anything else a hit.

use crate::sums::{NEW, Sums, in_memory};
use rekindle_cache_core::artifact::DependencyKind;
use rekindle_runtime_hooks::{MissReason, Outcome};
use std::fs;

/// What a miss says has changed.
fn stale(outcome: &Outcome) -> (DependencyKind, &str) {
    match outcome {
        Outcome::Miss(MissReason::Stale(change)) => (change.kind, &change.name),
        other => panic!("{other} is no stale dependency"),
    }
}

fn with_folder() -> (tempfile::TempDir, Sums) {
    let folder = tempfile::tempdir().expect("a folder");
    let sums = Sums {
        folder: folder.path().to_owned(),
        ..Sums::default()
    };
    (folder, sums)
}

#[test]
fn an_interface_counts_and_the_body_behind_it_does_not() {
    let cache = in_memory();
    let sums = Sums::default();
    let set = |interface: &str| {
        let mut interfaces = sums.interfaces.borrow_mut();
        interfaces.insert("f".to_owned(), interface.to_owned());
    };
    let process = |body: &str| {
        let session = cache.session();
        sums.eval(&session, "f", body);
        sums.eval(&session, "user", "1+read f").1
    };
    set("one argument");
    assert_eq!(process("1"), NEW);
    assert_eq!(process("2"), Outcome::Hit);
    set("two arguments");
    assert_eq!(stale(&process("2")), (DependencyKind::Interface, "f"));
    assert_eq!(process("1"), Outcome::Hit);
    sums.interfaces.borrow_mut().clear();
    assert!(matches!(process("1"), Outcome::Bypass(_)));
}

#[test]
fn a_file_counts_by_its_content_and_by_its_absence() {
    let cache = in_memory();
    let (folder, sums) = with_folder();
    let process = || sums.eval(&cache.session(), "user", "file data");
    let path = folder.path().join("data");
    assert_eq!(process(), (-1, NEW));
    assert_eq!(process(), (-1, Outcome::Hit));
    fs::write(&path, "four").expect("it can be written");
    let (sum, outcome) = process();
    assert_eq!((sum, stale(&outcome)), (4, (DependencyKind::File, "data")));
    // Another file with the same content, at another time, is the same.
    fs::remove_file(&path).expect("it is there");
    fs::write(&path, "four").expect("it can be written");
    fs::write(folder.path().join("other"), "five!").expect("it can be written");
    assert_eq!(process(), (4, Outcome::Hit));
    fs::remove_file(&path).expect("it is there");
    assert_eq!(process(), (-1, Outcome::Hit));
}

#[test]
fn an_edited_file_with_its_old_size_and_time_is_noticed() {
    let cache = in_memory();
    let (folder, sums) = with_folder();
    let path = folder.path().join("data");
    fs::write(&path, "one").expect("it can be written");
    let process = || sums.eval(&cache.session(), "user", "file data").1;
    assert_eq!(process(), NEW);
    let before = fs::metadata(&path).expect("it is there");
    let file = fs::File::options()
        .write(true)
        .open(&path)
        .expect("it opens");
    std::os::unix::fs::FileExt::write_all_at(&file, b"two", 0).expect("it can be written");
    file.set_modified(before.modified().expect("it has a time"))
        .expect("it is ours");
    assert_eq!(stale(&process()), (DependencyKind::File, "data"));
}

#[test]
fn a_set_of_files_is_one_dependency_on_each() {
    let cache = in_memory();
    let (folder, sums) = with_folder();
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("it can be written");
    };
    write("a.h", "a");
    write("b.h", "b");
    let process = || sums.eval(&cache.session(), "user", "files a.h b.h").1;
    assert_eq!(process(), NEW);
    write("c.h", "c");
    assert_eq!(process(), Outcome::Hit);
    write("b.h", "changed");
    let outcome = process();
    assert_eq!(stale(&outcome).0, DependencyKind::FileSet);
    let text = outcome.to_string();
    assert!(
        text.contains("a.h or another of 2 files has changed"),
        "{text}"
    );
    assert_eq!(process(), Outcome::Hit);
}

#[test]
fn files_are_looked_at_once_in_an_epoch() {
    let cache = in_memory();
    let (folder, sums) = with_folder();
    let path = folder.path().join("data");
    fs::write(&path, "one").expect("it can be written");
    let session = cache.session();
    assert_eq!(sums.eval(&session, "a", "file data"), (3, NEW));
    assert_eq!(sums.eval(&session, "a", "file data"), (3, Outcome::Hit));
    fs::write(&path, "three").expect("it can be written");
    assert_eq!(sums.eval(&session, "a", "file data"), (3, Outcome::Hit));
    session.begin_epoch();
    let (sum, outcome) = sums.eval(&session, "a", "file data");
    assert_eq!((sum, stale(&outcome)), (5, (DependencyKind::File, "data")));
}

/// The variables of a process are its own, so this one runs itself with others.
#[test]
fn a_variable_counts_by_its_value_and_by_its_absence() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = |variable: Option<&str>, unrelated: &str| {
        let this = std::env::current_exe().expect("a test has a file");
        let mut child = std::process::Command::new(this);
        child.args(["--ignored", "--exact", "dependencies::child", "--nocapture"]);
        child.env("REKINDLE_TEST_FOLDER", folder.path());
        child.env("REKINDLE_TEST_UNRELATED", unrelated);
        child.env_remove("REKINDLE_TEST_VARIABLE");
        if let Some(value) = variable {
            child.env("REKINDLE_TEST_VARIABLE", value);
        }
        let output = child.output().expect("it starts");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        let outcome = text.lines().find_map(|line| line.split_once("outcome: "));
        outcome.expect("it prints one").1.to_owned()
    };
    assert!(process(None, "a").starts_with("miss: no record"));
    assert_eq!(process(None, "b"), "hit");
    let changed = "miss: the variable REKINDLE_TEST_VARIABLE has changed";
    assert!(process(Some(""), "b").starts_with(changed));
    assert!(process(Some("x"), "b").starts_with(changed));
    assert_eq!(process(Some("x"), "c"), "hit");
    assert_eq!(process(None, "c"), "hit");
}

#[test]
#[ignore = "is no test: another starts it as a process of its own"]
fn child() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_FOLDER") else {
        return;
    };
    let cache = crate::sums::on_folder(folder.as_ref(), rekindle_runtime_hooks::SymbolTable::new());
    let sums = Sums::default();
    let (_, outcome) = sums.eval(&cache.session(), "a", "env REKINDLE_TEST_VARIABLE");
    println!("outcome: {outcome}");
}

#[test]
fn something_of_the_hosts_own_counts_by_kind_and_name() {
    let cache = in_memory();
    let sums = Sums::default();
    let set = |name: &str, state: &str| {
        let mut states = sums.states.borrow_mut();
        states.insert(name.to_owned(), state.to_owned());
    };
    set("units", "metric");
    let process = || sums.eval(&cache.session(), "user", "state setting units").1;
    assert_eq!(process(), NEW);
    set("colours", "many");
    assert_eq!(process(), Outcome::Hit);
    set("units", "imperial");
    let outcome = process();
    assert_eq!(stale(&outcome), (DependencyKind::Host, "units"));
    assert!(
        outcome
            .to_string()
            .contains("setting units has changed, from")
    );
    sums.states.borrow_mut().clear();
    let outcome = process();
    assert!(matches!(outcome, Outcome::Bypass(_)), "{outcome}");
}

#[test]
fn effects_are_repeated_in_their_order_on_a_hit() {
    let cache = in_memory();
    let sums = Sums::default();
    let process = || {
        sums.interned.borrow_mut().clear();
        let (_, outcome) = sums.eval(&cache.session(), "user", "intern b+intern a+intern b");
        (outcome, sums.interned.borrow().join(" "))
    };
    assert_eq!(process(), (NEW, "b a b".to_owned()));
    assert_eq!(process(), (Outcome::Hit, "b a b".to_owned()));
    assert_eq!(sums.compiled.get(), 1);
    sums.forgetful.set(true);
    let (outcome, _) = process();
    assert_eq!(
        outcome,
        Outcome::Miss(MissReason::Effect("intern".to_owned()))
    );
    assert_eq!(sums.compiled.get(), 2);
}
