//! Bars for what takes long: on a terminal only, on standard error.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts what.
#[derive(Clone, Copy)]
pub(crate) enum Counted {
    Bytes,
    Records,
}

/// A bar, which goes away when it is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(doing: &'static str, counted: Counted) -> Self {
        let amounts = match counted {
            Counted::Bytes => "{binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}",
            Counted::Records => "{human_pos} of {human_len}",
        };
        // Hidden where standard error is no terminal.
        let bar = ProgressBar::new(0).with_message(doing);
        let template = format!("{{msg}} [{{bar:30}}] {amounts}, {{eta}} left");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    pub(crate) fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
