//! The linking half: an object's bytes to an image's bytes.
//!
//! It performs no I/O, reads no clock, has no `unsafe`, and gives the same bytes for the same object
//! on every host. The phases, in order:
//!
//! | phase | file | gives |
//! | --- | --- | --- |
//! | read | [`read`], [`sections`], [`symbols`], [`resolve`](self::resolve) | checked views of sections, symbols and relocations |
//! | split | [`frames`] | `.eh_frame` as pieces, each with the section that it describes |
//! | reach | [`reach`] | what the roots need: sections, pieces, slots, stubs, common symbols |
//! | lay out | [`layout`], [`place`] | a place for each of these |
//! | share | [`shared`] | which variables may be another image's |
//! | relocate | [`relocate`](self::relocate), [`fields`], [`imports`], [`slots`], [`debug`] | the bytes, and what is left to fix up |
//!
//! What depends on the machine and the format is behind one seam, [`target`]: a [`Reference`] says in
//! the same words for all targets what a relocation asks for ([`reference`](self::reference)), and each
//! has a folder that begins with what is particular about it ([`x86_64`], [`aarch64`], [`macho`]).
//!
//! [`Reference`]: reference::Reference
//!
//! The input may be hostile: every number from it is checked before use, and the work is bounded by
//! the size of the object.

mod aarch64;
mod debug;
mod fields;
mod frames;
mod imports;
mod layout;
mod macho;
mod place;
mod reach;
mod read;
mod reference;
mod relocate;
mod resolve;
mod sections;
mod shared;
mod slots;
mod symbols;
mod target;
mod x86_64;

use crate::error::LinkError;
use crate::image::write::{self, Parts};

/// What is linked beyond what every image has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes {
    /// Code that has to lie in the low 2 GiB is linked, too.
    pub(crate) may_be_low: bool,
    /// Debug information is kept.
    pub(crate) keep_debug: bool,
}

/// Links `objects` into the bytes of one image that exports `roots`.
pub(crate) fn link(
    objects: &[&[u8]],
    roots: &[&str],
    wishes: Wishes,
) -> Result<Vec<u8>, LinkError> {
    let translated = macho::translate(objects)?;
    let input = read::Input::parse(objects, &translated, wishes)?;
    let frames = frames::split(&input)?;
    let reached = reach::reach(&input, &frames, roots)?;
    let layout = layout::lay_out(&input, &frames, &reached)?;
    let parts = relocate::relocate(&input, &frames, &reached, &layout)?;
    write_within(parts, layout.limit)
}

fn write_within(parts: Parts<'_>, limit: u64) -> Result<Vec<u8>, LinkError> {
    let too_large = |needed| LinkError::TooLarge { needed, limit };
    let image = write::write(parts).ok_or_else(|| too_large(u32::MAX.into()))?;
    // What is not in the layout: the description, which a hostile object could blow up with names.
    if image.len() as u64 > limit {
        return Err(too_large(image.len() as u64));
    }
    Ok(image)
}
