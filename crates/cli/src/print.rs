//! Where the command prints: for people, or JSON for programs.

use serde::Serialize;
use std::io::{self, BufWriter, StdoutLock, Write};

/// Standard output, in one of two languages.
pub(crate) struct Printer {
    json: bool,
    out: BufWriter<StdoutLock<'static>>,
}

impl Printer {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            out: BufWriter::new(io::stdout().lock()),
        }
    }

    /// Prints `value`: as JSON, or by `human`.
    pub(crate) fn print<T: Serialize>(
        &mut self,
        value: &T,
        human: impl FnOnce(&T, &mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.json {
            serde_json::to_writer_pretty(&mut self.out, value).map_err(io::Error::from)?;
            self.out.write_all(b"\n")
        } else {
            human(value, &mut self.out)
        }
    }

    /// What is neither for people nor JSON, such as completions.
    pub(crate) fn raw(&mut self) -> &mut dyn Write {
        &mut self.out
    }

    /// Writes what is still in memory.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
