//! What a common entry of `.eh_frame` says of the entries of functions.
//!
//! The format is that of the Linux Standard Base, "Exception Frames".

/// How pointers in entries are written (`DW_EH_PE_`).
#[derive(Clone, Copy)]
pub(crate) struct Encodings {
    pub(crate) function: u8,
    pub(crate) landing_pads: Option<u8>,
}

/// What the augmentation of a common entry says.
pub(crate) fn encodings(entry: &[u8]) -> Option<Encodings> {
    // Length, the zero, the version, then the letters.
    let letters = entry.get(9..)?;
    let end = letters.iter().position(|byte| *byte == 0)?;
    let mut rest = letters.get(end + 1..)?.iter().copied();
    let letters = letters.get(..end)?;
    let mut encodings = Encodings {
        function: 0,
        landing_pads: None,
    };
    if letters.first() != Some(&b'z') {
        return Some(encodings);
    }
    // Factors of code and data, the return address, the length of what follows.
    for _ in 0..4 {
        while rest.next()? & 0x80 != 0 {}
    }
    for letter in letters.get(1..)? {
        match letter {
            b'P' => {
                let width = width_of(rest.next()?)?;
                rest.nth(width - 1)?;
            }
            b'L' => encodings.landing_pads = Some(rest.next()?),
            b'R' => encodings.function = rest.next()?,
            _ => {}
        }
    }
    Some(encodings)
}

/// Bytes of a pointer in an encoding.
pub(crate) fn width_of(encoding: u8) -> Option<usize> {
    match encoding & 0x0f {
        0x00 | 0x04 | 0x0c => Some(8),
        0x03 | 0x0b => Some(4),
        _ => None,
    }
}
