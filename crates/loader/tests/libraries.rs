//! Whole libraries, linked and loaded without the system's linker: their archives' members and a driver
//! become one image.
//!
//! What they answer is compared with the same program linked by the system, and with somebody who has
//! it from elsewhere: the `sqlite3` shell, `gzip`, and arithmetic written out here.

mod whole;

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use whole::{Answer, Ended, end_of, is_installed, run_loaded, run_native, skip, succeed};

/// A driver, compiled, beside the library's archive.
struct Driver {
    folder: TempDir,
    object: PathBuf,
    archive: PathBuf,
    link_flags: &'static [&'static str],
    libraries: &'static [&'static str],
}

impl Driver {
    /// `None`, and a line that says so, where the library is not installed.
    fn compile(
        library: &str,
        package: &str,
        source: &str,
        link_flags: &'static [&'static str],
        libraries: &'static [&'static str],
    ) -> Answer<Option<Self>> {
        let name = format!("lib{library}.a");
        let asked = Command::new("gcc")
            .arg(format!("-print-file-name={name}"))
            .output()?;
        let archive = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
        // What gcc does not find it echoes.
        if !archive.is_absolute() {
            skip(
                &format!("{name} whole"),
                &format!("{package} is not installed"),
            );
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let object = folder.path().join("driver.o");
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/drivers")
            .join(source);
        succeed(
            Command::new("gcc")
                .args(["-O2", "-fPIC", "-Wall", "-c"])
                .arg(source)
                .arg("-o")
                .arg(&object),
        )?;
        Ok(Some(Self {
            folder,
            object,
            archive,
            link_flags,
            libraries,
        }))
    }

    fn path(&self, name: &str) -> Answer<String> {
        let path = self.folder.path().join(name).into_os_string();
        Ok(path
            .into_string()
            .map_err(|path| format!("not UTF-8: {path:?}"))?)
    }

    /// Runs the driver linked by the system, and through the loader.
    fn run_both(&self, native: &[&str], loaded: &[&str], input: &str) -> Answer<(Ended, Ended)> {
        let files: &[&Path] = &[&self.object, &self.archive];
        let loaded = run_loaded(self.libraries, files, loaded, input)?;
        let native = run_native("gcc", files, self.link_flags, native, input)?;
        Ok((native, loaded))
    }
}

fn assert_ended_well(ended: &Ended) {
    assert_eq!(ended.status, "exit status: 0", "{}", ended.stderr);
}

const QUERIES: &str = "
SELECT count(*), sum(id), min(name), max(name) FROM item;
SELECT count(*), round(avg(weight), 6), count(tag) FROM item WHERE id % 3 = 0;
SELECT tag, count(*), max(weight) FROM item GROUP BY tag ORDER BY 2 DESC, 1 LIMIT 10;
SELECT id, name FROM item WHERE name LIKE 'item 99%' ORDER BY name LIMIT 12;
SELECT a.id, b.id FROM item a JOIN item b ON a.name = b.name AND a.id < b.id LIMIT 5;
SELECT hex(body), length(body), typeof(weight) FROM item WHERE id IN (1, 77, 99999);
SELECT name, rank() OVER (PARTITION BY tag ORDER BY weight, id) FROM item WHERE tag = 5 LIMIT 5;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
  SELECT sum(i * i), group_concat(CASE WHEN i % 1000 = 0 THEN i END) FROM n;
SELECT printf('%08.3f|%s|%x', 3.14159, upper('text'), 255), substr('abcdef', -3, 2), 7 / 2, 7 / 2.0, 1e300 * 10;
SELECT json_extract('{\"a\": [1, {\"b\": 2.5}]}', '$.a[1].b'), date('2024-02-29', '+1 year');
UPDATE item SET weight = weight * 2 WHERE tag = 7;
SELECT total(weight), quote(NULL), 'it''s' FROM item WHERE tag = 7;
DELETE FROM item WHERE id % 1000 = 1;
SELECT count(*) FROM item;
PRAGMA integrity_check;
";

#[test]
fn sqlite_answers_as_its_shell_does() -> Answer<()> {
    let libraries: &[_] = &["libm.so.6"];
    let flags: &[_] = &["-lm", "-ldl", "-lpthread"];
    let driver = Driver::compile("sqlite3", "libsqlite3-dev", "sqlite.c", flags, libraries)?;
    let Some(driver) = driver else {
        return Ok(());
    };
    let rows = 100_000_u64;
    let (native_file, file) = (driver.path("native.db")?, driver.path("loaded.db")?);
    let count = rows.to_string();
    let (native, loaded) = driver.run_both(&[&native_file, &count], &[&file, &count], QUERIES)?;
    assert_ended_well(&loaded);
    assert_eq!(loaded, native);
    assert_eq!(std::fs::read(&file)?, std::fs::read(&native_file)?);

    let digit_sum = |n: u64| {
        n.to_string()
            .bytes()
            .map(|d| u64::from(d - b'0'))
            .sum::<u64>()
    };
    let kept = (1..=rows).filter(|id| id % 1000 != 1);
    let digits = format!("digits: {}\n", kept.map(digit_sum).sum::<u64>());
    assert_eq!(loaded.stderr, digits);

    if !is_installed("sqlite3") {
        skip("sqlite compared with its shell", "sqlite3 is not installed");
        return Ok(());
    }
    // The shell writes the same rows into a database of its own, by SQL alone.
    let filled = format!(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, weight REAL, tag INTEGER, body BLOB);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
           INSERT INTO item SELECT i, 'item ' || (i * 7919 % 100003), (i % 1000) / 8.0,
             CASE WHEN i % 10 THEN i % 97 END, {} FROM n;
         CREATE INDEX item_name ON item (name);
         CREATE INDEX item_tag ON item (tag, weight DESC);
         {QUERIES}",
        body_in_sql()
    );
    let shell = end_of(
        Command::new("sqlite3").arg(driver.path("shell.db")?),
        &filled,
    )?;
    assert_ended_well(&shell);
    assert_eq!(loaded.stdout, shell.stdout);
    // And it can read what the loaded code wrote.
    let check = "SELECT count(*) FROM item; PRAGMA integrity_check;";
    let shell = end_of(Command::new("sqlite3").args([file.as_str(), check]), "")?;
    assert_eq!(shell.stdout, "99900\nok\n");
    Ok(())
}

/// The driver's 16 bytes of row `i`.
fn body_in_sql() -> String {
    let bytes: Vec<String> = (0..16)
        .map(|k| format!("65 + i * {} % 26", k + 3))
        .collect();
    format!("CAST(char({}) AS BLOB)", bytes.join(", "))
}

#[test]
fn zlib_goes_round() -> Answer<()> {
    let driver = Driver::compile("z", "zlib1g-dev", "zlib.c", &[], &[])?;
    let Some(driver) = driver else {
        return Ok(());
    };
    let (native_file, file) = (driver.path("native.gz")?, driver.path("loaded.gz")?);
    let (native, loaded) = driver.run_both(&[&native_file], &[&file], "")?;
    assert_ended_well(&loaded);
    assert_eq!(loaded, native);
    assert_eq!(std::fs::read(&file)?, std::fs::read(&native_file)?);
    let first = loaded.stdout.lines().next().unwrap_or_default();
    assert!(first.ends_with(" cbf43926 091e01de"), "{first}");
    // The first kind is zeros, whose checksums follow from the definitions.
    for size in [100, 65_537, 1_000_003] {
        let zeros = vec![0; size];
        let line = format!(
            "kind 0 size {size} crc {:08x} adler {:08x}",
            crc32(&zeros),
            (size % 65_521) << 16 | 1
        );
        assert!(loaded.stdout.lines().any(|found| found == line), "{line}");
    }
    if !is_installed("gzip") {
        skip("zlib's file read by gzip", "gzip is not installed");
        return Ok(());
    }
    let unpacked = Command::new("gzip").args(["-dc", &file]).output()?;
    assert!(unpacked.status.success());
    assert_eq!(unpacked.stdout.len(), 4 * (1 + 100 + 65_537 + 1_000_003));
    Ok(())
}

/// CRC-32 as its definition has it, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn gmp_knows_the_answers() -> Answer<()> {
    let driver = Driver::compile("gmp", "libgmp-dev", "gmp.c", &[], &[])?;
    let Some(driver) = driver else {
        return Ok(());
    };
    let (native, loaded) = driver.run_both(&[], &[], "")?;
    assert_ended_well(&loaded);
    assert_eq!(loaded, native);
    let answer = |name: &str| {
        let mut lines = loaded.stdout.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.ok_or_else(|| format!("no line `{name}`"))
    };
    for n in [100, 2000] {
        assert_eq!(answer(&format!("factorial-{n}"))?, decimal(&factorial(n)));
    }
    assert_eq!(answer("fibonacci-5000")?, decimal(&fibonacci(5000)));
    let mut powers = 0;
    for modulus in [
        97,
        1_000_000_007,
        998_244_353,
        2_305_843_009_213_693_951,
        4_611_686_018_427_387_847,
    ] {
        for base in (2..6).map(|base| base * 1_234_567_890_123) {
            let expected = power(base, 987_654_321_987, modulus).to_string();
            assert_eq!(answer(&format!("power-{base}-{modulus}"))?, expected);
            powers += 1;
        }
    }
    assert_eq!(powers, 20);
    let identities = loaded
        .stdout
        .lines()
        .filter(|l| l.starts_with("identities-"));
    let identities: Vec<_> = identities.collect();
    assert_eq!(identities.len(), 8);
    assert!(
        identities.iter().all(|line| line.ends_with(" 11111")),
        "{identities:?}"
    );
    assert_eq!(answer("prime-2^521-1")?, "1");
    assert_eq!(answer("prime-2^523-1")?, "0");
    let root = "1.414213562373095048801688724209698078569671875376948073176680";
    assert_eq!(answer("root-of-2")?, root);
    assert_eq!(answer("sum")?, "5/6");
    Ok(())
}

/// Digits to the base of a thousand million, the lowest first.
type Digits = Vec<u32>;

const BASE: u64 = 1_000_000_000;

fn factorial(n: u64) -> Digits {
    let mut digits = vec![1];
    for factor in 2..=n {
        let mut carry = 0;
        for digit in &mut digits {
            let product = u64::from(*digit) * factor + carry;
            *digit = (product % BASE) as u32;
            carry = product / BASE;
        }
        while carry != 0 {
            digits.push((carry % BASE) as u32);
            carry /= BASE;
        }
    }
    digits
}

fn fibonacci(n: u32) -> Digits {
    let (mut a, mut b): (Digits, Digits) = (vec![0], vec![1]);
    for _ in 0..n {
        let mut sum = Vec::new();
        let mut carry = 0;
        for (index, digit) in b.iter().enumerate() {
            let total = u64::from(*digit) + u64::from(a.get(index).copied().unwrap_or(0)) + carry;
            sum.push((total % BASE) as u32);
            carry = total / BASE;
        }
        if carry != 0 {
            sum.push(carry as u32);
        }
        (a, b) = (b, sum);
    }
    a
}

fn decimal(digits: &Digits) -> String {
    let mut digits = digits.iter().rev();
    let mut text = digits.next().map_or(String::new(), u32::to_string);
    for digit in digits {
        text += &format!("{digit:09}");
    }
    text
}

fn power(base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let modulus = u128::from(modulus);
    let (mut square, mut result) = (u128::from(base) % modulus, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * square % modulus;
        }
        square = square * square % modulus;
        exponent >>= 1;
    }
    result as u64
}
