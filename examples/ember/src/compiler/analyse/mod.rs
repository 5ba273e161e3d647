//! From forms to the [syntax tree](super::ast): macros are expanded, names resolved, special forms
//! checked.

mod attempt;
mod cpp;
mod function;
mod literal;
mod resolve;
mod scope;
mod special;

use rustc_hash::{FxHashMap, FxHashSet};

use self::cpp::cpp_name;
use self::scope::Scopes;
use super::ast::{Kind, Node};
use super::{CompileError, CompileHost, NIL, TOO_DEEP, intrinsic};
use crate::namespace::Var;
use crate::reader::is_special_form;
use crate::value::{Position, Value, View};

/// How often the head of one list may expand to another list before that is taken to have no end.
const MAX_EXPANSIONS: u32 = 10_000;

/// A form that was analysed, and what was learnt about it on the way.
pub(super) struct Analysed {
    pub(super) form: Node,
    /// The vars that it sets, each once, in the order in which they are met.
    pub(super) defines: Vec<String>,
    /// Those of them that are set elsewhere than at the top level of the form.
    pub(super) dynamic_defines: Vec<String>,
    /// The vars that its code refers to, each once, in the order in which they are met.
    pub(super) references: Vec<String>,
    /// The C++ that it is compiled against, if it is about C++.
    pub(super) cpp: Option<String>,
}

/// Analyses a form.
///
/// # Errors
/// What is wrong with the form, or what a macro threw.
pub(super) fn analyse(host: &dyn CompileHost, form: &Value) -> Result<Analysed, CompileError> {
    let mut analyser = Analyser {
        host,
        scopes: Scopes::new(),
        meanings: FxHashMap::default(),
        own: Names::default(),
        defines: Names::default(),
        dynamic_defines: Names::default(),
        references: Names::default(),
        cpp: None,
    };
    let form = analyser.form(
        form,
        Position::default(),
        Place {
            tail: true,
            top: true,
        },
    )?;
    Ok(Analysed {
        form,
        defines: analyser.defines.list,
        dynamic_defines: analyser.dynamic_defines.list,
        references: analyser.references.list,
        cpp: analyser.cpp,
    })
}

/// Where a form stands in what surrounds it.
#[derive(Clone, Copy)]
struct Place {
    /// Its value is the value of the innermost loop, method or factory, so that `recur` may stand
    /// here.
    tail: bool,
    /// It is evaluated exactly once, whenever the factory is called.
    top: bool,
}

impl Place {
    const INNER: Place = Place {
        tail: false,
        top: false,
    };

    /// The place of a form that is followed by others in a sequence.
    fn statement(self) -> Place {
        Place {
            tail: false,
            ..self
        }
    }

    /// The place of a form that is evaluated under a condition only.
    fn branch(self) -> Place {
        Place { top: false, ..self }
    }
}

/// Distinct names in the order in which they came.
#[derive(Default)]
struct Names {
    list: Vec<String>,
    set: FxHashSet<String>,
}

impl Names {
    fn add(&mut self, name: &str) {
        if self.set.insert(name.to_owned()) {
            self.list.push(name.to_owned());
        }
    }

    fn contains(&self, name: &str) -> bool {
        self.set.contains(name)
    }
}

struct Analyser<'h> {
    host: &'h dyn CompileHost,
    scopes: Scopes,
    /// What each symbol that is no local means, by its text.
    meanings: FxHashMap<String, &'static Var>,
    /// The vars that the form makes known, with a value or without.
    own: Names,
    defines: Names,
    dynamic_defines: Names,
    references: Names,
    cpp: Option<String>,
}

pub(super) use resolve::ReaderNames;

type Analysis = Result<Node, CompileError>;

fn error(message: impl Into<String>, position: Position) -> CompileError {
    CompileError {
        message: message.into(),
        position,
        exception: None,
    }
}

fn node(kind: Kind, position: Position) -> Node {
    Node {
        kind,
        position: position.pack(),
    }
}

fn nil(position: Position) -> Node {
    node(Kind::Immediate(NIL), position)
}

/// The text of a form that is a symbol without a namespace.
fn plain_symbol(form: &Value) -> Option<&str> {
    match form.view() {
        View::Symbol(name) if name.namespace().is_none() => Some(name.name()),
        _ => None,
    }
}

impl Analyser<'_> {
    /// Analyses one form; `around` is the position that it has if it carries none itself.
    fn form(&mut self, form: &Value, around: Position, place: Place) -> Analysis {
        let position = form.position().unwrap_or(around);
        self.check_depth(position)?;
        match form.view() {
            View::Symbol(name) => {
                let kind = self.symbol(name, position)?;
                if let Kind::Global(name) = &kind {
                    self.references.add(name);
                }
                Ok(node(kind, position))
            }
            View::List(list) if !list.is_empty() => self.list(form, position, place),
            _ => self.literal(form, position),
        }
    }

    fn check_depth(&self, position: Position) -> Result<(), CompileError> {
        match self.host.context().stack_is_low() {
            true => Err(error(TOO_DEEP, position)),
            false => Ok(()),
        }
    }

    /// Analyses a list: a special form, a macro's call or a function's.
    fn list(&mut self, form: &Value, position: Position, place: Place) -> Analysis {
        let mut form = form.clone();
        let mut position = position;
        for _ in 0..MAX_EXPANSIONS {
            let items: Vec<Value> = match form.view() {
                View::List(list) if !list.is_empty() => list.iter().cloned().collect(),
                _ => return self.form(&form, position, place),
            };
            let (head, rest) = items.split_first().expect("the list is not empty");
            if let Some(name) = plain_symbol(head).filter(|name| is_special_form(name)) {
                return self.special(name, rest, position, place);
            }
            if let Some(name) = cpp_name(head) {
                return self.cpp(name, rest, position, place);
            }
            match self.macro_of(head, position)? {
                None => return self.call(head, rest, position),
                Some((name, function)) => form = self.expand(&name, &function, rest, position)?,
            }
            position = form.position().unwrap_or(position);
        }
        Err(error("the macro's expansion has no end", position))
    }

    fn special(
        &mut self,
        name: &str,
        rest: &[Value],
        position: Position,
        place: Place,
    ) -> Analysis {
        match name {
            "def" => self.def(rest, position, place),
            "if" => self.if_form(rest, position, place),
            "do" => self.body(rest, position, place),
            "let*" => self.let_form(rest, position, place),
            "fn*" => self.function(rest, position),
            "loop*" => self.loop_form(rest, position),
            "recur" => self.recur(rest, position, place),
            "quote" => self.quote(rest, position),
            "var" => self.var_form(rest, position),
            "throw" => self.throw(rest, position),
            "try" => self.attempt(rest, position, place),
            "catch" | "finally" => Err(error(format!("{name} outside of try"), position)),
            _ => Err(error(format!("{name} cannot be called"), position)),
        }
    }

    fn call(&mut self, head: &Value, rest: &[Value], position: Position) -> Analysis {
        let at = head.position().unwrap_or(position);
        let callee = match head.view() {
            View::Symbol(name) => node(self.symbol(name, at)?, at),
            _ => self.form(head, position, Place::INNER)?,
        };
        let arguments = self.forms(rest, position)?;
        let kind = match callee.kind {
            Kind::Global(name) => {
                let core = name
                    .strip_prefix("ember.core/")
                    .filter(|_| !self.own.contains(&name));
                match core.and_then(|core| intrinsic::find(core, arguments.len())) {
                    Some(intrinsic) => Kind::Intrinsic(intrinsic, arguments),
                    None => {
                        self.references.add(&name);
                        Kind::CallVar(name, arguments)
                    }
                }
            }
            _ => Kind::Call(Box::new(callee), arguments),
        };
        Ok(node(kind, position))
    }

    /// Analyses forms whose values are all needed.
    fn forms(&mut self, forms: &[Value], position: Position) -> Result<Vec<Node>, CompileError> {
        forms
            .iter()
            .map(|form| self.form(form, position, Place::INNER))
            .collect()
    }

    /// Analyses a sequence of forms, of which the last gives the value; nil if there is none.
    fn body(&mut self, forms: &[Value], position: Position, place: Place) -> Analysis {
        match forms {
            [] => Ok(nil(position)),
            [form] => self.form(form, position, place),
            [before @ .., last] => {
                let mut nodes = Vec::with_capacity(forms.len());
                for form in before {
                    nodes.push(self.form(form, position, place.statement())?);
                }
                nodes.push(self.form(last, position, place)?);
                Ok(node(Kind::Do(nodes), position))
            }
        }
    }
}
