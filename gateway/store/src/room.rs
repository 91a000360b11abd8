//! How much has to be left on the disk. Events are refused before it is full, so that what was taken
//! can still be settled, and other programs on the machine go on.

use std::{fmt, io, path::Path, sync::Arc};

/// The room that has to be left for an event to be taken.
#[derive(Clone)]
pub struct Room {
    least: u64,
    left: Arc<Left>,
}

/// The bytes left where a path is.
type Left = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;

impl Room {
    /// At least so many bytes, as the file system counts those that this user may still write.
    pub fn least(bytes: u64) -> Self {
        Self::new(bytes, |path| {
            let disk = rustix::fs::statvfs(path)?;
            Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
        })
    }

    /// The same by another count: for tests.
    pub fn new(
        least: u64,
        left: impl Fn(&Path) -> io::Result<u64> + Send + Sync + 'static,
    ) -> Self {
        Self { least, left: Arc::new(left) }
    }

    /// The bytes left where `path` is; none if nobody can tell.
    pub(crate) fn left(&self, path: &Path) -> Option<u64> {
        (self.left)(path).ok()
    }

    /// Why so many bytes are too little; none if they are enough, or nobody can tell.
    pub(crate) fn lack(&self, left: Option<u64>) -> Option<String> {
        let left = left?;
        let mib = |bytes: u64| bytes >> 20;
        (left < self.least).then(|| {
            format!("{} MiB are left on the disk, {} have to be", mib(left), mib(self.least))
        })
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("least", &self.least).finish_non_exhaustive()
    }
}
