//! Why a text was not found: what differs from what is kept of the same name.

use crate::outcome::Difference;
use rekindle_cache_core::Digest;
use rekindle_cache_core::journal::{EnvironmentPart, difference, text_digest};
use rekindle_cache_core::key::{Definition, Environment};
use rekindle_cache_core::store::{Found, Store};
use rustc_hash::FxHashMap;
use std::ops::ControlFlow;
use std::sync::Mutex;

/// How many records of one name are compared, the newest ones.
const COMPARED: usize = 16;

/// Compares new definitions with what is kept of the same name.
///
/// A store finds by key and not by name, so the first comparison looks at every record. That is for those
/// who ask for explanations, and no part of an evaluation otherwise.
#[derive(Default)]
pub(crate) struct Explainer {
    by_name: Mutex<Option<FxHashMap<Box<str>, Vec<Before>>>>,
}

/// The parts of a form key that was kept.
struct Before {
    context: Box<str>,
    text: Digest,
    environment: Digest,
}

impl Explainer {
    /// What differs from the record of the same name that differs least; `None` if there is none.
    pub(crate) fn difference(
        &self,
        store: &dyn Store,
        definition: &Definition<'_>,
        environment: &Environment,
        parts_of: &dyn Fn(&Digest) -> Vec<EnvironmentPart>,
    ) -> Option<Difference> {
        if definition.name.is_empty() {
            return None;
        }
        let mut by_name = crate::lock(&self.by_name);
        let by_name = by_name.get_or_insert_with(|| all(store));
        let text = text_digest(definition.text);
        let differences = |before: &&Before| {
            usize::from(before.text != text)
                + usize::from(*before.context != *definition.context)
                + 2 * usize::from(before.environment != *environment.digest())
        };
        // Of those that differ as much, the newest, which comes first.
        let before = by_name
            .get(definition.name)?
            .iter()
            .min_by_key(differences)?;
        Some(Difference {
            text: before.text != text,
            context: (*before.context != *definition.context).then(|| before.context.to_string()),
            environment: (before.environment != *environment.digest()).then(|| {
                let was = parts_of(&before.environment);
                let was: Vec<_> = was
                    .iter()
                    .map(|part| (part.sort.as_str(), part.name.as_str(), part.digest))
                    .collect();
                let is: Vec<_> = environment.parts().collect();
                match was.is_empty() {
                    true => Vec::new(),
                    false => difference(&was, &is),
                }
            }),
        })
    }

    /// Notes a definition that was kept just now.
    pub(crate) fn note(&self, definition: &Definition<'_>, environment: &Environment) {
        if let Some(by_name) = &mut *crate::lock(&self.by_name) {
            let before = Before {
                context: definition.context.into(),
                text: text_digest(definition.text),
                environment: *environment.digest(),
            };
            let known = by_name.entry(definition.name.into()).or_default();
            known.insert(0, before);
            known.truncate(COMPARED);
        }
    }
}

fn all(store: &dyn Store) -> FxHashMap<Box<str>, Vec<Before>> {
    let mut by_name: FxHashMap<Box<str>, Vec<Before>> = FxHashMap::default();
    store.for_each(&mut |found| {
        if let Found::Record(record) = found {
            let entry = &record.metadata.entry;
            if !entry.is_pointer() {
                let known = by_name.entry(entry.name.as_str().into()).or_default();
                if known.len() < COMPARED {
                    known.push(Before {
                        context: entry.context.as_str().into(),
                        text: Digest(entry.text_digest),
                        environment: Digest(entry.environment),
                    });
                }
            }
        }
        ControlFlow::Continue(())
    });
    by_name
}
