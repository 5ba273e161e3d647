//! Printing, files, and reading data.

use super::Native;
use super::arguments::text;
use crate::context::{Context, Seen};
use crate::error::Raised;
use crate::reader::read_constant;
use crate::value::{Value, print_plain, write_plain, write_readable};
use std::io::{Error, ErrorKind};

/// Why what was made of a file's contents follows from no code.
const READING: &str = "reading a file";

pub(super) const NATIVES: &[Native] = &[
    Native::at_least("print", 0, |cx, args| show(cx, args, write_plain, "")).impure("printing"),
    Native::at_least("println", 0, |cx, args| show(cx, args, write_plain, "\n")).impure("printing"),
    Native::at_least("pr", 0, |cx, args| show(cx, args, write_readable, "")).impure("printing"),
    Native::at_least("prn", 0, |cx, args| show(cx, args, write_readable, "\n")).impure("printing"),
    Native::exactly("flush", 0, flush).impure("printing"),
    Native::exactly("slurp", 1, slurp),
    Native::exactly("spit", 2, spit).impure("writing a file"),
    Native::exactly("program-path", 1, program_path),
    Native::exactly("getenv", 1, getenv),
    Native::exactly("read-string", 1, read_string),
];

fn show(
    cx: &Context,
    args: &[Value],
    write: fn(&mut String, &Value),
    end: &str,
) -> Result<Value, Raised> {
    let mut text = String::new();
    for (index, value) in args.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        write(&mut text, value);
    }
    text.push_str(end);
    cx.print(&text);
    Ok(Value::NIL)
}

fn flush(cx: &Context, _: &[Value]) -> Result<Value, Raised> {
    cx.flush_output();
    Ok(Value::NIL)
}

fn slurp(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [path] = args else { return Ok(Value::NIL) };
    let path = text(cx, "slurp", path)?;
    let read = std::fs::read(path);
    match &read {
        Ok(contents) => cx.note_seen(READING, || {
            Seen::File(path.to_owned(), Some(contents.clone()))
        }),
        Err(error) if is_absence(error.kind()) => {
            cx.note_seen(READING, || Seen::File(path.to_owned(), None));
            return Err(cx.raise(format!("slurp: cannot read {path}: there is no such file")));
        }
        Err(_) => cx.note_impure(READING),
    }
    let utf8 = |contents| {
        String::from_utf8(contents).map_err(|error| Error::new(ErrorKind::InvalidData, error))
    };
    match read.and_then(utf8) {
        Ok(contents) => Ok(Value::string(contents)),
        Err(error) => Err(cx.raise(format!("slurp: cannot read {path}: {error}"))),
    }
}

/// Whether an error says that there is no such file. In which way there is none depends on more than a
/// record of its absence holds.
fn is_absence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The value of an environment variable, or nil.
fn getenv(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [name] = args else { return Ok(Value::NIL) };
    let name = text(cx, "getenv", name)?;
    if name.is_empty() || name.contains(['=', '\0']) {
        return Ok(Value::NIL);
    }
    let value = std::env::var_os(name);
    cx.note_seen("an environment variable", || {
        Seen::Variable(name.to_owned(), value.clone())
    });
    Ok(value.map_or(Value::NIL, |value| Value::string(value.to_string_lossy())))
}

/// The path of a file that lies beside the program.
fn program_path(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [file] = args else { return Ok(Value::NIL) };
    let file = text(cx, "program-path", file)?;
    cx.note_seen("where the program lies", || Seen::ProgramFolder);
    let path = cx.program_folder().join(file);
    Ok(Value::string(path.to_string_lossy()))
}

fn spit(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [path, contents] = args else {
        return Ok(Value::NIL);
    };
    let path = text(cx, "spit", path)?;
    cx.check_changes("spit")?;
    cx.note_outside_changed();
    match std::fs::write(path, print_plain(contents)) {
        Ok(()) => Ok(Value::NIL),
        Err(error) => Err(cx.raise(format!("spit: cannot write {path}: {error}"))),
    }
}

fn read_string(cx: &Context, args: &[Value]) -> Result<Value, Raised> {
    let [source] = args else {
        return Ok(Value::NIL);
    };
    let source = text(cx, "read-string", source)?;
    read_constant(cx, source).map_err(|error| {
        let line = error.position.line + 1;
        let column = error.position.column + 1;
        cx.raise(format!("read-string: {line}:{column}: {error}"))
    })
}
