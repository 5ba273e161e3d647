//! How what a process puts gets into its segment.

use super::StoreError;
use super::files::SEGMENT;
use super::format::Stamp;
use super::io::Io;
use super::resident::ResidentRecord;
use super::segment::Segment;
use std::path::Path;
use std::sync::Arc;

/// The segment that is being written, if any is.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) segment: Option<Segment>,
    /// What is in the segment, and where.
    pub(super) written: Vec<(Arc<ResidentRecord>, u64)>,
    buffer: Vec<u8>,
}

impl Writer {
    /// In a forked process, gives up the segment that is the parent's. The parent seals what is in it.
    pub(super) fn leave_to_parent(&mut self) {
        if self
            .segment
            .as_ref()
            .is_some_and(|segment| !segment.is_of_this_process())
        {
            self.segment = None;
            self.written.clear();
        }
    }

    /// Appends `records` to the segment, which is begun if there is none.
    pub(super) fn append(
        &mut self,
        io: &dyn Io,
        folder: &Path,
        newest: Stamp,
        records: &[Arc<ResidentRecord>],
    ) -> Result<(), StoreError> {
        let segment = match &mut self.segment {
            Some(segment) => segment,
            none => none.insert(Segment::create(
                io,
                folder,
                SEGMENT,
                Stamp::after(newest, io.now()),
            )?),
        };
        self.buffer.clear();
        for record in records {
            self.buffer.extend_from_slice(record.bytes());
        }
        let mut offset = segment.append(io, &self.buffer)?;
        for record in records {
            self.written.push((Arc::clone(record), offset));
            offset += record.bytes().len() as u64;
        }
        Ok(())
    }
}
