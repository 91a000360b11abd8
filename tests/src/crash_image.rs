//! What a disk may hold after a power cut, made from a record of what happened to it.
//!
//! What was synced is there. Of what was written to a file since its last sync, each write may be there,
//! gone, or torn between two sectors, whatever became of those before it: a disk writes in any order.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::fault_vfs::Record;

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// What becomes of writes that no sync has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// All are there: the process was killed, the machine goes on.
    Kept,
    /// All are gone.
    Lost,
    /// Chance decides for each.
    Torn(u64),
}

/// A file: what was synced, and what happened since.
#[derive(Debug, Clone, Default)]
struct File {
    synced: Vec<u8>,
    since: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// A disk at one moment of a record.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<PathBuf, File>,
}

impl Disk {
    /// The next thing happens to it.
    pub fn happen(&mut self, record: &Record) {
        match record {
            Record::Write { path, at, bytes } => {
                let file = self.files.entry(path.clone()).or_default();
                file.since.push(Change::Write(*at, bytes.clone()));
            }
            Record::Truncate { path, size } => {
                self.files.entry(path.clone()).or_default().since.push(Change::Truncate(*size));
            }
            Record::Sync(path) => {
                let file = self.files.entry(path.clone()).or_default();
                let since = std::mem::take(&mut file.since);
                since.iter().for_each(|change| apply(&mut file.synced, change));
            }
            Record::Delete(path) => _ = self.files.remove(path),
            Record::Mark(_) => {}
        }
    }

    /// How many writes no sync has seen.
    pub fn unsynced(&self) -> usize {
        self.files.values().map(|file| file.since.len()).sum()
    }

    /// Puts into `folder` what a power cut may leave now.
    ///
    /// # Errors
    /// If it can't be written there.
    pub fn cut_power(&self, folder: &Path, unsynced: Unsynced) -> io::Result<()> {
        let seed = if let Unsynced::Torn(seed) = unsynced { seed } else { 0 };
        let mut chance = StdRng::seed_from_u64(seed);
        for (path, file) in &self.files {
            let mut content = file.synced.clone();
            for change in &file.since {
                match unsynced {
                    Unsynced::Kept => apply(&mut content, change),
                    Unsynced::Lost => {}
                    Unsynced::Torn(_) => tear(&mut content, change, &mut chance),
                }
            }
            fs::write(folder.join(path.file_name().unwrap_or_default()), content)?;
        }
        Ok(())
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, bytes) => {
            let end = at + bytes.len();
            content.resize(content.len().max(end), 0);
            content[*at..end].copy_from_slice(bytes);
        }
        Change::Truncate(size) => content.resize(*size, 0),
    }
}

fn tear(content: &mut Vec<u8>, change: &Change, chance: &mut StdRng) {
    match (chance.random_range(0..3), change) {
        (0, _) => {}
        (1, Change::Write(at, bytes)) => {
            // Some of its sectors.
            for (nth, sector) in bytes.chunks(SECTOR).enumerate() {
                if chance.random() {
                    apply(content, &Change::Write(at + nth * SECTOR, sector.to_vec()));
                }
            }
        }
        _ => apply(content, change),
    }
}
