//! Small programs of few names that are defined over and over, each from the others.
//!
//! What a macro does here follows from a long course of definitions: values hold functions that were
//! defined anew since, which call others that were, and so on.

use super::random::Random;

/// What forms take to be there.
pub(super) const FIXED: [&str; 6] = [
    "(defn call [x] (if (fn? x) (x) (if (vector? x) (map call x) x)))",
    "(def a0 (atom 0))",
    "(def e0 (ex-info \"e0\" {}))",
    "(defmacro dm [n x] (list 'defmacro n [] (list 'str x)))",
    "(defmacro im [n x] (intern n) `(def ~n ~x))",
    "(defn inc [x] [x])",
];

/// How many names of each kind there are.
const NAMES: usize = 4;

/// The base of a program: all names, in the order of their ranks.
pub(super) fn base(random: &mut Random, library: Option<&str>) -> Vec<String> {
    let mut forms: Vec<String> = FIXED.iter().map(|&form| form.to_owned()).collect();
    // Everything has a meaning from the start, so that few programs end early.
    for rank in 0..NAMES {
        for kind in ["c", "f"] {
            let number = random.below(5);
            forms.push(match library {
                Some(library) if random.chance(30) => {
                    format!("(require '[{library} :refer [{kind}{rank}]])")
                }
                _ if kind == "c" => format!("(def c{rank} {number})"),
                _ => format!("(defn f{rank} [] {number})"),
            });
        }
    }
    for rank in 0..NAMES {
        for kind in [2, 0, 1] {
            if kind == 2 || random.chance(60) {
                forms.push(definition(random, kind, rank));
            }
        }
    }
    forms
}

/// A value or function below a rank, or a number.
fn lower(random: &mut Random, rank: usize) -> String {
    if rank == 0 || random.chance(10) {
        return random.below(5).to_string();
    }
    let kind = random.pick(&["c", "f", "f"]);
    // The nearest names most often, so that chains are long.
    let below = match random.chance(60) {
        true => rank - 1,
        false => random.below(rank),
    };
    format!("{kind}{below}")
}

/// A definition of the value, the function or the macro of a rank.
pub(super) fn definition(random: &mut Random, kind: usize, rank: usize) -> String {
    let number = random.below(5);
    let one = lower(random, rank);
    let other = lower(random, rank);
    let called = format!("(call {one})");
    match kind {
        0 => match random.below(13) {
            0..=3 => format!("(def c{rank} {one})"),
            4 => format!("(def c{rank} {called})"),
            5 => format!("(def c{rank} [{one} {other}])"),
            6 => format!("(def c{rank} (list c{rank} {number}))"),
            7 => format!("(def c{rank} (fn [] {called}))"),
            8 => format!("(def c{rank} (partial call {one}))"),
            9 if rank > 0 => format!("(def c{rank} (m{}))", rank - 1),
            10 => format!("(def c{rank} #'f{rank})"),
            11 => format!("(let [t {one}] (def c{rank} t) (def c0 {number}))"),
            _ => format!("(def c{rank} {number})"),
        },
        1 => match random.below(11) {
            0..=2 => format!("(defn f{rank} [] {number})"),
            3..=5 => format!("(defn f{rank} [] {called})"),
            6 => format!("(defn f{rank} [] [{number} {called}])"),
            7 => format!("(def f{rank} (let [held {one}] (fn [] (call held))))"),
            8 => format!("(def f{rank} {one})"),
            9 if rank > 0 => format!("(defn f{rank} [] [{number} (m{})])", rank - 1),
            _ => format!("(def f{rank} (let [old f{rank}] (fn [] [(call old) {number}])))"),
        },
        _ => match random.below(11) {
            0..=3 => format!("(defmacro m{rank} [] (str {called}))"),
            4 => format!("(defmacro m{rank} [] `(list ~(str {called}) {other}))"),
            5 => format!("(defmacro m{rank} [] '(list {number} {one}))"),
            6 if rank > 0 => format!("(defmacro m{rank} [] (str (m{})))", rank - 1),
            7 if rank > 0 => format!("(defmacro m{rank} [] (list 'm{}))", rank - 1),
            8 => {
                format!("(defmacro m{rank} [] (list 'quote (list (= {one} {other}) (str {one}))))")
            }
            9 => format!("(dm m{rank} {called})"),
            _ => format!("(defmacro m{rank} [] (str {called} {number}))"),
        },
    }
}

/// A course of forms after which a macro depends on definitions that are no more: something is defined,
/// held by something else, and defined anew before or after what it reaches is.
pub(super) fn course(random: &mut Random) -> Vec<String> {
    let rank = 1 + random.below(NAMES - 1);
    let [inner, held] = [random.below(2), random.below(2)];
    let (low, kinds) = (random.below(rank), ["c", "f"]);
    let holder = match random.below(6) {
        0 => format!("(def c{rank} [{}{low}])", kinds[held]),
        1 => format!(
            "(def c{rank} (let [h {}{low}] (fn [] (call h))))",
            kinds[held]
        ),
        2 => format!("(def c{rank} (call {}{low}))", kinds[held]),
        _ => format!("(def c{rank} {}{low})", kinds[held]),
    };
    let user = match random.below(3) {
        0 => format!("(def f{rank} (let [h c{rank}] (fn [] (call h))))"),
        1 => format!("(defn f{rank} [] (call c{rank}))"),
        _ => format!("(def f{rank} c{rank})"),
    };
    let mut forms = vec![
        definition(random, inner, low.saturating_sub(1)),
        definition(random, held, low),
        holder,
        definition(random, held, low),
        user,
        definition(random, inner, low.saturating_sub(1)),
        format!(
            "(defmacro m{rank} [] (str (call {}{rank})))",
            random.pick(&["c", "f"])
        ),
        format!("(println (m{rank}))"),
    ];
    match random.below(4) {
        0 => forms.swap(3, 4),
        1 => forms.swap(4, 5),
        2 => drop(forms.remove(4)),
        _ => {}
    }
    forms
}

/// Any form.
pub(super) fn form(random: &mut Random) -> String {
    let rank = random.below(NAMES);
    let number = random.below(5);
    let kind = random.below(2);
    let lower = lower(random, rank);
    match random.weighted(&[55, 30, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 2]) {
        0 => {
            let kind = random.below(3);
            definition(random, kind, rank)
        }
        1 => probe(random),
        2 => format!("(def c{rank} @a0)"),
        3 => format!("(reset! a0 {number})"),
        4 => format!("(def {}{rank})", ["c", "f"][kind]),
        5 => format!("(im c{rank} {lower})"),
        6 => format!(
            "(def ^:macro m{rank} {})",
            match rank {
                0 => "(fn [] 1)".to_owned(),
                _ => format!("f{}", rank - 1),
            }
        ),
        7 => format!("(def f{rank} (let [n (getenv \"EMBER_TEST_SETTING\")] (fn [] n)))"),
        8 => format!("(defmacro m{rank} [] (str (getenv \"EMBER_TEST_SETTING\") (call {lower})))"),
        9 => format!(
            "(defmacro m{rank} [] (try (slurp \"two.txt\") (catch e (str (call {lower})))))"
        ),
        10 => format!("(spit \"two.txt\" {number})"),
        11 => format!("(if (= {lower} {number}) (def c{rank} {number}))"),
        12 => format!(
            "(defn call [x] (if (fn? x) (x) {}))",
            ["x", "(str x)", "[x]"][random.below(3)]
        ),
        13 => format!("(try (throw {lower}) (catch e (println e)))"),
        _ => format!("(defn f{rank} [] (throw (ex-info \"x\" {{:n (call {lower})}})))"),
    }
}

/// A form that prints.
pub(super) fn probe(random: &mut Random) -> String {
    let rank = random.below(NAMES);
    match random.below(20) {
        0..=12 => format!("(println (m{rank}))"),
        13..=14 => format!("(println (call c{rank}))"),
        15 => format!("(println (call f{rank}) c{rank})"),
        16 => format!("(println (hash f{rank}))"),
        17 => format!("(println (try (throw e0) (catch e 1)) 'c{rank} `f{rank})"),
        18 => format!("(println (inc {rank}) ::a/k)"),
        _ => format!("(println (try (f{rank}) (catch e (ex-message e))))"),
    }
}
