//! Which code each definition of this session has, and what all it can reach: behaviour digests.
//!
//! A definition that runs at compile time (a macro, and every helper that it calls) is recorded by its
//! *behaviour digest*: a digest over the set of all definitions that it can reach by name, each with the
//! digest of its object. The set needs no edges, because an object names what it refers to, so equal
//! objects have equal edges; and a set has no trouble with cycles.
//!
//! A definition is *volatile* when the value it has is not determined by its code and what the code can
//! reach: its factory read mutable state or the outside world, failed half-way, or some running code
//! may give the name another value at any time. Nothing that reaches a volatile definition has a
//! behaviour digest, so what it did at compile time makes a bypass.

use rekindle_cache_core::{Digest, DigestBuilder};
use rustc_hash::FxHashMap;

/// The number of a name in this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NameId(u32);

/// What evaluating a definition did to the names that it defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The values follow from the code.
    Determined,
    /// The values follow from something that nothing recorded.
    Volatile,
}

/// The names of a session and the code behind them.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    numbers: FxHashMap<Box<str>, NameId>,
    nodes: Vec<Node>,
    /// Marks the nodes of the walk under way, so that a walk allocates nothing.
    walk: u32,
}

#[derive(Debug)]
struct Node {
    name: Box<str>,
    object: Option<Digest>,
    volatile: bool,
    /// Some code may set the name when it is called: no later definition makes it certain again.
    set_by_calls: bool,
    references: Vec<NameId>,
    referrers: Vec<NameId>,
    leaf: Option<Digest>,
    behaviour: Option<Digest>,
    visited: u32,
}

impl Definitions {
    /// The number of `name`, which is new if nobody asked before.
    pub(crate) fn number(&mut self, name: &str) -> NameId {
        if let Some(&id) = self.numbers.get(name) {
            return id;
        }
        let id = NameId(u32::try_from(self.nodes.len()).expect("fewer than 2^32 names in memory"));
        self.nodes.push(Node {
            name: name.into(),
            object: None,
            volatile: false,
            set_by_calls: false,
            references: Vec::new(),
            referrers: Vec::new(),
            leaf: None,
            behaviour: None,
            visited: 0,
        });
        self.numbers.insert(name.into(), id);
        id
    }

    /// Notes that `name` now has the code `object`, which refers to `references`.
    pub(crate) fn define(
        &mut self,
        name: NameId,
        object: Digest,
        references: &[NameId],
        standing: Standing,
    ) {
        let volatile = standing == Standing::Volatile;
        let node = &mut self.nodes[name.index()];
        if node.object == Some(object) && node.volatile == volatile && node.references == references
        {
            return;
        }
        node.object = Some(object);
        node.volatile = volatile;
        node.leaf = None;
        let before = std::mem::replace(&mut node.references, references.to_vec());
        for reference in before {
            self.nodes[reference.index()]
                .referrers
                .retain(|&referrer| referrer != name);
        }
        for &reference in references {
            let referrers = &mut self.nodes[reference.index()].referrers;
            if referrers.last() != Some(&name) {
                referrers.push(name);
            }
        }
        self.forget_behaviours(name);
    }

    /// Notes that code which is now in the process may set `name` whenever it is called.
    pub(crate) fn set_by_calls(&mut self, name: NameId) {
        if !std::mem::replace(&mut self.nodes[name.index()].set_by_calls, true) {
            self.forget_behaviours(name);
        }
    }

    /// The behaviour digest of `name`.
    ///
    /// # Errors
    /// The name of the volatile definition that `name` reaches.
    pub(crate) fn behaviour(&mut self, name: NameId) -> Result<Digest, &str> {
        if let Some(digest) = self.nodes[name.index()].behaviour {
            return Ok(digest);
        }
        let reached = self.reach(name, |node| &node.references);
        let uncertain = |id: &&NameId| {
            let node = &self.nodes[id.index()];
            node.volatile || node.set_by_calls
        };
        if let Some(&id) = reached.iter().find(uncertain) {
            return Err(&self.nodes[id.index()].name);
        }
        let mut leaves: Vec<Digest> = reached.iter().map(|&id| self.leaf(id)).collect();
        leaves.sort_unstable();
        let mut builder = DigestBuilder::new("rekindle behaviour");
        builder.text(&self.nodes[name.index()].name);
        builder.list(leaves.len());
        for leaf in &leaves {
            builder.digest(leaf);
        }
        let digest = builder.finish();
        self.nodes[name.index()].behaviour = Some(digest);
        Ok(digest)
    }

    /// The digest of one name with its object. A name without one is the host's own, and belongs to the
    /// environment, or is not defined yet.
    fn leaf(&mut self, id: NameId) -> Digest {
        let node = &mut self.nodes[id.index()];
        *node.leaf.get_or_insert_with(|| {
            let mut builder = DigestBuilder::new("rekindle definition");
            builder.text(&node.name);
            match &node.object {
                Some(object) => builder.digest(object),
                None => builder.number(0),
            };
            builder.finish()
        })
    }

    fn forget_behaviours(&mut self, name: NameId) {
        for id in self.reach(name, |node| &node.referrers) {
            self.nodes[id.index()].behaviour = None;
        }
    }

    /// `start` and all that follows from it by `edges`.
    fn reach(&mut self, start: NameId, edges: impl Fn(&Node) -> &[NameId]) -> Vec<NameId> {
        self.walk = self.walk.wrapping_add(1);
        if self.walk == 0 {
            self.nodes.iter_mut().for_each(|node| node.visited = 0);
            self.walk = 1;
        }
        let mut reached = vec![start];
        self.nodes[start.index()].visited = self.walk;
        let mut next = 0;
        while let Some(&id) = reached.get(next) {
            next += 1;
            for position in 0..edges(&self.nodes[id.index()]).len() {
                let neighbour = edges(&self.nodes[id.index()])[position];
                let visited = &mut self.nodes[neighbour.index()].visited;
                if std::mem::replace(visited, self.walk) != self.walk {
                    reached.push(neighbour);
                }
            }
        }
        reached
    }
}

impl NameId {
    fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            self.0.define(id, object(code), &references, standing);
        }

        fn behaviour(&mut self, name: &str) -> Result<Digest, String> {
            let id = self.0.number(name);
            self.0.behaviour(id).map_err(str::to_owned)
        }
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
        let after = graph.behaviour("macro");
        assert_ne!(before, after);
        graph.define("inner", "1", &[]);
        assert_eq!(before, graph.behaviour("macro"));
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
        assert!(graph.behaviour("macro").is_ok());
        let clock = graph.0.number("clock");
        graph.0.set_by_calls(clock);
        graph.define("clock", "1", &[]);
        assert_eq!(graph.behaviour("macro"), Err("clock".to_owned()));
    }

    /// The memory of behaviours must agree with computing them anew, whatever the order of changes.
    #[test]
    fn remembered_behaviours_equal_fresh_ones() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut state = 1u32;
        let mut random = move |bound: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % bound
        };
        let mut graph = Graph(Definitions::default());
        let mut history: Vec<(usize, String, Vec<&str>)> = Vec::new();
        for _ in 0..300 {
            let name = random(names.len());
            let code = format!("{}", random(3));
            let references: Vec<&str> = (0..random(3)).map(|_| names[random(6)]).collect();
            graph.define(names[name], &code, &references);
            history.retain(|(other, ..)| *other != name);
            history.push((name, code, references));
            let asked = names[random(names.len())];
            let mut fresh = Graph(Definitions::default());
            for (name, code, references) in &history {
                fresh.define(names[*name], code, references);
            }
            assert_eq!(graph.behaviour(asked), fresh.behaviour(asked));
        }
    }
}
