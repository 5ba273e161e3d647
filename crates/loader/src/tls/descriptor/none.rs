//! On machines for which no images are made there are no descriptors.

/// No function has this address.
pub(crate) fn resolver() -> usize {
    0
}

/// No function has this address.
pub(crate) fn variable_getter() -> usize {
    0
}

/// Of no use without descriptors.
pub(crate) fn thread_pointer() -> u64 {
    0
}
