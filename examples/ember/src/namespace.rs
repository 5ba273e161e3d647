//! Vars, namespaces, and what a symbol means in one.
//!
//! Compiled code holds the addresses of vars and lives as long as the process, so vars are never
//! freed. What they hold is, when their [`Namespaces`] go.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::OnceLock;

use rekindle_cache_core::{Digest, DigestBuilder};
use rustc_hash::FxHashMap;

use crate::value::{Name, Value, split_name};

/// The namespace whose public vars are visible everywhere.
pub const CORE: &str = "ember.core";

/// No var has a name with a NUL, so what a symbol of such a text means never changes.
const ALIAS_PREFIX: &str = "\0::";

/// The text by which a dependency on what `alias` stands for is recorded: no symbol with a meaning has it.
pub fn alias_symbol(alias: &str) -> String {
    format!("{ALIAS_PREFIX}{alias}")
}

/// Whether a var can have this name: it stands in symbols, where it has to mean one var.
pub fn is_var_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('\0') && (!name.contains('/') || name == "/")
}

/// A named place for a value.
pub struct Var {
    name: Name,
    value: RefCell<Option<Value>>,
    is_defined: Cell<bool>,
    is_macro: Cell<bool>,
    is_private: Cell<bool>,
    /// Digests of "means this var", as a function and as a macro.
    digests: [OnceCell<Digest>; 2],
}

impl Var {
    fn new(name: Name) -> &'static Self {
        Box::leak(Box::new(Self {
            name,
            value: RefCell::new(None),
            is_defined: Cell::new(false),
            is_macro: Cell::new(false),
            is_private: Cell::new(false),
            digests: [OnceCell::new(), OnceCell::new()],
        }))
    }

    /// The qualified name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        self.name.namespace().unwrap_or("")
    }

    /// What it holds; `None` if it is declared only, or not even that.
    #[inline]
    pub fn get(&self) -> Option<Value> {
        self.value.borrow().clone()
    }

    /// Gives it a value, which also defines it.
    pub fn set(&self, value: Value) {
        self.is_defined.set(true);
        // Dropped after the borrow has ended.
        let _previous = self.value.replace(Some(value));
    }

    /// Defines it without giving it a value; one that it has stays.
    pub fn declare(&self) {
        self.is_defined.set(true);
    }

    /// Whether a definition has made it known: symbols resolve to defined vars only.
    pub fn is_defined(&self) -> bool {
        self.is_defined.get()
    }

    /// Whether it holds a value.
    pub fn is_bound(&self) -> bool {
        self.value.borrow().is_some()
    }

    /// Whether calls of it are expanded when they are compiled.
    pub fn is_macro(&self) -> bool {
        self.is_macro.get()
    }

    /// Whether only its own namespace sees it.
    pub fn is_private(&self) -> bool {
        self.is_private.get()
    }

    /// Says what kind of definition it has.
    pub fn set_kind(&self, is_macro: bool, is_private: bool) {
        self.is_macro.set(is_macro);
        self.is_private.set(is_private);
    }

    /// The digest of a symbol's resolution to this var.
    pub fn resolution_digest(&self) -> Digest {
        let [function, as_macro] = &self.digests;
        let (digest, kind) = match self.is_macro.get() {
            false => (function, 0),
            true => (as_macro, 1),
        };
        *digest.get_or_init(|| {
            let mut builder = DigestBuilder::new("ember resolution");
            builder.text("var").text(self.name.text()).number(kind);
            builder.finish()
        })
    }
}

impl fmt::Debug for Var {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "#'{}", self.name)
    }
}

/// What a symbol means in a namespace.
#[derive(Clone, Copy, Debug)]
pub enum Resolution {
    /// A defined var that the namespace may use.
    Var(&'static Var),
    /// A private var of another namespace.
    Private(&'static Var),
    /// The symbol's namespace is no alias and no namespace.
    NoNamespace,
    /// Nothing.
    Unresolved,
}

impl Resolution {
    /// The var, if the namespace may use it.
    pub fn var(self) -> Option<&'static Var> {
        match self {
            Resolution::Var(var) => Some(var),
            _ => None,
        }
    }

    /// The digest by which a definition's dependency on this resolution is recorded.
    pub fn digest(self) -> Digest {
        fn constant(cell: &OnceLock<Digest>, text: &str) -> Digest {
            *cell.get_or_init(|| Digest::of("ember resolution", text.as_bytes()))
        }
        static NO_NAMESPACE: OnceLock<Digest> = OnceLock::new();
        static UNRESOLVED: OnceLock<Digest> = OnceLock::new();
        match self {
            Resolution::Var(var) => var.resolution_digest(),
            // Messages and quoted names tell which var it is.
            Resolution::Private(var) => {
                let mut builder = DigestBuilder::new("ember private name");
                builder.text(var.name().text()).finish()
            }
            Resolution::NoNamespace => constant(&NO_NAMESPACE, "no namespace"),
            Resolution::Unresolved => constant(&UNRESOLVED, "unresolved"),
        }
    }
}

/// A namespace: its vars, and the names under which it sees others.
pub struct Namespace {
    name: Rc<str>,
    vars: RefCell<FxHashMap<Rc<str>, &'static Var>>,
    aliases: RefCell<FxHashMap<Rc<str>, Rc<str>>>,
    refers: RefCell<FxHashMap<Rc<str>, &'static Var>>,
}

impl Namespace {
    fn new(name: &str) -> Rc<Self> {
        Rc::new(Self {
            name: Rc::from(name),
            vars: RefCell::default(),
            aliases: RefCell::default(),
            refers: RefCell::default(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &Rc<str> {
        &self.name
    }

    /// The var `name`, made if there was none; a new one is not defined yet.
    pub fn intern(&self, name: &str) -> &'static Var {
        if let Some(var) = self.vars.borrow().get(name) {
            return var;
        }
        let var = Var::new(Name::qualified(&self.name, name));
        self.vars.borrow_mut().insert(Rc::from(name), var);
        var
    }

    /// The var `name`, defined or not.
    pub fn find(&self, name: &str) -> Option<&'static Var> {
        self.vars.borrow().get(name).copied()
    }

    fn find_defined(&self, name: &str) -> Option<&'static Var> {
        self.find(name).filter(|var| var.is_defined())
    }

    /// Lets `alias` stand for the namespace `target` in qualified symbols.
    pub fn alias(&self, alias: &str, target: &str) {
        self.aliases
            .borrow_mut()
            .insert(Rc::from(alias), Rc::from(target));
    }

    /// The namespace that `alias` stands for here.
    pub fn alias_target(&self, alias: &str) -> Option<Rc<str>> {
        self.aliases.borrow().get(alias).cloned()
    }

    /// Makes a var of another namespace visible by its own name.
    pub fn refer(&self, var: &'static Var) {
        self.refers
            .borrow_mut()
            .insert(Rc::from(var.name().name()), var);
    }

    /// The names of the defined vars, sorted.
    pub fn defined_names(&self) -> Vec<Rc<str>> {
        let vars = self.vars.borrow();
        let defined = vars.iter().filter(|(_, var)| var.is_defined());
        let mut names: Vec<Rc<str>> = defined.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }
}

/// All namespaces of a Vm.
pub struct Namespaces {
    table: RefCell<FxHashMap<Rc<str>, Rc<Namespace>>>,
    core: Rc<Namespace>,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self::new()
    }
}

impl Namespaces {
    /// A table that holds only an empty `ember.core`.
    pub fn new() -> Self {
        let core = Namespace::new(CORE);
        let mut table = FxHashMap::default();
        table.insert(core.name.clone(), core.clone());
        Self {
            table: RefCell::new(table),
            core,
        }
    }

    /// The namespace `name`, made if there was none.
    pub fn namespace(&self, name: &str) -> Rc<Namespace> {
        if let Some(namespace) = self.find(name) {
            return namespace;
        }
        let namespace = Namespace::new(name);
        self.table
            .borrow_mut()
            .insert(namespace.name.clone(), namespace.clone());
        namespace
    }

    /// The namespace `name`, if it exists.
    pub fn find(&self, name: &str) -> Option<Rc<Namespace>> {
        self.table.borrow().get(name).cloned()
    }

    /// The namespace `ember.core`.
    pub fn core(&self) -> &Rc<Namespace> {
        &self.core
    }

    /// The var `namespace/name`; both are made if they are new.
    pub fn intern(&self, namespace: &str, name: &str) -> &'static Var {
        if let Some(namespace) = self.table.borrow().get(namespace) {
            return namespace.intern(name);
        }
        self.namespace(namespace).intern(name)
    }

    /// The var of a qualified name's text, as in the symbol `var:NS/NAME`; `None` if the text has no
    /// namespace.
    pub fn intern_text(&self, qualified: &str) -> Option<&'static Var> {
        let (namespace, name) = split_name(qualified);
        Some(self.intern(namespace?, name))
    }

    /// The var `namespace/name`, if it exists; it may not be defined yet.
    pub fn find_var(&self, namespace: &str, name: &str) -> Option<&'static Var> {
        self.table.borrow().get(namespace)?.find(name)
    }

    /// Lets `alias` stand for `target` in `namespace`.
    pub fn alias(&self, namespace: &str, alias: &str, target: &str) {
        self.namespace(namespace).alias(alias, target);
    }

    /// Makes `var` visible in `namespace` by its own name.
    pub fn refer(&self, namespace: &str, var: &'static Var) {
        self.namespace(namespace).refer(var);
    }

    /// The namespace that `alias` stands for in `namespace`: one by that alias, or else by that name.
    pub fn resolve_alias(&self, namespace: &str, alias: &str) -> Option<Rc<str>> {
        let here = self.find(namespace);
        let target = here.and_then(|here| here.alias_target(alias));
        target.or_else(|| Some(self.find(alias)?.name().clone()))
    }

    /// What the symbol `name` means in `namespace`. Special forms and locals come before this.
    pub fn resolve(&self, namespace: &str, name: &Name) -> Resolution {
        self.resolve_parts(namespace, name.namespace(), name.name())
    }

    /// What a symbol with this text means in `namespace`.
    pub fn resolve_text(&self, namespace: &str, symbol: &str) -> Resolution {
        let (qualifier, name) = split_name(symbol);
        self.resolve_parts(namespace, qualifier, name)
    }

    /// The digest of what a symbol with this text means in `namespace`, or an [`alias_symbol`]; the
    /// fast way for checking recorded dependencies.
    pub fn resolution_digest(&self, namespace: &str, symbol: &str) -> Digest {
        if let Some(alias) = symbol.strip_prefix(ALIAS_PREFIX) {
            return self.alias_digest(namespace, alias);
        }
        let (qualifier, name) = split_name(symbol);
        let resolution = self.resolve_parts(namespace, qualifier, name);
        match (resolution, qualifier) {
            // A quoted name is qualified by its alias even if nothing is there yet.
            (Resolution::Unresolved | Resolution::NoNamespace, Some(alias)) => {
                let mut builder = DigestBuilder::new("ember unresolved name");
                builder.digest(&resolution.digest());
                builder.digest(&self.alias_digest(namespace, alias));
                builder.finish()
            }
            _ => resolution.digest(),
        }
    }

    fn alias_digest(&self, namespace: &str, alias: &str) -> Digest {
        let target = self.resolve_alias(namespace, alias);
        let mut builder = DigestBuilder::new("ember alias");
        match &target {
            Some(target) => builder.text(target),
            None => builder.number(0),
        };
        builder.finish()
    }

    fn resolve_parts(&self, current: &str, qualifier: Option<&str>, name: &str) -> Resolution {
        let table = self.table.borrow();
        let here = table.get(current);
        let Some(qualifier) = qualifier else {
            let own = here.and_then(|here| here.find_defined(name));
            let referred = || here.and_then(|here| here.refers.borrow().get(name).copied());
            let core = || self.core.find_defined(name).filter(|var| !var.is_private());
            let found = own.or_else(referred).or_else(core);
            return found.map_or(Resolution::Unresolved, Resolution::Var);
        };
        let aliases = here.map(|here| here.aliases.borrow());
        let target = aliases
            .as_ref()
            .and_then(|aliases| aliases.get(qualifier))
            .map_or(qualifier, |target| target);
        let Some(namespace) = table.get(target) else {
            return Resolution::NoNamespace;
        };
        match namespace.find_defined(name) {
            Some(var) if var.is_private() && target != current => Resolution::Private(var),
            Some(var) => Resolution::Var(var),
            None => Resolution::Unresolved,
        }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // Functions and what they refer to by var make cycles; vars themselves stay.
        for namespace in self.table.borrow().values() {
            for var in namespace.vars.borrow().values() {
                let _value = var.value.replace(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defined(namespaces: &Namespaces, namespace: &str, name: &str) -> &'static Var {
        let var = namespaces.intern(namespace, name);
        var.set(Value::int(1));
        var
    }

    fn meaning(namespaces: &Namespaces, symbol: &str) -> String {
        match namespaces.resolve("user", &Name::parse(symbol)) {
            Resolution::Var(var) => var.name().to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn own_vars_come_before_referred_ones_and_core() {
        let namespaces = Namespaces::new();
        assert_eq!(meaning(&namespaces, "f"), "Unresolved");
        defined(&namespaces, CORE, "f");
        assert_eq!(meaning(&namespaces, "f"), "ember.core/f");
        let other = defined(&namespaces, "other", "f");
        namespaces.refer("user", other);
        assert_eq!(meaning(&namespaces, "f"), "other/f");
        defined(&namespaces, "user", "f");
        assert_eq!(meaning(&namespaces, "f"), "user/f");
    }

    #[test]
    fn aliases_qualify_and_private_vars_are_refused() {
        let namespaces = Namespaces::new();
        defined(&namespaces, "a.b", "f");
        assert_eq!(meaning(&namespaces, "a.b/f"), "a.b/f");
        assert_eq!(meaning(&namespaces, "x/f"), "NoNamespace");
        namespaces.alias("user", "x", "a.b");
        assert_eq!(meaning(&namespaces, "x/f"), "a.b/f");
        assert_eq!(meaning(&namespaces, "x/g"), "Unresolved");
        namespaces.intern("a.b", "f").set_kind(false, true);
        assert_eq!(meaning(&namespaces, "x/f"), "Private(#'a.b/f)");
        defined(&namespaces, CORE, "hidden").set_kind(false, true);
        assert_eq!(meaning(&namespaces, "hidden"), "Unresolved");
    }

    #[test]
    fn an_interned_var_is_not_yet_defined() {
        let namespaces = Namespaces::new();
        let var = namespaces.intern_text("user/f").expect("qualified");
        assert!(std::ptr::eq(var, namespaces.intern("user", "f")));
        assert_eq!(meaning(&namespaces, "f"), "Unresolved");
        var.declare();
        assert_eq!(meaning(&namespaces, "f"), "user/f");
        assert!(!var.is_bound());
        assert!(namespaces.intern_text("f").is_none());
    }

    #[test]
    fn digests_tell_meanings_apart() {
        let namespaces = Namespaces::new();
        let digest = |symbol: &str| namespaces.resolution_digest("user", symbol);
        let unresolved = digest("f");
        assert_eq!(unresolved, digest("g"));
        let core = defined(&namespaces, CORE, "f");
        let as_function = digest("f");
        assert_ne!(as_function, unresolved);
        core.set_kind(true, false);
        let as_macro = digest("f");
        assert_ne!(as_macro, as_function);
        assert_eq!(as_macro, digest("ember.core/f"));
        defined(&namespaces, "user", "f");
        assert_ne!(digest("f"), as_function);
        core.set_kind(false, false);
        assert_eq!(digest("ember.core/f"), as_function);
        assert_ne!(digest("nowhere/f"), unresolved);
    }
}
