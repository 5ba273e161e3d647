//! Random programs: three files full of definitions that reach each other in every way ember has.
//!
//! Names have ranks, and code of a name calls lower names only, so every program ends: what is tested is
//! what hits depend on, and no endless recursion tests that.

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

    /// What other forms take to be there.
    fn fixed(&mut self) -> Vec<String> {
        let number = self.number();
        vec![
            format!("(def a0 (atom {number}))"),
            "(declare even0 odd0)".to_owned(),
            format!("(def e0 (ex-info \"e{number}\" {{:n {number}}}))"),
        ]
    }

    fn number(&mut self) -> String {
        self.random.below(4).to_string()
    }

    /// A macro that defines a macro.
    fn definer(&mut self) -> String {
        let number = self.number();
        match self.random.below(4) {
            0 => format!("(defmacro dm [n & xs] `(defmacro ~n [& ys#] (list 'quote [{number} ~@xs])))"),
            1 => "(defmacro dm [n & xs] (list 'defmacro n '[& ys] (list 'quote (vec xs))))".to_owned(),
            2 => format!(
                "(defmacro dm [n & xs] (let [v (str c0 {number})] `(defmacro ~n [& ys#] ~v)))"
            ),
            _ => "(defmacro dm [n & xs] `(def ~(with-flag n :macro) (fn [& ys#] (list 'list ~@xs (str ys#)))))"
                .to_owned(),
        }
    }

    /// A macro that makes a name known while it runs.
    fn interner(&mut self) -> String {
        let number = self.number();
        match self.random.below(4) {
            0 => format!("(defmacro im [n] (intern n) `(def ~n {number}))"),
            1 => "(defmacro im [n] (intern n) `(list (try ~n (catch e# (ex-message e#)))))"
                .to_owned(),
            2 => format!("(defmacro im [n] (let [q (intern n)] `(def ~n ['~q {number}])))"),
            _ => {
                "(defmacro im [n] (intern 'c1) `(println '~n (try c1 (catch e# :none))))".to_owned()
            }
        }
    }

    fn recursive(&mut self, own: &str, other: &str) -> String {
        let end = self.expression(2, 1);
        format!("(defn {own} [n] (if (< n 1) {end} ({other} (- n 1))))")
    }

    /// A definition of the name of a rank.
    fn definition(&mut self, rank: usize) -> String {
        let name = name(rank);
        match rank % KINDS.len() {
            0 => {
                let value = self.guarded(rank, 2);
                match self.random.below(8) {
                    0 if self.file == File::Main => format!("(def ^:private {name} {value})"),
                    1 => format!("(def {name} \"about it\" {value})"),
                    _ => format!("(def {name} {value})"),
                }
            }
            1 => self.function(&name, rank),
            _ => self.macro_definition(&name, rank),
        }
    }

    fn function(&mut self, name: &str, rank: usize) -> String {
        match self.random.below(10) {
            0 => {
                self.locals.push("x");
                let body = self.guarded(rank, 2);
                self.locals.pop();
                format!("(defn {name} [x] {body})")
            }
            1 => {
                let none = self.guarded(rank, 1);
                self.locals.push("x");
                let some = self.guarded(rank, 2);
                self.locals.pop();
                format!("(defn {name} ([] {none}) ([x & more] {some}))")
            }
            2 if self.file == File::Main => {
                let body = self.expression(rank, 2);
                format!("(defn- {name} [& xs] {body})")
            }
            3 => {
                let held = self.guarded(rank, 1);
                let body = self.guarded(rank, 1);
                format!("(def {name} (let [held {held}] (fn [& xs] [held {body}])))")
            }
            _ => {
                self.locals.push("xs");
                let body = self.guarded(rank, 2);
                self.locals.pop();
                format!("(defn {name} [& xs] {body})")
            }
        }
    }

    fn macro_definition(&mut self, name: &str, rank: usize) -> String {
        let computed = self.guarded(rank, 2);
        let called = match ranks(1, rank).last() {
            Some(_) => self.reference(1, rank),
            None => "c0".to_owned(),
        };
        let body = match self.random.below(9) {
            0 => format!("(str {computed})"),
            1 => format!("`(list ~(str {computed}) ~@xs)"),
            2 => format!("(list 'quote (list (str {computed}) xs))"),
            3 => format!("(if (= (count (str {computed})) 1) 'c0 (list 'quote xs))"),
            4 => format!("`(let [x# (list ~@xs)] [x# 'x# ~(str {computed})])"),
            5 => format!("`({called} ~(str {computed}) ~@xs)"),
            6 => format!("`[~(count (str {computed})) '{called} `{called} ::k]"),
            7 => {
                let code = hygienic(&self.expression(rank, 2));
                format!("`(list {code} ~(str {computed}))")
            }
            _ => {
                let code = self.expression(rank, 2);
                format!("'(do {code})")
            }
        };
        format!("(defmacro {name} [& xs] {body})")
    }

    /// A form that prints.
    fn probe(&mut self) -> String {
        let value = match self.random.below(4) {
            0 => self.call(self.ranks, 1),
            1 => format!("({})", self.reference(2, self.ranks)),
            2 => format!("(str {})", self.reference(0, self.ranks)),
            _ => self.expression(self.ranks, 3),
        };
        match self.random.chance(98) {
            true => format!("(println (try {value} (catch e [:caught (ex-message e)])))"),
            false => format!("(println {value})"),
        }
    }

    /// Any top-level form.
    fn form(&mut self) -> String {
        let rank = self.random.below(self.ranks);
        let value = || name(rank - rank % KINDS.len());
        let function = || name(rank - rank % KINDS.len() + 1);
        let low = rank - rank % KINDS.len();
        let number = self.number();
        match self.random.weighted(&[
            30, 25, 14, 3, 5, 3, 5, 5, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 1,
        ]) {
            0 => self.definition(rank),
            1 => self.probe(),
            2 => {
                let held = self.reference(1, low.max(3));
                let name = name(low.max(3));
                match self.random.below(6) {
                    0 => format!("(def {name} [{held}])"),
                    1 => format!("(def {name} {{:k {held} {held} 1}})"),
                    2 => format!("(def {name} #{{{held} {number}}})"),
                    3 => format!("(def {name} (partial {held} {number}))"),
                    _ => format!("(def {name} {held})"),
                }
            }
            3 => match self.random.below(3) {
                0 => format!("(declare {})", name(rank)),
                1 => format!("(def {})", value()),
                _ => format!("(declare {} inc)", value()),
            },
            4 => {
                let (value, function) = (value(), function());
                match self.random.below(4) {
                    0 => format!("(def {value} (list {value} {number}))"),
                    1 => format!(
                        "(def {function} (let [old {function}] (fn [& xs] [(old) {number}])))"
                    ),
                    2 => format!("(def {value} (if (int? {value}) (+ {value} 1) {number}))"),
                    _ => format!("(def {value} {value})"),
                }
            }
            5 => match self.random.below(3) {
                0 => self.definer(),
                1 => self.interner(),
                _ => self.recursive("even0", "odd0"),
            },
            6 => {
                let value = self.guarded(low, 1);
                format!("(dm {} {value})", name(low + 2))
            }
            7 => match self.random.below(4) {
                0 => format!("(im {})", self.random.pick(&SHADOWED)),
                _ => format!("(im {})", value()),
            },
            8 => {
                let shadowed = self.random.pick(&SHADOWED);
                match self.random.below(4) {
                    0 => format!("(defmacro {shadowed} [& xs] {number})"),
                    1 => format!("(def {shadowed} (fn [& xs] {number}))"),
                    _ => format!("(defn {shadowed} [& xs] [{number} xs])"),
                }
            }
            9 => match self.random.below(3) {
                0 => format!("(reset! a0 {number})"),
                1 => format!("(swap! a0 + {number})"),
                _ => format!("(def a0 (atom {number}))"),
            },
            10 => {
                let file = self.random.pick(&["one.txt", "two.txt"]);
                format!("(spit \"{file}\" \"{number}\")")
            }
            11 => self.namespace_form(),
            12 => {
                let held = self.guarded(low, 2);
                let value = value();
                format!("(let [t {held}] (def {value} t) (def c0 {number}))")
            }
            13 => {
                let (test, then) = (self.guarded(low, 1), self.guarded(low, 1));
                match self.random.below(3) {
                    0 => format!("(if {test} (def {} {then}))", value()),
                    1 => format!("(defn {} [& xs] (def c0 {number}))", function()),
                    _ => format!(
                        "(try (def {} {test}) (catch e (println (ex-message e))))",
                        value()
                    ),
                }
            }
            14 => match ranks(1, low).is_empty() {
                true => format!("(def ^:macro m0 (fn [& xs] {number}))"),
                false => {
                    let from = self.reference(1, low);
                    format!("(def ^:macro {} {from})", name(low + 2))
                }
            },
            15 => match self.random.below(8) {
                0 => "(throw e0)".to_owned(),
                1 => format!("(try (throw [{number}]) (catch e (println e)))"),
                2..5 => "(println (try (throw e0) (catch e (ex-data e))))".to_owned(),
                _ => format!("(def e0 (ex-info \"again\" {{:n {number}}}))"),
            },
            16 => match self.random.below(3) {
                0 => "(defmulti mu first)".to_owned(),
                _ => format!("(do (defmulti mu first) (defmethod mu {number} [x] {number}))"),
            },
            17 => {
                let forms = [self.form_of_two(), self.form_of_two()];
                format!("(do {})", forms.join("\n  "))
            }
            18 => format!("; {number}"),
            19 => {
                let body = self.expression(low, 2);
                format!("(def {} (memoize (fn [& xs] {body})))", function())
            }
            20 => format!("(def {} (gensym \"g\"))", value()),
            _ => match self.random.below(3) {
                0 => format!("(defmacro {} [& xs] {number})", function()),
                1 => format!("(defn {} [& xs] (list 'quote xs))", name(low + 2)),
                _ => format!("(def {} (fn [& xs] xs))", value()),
            },
        }
    }

    fn form_of_two(&mut self) -> String {
        let rank = self.random.below(self.ranks);
        match self.random.chance(60) {
            true => self.definition(rank),
            false => self.probe(),
        }
    }

    fn namespace_form(&mut self) -> String {
        let all: Vec<String> = (0..self.ranks).map(name).collect();
        let some = name(self.random.below(self.ranks));
        let home = match self.file {
            File::A => return "(ns lib.a)".to_owned(),
            File::B => "lib.b",
            File::Main => "main",
        };
        match self.random.below(8) {
            0 => format!(
                "(ns other (:require [lib.a :as a :refer [a0 e0 dm im even0 {}]]))",
                all.join(" ")
            ),
            1 => "(ns lib.a)".to_owned(),
            2 => "(require '[lib.a :as b])".to_owned(),
            3 if self.file == File::Main => format!("(require '[lib.b :as a :refer [{some}]])"),
            4 => format!("(require '[lib.a :refer [{some}]])"),
            _ => format!("(ns {home})"),
        }
    }

    /// A name of a kind with a rank below `limit`, as this file may write it.
    fn reference(&mut self, kind: usize, limit: usize) -> String {
        let below = ranks(kind, limit);
        let Some(rank) = below.get(self.random.below(below.len())) else {
            return "0".to_owned();
        };
        let name = name(*rank);
        let prefix = match (self.file, self.random.below(20)) {
            (File::Main, 0..=2) => "a/",
            (File::Main, 3..=5) => "b/",
            (File::Main, 6) => "lib.a/",
            (File::B, 0..=4) => "a/",
            _ => "",
        };
        format!("{prefix}{name}")
    }

    fn call(&mut self, limit: usize, depth: usize) -> String {
        let function = self.reference(1, limit);
        let mut call = format!("({function}");
        for _ in 0..self.random.below(3) {
            call.push(' ');
            call.push_str(&self.expression(limit, depth.saturating_sub(1)));
        }
        call.push(')');
        call
    }

    /// An expression whose errors are mostly caught.
    fn guarded(&mut self, limit: usize, depth: usize) -> String {
        let expression = self.expression(limit, depth);
        match expression.starts_with('(') && self.random.chance(99) {
            true => format!("(try {expression} (catch e (ex-message e)))"),
            false => expression,
        }
    }

    /// An expression that refers to names below `limit`.
    fn expression(&mut self, limit: usize, depth: usize) -> String {
        if depth == 0 {
            return self.leaf(limit);
        }
        match self.random.weighted(&[12, 20, 12, 8, 14, 14, 5, 7, 8]) {
            0 => self.leaf(limit),
            1 if limit > 1 => self.call(limit, depth),
            2 if limit > 2 => {
                let used = self.reference(2, limit);
                let argument = self.expression(limit, depth - 1);
                format!("({used} {argument})")
            }
            3 if limit > 0 => format!("({})", self.reference(0, limit)),
            4 => self.quoted(limit, depth),
            5 => self.builtin(limit, depth),
            6 => {
                let [test, then, otherwise] = self.three(limit, depth);
                format!("(if {test} {then} {otherwise})")
            }
            7 => {
                let bound = self.expression(limit, depth - 1);
                self.locals.push("y");
                let body = self.expression(limit, depth - 1);
                self.locals.pop();
                match self.random.below(3) {
                    0 => format!("((fn [y] {body}) {bound})"),
                    1 => format!("(let [y {bound}] {body})"),
                    _ => format!("(let [[y] (list {bound})] {body})"),
                }
            }
            _ => self.outside(limit, depth),
        }
    }

    fn three(&mut self, limit: usize, depth: usize) -> [String; 3] {
        [(); 3].map(|()| self.expression(limit, depth - 1))
    }

    fn leaf(&mut self, limit: usize) -> String {
        let number = self.number();
        match self.random.below(12) {
            0..=4 if limit > 0 => self.reference(0, limit),
            5 if !self.locals.is_empty() => {
                self.locals[self.random.below(self.locals.len())].to_owned()
            }
            6 => format!(":k{number}"),
            7 => format!("\"s{number}\""),
            8 => self
                .random
                .pick(&["nil", "true", "1.5", "[]", "{}"])
                .to_owned(),
            9 if limit > 1 => self.reference(1, limit),
            _ => number,
        }
    }

    fn quoted(&mut self, limit: usize, depth: usize) -> String {
        let any = match self.random.below(4) {
            0 => self.random.pick(&SHADOWED).to_owned(),
            kind => self.reference(kind - 1, self.ranks),
        };
        match self.random.below(9) {
            0 => format!("'{any}"),
            1 => format!("`{any}"),
            2 => {
                let inner = self.expression(limit, depth - 1);
                format!("`({any} ~{inner} x#)")
            }
            3 => "`(x# y# x#)".to_owned(),
            4 => "::k".to_owned(),
            5 if self.file != File::A => "::a/k".to_owned(),
            6 => "(gensym \"g\")".to_owned(),
            7 if limit > 1 => {
                let function = self.reference(1, limit);
                format!("(#'{function} 1)")
            }
            _ => {
                let inner = self.expression(limit, depth - 1);
                format!("`[~@(list {inner}) {any}]")
            }
        }
    }

    fn builtin(&mut self, limit: usize, depth: usize) -> String {
        let [a, b, _] = self.three(limit, depth);
        match self.random.below(18) {
            0 => format!("(list {a} {b})"),
            1 => format!("(str {a} {b})"),
            2 => format!("(= {a} {b})"),
            3 => format!("(identical? {a} {b})"),
            4 => format!("(inc {a})"),
            5 => format!("(+ {a} {b})"),
            6 => format!("(/ 6 {a})"),
            7 => format!("(count (str {a}))"),
            8 => format!("{{:a {a} :b {b}}}"),
            9 => format!("(first (list {a}))"),
            10 => format!("(when {a} {b})"),
            11 => format!("(seq (hash-set {a} {b}))"),
            12 => format!("(get {{{a} 1}} {b} 2)"),
            13 => format!("(map (fn [z] [z {a}]) [1 2])"),
            14 => format!("(not {a})"),
            15 => format!("(try (throw {a}) (catch e (list e)))"),
            16 => format!("(loop [i 0 out {a}] (if (< i 2) (recur (+ i 1) [out]) out))"),
            _ => format!("(cond {a} {b} :else (concat (list {a}) []))"),
        }
    }

    /// What looks at state or at the outside.
    fn outside(&mut self, limit: usize, depth: usize) -> String {
        let inner = self.expression(limit, depth - 1);
        let number = self.number();
        match self.random.below(14) {
            0..=1 => "@a0".to_owned(),
            2 => "(slurp \"one.txt\")".to_owned(),
            3..=4 => "(try (slurp \"two.txt\") (catch e :absent))".to_owned(),
            5..=6 => "(getenv \"EMBER_TEST_SETTING\")".to_owned(),
            7 => format!("(throw (ex-info \"t{number}\" {{:i {inner}}}))"),
            8 => "(try (throw e0) (catch e (ex-message e)))".to_owned(),
            9 => format!("(even0 {number})"),
            10 => "(program-path \"p\")".to_owned(),
            11 => format!("(swap! a0 (fn [v] (+ v {number})))"),
            12 => format!("(read-string \"[{number} x]\")"),
            _ => format!("(do (println :effect) {inner})"),
        }
    }
}
