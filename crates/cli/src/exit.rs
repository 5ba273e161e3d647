//! Exit codes: a promise to scripts.

use rekindle_cache_core::bundle::BundleError;
use rekindle_cache_core::store::StoreError;
use std::io;
use std::process::ExitCode;

/// How the command ended. `2` is clap's, for a wrong command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Something could not be done.
    Failed = 1,
    /// Damage or a problem was found.
    Found = 3,
    /// No record was found.
    Nothing = 4,
    /// A folder, key or bundle is not to be trusted.
    Refused = 5,
    /// Another process is at it.
    Busy = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What `error` and its causes say, each thing once: many errors have their cause's words in their own.
pub(crate) fn in_words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let words = cause.to_string();
        if text.ends_with(&words) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&words);
    }
    text
}

/// The exit that `error` comes to.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    error
        .chain()
        .find_map(exit_of_cause)
        .unwrap_or(Exit::Failed)
}

fn exit_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        // Whoever reads, such as `head`, has had enough.
        return (error.kind() == io::ErrorKind::BrokenPipe).then_some(Exit::Done);
    }
    if let Some(StoreError::Untrusted { .. }) = cause.downcast_ref::<StoreError>() {
        return Some(Exit::Refused);
    }
    Some(match cause.downcast_ref::<BundleError>()? {
        BundleError::Unsigned { .. }
        | BundleError::Untrusted { .. }
        | BundleError::Revoked { .. }
        | BundleError::Store(StoreError::Untrusted { .. }) => Exit::Refused,
        BundleError::Malformed { .. } | BundleError::Signature { .. } => Exit::Found,
        _ => Exit::Failed,
    })
}
