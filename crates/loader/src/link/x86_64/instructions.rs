//! The instructions of x86-64 that change with what they refer to, and those that a linker writes.

/// How the instruction around a field changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::link) enum Rewrite {
    LoadToAddress,
    Call,
    Jump,
    /// See [`borrowed`](super::borrowed).
    AddressToLoad,
}

impl Rewrite {
    /// Changes an instruction, given with the two bytes before its field, to do without its slot.
    /// `distance` is what its field would hold. `None` if that does not fit.
    pub(in crate::link) fn apply(self, instruction: &mut [u8; 6], distance: i64) -> Option<()> {
        let field = |distance: i64| i32::try_from(distance).ok().map(i32::to_le_bytes);
        let [_, modrm, ..] = *instruction;
        *instruction = match self {
            Rewrite::LoadToAddress => {
                let [a, b, c, d] = field(distance)?;
                [0x8d, modrm, a, b, c, d]
            }
            Rewrite::AddressToLoad => {
                let [a, b, c, d] = field(distance)?;
                [0x8b, modrm, a, b, c, d]
            }
            Rewrite::Call => {
                let [a, b, c, d] = field(distance)?;
                [0x67, 0xe8, a, b, c, d]
            }
            Rewrite::Jump => {
                // The instruction ends one byte earlier, so the distance is one more.
                let [a, b, c, d] = field(distance.wrapping_add(1))?;
                [0xe9, a, b, c, d, 0x90]
            }
        };
        Some(())
    }
}

/// Bytes of a stub.
pub(in crate::link) const STUB_SIZE: u64 = 8;

/// A stub whose slot begins `distance` bytes after its own beginning.
pub(in crate::link) fn stub(distance: i32) -> [u8; 8] {
    // jmp *slot(%rip), which counts from the end of its six bytes.
    let [a, b, c, d] = distance.wrapping_sub(6).to_le_bytes();
    [0xff, 0x25, a, b, c, d, 0xcc, 0xcc]
}

/// What fills the space between functions: a trap.
pub(in crate::link) const FILLER: u8 = 0xcc;

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of an instruction whose last six bytes are `before`, then a field.
    fn rewritten(how: Rewrite, before: [u8; 2], distance: i64) -> Option<[u8; 6]> {
        let [a, b] = before;
        let mut instruction = [a, b, 0, 0, 0, 0];
        how.apply(&mut instruction, distance).map(|()| instruction)
    }

    #[test]
    fn instructions_reach_as_far_as_their_fields() {
        let most = i64::from(i32::MAX);
        let least = i64::from(i32::MIN);
        let load = |distance| rewritten(Rewrite::LoadToAddress, [0x8b, 0x3d], distance);
        assert_eq!(load(0x1234), Some([0x8d, 0x3d, 0x34, 0x12, 0, 0]));
        assert_eq!(load(most), Some([0x8d, 0x3d, 0xff, 0xff, 0xff, 0x7f]));
        assert_eq!(load(least - 1), None);

        let call = |distance| rewritten(Rewrite::Call, [0xff, 0x15], distance);
        assert_eq!(call(-6), Some([0x67, 0xe8, 0xfa, 0xff, 0xff, 0xff]));
        assert_eq!(call(least), Some([0x67, 0xe8, 0, 0, 0, 0x80]));
        assert_eq!(call(most + 1), None);

        // Its field moves down by a byte, and so does its reach.
        let jump = |distance| rewritten(Rewrite::Jump, [0xff, 0x25], distance);
        assert_eq!(jump(-6), Some([0xe9, 0xfb, 0xff, 0xff, 0xff, 0x90]));
        assert_eq!(jump(-1), Some([0xe9, 0, 0, 0, 0, 0x90]));
        assert_eq!(jump(most - 1), Some([0xe9, 0xff, 0xff, 0xff, 0x7f, 0x90]));
        assert_eq!(jump(most), None);
        assert_eq!(jump(least - 1), Some([0xe9, 0, 0, 0, 0x80, 0x90]));
    }

    #[test]
    fn a_stub_jumps_through_its_slot() {
        assert_eq!(stub(8), [0xff, 0x25, 2, 0, 0, 0, 0xcc, 0xcc]);
    }
}
