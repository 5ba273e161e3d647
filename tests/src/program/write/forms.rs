//! Top-level forms: definitions again, probes that print, and what changes the world for those after it.

use super::{File, KINDS, SHADOWED, Writer, name, ranks};

impl Writer<'_> {
    /// A form that prints.
    pub(super) fn probe(&mut self) -> String {
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
    pub(super) fn form(&mut self) -> String {
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

    pub(super) fn form_of_two(&mut self) -> String {
        let rank = self.random.below(self.ranks);
        match self.random.chance(60) {
            true => self.definition(rank),
            false => self.probe(),
        }
    }

    pub(super) fn namespace_form(&mut self) -> String {
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
}
