//! Checking a store through and through: every byte against the digest that was taken when it was sealed,
//! and everything that a look-up relies on.

use super::record::Content;
use super::{Damage, FolderStore, Store, StoreError};
use crate::digest::checksum;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What a verification has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Packs that were looked at.
    pub packs: u64,
    /// Intact records in them.
    pub records: u64,
    /// Bytes of the packs.
    pub bytes: u64,
    /// What is wrong.
    pub damage: Vec<Damage>,
}

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Bytes that were read.
    pub done: u64,
    /// Bytes that there are to read.
    pub total: u64,
}

impl FolderStore {
    /// Reads all packs and checks everything in them, images included. Changes nothing: what is found is
    /// remembered, and [`set_aside_damaged`](Self::set_aside_damaged) acts on it.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn verify(&self, progress: &mut dyn FnMut(VerifyProgress)) -> Result<Verified, StoreError> {
        self.refresh()?;
        let snapshot = self.snapshot();
        let total = snapshot.bytes();
        let mut done = 0;
        // What was set aside has been dealt with.
        let is_here = |damage: &&Arc<Damage>| {
            let file = damage.file.as_deref();
            file.and_then(|file| file.parent()) == Some(&self.folder)
        };
        let lost = snapshot.lost().iter().filter(is_here);
        let mut verified = Verified {
            damage: lost.map(|damage| (**damage).clone()).collect(),
            ..Verified::default()
        };
        for pack in snapshot.packs() {
            let found_before = verified.damage.len();
            let is_right = pack.has_right_digest(&mut |bytes| {
                done += bytes;
                progress(VerifyProgress { done, total });
            });
            let mut damage = Vec::new();
            let mut bad = Vec::new();
            let _ = pack.for_each(
                &mut |found| {
                    damage.push(found);
                    ControlFlow::Continue(())
                },
                &mut |placed| {
                    match placed.checked.content() {
                        Ok(Content::Code(record))
                            if checksum(record.image.bytes) != record.image.checksum =>
                        {
                            bad.push((placed.offset, "the checksum of the image is wrong"));
                        }
                        Ok(_) => verified.records += 1,
                        Err(what) => bad.push((placed.offset, what)),
                    }
                    ControlFlow::Continue(())
                },
            );
            damage.extend(bad.into_iter().map(|(offset, what)| Damage {
                file: Some(pack.path().to_owned()),
                offset: offset as u64,
                what: what.to_owned(),
            }));
            if damage.is_empty() && !is_right && !pack.is_recovered() {
                damage.push(Damage {
                    file: Some(pack.path().to_owned()),
                    offset: 0,
                    what: "the file is not what was sealed; no record is affected".to_owned(),
                });
            }
            if let Some(first) = damage.first() {
                pack.suspect(first.clone());
            }
            verified.packs += 1;
            verified.bytes += pack.bytes();
            verified.damage.append(&mut damage);
            tracing::debug!(
                file = %pack.path().display(),
                damage = verified.damage.len() - found_before,
                "verified a pack"
            );
        }
        progress(VerifyProgress { done: total, total });
        Ok(verified)
    }
}
