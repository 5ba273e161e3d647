//! The words that kept code is bound to when it is loaded: vars, constants and sites.

use crate::context::Context;
use crate::error::{Origin, Site};
use crate::reader::read_constant;
use crate::value::Value;
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::rc::Rc;

/// What code of a Vm refers to by word, kept for as long as the Vm.
#[derive(Default)]
pub(super) struct Words {
    /// By the hash of the symbol's name; of two names with one hash the second is not kept here.
    known: RefCell<FxHashMap<u64, (Box<str>, u64)>>,
    /// Constants, alive because they are here.
    constants: RefCell<Vec<Value>>,
    /// Shared, so that their addresses stay while the vector grows.
    sites: RefCell<Vec<Rc<Site>>>,
}

impl Words {
    /// The word for `var:NS/NAME` or `const:TEXT`, made if it is new.
    pub(super) fn of(&self, context: &Context, hash: u64, name: &str) -> Option<u64> {
        if let Some((known, word)) = self.known.borrow().get(&hash)
            && **known == *name
        {
            return Some(*word);
        }
        let word = match name.split_once(':')? {
            ("var", qualified) => {
                let var = context.namespaces().intern_text(qualified)?;
                std::ptr::from_ref(var) as u64
            }
            ("const", text) => {
                let value = read_constant(context, text).ok()?;
                let word = value.word();
                self.constants.borrow_mut().push(value);
                word
            }
            _ => return None,
        };
        self.known
            .borrow_mut()
            .entry(hash)
            .or_insert_with(|| (name.into(), word));
        Some(word)
    }

    /// A new site, which stays for as long as the Vm.
    pub(super) fn site(&self, origin: &Origin) -> Rc<Site> {
        let site = Rc::new(Site::new(origin.clone()));
        self.sites.borrow_mut().push(Rc::clone(&site));
        site
    }
}
