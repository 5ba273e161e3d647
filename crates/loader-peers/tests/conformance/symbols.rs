//! What the trait promises of symbols, by every loader: the host's words are bound, each image for itself.

use crate::whole::{Answer, first_installed, skip, succeed};
use rekindle_cache_core::artifact::{Code, ImageRef, LoadFailure, Loader, Symbols};
use rekindle_loader::NativeLoader;
use rekindle_loader_peers::{LLVM_22, Linker, OrcLoader, SystemLoader};
use std::process::Command;

/// Whether LLVM 22's library is there.
pub(crate) fn has_llvm() -> bool {
    OrcLoader::new(LLVM_22, Linker::JitLink).is_ok()
}

/// A host that knows one name, whose word is an address of its own.
struct Answering(&'static i64);

impl Symbols for Answering {
    fn address(&self, hash: u64, name: &str) -> Option<u64> {
        assert_eq!(hash, rekindle_cache_core::symbol_hash(name));
        (name == "var:core/answer").then_some(std::ptr::from_ref(self.0) as u64)
    }
}

/// Returns what lies where the host says that its variable is.
const SOURCE: &str = r#"
    extern long answer __asm__("\"var:core/answer\"");
    long look(void) { return answer; }
"#;

fn object() -> Answer<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let [source, object] = ["look.c", "look.o"].map(|name| folder.path().join(name));
    std::fs::write(&source, SOURCE)?;
    let mut command = Command::new("gcc");
    command.args(["-O1", "-fPIC", "-c"]).arg(&source);
    succeed(command.arg("-o").arg(&object))?;
    Ok(std::fs::read(object)?)
}

/// Two images of one object are bound to two hosts' words; altered ones and missing roots are refused.
fn keeps_the_contract<L: Loader>(loader: &L) -> Answer<()> {
    static ONE: i64 = 41;
    static OTHER: i64 = 43;
    let object = object()?;
    let image = loader.prepare(&object, &["look"])?;
    for word in [&ONE, &OTHER] {
        // SAFETY: the image was made just now, of this test's source.
        let code = unsafe { loader.load(image.as_ref(), &Answering(word)) }?;
        let look = code.symbol("look").ok_or("it is a root")?;
        // SAFETY: it is a function of this type.
        let look = unsafe { std::mem::transmute::<*const u8, extern "C" fn() -> i64>(look) };
        assert_eq!(look(), *word);
        assert!(code.symbol("nobody").is_none());
        assert!(code.size() > 0);
    }
    assert!(loader.prepare(&object, &["nobody"]).is_err());
    let altered = ImageRef {
        checksum: !image.checksum,
        ..image.as_ref()
    };
    // SAFETY: it is not loaded.
    let refused = unsafe { loader.load(altered, &Answering(&ONE)) };
    assert!(refused.is_err_and(|error| error.is_damage()));
    Ok(())
}

#[test]
fn every_loader_binds_each_image_to_its_own_words() -> Answer<()> {
    keeps_the_contract(&NativeLoader::new())?;
    if !has_llvm() {
        skip("ORC as a loader", "LLVM 22 is not installed");
        return Ok(());
    }
    keeps_the_contract(&OrcLoader::new(LLVM_22, Linker::JitLink)?)?;
    keeps_the_contract(&OrcLoader::new(LLVM_22, Linker::RuntimeDyld)?)?;
    match first_installed(&["ld.lld-22"]) {
        Some(linker) => keeps_the_contract(&SystemLoader::new(linker)),
        None => {
            skip("`dlopen` as a loader", "lld 22 is not installed");
            Ok(())
        }
    }
}
