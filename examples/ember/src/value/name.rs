//! Names of symbols and keywords: an optional namespace and a name.
//!
//! A name is one text, `namespace/name` or `name`, and the place of its slash, so that its full text
//! is at hand without building it and each part is a slice.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// The name of a symbol or keyword; cheap to clone.
#[derive(Clone)]
pub struct Name {
    text: Rc<str>,
    /// Where the slash between namespace and name is; 0 when there is no namespace.
    slash: usize,
}

/// Splits `text` into namespace and name, as a symbol with this text means it.
///
/// The slash of a lone `/`, and one at either end, belongs to the name.
pub fn split_name(text: &str) -> (Option<&str>, &str) {
    match slash_of(text) {
        0 => (None, text),
        slash => (text.get(..slash), text.get(slash + 1..).unwrap_or("")),
    }
}

fn slash_of(text: &str) -> usize {
    match text.find('/') {
        Some(slash) if slash + 1 < text.len() => slash,
        _ => 0,
    }
}

impl Name {
    /// The name that `text` means: `a/b` has the namespace `a`, `b` and `/` have none.
    pub fn parse(text: &str) -> Self {
        Self {
            slash: slash_of(text),
            text: Rc::from(text),
        }
    }

    /// A name without a namespace, even if `name` contains a slash.
    pub fn local(name: &str) -> Self {
        Self {
            text: Rc::from(name),
            slash: 0,
        }
    }

    /// The name `namespace/name`.
    pub fn qualified(namespace: &str, name: &str) -> Self {
        if namespace.is_empty() {
            return Self::local(name);
        }
        let mut text = String::with_capacity(namespace.len() + 1 + name.len());
        text.push_str(namespace);
        text.push('/');
        text.push_str(name);
        Self {
            text: Rc::from(text),
            slash: namespace.len(),
        }
    }

    /// The part before the slash.
    pub fn namespace(&self) -> Option<&str> {
        match self.slash {
            0 => None,
            slash => self.text.get(..slash),
        }
    }

    /// The part after the slash, or all of it.
    pub fn name(&self) -> &str {
        match self.slash {
            0 => &self.text,
            slash => self.text.get(slash + 1..).unwrap_or(""),
        }
    }

    /// The full text: `namespace/name` or `name`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The full text, shared.
    pub fn shared_text(&self) -> Rc<str> {
        self.text.clone()
    }

    /// Whether this is exactly the name `text` without a namespace.
    pub fn is(&self, text: &str) -> bool {
        self.slash == 0 && &*self.text == text
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.slash == other.slash
            && (Rc::ptr_eq(&self.text, &other.text) || self.text == other.text)
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        if Rc::ptr_eq(&self.text, &other.text) {
            return self.slash.cmp(&other.slash);
        }
        self.namespace()
            .cmp(&other.namespace())
            .then_with(|| self.name().cmp(other.name()))
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        self.slash.hash(state);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_split_where_a_reader_would_expect() {
        let parts = |text: &str| {
            let name = Name::parse(text);
            let (namespace, rest) = split_name(text);
            assert_eq!((name.namespace(), name.name()), (namespace, rest));
            (namespace.map(str::to_owned), rest.to_owned())
        };
        assert_eq!(parts("a"), (None, "a".into()));
        assert_eq!(parts("a.b/c"), (Some("a.b".into()), "c".into()));
        assert_eq!(parts("/"), (None, "/".into()));
        assert_eq!(parts("a//"), (Some("a".into()), "/".into()));
        assert_eq!(parts("a/"), (None, "a/".into()));
        assert_eq!(parts("/a"), (None, "/a".into()));
        assert_eq!(parts(""), (None, "".into()));
    }

    #[test]
    fn a_local_name_with_a_slash_is_not_the_qualified_one() {
        assert_ne!(Name::local("a/b"), Name::qualified("a", "b"));
        assert_eq!(Name::parse("a/b"), Name::qualified("a", "b"));
        assert!(Name::local("a").is("a") && !Name::qualified("a", "a").is("a"));
    }

    #[test]
    fn names_without_a_namespace_come_first() {
        let mut names = vec![Name::parse("b/a"), Name::parse("a/c"), Name::parse("z")];
        names.sort();
        assert_eq!(format!("{names:?}"), "[z, a/c, b/a]");
    }
}
