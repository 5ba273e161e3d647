//! Random programs through random edits: a warm run prints what a cold one prints, always.
//!
//! A case is a history: a program of three files that reach each other in every way that ember has, and a
//! dozen edits of it. Each of its scenes is run twice on one cache folder, and once on one that holds
//! nothing of the program. All three have to print the same, errors with their positions included, and
//! the second has to compile nothing. Some are compiled without being run first, which changes nothing
//! outside, and nothing of what they print.
//!
//! A case follows from its number alone. `REKINDLE_CASES=FIRST..END` runs others than the fixed ones, and
//! `REKINDLE_SOAK=1` thousands. A case that fails is made smaller before it is shown.

use rekindle_tests::program::{self, MAIN, Random, Scene, VARIABLE};
use rekindle_tests::{Counts, Workplace};
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// The cases of an ordinary run.
const CASES: Range<u64> = 0..6;

/// Those of a long one.
const SOAK: Range<u64> = 1_000..6_000;

/// How many scenes follow on the first in a history.
const EDITS: usize = 10;

/// Of four scenes the one that is warmed as well.
const WARMED: usize = 1;

/// How often a failing case is run again to make it smaller.
const TRIES: usize = 1_000;

/// A folder in which programs run, and a cache that holds the prelude only.
struct Stage {
    workplace: Workplace,
}

/// What a process printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

/// What is wrong with a history.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// A warm run printed something else than the cold one.
    Differs {
        scene: usize,
        cold: Shown,
        warm: Shown,
    },
    /// The second run of a scene found less than all of it.
    Compiled { scene: usize, counts: Counts },
    /// A run after warming printed something else than the cold one.
    Warmed {
        scene: usize,
        cold: Shown,
        warmed: Shown,
    },
    /// Warming changed something beside the program.
    Changed { scene: usize, file: String },
    /// A record was refused for its bytes.
    Rejected { scene: usize, counts: Counts },
}

impl Fault {
    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs { scene, cold, warm } => {
                writeln!(
                    out,
                    "scene {scene}, cold:\n{cold}\nscene {scene}, warm:\n{warm}"
                )
            }
            Self::Warmed {
                scene,
                cold,
                warmed,
            } => {
                writeln!(
                    out,
                    "scene {scene}, cold:\n{cold}\nscene {scene}, after warming:\n{warmed}"
                )
            }
            Self::Changed { scene, file } => writeln!(out, "warming scene {scene} wrote {file}"),
            Self::Compiled { scene, counts } => {
                writeln!(out, "scene {scene} compiled again: {counts:?}")
            }
            Self::Rejected { scene, counts } => writeln!(out, "scene {scene}: {counts:?}"),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}code {:?}", self.stdout, self.stderr, self.code)
    }
}

impl Stage {
    fn new() -> Self {
        let stage = Self {
            workplace: Workplace::new(),
        };
        let nothing = Scene {
            files: [(MAIN.to_owned(), Vec::new())].into(),
            ..Scene::default()
        };
        stage.run("prelude", &nothing, false);
        stage
    }

    /// Puts the files of a scene in place.
    fn set(&self, scene: &Scene) {
        for folder in ["lib", "."] {
            let Ok(entries) = std::fs::read_dir(self.workplace.path(folder)) else {
                continue;
            };
            for path in entries.map(|entry| entry.expect("it can be read").path()) {
                if path.is_file() {
                    std::fs::remove_file(path).expect("files can be removed");
                }
            }
        }
        for (name, forms) in &scene.files {
            self.workplace.write(name, &Scene::text(forms));
        }
        for (name, content) in &scene.data {
            if let Some(content) = content {
                self.workplace.write(name, content);
            }
        }
    }

    /// Makes `to` a cache that holds the prelude only.
    fn fresh(&self, to: &str) {
        let to = self.workplace.path(to);
        if to.exists() {
            std::fs::remove_dir_all(&to).expect("folders can be removed");
        }
        copy(&self.workplace.path("prelude"), &to);
    }

    /// Runs a scene, whose files programs may have changed since the last run.
    fn run(&self, cache: &str, scene: &Scene, without: bool) -> (Shown, Counts) {
        self.set(scene);
        let statistics = self.workplace.path("statistics.json");
        let mut command = self.workplace.ember(["run", MAIN]);
        command.env("REKINDLE_DIR", self.workplace.path(cache));
        command.arg("--stats-json").arg(&statistics);
        if without {
            command.arg("--no-cache");
        }
        command.env_remove(VARIABLE);
        command.envs(scene.setting.as_ref().map(|setting| (VARIABLE, setting)));
        let output = command.output().expect("ember starts");
        let shown = Shown {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        };
        let json = std::fs::read_to_string(&statistics).unwrap_or_default();
        (shown, Counts::parse(&json).unwrap_or_default())
    }

    /// Runs a history from its beginning, up to the first fault.
    fn fault(&self, history: &[Scene]) -> Option<Fault> {
        self.fresh("cache");
        let mut scenes = history.iter().enumerate();
        scenes.find_map(|(number, scene)| {
            // The prelude of a cold run may be warm, but not always.
            let without = number + 1 == history.len();
            self.play(number, scene, without).err()
        })
    }

    /// Runs the next scene of a history, and says whether its program ends well.
    fn play(&self, number: usize, scene: &Scene, without: bool) -> Result<bool, Fault> {
        self.fresh("cold");
        let (cold, _) = self.run("cold", scene, without);
        // Every other scene is run twice, as each run costs a process.
        for again in [false, true].into_iter().take(2 - number % 2) {
            let (warm, counts) = self.run("cache", scene, false);
            let scene = number;
            if warm != cold {
                return Err(Fault::Differs { scene, cold, warm });
            }
            // A form that does not compile is a miss each time, and the last one.
            let failed = u64::from(cold.code != Some(0));
            if counts.rejected > 0 {
                return Err(Fault::Rejected { scene, counts });
            }
            if again && counts.compiled > failed {
                return Err(Fault::Compiled { scene, counts });
            }
        }
        if number % 4 == WARMED {
            self.rehearse(number, scene, cold.clone())?;
        }
        Ok(cold.code == Some(0))
    }

    /// Warms a scene, and runs it then.
    fn rehearse(&self, number: usize, scene: &Scene, cold: Shown) -> Result<(), Fault> {
        self.fresh("warmed");
        self.set(scene);
        let mut command = self.workplace.ember(["warm", MAIN]);
        command.env("REKINDLE_DIR", self.workplace.path("warmed"));
        command.env_remove(VARIABLE);
        command.envs(scene.setting.as_ref().map(|setting| (VARIABLE, setting)));
        let output = command.output().expect("ember starts");
        assert!(output.status.success(), "{output:?}\n{scene}");
        let is_changed = |(name, content): &(&String, &Option<String>)| {
            std::fs::read_to_string(self.workplace.path(name)).ok() != **content
        };
        if let Some((file, _)) = scene.data.iter().find(is_changed) {
            let file = file.clone();
            return Err(Fault::Changed {
                scene: number,
                file,
            });
        }
        let (warmed, _) = self.run("warmed", scene, false);
        match warmed == cold {
            true => Ok(()),
            false => Err(Fault::Warmed {
                scene: number,
                cold,
                warmed,
            }),
        }
    }

    /// Plays the history of a case. If it shows a fault, gives the history up to there.
    fn explore(&self, case: u64) -> Option<(Vec<Scene>, Fault)> {
        let mut random = Random::new(case);
        self.fresh("cold");
        let mut current = program::scene(&mut random);
        for _ in 0..8 {
            if self.run("cold", &current, false).0.code == Some(0) {
                break;
            }
            current = program::scene(&mut random);
        }
        self.fresh("cache");
        let mut history: Vec<Scene> = Vec::new();
        let mut scene = current.clone();
        for number in 0..=EDITS {
            history.push(scene.clone());
            match self.play(number, &scene, number == EDITS) {
                // Little can be seen of a program that ends early, so its edit is mostly taken back.
                Ok(ended_well) if ended_well || random.chance(15) => current = scene,
                Ok(_) => {}
                Err(fault) => return Some((history, fault)),
            }
            scene = program::edited(&mut random, &current, &history);
            while random.chance(50) {
                scene = program::edited(&mut random, &scene, &history);
            }
        }
        None
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("folders can be made");
    std::fs::set_permissions(
        to,
        std::fs::metadata(from).expect("it is there").permissions(),
    )
    .expect("it is ours");
    for entry in std::fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be read");
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("files can be copied")),
        }
    }
}

fn cases() -> Range<u64> {
    if let Ok(range) = std::env::var("REKINDLE_CASES") {
        let (first, end) = range.split_once("..").expect("REKINDLE_CASES=FIRST..END");
        let number = |text: &str| text.parse().expect("REKINDLE_CASES=FIRST..END");
        return number(first)..number(end);
    }
    match std::env::var_os("REKINDLE_SOAK") {
        Some(_) => SOAK,
        None => CASES,
    }
}

#[test]
fn a_warm_run_prints_what_a_cold_run_prints() {
    let stage = Stage::new();
    for case in cases() {
        let Some((history, fault)) = stage.explore(case) else {
            continue;
        };
        eprintln!("case {case} fails, and is made smaller:\n{fault}");
        let fails = |history: &[Scene]| {
            let found = stage.fault(history);
            found.is_some_and(|found| found.is_like(&fault))
        };
        let small = program::shrunk(history, TRIES, &fails);
        let shown = stage.fault(&small).unwrap_or(fault);
        let scenes = small.iter().enumerate();
        let scenes: String = scenes
            .map(|(number, scene)| format!("== scene {number}\n{scene}"))
            .collect();
        panic!("case {case}:\n{scenes}{shown}");
    }
}

/// Two scenes that differ in one line, of which the second once got what belonged to the first.
fn pair(lines: &[&str], line: usize, instead: &str) -> [Scene; 2] {
    let first: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
    let mut second = first.clone();
    second[line] = instead.to_owned();
    [first, second].map(|forms| Scene {
        files: [
            (MAIN.to_owned(), forms),
            ("lib/a.em".to_owned(), vec!["(ns lib.a)".to_owned()]),
        ]
        .into(),
        data: [("one.txt".to_owned(), Some("one".to_owned()))].into(),
        ..Scene::default()
    })
}

#[test]
fn pairs_that_were_wrong_once() {
    let stage = Stage::new();
    let pairs = [
        // The old code of `f`, which `saved` holds, calls the new `g`.
        pair(
            &[
                "(defn g [] 1) (defn f [] (g)) (def saved f) (defn f [] 0)",
                "(defn g [] 2)",
                "(defmacro m [] (saved))",
                "(println (m))",
            ],
            1,
            "(defn g [] 3)",
        ),
        // A function that holds the one that had its name before.
        pair(
            &[
                "(defn g [] 1) (defn f [] (g)) (def f (let [old f] (fn [] (old))))",
                "(defn g [] 2)",
                "(defmacro m [] (f))",
                "(println (m))",
            ],
            1,
            "(defn g [] 3)",
        ),
        // A namespace is no alias, and has to be there all the same.
        pair(
            &["(ns main (:require [lib.a]))", "(println ::lib.a/x)"],
            0,
            "(ns main)",
        ),
        // A symbol that looks like what a record calls an alias by.
        pair(
            &[
                "(defmacro define [v] (list 'def (symbol \"::s\") v))",
                "(defmacro use [] (list (symbol \"::s\") '(+ 1 2)))",
                "(define list)",
                "(println (use))",
            ],
            0,
            "(defmacro define [v] (list 'def (with-flag (symbol \"::s\") :macro) v))",
        ),
        // A macro catches something between the program's own catching and throwing.
        pair(
            &[
                "(def v [1]) (defn f [] (throw v)) (try (f) (catch e nil))",
                "(defmacro m [] (try (throw [2]) (catch e 1)))",
                "(println (m))",
                "(throw v)",
            ],
            2,
            "(println (m) 2)",
        ),
        // A macro throws an exception that the program throws later.
        pair(
            &[
                "(def e (ex-info \"x\" {}))",
                "(defmacro m [] (try (throw e) (catch x 1)))",
                "(println (m))",
                "(throw e)",
            ],
            2,
            "(println (m) 2)",
        ),
        // A macro makes a function before the program does.
        pair(
            &[
                "(defmacro m [] ((fn [] 1)))",
                "(println (m))",
                "(defn g [] 1)",
                "(println (hash g))",
            ],
            1,
            "(println (m) 2)",
        ),
        // The program writes a file between two macros that read it.
        pair(
            &[
                "(defmacro m [] (slurp \"one.txt\"))",
                "(println (m) 1)",
                "; nothing",
                "(println (m) 2)",
            ],
            2,
            "(spit \"one.txt\" \"two\")",
        ),
        // No file of that name, in two ways.
        pair(
            &[
                "; nothing",
                "(defmacro m [] (try (slurp \"x/y\") (catch e (ex-message e))))",
                "(println (m))",
            ],
            0,
            "(spit \"x\" \"\")",
        ),
    ];
    for [first, second] in pairs {
        let history = [&first, &first, &second, &second, &first].map(Scene::clone);
        if let Some(fault) = stage.fault(&history) {
            panic!("== first\n{first}== second\n{second}{fault}");
        }
    }
}
