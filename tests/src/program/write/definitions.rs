//! Definitions: values, functions, macros, and macros that define.

use super::{File, KINDS, Writer, hygienic, name, ranks};

impl Writer<'_> {
    /// What other forms take to be there.
    pub(super) fn fixed(&mut self) -> Vec<String> {
        let number = self.number();
        vec![
            format!("(def a0 (atom {number}))"),
            "(declare even0 odd0)".to_owned(),
            format!("(def e0 (ex-info \"e{number}\" {{:n {number}}}))"),
        ]
    }

    pub(super) fn number(&mut self) -> String {
        self.random.below(4).to_string()
    }

    /// A macro that defines a macro.
    pub(super) fn definer(&mut self) -> String {
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
    pub(super) fn interner(&mut self) -> String {
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

    pub(super) fn recursive(&mut self, own: &str, other: &str) -> String {
        let end = self.expression(2, 1);
        format!("(defn {own} [n] (if (< n 1) {end} ({other} (- n 1))))")
    }

    /// A definition of the name of a rank.
    pub(super) fn definition(&mut self, rank: usize) -> String {
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

    pub(super) fn function(&mut self, name: &str, rank: usize) -> String {
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

    pub(super) fn macro_definition(&mut self, name: &str, rank: usize) -> String {
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
}
