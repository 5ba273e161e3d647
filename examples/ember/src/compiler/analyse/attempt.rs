//! `try` with its `catch` and `finally`.

use super::scope::Target;
use super::{Analyser, Analysis, Place, error, node, plain_symbol};
use crate::compiler::CompileError;
use crate::compiler::ast::Kind;
use crate::value::{Position, Value, View};

/// A `catch` or `finally` inside a `try`.
struct Clause {
    is_catch: bool,
    parts: Vec<Value>,
    position: Position,
}

/// The clause that a form of a `try` is, if it is one.
fn clause(form: &Value, around: Position) -> Option<Clause> {
    let View::List(list) = form.view() else {
        return None;
    };
    let is_catch = match plain_symbol(list.first()?)? {
        "catch" => true,
        "finally" => false,
        _ => return None,
    };
    Some(Clause {
        is_catch,
        parts: list.iter().skip(1).cloned().collect(),
        position: form.position().unwrap_or(around),
    })
}

impl Analyser<'_> {
    /// `(try body ... (catch name body ...)? (finally body ...)?)`
    pub(super) fn attempt(&mut self, rest: &[Value], position: Position, place: Place) -> Analysis {
        let body_end = rest
            .iter()
            .position(|form| clause(form, position).is_some())
            .unwrap_or(rest.len());
        let (body, clauses) = rest.split_at_checked(body_end).unwrap_or((rest, &[]));
        let clauses: Vec<Clause> = clauses
            .iter()
            .map(|form| {
                let at = form.position().unwrap_or(position);
                clause(form, position).ok_or_else(|| {
                    error("only catch and finally may follow a catch or finally", at)
                })
            })
            .collect::<Result<_, CompileError>>()?;
        let (catch, finally) = match clauses.as_slice() {
            [] => return self.body(body, position, place),
            [clause] if clause.is_catch => (Some(clause), None),
            [clause] => (None, Some(clause)),
            [catch, finally] if catch.is_catch && !finally.is_catch => (Some(catch), Some(finally)),
            [_, clause, ..] => {
                return Err(error(
                    "try takes at most one catch, then at most one finally",
                    clause.position,
                ));
            }
        };
        self.scopes.target(Target::Try);
        let parts = self.attempt_parts(body, catch, finally, position);
        self.scopes.untarget();
        Ok(node(parts?, position))
    }

    fn attempt_parts(
        &mut self,
        body: &[Value],
        catch: Option<&Clause>,
        finally: Option<&Clause>,
        position: Position,
    ) -> Result<Kind, CompileError> {
        // In tail position, so that a `recur` here is told what is wrong with it.
        let place = Place {
            tail: true,
            top: false,
        };
        let body = Box::new(self.body(body, position, place)?);
        let catch = match catch {
            None => None,
            Some(clause) => {
                let name = clause.parts.first().and_then(plain_symbol);
                let (Some(name), Some(forms)) = (name, clause.parts.get(1..)) else {
                    return Err(error("catch takes a name and a body", clause.position));
                };
                let mark = self.scopes.mark();
                let local = self.scopes.bind(name);
                let body = self.body(forms, clause.position, place)?;
                self.scopes.forget(mark);
                Some((local, Box::new(body)))
            }
        };
        let finally = match finally {
            None => None,
            Some(clause) => Some(Box::new(self.body(
                &clause.parts,
                clause.position,
                place,
            )?)),
        };
        Ok(Kind::Try {
            body,
            catch,
            finally,
        })
    }
}
