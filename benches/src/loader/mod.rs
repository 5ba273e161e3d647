//! Loaders, from what they are given to the first call: objects and images of four shapes.
//!
//! Each figure is the time to load one unit, look its factory up by name and call it once. All
//! subjects are measured in one process in turns, with the same objects; `dlopen` gets libraries that
//! lld linked from them beforehand. `bytes` is the memory that an image takes up, and the CPU time is
//! that of all threads, pauses between rounds included, when helper threads get to run.
//!
//! A turn is 300 units for the small shapes. For `large-o2` it is a burst of 11 loads of the one unit, each
//! into memory of its own (for `dlopen`: each of a file of its own): the first, which finds in no
//! cache what it needs, as it comes right after others' work, is in the row `large-o2-first`, and the ten after
//! it in `large-o2`. For all other shapes a turn is a single load, right after others' work.

pub(crate) mod bars;
mod compile;
#[cfg(feature = "peers")]
mod cranelift;
pub(crate) mod dlopen;
#[cfg(feature = "peers")]
mod elf;
mod first_touch;
mod orc;
mod rekindle;
mod run;
mod sources;
mod throwing;
mod work;

use crate::orc::Setup;
use crate::row::Row;
use anyhow::{Context, Result, ensure};
use rekindle::{From, Rekindle};
use rekindle_loader_peers::{LLVM_19, LLVM_22};
use run::Contender;
use std::path::{Path, PathBuf};
use std::time::Duration;
use work::{Subject, Work};

/// Measures everything, or the works that `wanted` names, with all subjects or those of `subjects`. A quick
/// run leaves out the chains of COMDAT groups, which take LLVM seconds each.
pub(crate) fn measure(wanted: &[String], subjects: &[String], is_quick: bool) -> Result<Vec<Row>> {
    let names = |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
    let is_wanted =
        |name: &str| names(wanted, name) && !(is_quick && name.starts_with("comdat-chain"));
    let enough = if is_quick { run::QUICK } else { run::ENOUGH };
    let chosen = |mut all: Vec<Contender>| {
        all.retain(|contender| names(subjects, contender.name));
        all
    };
    // A host with LLVM in it is linked to LLVM, and whoever looks for a symbol finds it there first.
    if let Err(error) = dlopen::make_global(LLVM_22) {
        eprintln!("left out: ORC of LLVM 22, since {error:#}");
    }
    // What the objects need of C++; a host of such code has it.
    dlopen::make_global(c"libstdc++.so.6")?;
    let folder = folder()?;
    let tools = compile::Tools::find()?;
    let mut rows = Vec::new();
    // Before anything else has registered unwind tables.
    if is_wanted("throw") {
        rows.extend(throwing::measure(&tools, &folder)?);
    }
    for shape in compile::SHAPES.iter().filter(|shape| is_wanted(shape.work)) {
        let work = compile::work(shape, &tools, &folder)?;
        rows.extend(run::alternate(&work, chosen(contenders(&work)), enough)?);
        match tools.link_times(&work) {
            Ok(times) => rows.extend(Row::new(format!("{}, linking", work.name), "lld", times)),
            Err(error) => eprintln!("left out: {error:#}"),
        }
        if shape.work == "small" {
            rows.extend(first_touch::measure(&work)?);
        }
    }
    if is_wanted("small-clif") {
        rows.extend(clif(chosen, enough)?);
    }
    ensure!(!rows.is_empty(), "there is no such work");
    Ok(rows)
}

/// Where objects are kept for the next run: beside this program, in the folder of builds.
fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.parent().and_then(Path::parent);
    let folder = target
        .context("this program is in no folder")?
        .join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn contender<S: Subject + 'static>(name: &'static str, subject: Result<S>) -> Contender {
    let subject = subject.map(|subject| Box::new(subject) as Box<dyn Subject>);
    Contender { name, subject }
}

fn contenders(work: &Work) -> Vec<Contender> {
    let orc = |name, library, rtdyld, shared| {
        let setup = Setup {
            library,
            rtdyld,
            shared,
        };
        contender(name, orc::Orc::new(setup))
    };
    let new = LLVM_22;
    let mut all = vec![
        contender("rekindle-image", Ok(Rekindle::new(From::Image))),
        contender("rekindle-object", Ok(Rekindle::new(From::Object))),
        orc("orc-rtdyld", new, true, false),
        contender("dlopen", Ok(dlopen::Dlopen::new())),
    ];
    if work.name == "comdat-chain-4000" {
        let none: Result<Rekindle> = Err(anyhow::anyhow!("left out, as it takes a minute"));
        all.push(contender("orc-jitlink", none));
    } else {
        all.push(orc("orc-jitlink", new, false, false));
        all.push(orc("orc-jitlink-shared", new, false, true));
    }
    #[cfg(feature = "peers")]
    {
        all.push(contender("elf-loader", elf::ElfLoader::new(work)));
        let reason = "it takes CLIF, and no objects; see small-clif";
        let none: Result<Rekindle> = Err(anyhow::anyhow!(reason));
        all.push(contender("cranelift-jit", none));
    }
    if work.name.starts_with("comdat") {
        // Much slower here in the newer version, so that the older has to be there as well.
        all.push(orc("orc-jitlink-19", LLVM_19, false, false));
    }
    all
}

#[cfg(feature = "peers")]
fn clif(chosen: impl Fn(Vec<Contender>) -> Vec<Contender>, enough: Duration) -> Result<Vec<Row>> {
    let work = cranelift::work(300)?;
    let all = vec![
        contender("rekindle-image", Ok(Rekindle::new(From::Image))),
        contender("rekindle-object", Ok(Rekindle::new(From::Object))),
        contender("cranelift-jit", cranelift::Jit::new(false)),
        contender("cranelift-jit-compile", cranelift::Jit::new(true)),
    ];
    run::alternate(&work, chosen(all), enough)
}

#[cfg(not(feature = "peers"))]
fn clif(_chosen: impl Fn(Vec<Contender>) -> Vec<Contender>, _enough: Duration) -> Result<Vec<Row>> {
    let reason = "this program was built without the feature `peers`".to_owned();
    let work = "small-clif".to_owned();
    Ok(vec![Row::refused(work, "cranelift-jit", reason)])
}
