//! The C header of `crates/capi`, made from its source.

use crate::steps::Steps;
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;

/// Writes the header, or with `check` sees whether it is what the source says.
///
/// # Errors
/// A source that cannot be read, or a header that is out of date.
pub(crate) fn run(steps: &mut Steps, check: bool) -> Result<()> {
    steps.step("header", |_| {
        let (path, made) = (path(), make()?);
        let is_old = fs::read(&path).ok().as_ref() != Some(&made);
        match (is_old, check) {
            (false, _) => eprintln!("   {} is up to date", path.display()),
            (true, true) => bail!(
                "{} is not what the source says: run `cargo xtask header`",
                path.display()
            ),
            (true, false) => {
                fs::write(&path, made)?;
                eprintln!("   {} is written", path.display());
            }
        }
        Ok(())
    })
}

fn path() -> PathBuf {
    root().join("crates/capi/include/rekindle.h")
}

fn make() -> Result<Vec<u8>> {
    let package = root().join("crates/capi");
    let config = cbindgen::Config::from_file(package.join("cbindgen.toml"));
    let bindings = cbindgen::generate_with_config(&package, config.map_err(anyhow::Error::msg)?)
        .context("the source of the C interface cannot be read")?;
    let mut made = Vec::new();
    bindings.write(&mut made);
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_what_the_source_says() -> Result<()> {
        assert!(
            fs::read(path())? == make()?,
            "run `cargo xtask header`, and look at what it changes"
        );
        Ok(())
    }
}
