//! The host that random programs call: it keeps a log, and its words are not all addresses.

use crate::building::Words;
use std::cell::RefCell;

/// The name of the host's function.
pub(crate) const FUNCTION: &str = "host_mix";

/// The words that programs import, by name.
pub(crate) const WORDS: &[(&str, u64)] = &[
    ("const:\"a b\"", 0x15),
    ("const:0", 0),
    ("var:user/x", 0xffff_8000_1234_5678),
    ("ember:origin", u64::MAX),
];

thread_local! {
    static LOG: RefCell<Vec<(i64, u64)>> = const { RefCell::new(Vec::new()) };
}

/// Notes its arguments and mixes them.
extern "C" fn mix(integer: i64, float: f64) -> i64 {
    LOG.with_borrow_mut(|log| log.push((integer, float.to_bits())));
    integer.rotate_left(13) ^ float.to_bits() as i64
}

/// What the host was called with since it was last asked.
pub(crate) fn take_log() -> Vec<(i64, u64)> {
    LOG.take()
}

/// The words and the function.
pub(crate) fn symbols() -> Words {
    let function = mix as extern "C" fn(i64, f64) -> i64 as usize as u64;
    Words::new(WORDS.iter().copied().chain([(FUNCTION, function)]))
}
