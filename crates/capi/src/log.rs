//! What Rekindle has to say: events of `tracing`, each as a line for the host's callback.

use crate::boundary::{Text, fallible};
use crate::error::{Error, ErrorCode, Failure};
use std::ffi::c_void;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, set_global_default};
use tracing::{Event, Level, Metadata, Subscriber};

/// How much a line matters.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing is said.
    Off = 0,
    /// Something does not work.
    Error = 1,
    /// The cache cannot do its work, and the host goes on without.
    Warn = 2,
    /// Explanations that were asked for.
    Info = 3,
    /// Every definition that was not a hit.
    Debug = 4,
    /// All there is.
    Trace = 5,
}

/// Takes a line. Called by any thread, several at once, threads of Rekindle's own among them. The texts are there
/// until it returns. Must not let an exception out, nor call Rekindle.
pub type LogCallback =
    Option<unsafe extern "C-unwind" fn(data: *mut c_void, level: u32, target: Text, message: Text)>;

#[derive(Clone, Copy)]
struct Sink {
    level: u32,
    callback:
        unsafe extern "C-unwind" fn(data: *mut c_void, level: u32, target: Text, message: Text),
    data: *mut c_void,
}

// SAFETY: the header tells hosts that the callback is called by any thread.
unsafe impl Send for Sink {}

static SINK: Mutex<Option<Sink>> = Mutex::new(None);

fn sink() -> MutexGuard<'static, Option<Sink>> {
    SINK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives every event to the sink.
struct Forward;

fn number(level: Level) -> u32 {
    let level = match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    };
    level as u32
}

/// The message, then the fields with their names.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        // Writing to a `String` does not fail, and a value that fails is left out.
        let _ = match field.name() {
            "message" => write!(self.0, "{separator}{value:?}"),
            name => write!(self.0, "{separator}{name}={value:?}"),
        };
    }
}

impl Subscriber for Forward {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // The level may be changed at any time.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        sink().is_some_and(|sink| metadata.is_event() && number(*metadata.level()) <= sink.level)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let Some(sink) = *sink() else {
            return;
        };
        let mut line = Line::default();
        event.record(&mut line);
        let metadata = event.metadata();
        let (target, message) = (Text::new(metadata.target()), Text::new(&line.0));
        // No lock is held here.
        // SAFETY: the host keeps callback and data for the life of the process; the texts live until it
        // returns.
        unsafe { (sink.callback)(sink.data, number(*metadata.level()), target, message) };
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Has lines up to `level` (a `rekindle_log_level`) given to `callback` with `data`, from all caches of this
/// process; a null `callback` ends that. By default nothing is said. A line may still be on its way when this
/// returns, so that callback and data have to last as long as the process. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_set_log(
    level: u32,
    callback: LogCallback,
    data: *mut c_void,
) -> *mut Error {
    fallible(|| {
        if level > LogLevel::Trace as u32 {
            return Err(Failure::argument(format!(
                "{level} is no rekindle_log_level"
            )));
        }
        *sink() = callback.map(|callback| Sink {
            level,
            callback,
            data,
        });
        static ONCE: Once = Once::new();
        let mut taken = false;
        ONCE.call_once(|| taken = set_global_default(Forward).is_err());
        match taken {
            false => Ok(()),
            true => Err(Failure::new(
                ErrorCode::State,
                "this program is Rust and has a subscriber of `tracing` already, which gets the lines",
            )),
        }
    })
}
