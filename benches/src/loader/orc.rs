//! LLVM's ORC: with JITLink or RuntimeDyld, a JITDylib per object or one for all.

use super::work::{Subject, Work, call};
use crate::orc::{Jit, Library, Setup};
use anyhow::Result;

/// A JIT of ORC's, made anew for each round.
pub(super) struct Orc {
    jit: Jit,
    setup: Setup,
    common: Library,
}

impl Orc {
    pub(super) fn new(setup: Setup) -> Result<Self> {
        Ok(Self {
            jit: Jit::new(setup)?,
            setup,
            common: Library::NONE,
        })
    }
}

impl Subject for Orc {
    fn begin(&mut self, _work: &Work) -> Result<()> {
        self.jit.start()?;
        if self.setup.shared {
            self.common = self.jit.library()?;
        }
        Ok(())
    }

    /// A JITDylib holds a name once, so that the one for all is made anew.
    fn again(&mut self, work: &Work) -> Result<()> {
        if self.setup.shared {
            self.end()?;
            self.begin(work)?;
        }
        Ok(())
    }

    fn load_and_call(&mut self, work: &Work, load: usize) -> Result<i64> {
        let unit = work.unit(load)?;
        let library = if self.setup.shared {
            self.common
        } else {
            self.jit.library()?
        };
        // SAFETY: the units outlive each round, at whose end the JIT is disposed of.
        unsafe { self.jit.add_borrowed(library, &unit.object) }?;
        let entry = self.jit.look_up(library, &unit.symbol)?;
        // SAFETY: it is the unit's factory.
        Ok(unsafe { call(entry) })
    }

    fn end(&mut self) -> Result<()> {
        self.jit.dispose()
    }
}
