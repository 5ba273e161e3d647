//! Plain recompilation: the definition as C, compiled and linked anew, and opened.

use super::dlopen;
use super::peer::{Peer, Place, call};
use crate::language::{RUNTIME, Source, calls};
use anyhow::Result;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const COMPILERS: &[&str] = &["clang-22", "clang", "cc"];

struct Clang {
    compiler: &'static str,
    folder: PathBuf,
}

pub(super) fn prepare(place: &Place, _: Duration) -> Result<usize> {
    dlopen::first(COMPILERS)?;
    dlopen::host_library(place)?;
    Ok(place.count)
}

pub(super) fn start(place: &Place) -> Result<Box<dyn Peer>> {
    dlopen::open_host_library(place)?;
    std::fs::create_dir_all(&place.own)?;
    Ok(Box::new(Clang {
        compiler: dlopen::first(COMPILERS)?,
        folder: place.own.clone(),
    }))
}

impl Peer for Clang {
    fn bring_back(&mut self, number: usize) -> Result<u64> {
        let file = |extension| self.folder.join(format!("{number}.{extension}"));
        std::fs::write(file("c"), source(number))?;
        let mut command = Command::new(self.compiler);
        command.args(["-O2", "-shared", "-fPIC"]).arg(file("c"));
        dlopen::run(command.arg("-o").arg(file("so")))?;
        let factory = dlopen::open(&file("so"), "factory")?;
        // SAFETY: the library was made of one of the language's definitions.
        Ok(unsafe { call(factory) })
    }
}

/// Definition `number` in C.
fn source(number: usize) -> String {
    let mut text = String::from("typedef unsigned long word;\n");
    for (name, _) in RUNTIME {
        let _ = writeln!(text, "word {name}(word, word);");
    }
    for (index, word) in Source::words(number).iter().enumerate() {
        let name = &word.name;
        let _ = writeln!(
            text,
            "extern const char word_{index}[] __asm__(\"{name}\");"
        );
    }
    let _ = writeln!(
        text,
        "static word function(word left, word right) {{\n  word sum = left + {number};"
    );
    for call in calls(number) {
        let (name, _) = RUNTIME[call.runtime];
        let (word, addend) = (call.word, call.addend);
        let _ = writeln!(
            text,
            "  sum = ({name}(sum, (word)word_{word}) ^ right) + {addend};"
        );
    }
    text.push_str("  return sum;\n}\nword (*factory(void))(word, word) { return function; }\n");
    text
}
