//! Lexical scopes: which local a name means, and what closures capture.

use crate::compiler::ast::{Capture, Kind, LocalId};

/// What a `recur` in tail position would meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A loop or method with this many locals.
    Values(usize),
    /// A `try`, which has to be left first.
    Try,
}

/// One function that is being analysed; the factory is the outermost.
#[derive(Default)]
struct FunctionScope {
    /// The name by which the function refers to itself.
    name: Option<String>,
    /// The locals in scope, innermost last.
    locals: Vec<(String, LocalId)>,
    /// How many locals the function has had.
    count: u32,
    /// What its closure captures.
    captures: Vec<Capture>,
    targets: Vec<Target>,
}

/// The functions around the current form, innermost last, with their locals.
pub(super) struct Scopes {
    functions: Vec<FunctionScope>,
}

impl Scopes {
    /// The scope of the factory.
    pub(super) fn new() -> Self {
        Self {
            functions: vec![FunctionScope::default()],
        }
    }

    fn innermost(&mut self) -> &mut FunctionScope {
        self.functions
            .last_mut()
            .expect("the factory's scope is never left")
    }

    /// What `name` means here, if it is a local, something captured, or the function itself.
    pub(super) fn find(&mut self, name: &str) -> Option<Kind> {
        Some(match self.find_in(self.functions.len() - 1, name)? {
            Capture::Local(local) => Kind::Local(local),
            Capture::Capture(index) => Kind::Capture(index),
            Capture::Itself => Kind::Itself,
        })
    }

    /// Looks in one function and then in those around it; what is found there is captured on the
    /// way back.
    fn find_in(&mut self, level: usize, name: &str) -> Option<Capture> {
        let function = &self.functions[level];
        if let Some((_, local)) = function
            .locals
            .iter()
            .rev()
            .find(|(known, _)| known == name)
        {
            return Some(Capture::Local(*local));
        }
        if function.name.as_deref() == Some(name) {
            return Some(Capture::Itself);
        }
        let outer = self.find_in(level.checked_sub(1)?, name)?;
        let captures = &mut self.functions[level].captures;
        let index = captures
            .iter()
            .position(|known| *known == outer)
            .unwrap_or_else(|| {
                captures.push(outer);
                captures.len() - 1
            });
        Some(Capture::Capture(index as u32))
    }

    /// A new local of the current function, in scope until [`Scopes::forget`].
    pub(super) fn bind(&mut self, name: &str) -> LocalId {
        let function = self.innermost();
        let local = LocalId(function.count);
        function.count += 1;
        function.locals.push((name.to_owned(), local));
        local
    }

    /// How many locals are in scope, for [`Scopes::forget`].
    pub(super) fn mark(&mut self) -> usize {
        self.innermost().locals.len()
    }

    /// Takes the locals bound since `mark` out of scope.
    pub(super) fn forget(&mut self, mark: usize) {
        self.innermost().locals.truncate(mark);
    }

    /// Enters a function.
    pub(super) fn enter(&mut self, name: Option<&str>) {
        self.functions.push(FunctionScope {
            name: name.map(str::to_owned),
            ..FunctionScope::default()
        });
    }

    /// Leaves the function entered last and gives what its closure captures.
    pub(super) fn leave(&mut self) -> Vec<Capture> {
        if self.functions.len() == 1 {
            return Vec::new();
        }
        self.functions
            .pop()
            .map(|function| function.captures)
            .unwrap_or_default()
    }

    /// Makes `target` what a `recur` in tail position meets, until [`Scopes::untarget`].
    pub(super) fn target(&mut self, target: Target) {
        self.innermost().targets.push(target);
    }

    /// Takes the innermost target away.
    pub(super) fn untarget(&mut self) {
        self.innermost().targets.pop();
    }

    /// What a `recur` in tail position meets.
    pub(super) fn current_target(&mut self) -> Option<Target> {
        self.innermost().targets.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_names_hide_outer_ones_until_they_are_forgotten() {
        let mut scopes = Scopes::new();
        let outer = scopes.bind("a");
        let mark = scopes.mark();
        let inner = scopes.bind("a");
        assert_eq!(scopes.find("a"), Some(Kind::Local(inner)));
        scopes.forget(mark);
        assert_eq!(scopes.find("a"), Some(Kind::Local(outer)));
        assert_eq!(scopes.find("b"), None);
    }

    #[test]
    fn a_capture_goes_through_every_function_on_the_way() {
        let mut scopes = Scopes::new();
        let a = scopes.bind("a");
        scopes.enter(Some("f"));
        scopes.enter(None);
        assert_eq!(scopes.find("a"), Some(Kind::Capture(0)));
        assert_eq!(scopes.find("f"), Some(Kind::Capture(1)));
        assert_eq!(scopes.find("a"), Some(Kind::Capture(0)), "captured once");
        assert_eq!(scopes.leave(), [Capture::Capture(0), Capture::Itself]);
        assert_eq!(scopes.leave(), [Capture::Local(a)]);
    }

    #[test]
    fn a_parameter_hides_the_name_of_its_function() {
        let mut scopes = Scopes::new();
        scopes.enter(Some("f"));
        assert_eq!(scopes.find("f"), Some(Kind::Itself));
        let parameter = scopes.bind("f");
        assert_eq!(scopes.find("f"), Some(Kind::Local(parameter)));
    }
}
