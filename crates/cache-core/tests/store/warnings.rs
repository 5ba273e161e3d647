//! Warnings: a store that does not work says so once, however often it does not.

use crate::fault_layer::FaultyIo;
use crate::records::{Sample, Seen, put};
use rekindle_cache_core::store::{FolderStore, Limits, Merge, Options, Store};
use std::cell::Cell;
use std::sync::Arc;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    static WARNINGS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the warnings, and what is graver, of each thread. Of the whole process, since what is set for one
/// thread alone may be forgotten when another is the first to come to a message.
struct Warnings;

impl Subscriber for Warnings {
    fn register_callsite(&self, _metadata: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, _event: &Event<'_>) {
        WARNINGS.set(WARNINGS.get() + 1);
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// A warning for each definition buries what a program itself has to say.
#[test]
fn any_number_of_faults_is_one_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let io = Arc::new(FaultyIo::sound(folder.path()));
    tracing::subscriber::set_global_default(Warnings).expect("the only one");
    let options = Options {
        limits: Limits::NONE,
        io: io.clone(),
        ..Options::default()
    };
    let store = FolderStore::open_with(folder.path(), options).expect("opens");
    put(&store, "before", 0, 100);
    store.flush().expect("flushed");
    assert_eq!(WARNINGS.get(), 0, "all is well");
    io.stop();
    for version in 1..=20 {
        // Larger than a batch, so that putting writes as well.
        let sample = Sample::new(&format!("name {version}"), version, 300_000);
        assert!(sample.put(&store).is_err());
        assert!(store.write().is_err() && store.flush().is_err());
        assert!(store.refresh().is_err() && store.maintain().is_err());
        assert!(store.merge(Merge::All).is_err());
        assert_eq!(Seen::of(&store, "before").versions(), [0]);
    }
    assert!(store.statistics().faults >= 100);
    drop(store);
    assert_eq!(WARNINGS.get(), 1);
}
