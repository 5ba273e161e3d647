//! Random programs: three files full of definitions that reach each other in every way ember has.
//!
//! Names have ranks, and code of a name calls lower names only, so every program ends: what is tested is
//! what hits depend on, and no endless recursion tests that.

mod definitions;
mod expressions;
mod forms;

use super::dense;
use super::random::Random;
use super::scene::{MAIN, Scene};

/// The kinds of names, by rank: a value, a function, a macro, a value, ...
const KINDS: [&str; 3] = ["c", "f", "m"];

/// The most ranks that there are.
const MOST_RANKS: usize = 12;

/// Names of the prelude that programs may define themselves.
const SHADOWED: [&str; 9] = [
    "inc", "list", "str", "count", "first", "not", "vector", "concat", "when",
];

/// The name of a rank.
fn name(rank: usize) -> String {
    format!("{}{}", KINDS[rank % KINDS.len()], rank / KINDS.len())
}

/// The ranks of one kind below `limit`.
fn ranks(kind: usize, limit: usize) -> Vec<usize> {
    (0..limit)
        .filter(|rank| rank % KINDS.len() == kind)
        .collect()
}

/// The files of a program, in the order in which they are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    /// `lib.a`, which requires nothing.
    A,
    /// `lib.b`, which requires `lib.a`.
    B,
    /// The main file, which requires both.
    Main,
}

impl File {
    /// All files.
    pub(super) const ALL: [File; 3] = [File::A, File::B, File::Main];

    /// Where it lies.
    pub(super) fn path(self) -> &'static str {
        match self {
            File::A => "lib/a.em",
            File::B => "lib/b.em",
            File::Main => MAIN,
        }
    }
}

/// An expression for a syntax-quote: what it binds are generated names.
fn hygienic(expression: &str) -> String {
    let mut text = String::new();
    for word in expression.split_inclusive(|letter: char| " ()[]{}".contains(letter)) {
        let (name, end) = word.split_at(
            word.len() - usize::from(word.ends_with([' ', '(', ')', '[', ']', '{', '}'])),
        );
        text.push_str(name);
        if ["e", "i", "out", "v", "y", "z"].contains(&name) {
            text.push('#');
        }
        text.push_str(end);
    }
    text
}

/// Writes forms for one file.
struct Writer<'r> {
    random: &'r mut Random,
    file: File,
    /// How many ranks there are.
    ranks: usize,
    locals: Vec<&'static str>,
}

/// A whole program.
pub fn scene(random: &mut Random) -> Scene {
    let mut scene = Scene {
        is_dense: random.chance(75),
        ranks: MOST_RANKS - KINDS.len() * random.below(MOST_RANKS / KINDS.len()),
        ..Scene::default()
    };
    for file in File::ALL {
        let forms = match scene.is_dense {
            true => dense_file(random, file),
            false => Writer::new(random, file, scene.ranks).file(),
        };
        scene.files.insert(file.path().to_owned(), forms);
    }
    for name in ["one.txt", "two.txt"] {
        let content = random.chance(80).then(|| random.below(3).to_string());
        scene.data.insert(name.to_owned(), content);
    }
    scene.setting = random.chance(50).then(|| random.below(3).to_string());
    scene
}

fn dense_file(random: &mut Random, file: File) -> Vec<String> {
    let (header, library, extra) = match file {
        File::A => ("(ns lib.a)", None, 3),
        File::B => ("(ns lib.b (:require [lib.a :as a]))", Some("lib.a"), 3),
        File::Main => (
            "(ns main (:require [lib.a :as a] [lib.b :as b]))",
            Some(random.pick(&["lib.a", "lib.b"])),
            20,
        ),
    };
    let mut forms = vec![header.to_owned()];
    forms.extend(dense::base(random, library));
    for _ in 0..random.below(extra) {
        forms.push(dense::form(random));
    }
    if file == File::Main {
        for _ in 0..random.below(4) {
            forms.extend(dense::course(random));
        }
        forms.extend((0..4).map(|_| dense::probe(random)));
    }
    forms
}

/// Any form for a file of a scene.
pub(super) fn form(random: &mut Random, file: File, scene: &Scene) -> String {
    match scene.is_dense {
        true => dense::form(random),
        false => Writer::new(random, file, scene.ranks).form(),
    }
}

/// A definition for a file of a scene.
pub(super) fn definition(random: &mut Random, file: File, scene: &Scene) -> String {
    let rank = random.below(scene.ranks);
    match scene.is_dense {
        true => dense::definition(random, rank % KINDS.len(), rank / KINDS.len()),
        false => Writer::new(random, file, scene.ranks).definition(rank),
    }
}

impl<'r> Writer<'r> {
    /// A writer for a file.
    fn new(random: &'r mut Random, file: File, ranks: usize) -> Self {
        Self {
            random,
            file,
            ranks,
            locals: Vec::new(),
        }
    }

    fn file(&mut self) -> Vec<String> {
        let mut referred: [Vec<String>; 2] = Default::default();
        let mut base = Vec::new();
        for rank in 0..self.ranks {
            let libraries = match self.file {
                File::A => 0,
                File::B => 1,
                File::Main => 2,
            };
            let is_referred = libraries > 0 && self.random.chance(45);
            if is_referred {
                referred[self.random.below(libraries)].push(name(rank));
            }
            // `lib.b` has all names, so that others find them there.
            if !is_referred || self.file == File::B {
                base.push(self.definition(rank));
            }
        }
        let requirement = |library: &str, names: &[String]| {
            format!("[lib.{library} :as {library} :refer [{}]]", names.join(" "))
        };
        let mut forms = vec![match self.file {
            File::A => "(ns lib.a)".to_owned(),
            File::B => format!("(ns lib.b (:require {}))", requirement("a", &referred[0])),
            File::Main => format!(
                "(ns main (:require {} {}))",
                requirement("a", &referred[0]),
                requirement("b", &referred[1])
            ),
        }];
        forms.extend(self.fixed());
        forms.extend(base);
        forms.extend([self.definer(), self.interner()]);
        forms.extend([
            self.recursive("even0", "odd0"),
            self.recursive("odd0", "even0"),
        ]);
        let extra = match self.file {
            File::Main => 4 + self.random.below(self.ranks * 2),
            _ => self.random.below(self.ranks / 2),
        };
        for _ in 0..extra {
            let form = self.form();
            forms.push(form);
        }
        if self.file == File::Main {
            for _ in 0..6 {
                let form = self.probe();
                forms.push(form);
            }
        }
        forms
    }
}
