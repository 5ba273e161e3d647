//! Which records a subcommand is about.

use crate::arguments::Selection;
use crate::records::source_name;
use rekindle_cache_core::Digest;
use rekindle_cache_core::store::Record;

impl Selection {
    /// Whether nothing was chosen, which means everything.
    pub(crate) fn is_all(&self) -> bool {
        self.names.is_empty() && self.environment.is_none() && self.source.is_none()
    }

    /// Whether `record` is meant.
    pub(crate) fn has(&self, record: &Record<'_>) -> bool {
        let entry = &record.metadata.entry;
        let named = self.names.is_empty()
            || self
                .names
                .iter()
                .any(|pattern| matches(pattern, entry.name.as_str()));
        let environment = self.environment.as_ref().is_none_or(|start| {
            let digest = Digest(entry.environment).to_string();
            digest.starts_with(&start.to_lowercase())
        });
        let source = self
            .source
            .as_ref()
            .is_none_or(|source| *source == source_name(record.provenance));
        named && environment && source
    }

    /// What was chosen, for people.
    pub(crate) fn in_words(&self) -> String {
        if self.is_all() {
            return "all records".to_owned();
        }
        let mut words = "the records".to_owned();
        if !self.names.is_empty() {
            words.push_str(&format!(" of {}", self.names.join(", ")));
        }
        if let Some(environment) = &self.environment {
            words.push_str(&format!(" of environment {environment}"));
        }
        if let Some(source) = &self.source {
            words.push_str(&format!(" from {source}"));
        }
        words
    }
}

/// Whether `name` is like `pattern`, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        // The one before can be anywhere: the leftmost leaves most for those that follow.
        if let Some(part) = last.replace(part) {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => rest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name) in [
            ("a", "a"),
            ("*", ""),
            ("*", "user/one"),
            ("user/*", "user/one"),
            ("*one", "user/one"),
            ("u*r/o*e", "user/one"),
            ("*e*", "user/one"),
            ("a*a", "aa"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("a", "ab"),
            ("a*a", "a"),
            ("user/*", "other/one"),
            ("*x*", "user/one"),
            ("*on", "user/one"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
