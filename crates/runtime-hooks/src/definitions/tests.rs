use super::*;
use proptest::prelude::*;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

fn object(text: &str) -> Digest {
    Digest::of("test object", text.as_bytes())
}

struct Graph(Definitions);

impl Graph {
    fn define(&mut self, name: &str, code: &str, references: &[&str]) {
        self.define_as(name, code, references, Standing::Determined);
    }

    fn define_as(&mut self, name: &str, code: &str, references: &[&str], standing: Standing) {
        let id = self.0.number(name);
        let references: Vec<_> = references.iter().map(|name| self.0.number(name)).collect();
        self.0.begin(id);
        self.0.end(&[id], object(code), &references, standing);
    }

    fn behaviour(&mut self, name: &str) -> Result<Digest, String> {
        let id = self.0.number(name);
        self.0.behaviour(id)
    }
}

/// The behaviour of `m` after definitions of the form `name = code <- references`.
fn behaviour_after(history: &[(&str, &str, &[&str])]) -> Result<Digest, String> {
    let mut graph = Graph(Definitions::default());
    for (name, code, references) in history {
        graph.define(name, code, references);
    }
    graph.behaviour("m")
}

#[test]
fn a_helper_of_a_helper_changes_the_behaviour_and_nothing_else_does() {
    let mut graph = Graph(Definitions::default());
    graph.define("inner", "1", &[]);
    graph.define("helper", "2", &["inner"]);
    graph.define("macro", "3", &["helper"]);
    graph.define("other", "4", &["macro"]);
    let before = graph.behaviour("macro");
    graph.define("other", "5", &["macro", "inner"]);
    assert_eq!(before, graph.behaviour("macro"));
    graph.define("inner", "1b", &[]);
    assert_ne!(before, graph.behaviour("macro"));
}

#[test]
fn a_cycle_has_one_behaviour_for_each_entry_and_sees_every_change() {
    let mut graph = Graph(Definitions::default());
    graph.define("even", "1", &["odd"]);
    graph.define("odd", "2", &["even"]);
    let (even, odd) = (graph.behaviour("even"), graph.behaviour("odd"));
    assert_ne!(even, odd);
    graph.define("odd", "2b", &["even"]);
    assert_ne!(even, graph.behaviour("even"));
    assert_ne!(odd, graph.behaviour("odd"));
}

#[test]
fn a_name_that_is_defined_only_later_counts_when_it_is() {
    let mut graph = Graph(Definitions::default());
    graph.define("macro", "1", &["declared"]);
    let before = graph.behaviour("macro");
    graph.define("declared", "2", &[]);
    assert_ne!(before, graph.behaviour("macro"));
}

#[test]
fn what_reaches_a_volatile_definition_has_no_behaviour() {
    let mut graph = Graph(Definitions::default());
    graph.define_as("clock", "1", &[], Standing::Volatile);
    graph.define("macro", "2", &["clock"]);
    assert_eq!(graph.behaviour("macro"), Err("clock".to_owned()));
    graph.define("clock", "1", &[]);
    assert_eq!(graph.behaviour("macro"), Err("macro".to_owned()));
    graph.define("macro", "2", &["clock"]);
    assert!(graph.behaviour("macro").is_ok());
    let clock = graph.0.number("clock");
    graph.0.set_by_calls(clock);
    graph.define("clock", "1", &[]);
    assert!(graph.behaviour("macro").is_err());
}

#[test]
fn what_the_host_changed_is_volatile_until_it_is_defined_again() {
    let mut graph = Graph(Definitions::default());
    graph.define("setting", "1", &[]);
    graph.define("macro", "2", &["setting"]);
    let setting = graph.0.number("setting");
    graph.0.change(setting);
    assert_eq!(graph.behaviour("macro"), Err("setting".to_owned()));
    graph.define("setting", "1", &[]);
    graph.define("macro", "2", &["setting"]);
    assert!(graph.behaviour("macro").is_ok());
}

#[test]
fn a_name_whose_factory_runs_has_no_behaviour_until_it_ends() {
    let mut graph = Graph(Definitions::default());
    graph.define("table", "1", &[]);
    graph.define("macro", "2", &["table"]);
    let before = graph.behaviour("macro");
    let table = graph.0.number("table");
    graph.0.begin(table);
    assert_eq!(graph.behaviour("macro"), Err("table".to_owned()));
    graph
        .0
        .end(&[table], object("1"), &[], Standing::Determined);
    // It may be an equal value, but it is not the one that the macro was made beside.
    assert!(
        graph
            .behaviour("macro")
            .is_ok_and(|after| before != Ok(after))
    );
}

/// `n` was computed from `fields`, and `fields` then defined anew: that `m` reaches the new `fields`
/// says nothing of `n`, which two programs once shared although it differed.
#[test]
fn a_value_made_before_a_change_is_not_one_made_after_it() {
    let before = behaviour_after(&[
        ("fields", "2", &[]),
        ("n", "count", &["fields"]),
        ("fields", "3", &[]),
        ("m", "n", &["n"]),
    ]);
    let after = behaviour_after(&[
        ("fields", "3", &[]),
        ("n", "count", &["fields"]),
        ("m", "n", &["n"]),
    ]);
    assert_ne!(before, after);
}

/// The change is two steps away, and the step between is gone by the time of the look-up.
#[test]
fn a_past_holds_all_that_was_reached_through_what_changed() {
    let history = |first| {
        behaviour_after(&[
            ("a", first, &[]),
            ("b", "call", &["a"]),
            ("m", "value", &["b"]),
            ("b", "alone", &[]),
            ("a", "3", &[]),
        ])
    };
    assert_ne!(history("1"), history("2"));
}

/// `saved` holds the function that `f` was, which calls `g`; that `f` is another function now, which does
/// not, says nothing of what `saved` reaches.
#[test]
fn old_code_that_a_value_holds_reaches_what_it_reached() {
    let course = |g| {
        behaviour_after(&[
            ("g", "1", &[]),
            ("f", "call g", &["g"]),
            ("saved", "f", &["f"]),
            ("f", "alone", &[]),
            ("g", g, &[]),
            ("m", "call saved", &["saved"]),
        ])
    };
    assert_ne!(course("2"), course("3"));
}

/// The same through a function that gave the value, and was then defined anew itself.
#[test]
fn old_code_is_held_through_what_handed_it_on() {
    let course = |g| {
        behaviour_after(&[
            ("g", "1", &[]),
            ("f", "call g", &["g"]),
            ("h", "give f", &["f"]),
            ("saved", "call h", &["h"]),
            ("f", "alone", &[]),
            ("h", "alone", &[]),
            ("g", g, &[]),
            ("m", "call saved", &["saved"]),
        ])
    };
    assert_ne!(course("2"), course("3"));
}

#[test]
fn a_value_made_from_its_previous_one_counts_how_often() {
    let once = [("m", "1", &[] as &[&str]), ("m", "inc", &["m"])];
    let twice = [once[0], once[1], once[1]];
    assert_ne!(behaviour_after(&once), behaviour_after(&twice));
}

/// What a program sees of a name: the tree of codes that its value was made from and calls.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// Deeper than anybody looks.
    Deep,
    /// Made from something that differs from run to run.
    Unsure,
    Code(usize, Vec<Seen>),
}

/// What a definition of the model makes of what it refers to.
#[derive(Clone)]
enum Made {
    /// A function, which looks when it is called.
    Looks,
    /// A value computed when it was defined, from this.
    Computed(Vec<Seen>),
    /// The values that its references had when it was defined, as functions kept in a table are.
    Holds(Vec<Option<usize>>),
}

/// One of the values that a name has had.
#[derive(Clone)]
struct Modelled {
    code: usize,
    references: Vec<usize>,
    made: Made,
    volatile: bool,
}

/// The values that there have been, and which of them each name has now.
#[derive(Default)]
struct Model {
    values: Vec<Modelled>,
    now: Vec<Option<usize>>,
}

impl Model {
    fn see(&self, name: usize, depth: usize) -> Seen {
        self.see_value(self.now[name], depth)
    }

    fn see_value(&self, value: Option<usize>, depth: usize) -> Seen {
        let Some(value) = value.map(|value| &self.values[value]) else {
            return Seen::Nothing;
        };
        if value.volatile {
            return Seen::Unsure;
        }
        if depth == 0 {
            return Seen::Deep;
        }
        let parts = match &value.made {
            Made::Looks => {
                let references = value.references.iter();
                references.map(|&name| self.see(name, depth - 1)).collect()
            }
            Made::Computed(parts) => parts.clone(),
            Made::Holds(values) => {
                let values = values.iter();
                values
                    .map(|&value| self.see_value(value, depth - 1))
                    .collect()
            }
        };
        Seen::Code(value.code, parts)
    }

    /// Gives `name` a new value, of the sort that its code says.
    fn define(&mut self, name: usize, code: usize, references: Vec<usize>, volatile: bool) {
        let made = match code % 3 {
            0 => Made::Looks,
            1 => Made::Computed(
                references
                    .iter()
                    .map(|&name| self.see(name, DEPTH))
                    .collect(),
            ),
            _ => Made::Holds(references.iter().map(|&name| self.now[name]).collect()),
        };
        self.now[name] = Some(self.values.len());
        self.values.push(Modelled {
            code,
            references,
            made,
            volatile,
        });
    }
}

const DEPTH: usize = 5;

fn is_unsure(seen: &Seen) -> bool {
    match seen {
        Seen::Unsure => true,
        Seen::Code(_, parts) => parts.iter().any(is_unsure),
        Seen::Nothing | Seen::Deep => false,
    }
}

/// Many short courses over few names: wherever two lead to one behaviour digest, what can be seen is
/// the same, and what differs from run to run has none. Remembered digests equal fresh ones.
#[test]
fn equal_behaviours_mean_equal_values() {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let mut state = 1u32;
    let mut random = move |bound: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % bound
    };
    let mut known: FxHashMap<Digest, Seen> = FxHashMap::default();
    let mut met_again = 0;
    for _ in 0..30_000 {
        let mut graph = Graph(Definitions::default());
        let mut fresh = Graph(Definitions::default());
        let mut model = Model {
            now: vec![None; NAMES.len()],
            ..Model::default()
        };
        for _ in 0..1 + random(7) {
            let name = random(NAMES.len());
            let references: Vec<usize> = (0..random(3)).map(|_| random(NAMES.len())).collect();
            let code = random(3);
            let volatile = random(12) == 0;
            let standing = match volatile {
                true => Standing::Volatile,
                false => Standing::Determined,
            };
            let text = format!("{code} {references:?}");
            let names: Vec<&str> = references.iter().map(|&name| NAMES[name]).collect();
            model.define(name, code, references, volatile);
            graph.define_as(NAMES[name], &text, &names, standing);
            fresh.define_as(NAMES[name], &text, &names, standing);
            // Asking must change nothing.
            let _ = graph.behaviour(NAMES[random(NAMES.len())]);
        }
        let asked = random(NAMES.len());
        let behaviour = graph.behaviour(NAMES[asked]);
        assert_eq!(behaviour, fresh.behaviour(NAMES[asked]));
        let seen = model.see(asked, DEPTH);
        let Ok(behaviour) = behaviour else {
            continue;
        };
        assert!(!is_unsure(&seen), "{seen:?} has a behaviour");
        if let Some(before) = known.get(&behaviour) {
            met_again += 1;
            assert_eq!(*before, seen);
        }
        known.insert(behaviour, seen);
    }
    assert!(met_again > 1000, "only {met_again} courses met");
}

/// What a program does to its names, one after the other.
#[derive(Debug, Clone)]
enum Event {
    Define {
        name: usize,
        code: u8,
        references: Vec<usize>,
        standing: Standing,
    },
    /// A macro of this name is expanded.
    Ask(usize),
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let name = 0..NAMES.len();
    let references = proptest::collection::vec(name.clone(), 0..3);
    let standing = prop_oneof![
        4 => Just(Standing::Determined),
        1 => Just(Standing::Volatile)
    ];
    let define = (name.clone(), 0..3u8, references, standing);
    let define = define.prop_map(|(name, code, references, standing)| Event::Define {
        name,
        code,
        references,
        standing,
    });
    let event = prop_oneof![3 => define, 1 => name.prop_map(Event::Ask)];
    proptest::collection::vec(event, 1..25)
}

/// What the names hold: each value is made of its code and of what that refers to, when it runs.
#[derive(Default)]
struct Values([Option<Digest>; NAMES.len()]);

impl Values {
    fn run(&mut self, name: usize, code: &str, references: &[usize]) {
        let mut value = DigestBuilder::new("test value");
        value.text(code);
        for &reference in references {
            match &self.0[reference] {
                Some(held) => value.digest(held),
                None => value.number(0),
            };
        }
        self.0[name] = Some(value.finish());
    }
}

/// A definition that has not run.
struct Unrun {
    name: usize,
    code: String,
    references: Vec<usize>,
    standing: Standing,
}

/// A session that puts off every definition.
#[derive(Default)]
struct Rehearsal {
    graph: Definitions,
    values: Values,
    put_off: BTreeMap<Ordinal, Unrun>,
    /// The names in the order in which they ran.
    ran: Vec<Ordinal>,
}

impl Rehearsal {
    fn catch_up(&mut self, needed: &[Ordinal]) {
        assert!(needed.is_sorted());
        for ordinal in needed {
            if let Some(unrun) = self.put_off.remove(ordinal) {
                self.values.run(unrun.name, &unrun.code, &unrun.references);
                let id = self.graph.number(NAMES[unrun.name]);
                let object = object(&unrun.code);
                self.graph
                    .caught_up(*ordinal, &[id], object, unrun.standing);
                self.ran.push(*ordinal);
            }
        }
    }

    fn define(&mut self, name: usize, code: &str, references: &[usize], standing: Standing) {
        let id = self.graph.number(NAMES[name]);
        let ids: Vec<_> = (references.iter())
            .map(|&name| self.graph.number(NAMES[name]))
            .collect();
        let needed = self.graph.needed_before(id, &ids);
        self.catch_up(&needed);
        let ordinal = self.graph.put_off(&[id], &ids);
        let unrun = Unrun {
            name,
            code: code.to_owned(),
            references: references.to_owned(),
            standing,
        };
        self.put_off.insert(ordinal, unrun);
    }

    fn behaviour(&mut self, name: usize) -> Result<Digest, String> {
        let id = self.graph.number(NAMES[name]);
        let needed = self.graph.needed_by(id);
        self.catch_up(&needed);
        self.graph.behaviour(id)
    }
}

proptest! {
    /// Whatever is put off, each macro behaves as it does in a run, and has the value that it has there.
    #[test]
    fn what_is_put_off_behaves_as_in_a_run(events in events()) {
        let mut run = Graph(Definitions::default());
        let mut rehearsal = Rehearsal::default();
        let mut values = Values::default();
        for event in events {
            match event {
                Event::Define { name, code, references, standing } => {
                    let code = format!("{code} {references:?}");
                    let names: Vec<_> = references.iter().map(|&name| NAMES[name]).collect();
                    run.define_as(NAMES[name], &code, &names, standing);
                    values.run(name, &code, &references);
                    rehearsal.define(name, &code, &references, standing);
                }
                Event::Ask(name) => {
                    let (in_run, rehearsed) = (run.behaviour(NAMES[name]), rehearsal.behaviour(name));
                    // Which of several volatile definitions is named does not matter.
                    prop_assert_eq!(in_run.as_ref().ok(), rehearsed.as_ref().ok());
                    if rehearsed.is_ok() {
                        prop_assert_eq!(values.0[name], rehearsal.values.0[name]);
                    }
                }
            }
        }
    }
}

#[test]
fn only_what_is_reached_or_about_to_change_is_needed() {
    let mut rehearsal = Rehearsal::default();
    let pure = Standing::Determined;
    let [a, b, c, d] = [0, 1, 2, 3];
    rehearsal.define(a, "1", &[], pure);
    rehearsal.define(b, "2", &[a], pure);
    rehearsal.define(c, "3", &[], pure);
    rehearsal.define(d, "4", &[b], pure);
    assert!(rehearsal.behaviour(c).is_ok());
    assert_eq!(rehearsal.ran.len(), 1, "c itself");
    // What the value of b was made of goes; d reaches b.
    rehearsal.define(a, "1b", &[], pure);
    assert_eq!(rehearsal.ran.len(), 4);
    assert!(rehearsal.behaviour(d).is_ok());
    assert_eq!(rehearsal.ran.len(), 5, "and the new a");
    rehearsal.define(c, "3b", &[], pure);
    assert_eq!(rehearsal.ran.len(), 5);
    // What is defined anew must not come after what takes its place.
    rehearsal.define(c, "3c", &[], pure);
    assert_eq!(rehearsal.ran.len(), 6);
}
