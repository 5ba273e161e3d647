//! What the operating system says of a file, by which a file that stayed as it was is known without being
//! read.

use rekindle_cache_core::DigestBuilder;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file's times have the kernel's tick for a step, which is 10 ms at most: changes less apart than that may
/// have one stamp.
const STEP: Duration = Duration::from_millis(20);

/// Device, inode, size, and the times of the last change of the content and of the rest, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stamp([i128; 5]);

impl Stamp {
    /// The stamp of the file at `path`, links followed.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&std::fs::metadata(path)?))
    }

    /// Whether the file may have changed at or after `time`, or so shortly before that one would not know.
    pub(crate) fn is_since(&self, time: SystemTime) -> bool {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let limit = since.saturating_sub(STEP).as_nanos() as i128;
        let Self([_, _, _, content, change]) = *self;
        content >= limit || change >= limit
    }

    /// Whether what changed last, changed the content as well.
    pub(crate) fn is_of_content(&self) -> bool {
        let Self([_, _, _, content, change]) = *self;
        content == change
    }

    /// Adds the stamp to a digest.
    pub(crate) fn digest(&self, builder: &mut DigestBuilder) {
        builder.text(&self.to_string());
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self([
            i128::from(metadata.dev()),
            i128::from(metadata.ino()),
            i128::from(metadata.size()),
            nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        ])
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [device, inode, size, content, change] = self.0;
        write!(out, "{device}/{inode}/{size}/{content}/{change}")
    }
}

impl FromStr for Stamp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/').map(str::parse);
        let mut numbers = [0; 5];
        for number in &mut numbers {
            *number = parts.next().ok_or(())?.map_err(|_| ())?;
        }
        match parts.next() {
            None => Ok(Self(numbers)),
            Some(_) => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read_as_they_are_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "1").expect("it can be written");
        let stamp = Stamp::of(&path).expect("it is there");
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
        assert_eq!("1/2/3/4".parse::<Stamp>(), Err(()));
        assert_eq!("1/2/3/4/5/6".parse::<Stamp>(), Err(()));
        assert!(stamp.is_since(SystemTime::now()));
        assert!(!stamp.is_since(SystemTime::now() + Duration::from_secs(1)));
        std::fs::write(&path, "22").expect("it can be written");
        assert_ne!(Stamp::of(&path).expect("it is there"), stamp);
    }
}
