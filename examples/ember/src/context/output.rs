//! Where a program prints to.

use std::io::{BufWriter, IsTerminal, Write};

/// A buffered sink that never fails: after an error it swallows what comes.
pub(super) struct Output {
    sink: BufWriter<Box<dyn Write>>,
    is_terminal: bool,
    is_broken: bool,
}

impl Output {
    /// The process's standard output.
    pub(super) fn stdout() -> Self {
        let stdout = std::io::stdout();
        Self {
            is_terminal: stdout.is_terminal(),
            sink: BufWriter::new(Box::new(stdout)),
            is_broken: false,
        }
    }

    /// Any other sink.
    pub(super) fn to(sink: Box<dyn Write>) -> Self {
        Self {
            sink: BufWriter::new(sink),
            is_terminal: false,
            is_broken: false,
        }
    }

    pub(super) fn write(&mut self, text: &str) {
        if self.is_broken {
            return;
        }
        self.is_broken = self.sink.write_all(text.as_bytes()).is_err();
        if self.is_terminal && text.ends_with('\n') {
            self.flush();
        }
    }

    pub(super) fn flush(&mut self) {
        if !self.is_broken {
            self.is_broken = self.sink.flush().is_err();
        }
    }
}
