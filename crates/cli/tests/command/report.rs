//! The page of `rekindle report`: what it tells, what hostile names can do in it, and how browsers take it.

use crate::cache::{Home, Made};
use rekindle_cache_core::Digest;
use rekindle_cache_core::history::Sample;
use rekindle_cache_core::journal::{Lines, Miss};
use rekindle_cache_core::latency::bucket;
use rekindle_cache_core::lifetime::Lifetime;
use rekindle_cache_core::store::FolderStore;
use rekindle_cache_core::timeline::{Kind, Span, Timeline};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Names that would do something if they were anything but text.
const HOSTILE: [&str; 5] = [
    "</title></style></code><script>document.title='owned'</script>",
    "\"><img src=x onerror=\"document.title='owned'\">",
    "' style='position:fixed;inset:0' onmouseover='document.title=1",
    "user/\u{202e}gpj.exe\u{2066}\n\t&lt;b&gt;<!--",
    "x-very-long-name-without-any-place-to-break-it-x-very-long-name-without-any-place-to-break-it-x-very-long-name",
];

/// How long a browser may take. It takes a second or two.
const PATIENCE: Duration = Duration::from_secs(120);

/// A home whose cache has lived.
fn lived() -> Home {
    let made = (0..14u64).map(|number| Made {
        name: HOSTILE
            .get(number as usize)
            .copied()
            .unwrap_or("user/plain"),
        text: ["a", "b", "c"][number as usize % 3],
        environment: number as u8,
        compile_ns: 9_000_000_000 / (number + 1),
        days_old: number,
        ..Made::default()
    });
    let home = Home::with(&made.collect::<Vec<_>>());
    let store = FolderStore::open_read_only(home.cache()).expect("opens");
    let files = store.folder();

    let mut life = Lifetime {
        since: Some(1_700_000_000),
        processes: 12,
        ..Lifetime::default()
    };
    let counts = [
        ("definitions", 1_000),
        ("hits", 900),
        ("second_hits", 50),
        ("misses", 80),
        ("bypasses", 15),
        ("rejected", 5),
        ("verified", 40),
        ("wrong", 1),
        ("eval_ns", 2_000_000_000),
        ("saved_ns", 90_000_000_000),
        ("miss new", 60),
        ("miss behaviour", 20),
        ("second hit new", 50),
        ("bypass volatile", 15),
        ("rejected deaths", 5),
        ("miss something of tomorrow", 1),
    ];
    for (name, count) in counts {
        life.counts.insert(name.to_owned(), count);
    }
    for (name, nanoseconds, times) in [
        ("hit", 4_000u64, 850),
        ("second hit", 300_000, 50),
        ("compiled", 8_000_000, 100),
    ] {
        let histogram = life.latencies.entry(name.to_owned()).or_default();
        for step in 0..5 {
            histogram.add(bucket(nanoseconds << step), times >> step);
        }
    }
    life.append_to(files).expect("written");

    for number in 0..60 {
        let sample = Sample {
            time: 1_700_000_000 + number * 86_400,
            bytes: (number % 20 + 1) << 20,
            records: number * 10,
            packs: 3,
            evicted: if number % 20 == 0 { 40 } else { 0 },
            evicted_bytes: if number % 20 == 0 { 10 << 20 } else { 0 },
        };
        sample.append_to(files).expect("written");
    }

    let mut lines = Lines::default();
    for (number, name) in HOSTILE.iter().chain(&HOSTILE).enumerate() {
        lines.miss(&Miss {
            time: 1_700_000_000,
            process: 7,
            outcome: ["miss", "bypass", "rejected"][number % 3].to_owned(),
            name: (*name).to_owned(),
            context: String::new(),
            text: Digest::of("test", b"text"),
            environment: Digest::of("test", b"environment"),
            reason: format!("what {name} does has changed, from 1 to 2"),
        });
    }
    lines.append_to(files).expect("written");

    let spans = (0..400u64).map(|number| Span {
        thread: (number % 3) as u32,
        start: number * 50_000,
        length: 40_000 + number % 7 * 200_000,
        kind: Kind::ALL[number as usize % Kind::ALL.len()],
        name: HOSTILE[number as usize % HOSTILE.len()].to_owned(),
    });
    let timeline = Timeline {
        time: 1_700_000_000,
        process: 7,
        program: HOSTILE[0].to_owned(),
        length: 40_000_000,
        left_out: 3,
        spans: spans.collect(),
    };
    timeline.write_to(files).expect("written");
    home
}

/// The page, which is made in the home.
fn page(home: &Home) -> (PathBuf, String) {
    let ended = home.run(&["report", "page.html"]).with(0);
    assert_eq!(ended.out.trim(), "HOME/page.html", "{}", ended.err);
    let path = home.path("page.html");
    let text = std::fs::read_to_string(&path).expect("it is there");
    (path, text)
}

#[test]
fn it_tells_all_that_is_known() {
    let (_, page) = page(&lived());
    for part in [
        "90.0 s of compiling saved",
        "In 12 runs",
        "900 came from the cache",
        "What came of them",
        "Something that ran while compiling does other things now",
        "miss something of tomorrow",
        "The costliest definitions",
        "How it grew",
        "120 records in all",
        "One process's start",
        "Compiled lately",
        "of 40 verified hits",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn names_are_text_and_nothing_is_loaded() {
    let (_, page) = page(&lived());
    for part in [
        "<script", "<img", "<!--", "http:", "https:", "//cdn", "url(", "@import", "\u{202e}",
        "<link",
    ] {
        assert!(!page.contains(part), "{part}");
    }
    assert!(page.contains("&lt;script&gt;"));
    // Inside of a tag nothing of a name stands but in attributes whose quotes are escaped.
    assert!(!page.contains("\"><img") && !page.contains("' onmouseover='document.title=1\""));
    assert_eq!(page.matches("<title>Rekindle").count(), 1);
}

#[test]
fn an_empty_cache_and_none_have_pages_and_errors() {
    let home = Home::with(&[]);
    let (_, page) = page(&home);
    assert!(page.contains("Nothing has been evaluated yet"));
    assert!(page.contains("No process has noted its start"));
    let ended = home.run(&["report", "-"]).with(0);
    assert!(ended.out.starts_with("<!DOCTYPE html>") && ended.out.trim_end().ends_with("</html>"));
    let json = home.json(&["report", "other.html"]);
    assert!(json["bytes"].as_u64() > Some(1_000));
    home.run(&["report", "no/such/folder/page.html"])
        .with(1)
        .complains(&["cannot write"]);
}

/// The page in a real browser, in two widths and two colour schemes, with the script of a test that looks at
/// what came of it.
#[test]
fn a_browser_shows_it() {
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| is_installed(name))
    else {
        eprintln!("skipped: no Chromium is installed");
        return;
    };
    let home = lived();
    let (path, page) = page(&home);
    // As it is, with its policy: hostile names have not run.
    let dom = dump(&home, browser, &path, &[]);
    assert!(dom.contains("<title>Rekindle: what the cache is worth</title>"));
    assert!(dom.contains("&lt;script&gt;"));

    let policy = "Content-Security-Policy";
    let probe = "<script>addEventListener('load', () => {\
         const wide = [...document.querySelectorAll('main > section, p, h1, h2, figure, .tiles')]\
           .filter(one => one.getBoundingClientRect().right > innerWidth + 1).length;\
         const pale = getComputedStyle(document.body).backgroundColor;\
         const keys = document.querySelectorAll('.key').length;\
         const seen = [...document.querySelectorAll('svg')].filter(one => one.getBoundingClientRect().height > 20).length;\
         const loaded = performance.getEntriesByType('resource').length;\
         document.title = [wide, document.documentElement.scrollWidth <= innerWidth, pale, keys > 10, seen, loaded].join('|');\
         })</script></body>";
    let probed = page.replace(policy, "unused").replace("</body>", probe);
    let path = home.path("probed.html");
    std::fs::write(&path, probed).expect("written");
    for (scheme, background) in [("1", "rgb(251, 250, 248)"), ("0", "rgb(22, 20, 18)")] {
        for width in ["500", "1200"] {
            let size = format!("--window-size={width},2000");
            let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
            let dom = dump(&home, browser, &path, &[&size, &scheme]);
            let title = dom
                .split_once("<title>")
                .and_then(|(_, rest)| rest.split_once("</title>"));
            let expected = format!("0|true|{background}|true|5|0");
            assert_eq!(title.map(|(title, _)| title), Some(&*expected), "{width}");
        }
    }
    let picture = home.path("page.png");
    let shot = format!("--screenshot={}", picture.display());
    dump(
        &home,
        browser,
        &home.path("page.html"),
        &[&shot, "--window-size=1200,3600"],
    );
    let picture = std::fs::read(picture).expect("there is a picture");
    if let Some(folder) = std::env::var_os("REKINDLE_KEEP_PAGES") {
        std::fs::copy(home.path("page.html"), Path::new(&folder).join("page.html")).expect("kept");
    }
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 50_000);
}

/// What the browser makes of a page.
fn dump(home: &Home, browser: &str, page: &Path, arguments: &[&str]) -> String {
    let out = home.path("dom");
    let mut command = Command::new(browser);
    home.surround(&mut command);
    command
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
        ])
        .args([
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-extensions",
        ])
        .arg(format!(
            "--user-data-dir={}",
            home.path("profile").display()
        ))
        .args(arguments);
    if !arguments
        .iter()
        .any(|argument| argument.starts_with("--screenshot"))
    {
        command.arg("--dump-dom");
    }
    command
        .arg(format!("file://{}", page.display()))
        .stdout(std::fs::File::create(&out).expect("a file"))
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    assert!(has_ended(&mut child), "the browser does not end");
    std::fs::read_to_string(out).expect("text")
}

fn has_ended(child: &mut Child) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if child.try_wait().expect("asked").is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
