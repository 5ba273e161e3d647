//! Making one pack of several: what merging, pruning and setting aside have in common.
//!
//! A rewrite looks at the packs twice. First it surveys their records: what is damaged, what was removed,
//! what stands for the same compilation as a newer record. Then it copies what stays, in the order in which
//! it was put, each record checked on the copy, and seals the new pack in the place of the old ones. The
//! new pack names those in its footer, so the change happens at once, by one rename, whenever a process
//! dies: who sees the new pack does not look at the old ones any more.

use super::files::{self, MERGING, QUARANTINE};
use super::format::{Lists, Stamp};
use super::index::IndexEntry;
use super::io::Io;
use super::pack::{Pack, Removed};
use super::quarantine;
use super::record::Content;
use super::segment::{Sealed, Segment};
use super::{Damage, StoreError};
use crate::folder::fault;
use crate::key::FormKey;
use rkyv::util::AlignedVec;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is copied is written up to the next multiple of this: a huge page of x86-64, and of 64-bit Arm
/// with pages of 4 KiB. File systems that keep what was written as one piece in one piece of memory, as
/// ext4 since Linux 6.16 and XFS do, then map it as huge pages, and of a look-up in a large store a
/// quarter is gone, which was spent looking for small pages.
const BATCH: usize = 2 << 20;

/// So many packs are named as replaced, the latest ones.
const MOST_REPLACED: usize = 4096;

/// A record that a survey has found.
#[derive(Debug, Clone)]
pub(super) struct Surveyed {
    pub(super) offset: u64,
    /// Of the whole record.
    pub(super) bytes: u64,
    pub(super) prefix: u64,
    /// The second eight bytes of the key: together with the first it is taken for the key.
    rest: u64,
    identity: u64,
    /// The first eight bytes of the object key.
    object: u64,
    pub(super) compile_ns: u64,
    /// Seconds since 1970.
    pub(super) created: u64,
    /// What it removes, if it is a removal.
    removes: Option<Vec<u64>>,
    pub(super) stays: bool,
}

impl Surveyed {
    pub(super) fn is_removal(&self) -> bool {
        self.removes.is_some()
    }
}

/// Which packs are surveyed. A removal may go only if what it removes cannot come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Not all: removals stay.
    Some,
    /// All, and they are rewritten in several steps: a removal stays as long as one of them has what it
    /// removes.
    AllInParts,
    /// All, and they become one pack in one step: removals go.
    AllAtOnce,
}

/// A pack with what a survey has found in it.
pub(super) struct Survey {
    pub(super) pack: Arc<Pack>,
    /// In the order in which they were put.
    pub(super) records: Vec<Surveyed>,
    pub(super) damage: Vec<Damage>,
}

impl Survey {
    /// Whether all that is in the pack stays.
    pub(super) fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.records.iter().all(|record| record.stays)
    }

    /// The bytes of the records that stay.
    pub(super) fn bytes(&self) -> u64 {
        let staying = self.records.iter().filter(|record| record.stays);
        staying.map(|record| record.bytes).sum()
    }
}

/// Looks at all records of `packs`, which are the newest first, and marks those that are in `removed` or
/// stand for the same compilation as a newer one.
pub(super) fn survey(packs: &[Arc<Pack>], removed: &Removed, scope: Scope) -> Vec<Survey> {
    let mut seen: FxHashMap<(u64, u64, u64), (usize, usize)> = FxHashMap::default();
    let mut surveys: Vec<_> = packs.iter().map(survey_one).collect();
    let mut present: FxHashSet<u64> = FxHashSet::default();
    if scope == Scope::AllInParts {
        let records = surveys.iter().flat_map(|survey| &survey.records);
        present.extend(records.map(|record| record.identity));
    }
    for place in 0..surveys.len() {
        let records = surveys.get(place).map_or(0, |survey| survey.records.len());
        for number in (0..records).rev() {
            let Some(record) = record_at(&mut surveys, (place, number)) else {
                continue;
            };
            if let Some(removes) = &record.removes {
                record.stays = match scope {
                    Scope::Some => true,
                    Scope::AllInParts => removes.iter().any(|gone| present.contains(gone)),
                    Scope::AllAtOnce => false,
                };
                continue;
            }
            if removed.contains(&record.identity) {
                record.stays = false;
                continue;
            }
            let compilation = (record.prefix, record.rest, record.object);
            let Some(newer) = seen.insert(compilation, (place, number)) else {
                continue;
            };
            // One of two is enough, if it is intact.
            if is_intact(&surveys, newer) {
                seen.insert(compilation, newer);
                if let Some(record) = record_at(&mut surveys, (place, number)) {
                    record.stays = false;
                }
            }
        }
    }
    surveys
}

fn record_at(surveys: &mut [Survey], (place, number): (usize, usize)) -> Option<&mut Surveyed> {
    surveys.get_mut(place)?.records.get_mut(number)
}

fn is_intact(surveys: &[Survey], (place, number): (usize, usize)) -> bool {
    let Some(survey) = surveys.get(place) else {
        return false;
    };
    let offset = survey.records.get(number).map(|record| record.offset);
    let offset = offset.and_then(|offset| usize::try_from(offset).ok());
    offset.is_some_and(|offset| survey.pack.copy(offset, &mut AlignedVec::new()).is_ok())
}

fn survey_one(pack: &Arc<Pack>) -> Survey {
    let mut records = Vec::new();
    let mut damage: Vec<Damage> = pack.suspicion().into_iter().collect();
    let mut malformed = Vec::new();
    let _ = pack.for_each(
        &mut |found| {
            damage.push(found);
            ControlFlow::Continue(())
        },
        &mut |placed| {
            let checked = &placed.checked;
            let offset = placed.offset as u64;
            let mut record = Surveyed {
                offset,
                bytes: checked.extent.length as u64,
                prefix: checked.key.0.prefix(),
                rest: rest_of(&checked.key),
                identity: checked.identity,
                object: checked.identity,
                compile_ns: 0,
                created: 0,
                removes: None,
                stays: true,
            };
            match checked.content() {
                Ok(Content::Code(code)) => {
                    record.object = code.metadata.manifest.object_key().0.prefix();
                    record.compile_ns = code.metadata.entry.compile_ns.to_native();
                    record.created = code.metadata.entry.created.to_native();
                }
                Ok(Content::Removal(removal)) => {
                    record.removes = Some(removal.identities().collect());
                }
                Ok(Content::Unknown) => {}
                Err(what) => {
                    malformed.push((offset, what));
                    return ControlFlow::Continue(());
                }
            }
            records.push(record);
            ControlFlow::Continue(())
        },
    );
    damage.extend(malformed.into_iter().map(|(offset, what)| Damage {
        file: Some(pack.path().to_owned()),
        offset,
        what: what.to_owned(),
    }));
    Survey {
        pack: Arc::clone(pack),
        records,
        damage,
    }
}

fn rest_of(key: &FormKey) -> u64 {
    let bytes = key.0.0.get(8..16).and_then(|bytes| bytes.try_into().ok());
    u64::from_be_bytes(bytes.unwrap_or_default())
}

/// What became of the packs of a rewrite.
pub(super) struct Rewritten {
    /// The new pack; `None` if nothing stayed.
    pub(super) pack: Option<Sealed>,
    /// Records that were copied.
    pub(super) records: u64,
    /// Records that were not, because they were damaged.
    pub(super) damaged: u64,
}

/// Writes what stays of `surveys`, which are the newest first, to a new pack in their place.
///
/// The old packs keep their names; [`put_away`] takes them.
///
/// # Errors
/// A file operation; then nothing has changed.
pub(super) fn rewrite(
    io: &dyn Io,
    folder: &Path,
    surveys: &mut [Survey],
) -> Result<Rewritten, StoreError> {
    let stamp = surveys
        .iter()
        .map(|survey| survey.pack.stamp())
        .max()
        .unwrap_or(Stamp(0));
    let mut done = Rewritten {
        pack: None,
        records: 0,
        damaged: 0,
    };
    let stays = |survey: &Survey| survey.records.iter().any(|record| record.stays);
    if !surveys.iter().any(stays) {
        return Ok(done);
    }
    let mut segment = Segment::create(io, folder, MERGING, stamp)?;
    let written = copy_all(io, surveys, &mut segment, &mut done);
    let entries = match written {
        Ok(entries) if !entries.is_empty() => entries,
        other => {
            segment.discard(io);
            return other.map(|_| done);
        }
    };
    // With what those had replaced, the oldest first: a process that has not looked at the folder for long
    // may still have that open, and has to be told that it can let go of it.
    let mut replaced: Vec<u64> = Vec::new();
    for survey in surveys.iter().rev() {
        replaced.extend(survey.pack.replaced());
    }
    replaced.extend(surveys.iter().map(|survey| survey.pack.id()));
    let mut seen = FxHashSet::default();
    replaced.reverse();
    replaced.retain(|id| seen.insert(*id));
    replaced.truncate(MOST_REPLACED.max(surveys.len()));
    replaced.reverse();
    let removed: Vec<u64> = (surveys.iter())
        .flat_map(|survey| survey.records.iter().filter(|record| record.stays))
        .flat_map(|record| record.removes.iter().flatten().copied())
        .collect();
    let lists = Lists {
        replaced: &replaced,
        removed: &removed,
    };
    let sealed = segment.seal(io, entries, &lists)?;
    done.pack = Some(sealed);
    Ok(done)
}

fn copy_all(
    io: &dyn Io,
    surveys: &mut [Survey],
    segment: &mut Segment,
    done: &mut Rewritten,
) -> Result<Vec<IndexEntry>, StoreError> {
    let mut entries = Vec::new();
    let mut batch = Vec::with_capacity(BATCH);
    let mut whole = AlignedVec::new();
    for survey in surveys.iter_mut().rev() {
        for record in survey.records.iter().filter(|record| record.stays) {
            let offset = usize::try_from(record.offset).unwrap_or(usize::MAX);
            match survey.pack.copy(offset, &mut whole) {
                Ok(checked) if checked.identity == record.identity => {}
                Ok(_) => continue,
                Err(what) => {
                    done.damaged += 1;
                    let damage = Damage {
                        file: Some(survey.pack.path().to_owned()),
                        offset: record.offset,
                        what: what.to_owned(),
                    };
                    tracing::warn!(%damage, "a record is damaged and is not copied");
                    survey.damage.push(damage);
                    continue;
                }
            }
            let place = segment.length() + batch.len() as u64;
            entries.push(IndexEntry::new(record.prefix, place));
            batch.extend_from_slice(&whole);
            done.records += 1;
            let end = segment.length() + batch.len() as u64;
            let due = (end - end % BATCH as u64).saturating_sub(segment.length());
            if let Ok(due @ 1..) = usize::try_from(due)
                && let Some(part) = batch.get(..due)
            {
                segment.append(io, part)?;
                batch.drain(..due);
            }
        }
    }
    if !batch.is_empty() {
        segment.append(io, &batch)?;
    }
    Ok(entries)
}

/// A pack in whose place another one has come.
pub(super) struct Outdated {
    pub(super) id: u64,
    /// What was damaged in it: then it is set aside rather than removed.
    pub(super) damage: Option<Damage>,
}

impl Outdated {
    pub(super) fn of(survey: &Survey) -> Self {
        Self {
            id: survey.pack.id(),
            damage: survey.damage.first().cloned(),
        }
    }
}

/// Takes the names of outdated packs away, which are the newest first: those of damaged ones into
/// quarantine, the others for good. Says where the damaged ones are now.
///
/// # Errors
/// The first file operation that failed; the others were tried. What still has its name is not looked at,
/// because the new pack says that it is replaced.
pub(super) fn put_away(
    io: &dyn Io,
    folder: &Path,
    outdated: &[Outdated],
) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let mut first = Ok(());
    let mut aside = Vec::new();
    for pack in outdated.iter().rev() {
        let put = match &pack.damage {
            Some(damage) => quarantine::set_aside(io, folder, pack.id, damage).map(|path| {
                aside.extend(path.map(|path| (pack.id, path)));
            }),
            None => files::retire(io, folder, pack.id),
        };
        first = first.and(put);
    }
    first.and_then(|()| files::sync_folder(io, folder))?;
    Ok(aside)
}

/// Makes the folder of damaged packs, if it is not there.
pub(super) fn quarantine_folder(io: &dyn Io, folder: &Path) -> Result<PathBuf, StoreError> {
    let quarantine = folder.join(QUARANTINE);
    match io.create_folder(&quarantine) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(fault("create", &quarantine)(error))
        }
        _ => Ok(quarantine),
    }
}
