//! Cache folders that cannot be used: the program runs, and one warning says why nothing is kept.
//!
//! numba#4032 and #5566: an unwritable home was a hard error.

use rekindle_tests::{Workplace, ember_binary};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Root is refused nothing, so these programs run as the user `nobody`.
fn as_nobody(workplace: &Workplace, cache: &Path) -> Output {
    // The binary must be within nobody's reach, wherever the project lies.
    let binary = workplace.path("ember");
    if !binary.exists() {
        std::fs::copy(ember_binary(), &binary).expect("the binary can be copied");
    }
    for path in [workplace.path("."), binary.clone()] {
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("it is ours");
    }
    let mut command = if rustix_is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(&binary);
        command
    } else {
        Command::new(&binary)
    };
    command
        .args(["run", "program.em", "--stats"])
        .current_dir(workplace.path("."))
        .env("REKINDLE_DIR", cache)
        .env_remove("REKINDLE_LOG")
        .output()
        .expect("the program starts")
}

fn rustix_is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

#[track_caller]
fn runs_with_one_warning(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "6\n");
    assert_eq!(errors.matches("WARN").count(), 1, "{errors}");
    // The warning and the line of statistics.
    assert_eq!(errors.lines().count(), 2, "{errors}");
    errors
}

fn workplace() -> Workplace {
    let workplace = Workplace::new();
    let program = workplace.write("program.em", "(defn f [x] (* x 2))\n(println (f 3))\n");
    std::fs::set_permissions(program, Permissions::from_mode(0o644)).expect("it is ours");
    workplace
}

#[test]
fn a_folder_that_cannot_be_created() {
    let workplace = workplace();
    let errors = runs_with_one_warning(&as_nobody(&workplace, &workplace.path("no/where")));
    assert!(
        errors.contains("no/where") || errors.contains("/no"),
        "{errors}"
    );
    // Under a file there is no folder, whoever asks.
    let under_a_file = workplace.path("program.em/cache");
    runs_with_one_warning(&as_nobody(&workplace, &under_a_file));
}

#[test]
fn a_folder_of_another_user() {
    let workplace = workplace();
    let cache = workplace.path("cache");
    workplace.run(&workplace.path("program.em")).succeeded();
    runs_with_one_warning(&as_nobody(&workplace, &cache));
}

#[test]
fn a_folder_that_others_may_write_is_refused_with_the_command_that_mends_it() {
    let workplace = workplace();
    let cache = workplace.path("cache");
    std::fs::create_dir(&cache).expect("it can be made");
    std::fs::set_permissions(&cache, Permissions::from_mode(0o777)).expect("it is ours");
    let mut command = workplace.ember(["run", "program.em", "--stats"]);
    let errors = runs_with_one_warning(&command.output().expect("ember starts"));
    assert!(errors.contains("chmod"), "{errors}");
}

#[test]
fn a_folder_that_cannot_be_written_is_still_read() {
    if !rustix_is_root() {
        // Only root can give a folder to another user.
        return;
    }
    let workplace = workplace();
    let cache = workplace.path("cache");
    workplace.run(&workplace.path("program.em")).succeeded();
    let chown = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(&cache)
        .status()
        .expect("chown runs");
    assert!(chown.success());
    make_unwritable(&cache);
    // The copy that nobody runs is the same file by content, so its build id is the same.
    let output = as_nobody(&workplace, &cache);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "6\n");
    assert!(errors.contains(" 0 misses"), "{errors}");
    assert!(!errors.contains("WARN"), "nothing is lost: {errors}");
    // New code has nowhere to go, which is said once.
    workplace.write("program.em", "(defn f [x] (* x 3))\n(println (f 2))\n");
    let program = workplace.path("program.em");
    std::fs::set_permissions(program, Permissions::from_mode(0o644)).expect("it is ours");
    runs_with_one_warning(&as_nobody(&workplace, &cache));
}

fn make_unwritable(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            make_unwritable(&path);
        }
    }
    std::fs::set_permissions(folder, Permissions::from_mode(0o500)).expect("root may");
}

#[test]
fn no_home_at_all() {
    let workplace = workplace();
    let output = workplace
        .ember(["run", "program.em", "--stats"])
        .env_clear()
        .env("REKINDLE_DIR", "")
        .output()
        .expect("ember starts");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "6\n");
}

#[test]
fn what_is_made_is_for_the_user_alone_and_tagged() {
    let workplace = workplace();
    workplace.run(&workplace.path("program.em")).succeeded();
    let mode = |path: &Path| {
        let metadata = std::fs::metadata(path).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&workplace.cache()), 0o700);
    for pack in workplace.cache_files("pack") {
        assert_eq!(mode(&pack) & 0o077, 0, "{}", pack.display());
    }
    let tag = std::fs::read_to_string(workplace.cache().join("CACHEDIR.TAG")).expect("tagged");
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
}
