//! Builds the book of `docs/` into the folder that it is given, and checks that every link in it leads somewhere.
//!
//! It is a program of its own so that only who wants the book builds what makes it.

use anyhow::{Context, Result, bail};
use mdbook_driver::MDBook;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [source, target] = &folders[..] else {
        eprintln!("usage: rekindle-book SOURCE TARGET");
        return ExitCode::from(2);
    };
    match make(source, target) {
        Ok(pages) => {
            eprintln!(
                "   {pages} pages, from {}",
                target.join("index.html").display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Gives the number of pages.
fn make(source: &Path, target: &Path) -> Result<usize> {
    // What is relative would be so to the book.
    let target = std::path::absolute(target).context("cannot tell where the book goes")?;
    build(source, &target)?;
    check(source, &target)
}

fn build(source: &Path, target: &Path) -> Result<()> {
    let mut book = MDBook::load(source).context("the book cannot be read")?;
    book.config.build.build_dir = target.to_owned();
    book.build().context("the book cannot be built")
}

/// Looks at every link of every page; gives the number of pages.
fn check(source: &Path, target: &Path) -> Result<usize> {
    let mut broken = Vec::new();
    let mut pages = BTreeSet::new();
    for entry in std::fs::read_dir(source).context("the pages cannot be listed")? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_owned();
        if path.extension().is_some_and(|end| end == "md") && name != "SUMMARY" {
            let page = match name == "introduction" {
                true => PathBuf::from("index.html"),
                false => PathBuf::from(name).with_extension("html"),
            };
            match target.join(&page).is_file() {
                true => drop(pages.insert(page)),
                false => broken.push(format!("{} is not in SUMMARY.md", path.display())),
            }
        }
    }
    for page in &pages {
        let text = read(&target.join(page))?;
        for link in links(&text) {
            if let Err(what) = follow(target, page, link)? {
                broken.push(format!("{}: {link}: {what}", page.display()));
            }
        }
    }
    match broken.is_empty() {
        true => Ok(pages.len()),
        false => bail!("links lead nowhere:\n{}", broken.join("\n")),
    }
}

/// What the links of a page name.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let parts = page.split("href=\"").skip(1);
    parts.filter_map(|part| part.split_once('"').map(|(link, _)| link))
}

/// Whether a link of `page` leads to something, and if not, why.
fn follow(target: &Path, page: &Path, link: &str) -> Result<Result<(), String>> {
    if link.starts_with("https://") {
        // Others' pages are not asked: a check hangs on nobody's server.
        return Ok(Ok(()));
    }
    if link.contains(':') {
        return Ok(Err("it is neither of the book nor https".to_owned()));
    }
    let (file, part) = link.split_once('#').unwrap_or((link, ""));
    let path = match file {
        "" => page.to_owned(),
        file => page.with_file_name(file),
    };
    let is_inside = path
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    let path = target.join(path);
    if !is_inside || !path.is_file() {
        return Ok(Err("there is no such page in the book".to_owned()));
    }
    if part.is_empty() || read(&path)?.contains(&format!("id=\"{part}\"")) {
        return Ok(Ok(()));
    }
    Ok(Err(format!("that page has no part {part}")))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("rekindle-book-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("a.html"), "<h2 id=\"one\"></h2>")?;
        let text = "<a href=\"a.html#one\"></a><a href='x'></a><a href=\"\"></a>";
        assert_eq!(links(text).collect::<Vec<_>>(), ["a.html#one", ""]);
        let leads = |link| follow(&folder, Path::new("a.html"), link).map(|led| led.is_ok());
        let good = ["a.html", "a.html#one", "#one", "https://example.org/x"];
        let bad = [
            "b.html",
            "a.html#two",
            "../a.html",
            "http://example.org",
            "/a.html",
        ];
        let good = good.map(leads).into_iter().collect::<Result<Vec<_>>>()?;
        let bad = bad.map(leads).into_iter().collect::<Result<Vec<_>>>()?;
        std::fs::remove_dir_all(&folder)?;
        assert_eq!((good, bad), (vec![true; 4], vec![false; 5]));
        Ok(())
    }
}
