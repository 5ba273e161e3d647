//! Expressions, which refer to names below a rank.

use super::{File, SHADOWED, Writer, name, ranks};

impl Writer<'_> {
    /// A name of a kind with a rank below `limit`, as this file may write it.
    pub(super) fn reference(&mut self, kind: usize, limit: usize) -> String {
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

    pub(super) fn call(&mut self, limit: usize, depth: usize) -> String {
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
    pub(super) fn guarded(&mut self, limit: usize, depth: usize) -> String {
        let expression = self.expression(limit, depth);
        match expression.starts_with('(') && self.random.chance(99) {
            true => format!("(try {expression} (catch e (ex-message e)))"),
            false => expression,
        }
    }

    /// An expression that refers to names below `limit`.
    pub(super) fn expression(&mut self, limit: usize, depth: usize) -> String {
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

    pub(super) fn three(&mut self, limit: usize, depth: usize) -> [String; 3] {
        [(); 3].map(|()| self.expression(limit, depth - 1))
    }

    pub(super) fn leaf(&mut self, limit: usize) -> String {
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

    pub(super) fn quoted(&mut self, limit: usize, depth: usize) -> String {
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

    pub(super) fn builtin(&mut self, limit: usize, depth: usize) -> String {
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
            // Written so that no edit of a number keeps it from ending: warming may reach what a run does not.
            16 => format!("(loop [i 0 out {a}] (if (< i 2) (recur (inc i) [out]) out))"),
            _ => format!("(cond {a} {b} :else (concat (list {a}) []))"),
        }
    }

    /// What looks at state or at the outside.
    pub(super) fn outside(&mut self, limit: usize, depth: usize) -> String {
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
