//! The book of `docs/`: built, and its links followed.

use crate::steps::Steps;
use crate::workspace::{root, target_folder};
use anyhow::Result;
use xshell::cmd;

/// Builds the book into `target/book`.
pub(crate) fn run(steps: &mut Steps) -> Result<()> {
    steps.step("book", |shell| {
        let source = root().join("docs");
        let target = target_folder(shell)?.join("book");
        Ok(cmd!(
            shell,
            "cargo run --quiet --package rekindle-book -- {source} {target}"
        )
        .run()?)
    })
}
