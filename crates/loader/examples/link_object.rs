//! Links objects into an image file, and says what is in it. Code that is not position-independent is taken,
//! too.
//!
//! ```text
//! link_object OBJECT IMAGE ROOT...
//! ```

use rekindle_cache_core::artifact::Loader;
use rekindle_loader::{NativeLoader, Options, check};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [object, image_file, roots @ ..] = arguments.as_slice() else {
        return Err("usage: link_object OBJECT IMAGE ROOT...".into());
    };
    let object = std::fs::read(object).map_err(|error| format!("{object}: {error}"))?;
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let mut options = Options::default();
    options.position_dependent = true;
    let image = NativeLoader::with_options(options).prepare(&object, &roots)?;
    std::fs::write(image_file, &image.bytes).map_err(|error| format!("{image_file}: {error}"))?;

    let description = check(&image.bytes)?;
    println!(
        "{} bytes: {} of code, {} read-only in all, {} writable; {} words to fix up",
        image.bytes.len(),
        description.text_size(),
        description.payload_size(),
        description.data_size(),
        description.fixup_count(),
    );
    if description.is_low() {
        println!("for the low 2 GiB");
    }
    for import in description.imports() {
        let mark = if import.weak { " (weak)" } else { "" };
        println!("imports {}{mark}", import.name);
    }
    for export in description.exports() {
        println!("exports {export}");
    }
    Ok(())
}
