//! What a form does to names, told from its syntax tree: for a host that compiles it and does not run it.

use super::ast::{Kind, Node};

/// The bits of a `def` that matter to who resolves the name: as `ember_def` takes them.
const SHOWN: u64 = 3;

/// What running a form would do to names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Whether running it does nothing but make functions and constants, and set vars to them: it ends at
    /// once, reads nothing, and nobody sees that it ran.
    pub is_plain: bool,
    /// The vars that it may make known, and whether as macros, and whether privately.
    pub names: Vec<OutlinedName>,
}

/// A var that a form may make known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlinedName {
    /// Its qualified name.
    pub name: String,
    /// Whether it is a macro.
    pub is_macro: bool,
    /// Whether only its own namespace sees it.
    pub is_private: bool,
}

impl Outline {
    /// The name of the side table that holds the outline of a form that is not plain.
    pub const TABLE: &str = "ember outline";

    /// The outline of a form.
    pub(super) fn of(form: &Node) -> Self {
        let mut outline = Self {
            is_plain: is_plain(form),
            names: Vec::new(),
        };
        outline.add(form);
        outline
    }

    /// The outline as bytes: for each name a digit of flags, the name, and a NUL, which no name has.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for name in &self.names {
            bytes.push(b'0' + u8::from(name.is_macro) + 2 * u8::from(name.is_private));
            bytes.extend(name.name.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    /// The outline of a form that is not plain. What is no outline gives what of it is one.
    pub fn decode(bytes: &[u8]) -> Self {
        let mut names = Vec::new();
        for entry in bytes.split_inclusive(|byte| *byte == 0) {
            if let [flags @ b'0'..=b'3', name @ .., 0] = entry
                && let Ok(name) = std::str::from_utf8(name)
            {
                names.push(OutlinedName::new(name, u64::from(*flags - b'0')));
            }
        }
        Self {
            is_plain: false,
            names,
        }
    }

    /// What is not run by itself, the bodies of functions, is left out.
    fn add(&mut self, node: &Node) {
        match &node.kind {
            Kind::Immediate(_)
            | Kind::Constant(_)
            | Kind::Local(_)
            | Kind::Capture(_)
            | Kind::Itself
            | Kind::Global(_)
            | Kind::Var(_)
            | Kind::Function(_) => {}
            Kind::Def { name, value, flags } => {
                self.names.push(OutlinedName::new(name, flags & SHOWN));
                self.add_all(value.as_deref());
            }
            Kind::If {
                test,
                then,
                otherwise,
            } => self.add_all([&**test, then, otherwise]),
            Kind::Do(nodes)
            | Kind::Recur(nodes)
            | Kind::CallVar(_, nodes)
            | Kind::Cpp(_, nodes)
            | Kind::Intrinsic(_, nodes)
            | Kind::Vector(nodes)
            | Kind::Map(nodes)
            | Kind::Set(nodes) => self.add_all(nodes),
            Kind::Let { bindings, body } | Kind::Loop { bindings, body } => {
                self.add_all(bindings.iter().map(|(_, value)| value));
                self.add(body);
            }
            Kind::Call(callee, arguments) => {
                self.add(callee);
                self.add_all(arguments);
            }
            Kind::Throw(value) => self.add(value),
            Kind::Try {
                body,
                catch,
                finally,
            } => {
                self.add(body);
                self.add_all(catch.iter().map(|(_, handler)| &**handler));
                self.add_all(finally.as_deref());
            }
        }
    }

    fn add_all<'n>(&mut self, nodes: impl IntoIterator<Item = &'n Node>) {
        for node in nodes {
            self.add(node);
        }
    }
}

impl OutlinedName {
    fn new(name: &str, flags: u64) -> Self {
        Self {
            name: name.to_owned(),
            is_macro: flags & 1 != 0,
            is_private: flags & 2 != 0,
        }
    }
}

/// Whether a node only makes values and sets vars to them.
fn is_plain(node: &Node) -> bool {
    match &node.kind {
        Kind::Immediate(_)
        | Kind::Constant(_)
        | Kind::Local(_)
        | Kind::Var(_)
        | Kind::Function(_) => true,
        Kind::Def { value, flags, .. } => {
            flags & !SHOWN == 0 && value.as_deref().is_none_or(is_plain)
        }
        Kind::Do(nodes) | Kind::Vector(nodes) => nodes.iter().all(is_plain),
        Kind::Let { bindings, body } => {
            bindings.iter().all(|(_, value)| is_plain(value)) && is_plain(body)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_is_read_as_it_was_written() {
        let outline = Outline {
            is_plain: false,
            names: vec![
                OutlinedName::new("user/a", 0),
                OutlinedName::new("user/m", 1),
                OutlinedName::new("user/p", 3),
            ],
        };
        assert_eq!(Outline::decode(&outline.encode()), outline);
        let empty = Outline::default();
        assert_eq!(Outline::decode(&empty.encode()), empty);
        // Bytes of any other sort are no reason to stop.
        assert_eq!(Outline::decode(b"1x").names, []);
        assert_eq!(
            Outline::decode(b"\x000\xff\x00\x000\x001y\x00").names.len(),
            2
        );
    }
}
