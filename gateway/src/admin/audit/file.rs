//! The files of the audit log: appended to and synced line by line, renamed when they are full, read from
//! their end.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{End, Ended, Entry};
use crate::config::AuditConfig;

/// How much of a file is read at once.
const CHUNK: u64 = 64 << 10;
/// Lines longer than this are none of ours; they are not kept in memory.
const LINE_MAX: usize = 1 << 20;
/// A page ends behind the line with which it has so many bytes.
const PAGE_MAX: usize = 4 << 20;

/// The files.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    config: AuditConfig,
    /// The number of the last change.
    last: u64,
}

impl Log {
    /// Goes on after the last change that is written down.
    pub(super) fn open(folder: &Path, config: AuditConfig) -> io::Result<Self> {
        let mut log = Self { folder: folder.to_owned(), config, last: 0 };
        log.last = log.written()?.read(None, 1)?.0.first().map_or(0, |entry| entry.id);
        Ok(log)
    }

    /// The number of the next change. One that could not be written down has one as well.
    pub(super) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Appends a line and syncs it. The file is opened anew each time: a line goes to where the name leads,
    /// whoever moved the file before.
    pub(super) fn write(&self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let path = self.path(0);
        let mut options = File::options();
        let options = options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(&path)?;
        let mut size = file.metadata()?.len();
        if size > 0 && size + text.len() as u64 > self.config.max {
            drop(file);
            self.rotate()?;
            file = options.open(&path)?;
            size = 0;
        }
        if size > 0 && !ends_a_line(&file, size)? {
            // A process was killed, or the disk was full, in the middle of the last one.
            text.insert(0, b'\n');
        }
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        if written.is_err() {
            // What is not acknowledged should not be there; if it is, it reads as what it is.
            let _ = file.set_len(size);
        }
        written?;
        if size == 0 {
            // The name as well.
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(())
    }

    /// What is written so far. It stays so, whatever is written or renamed meanwhile.
    pub(super) fn written(&self) -> io::Result<Written> {
        let mut files = Vec::new();
        for nth in 0..=self.config.files {
            match File::open(self.path(nth)) {
                Ok(file) => {
                    let size = file.metadata()?.len();
                    files.push((file, size));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Written { files })
    }

    /// Moves each file one further; the last one is forgotten.
    fn rotate(&self) -> io::Result<()> {
        for nth in (0..self.config.files).rev() {
            match fs::rename(self.path(nth), self.path(nth + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match self.config.files {
            0 => fs::remove_file(self.path(0)),
            _ => Ok(()),
        }
    }

    fn path(&self, nth: u32) -> PathBuf {
        match nth {
            0 => self.folder.join("audit.jsonl"),
            nth => self.folder.join(format!("audit.jsonl.{nth}")),
        }
    }
}

/// The files as they were at one moment: each with its size then, the newest first.
#[derive(Debug)]
pub(super) struct Written {
    files: Vec<(File, u64)>,
}

impl Written {
    /// Up to `limit` changes, the newest first, of those with a number below `before`; and whether there are more.
    pub(super) fn read(&self, before: Option<u64>, limit: usize) -> io::Result<(Vec<Entry>, bool)> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        // Ends that were met before their changes. Few are: those of changes that went on at the same time.
        let mut ends: Vec<(u64, Ended)> = Vec::new();
        for (file, size) in &self.files {
            let more = backwards(file, *size, |line| {
                if let Ok(End { id, ended }) = serde_json::from_slice(line) {
                    ends.push((id, ended));
                } else if let Ok(mut entry) = serde_json::from_slice::<Entry>(line) {
                    let end = ends.iter().position(|(id, _)| *id == entry.id);
                    entry.ended = end.map(|end| ends.swap_remove(end).1);
                    if before.is_none_or(|before| entry.id < before) {
                        if found.len() == limit || bytes >= PAGE_MAX {
                            return false;
                        }
                        bytes += line.len();
                        found.push(entry);
                    }
                }
                true
            })?;
            if !more {
                return Ok((found, true));
            }
        }
        Ok((found, false))
    }
}

fn ends_a_line(file: &File, size: u64) -> io::Result<bool> {
    let mut last = [0];
    file.read_exact_at(&mut last, size - 1)?;
    Ok(last == *b"\n")
}

/// Hands out the lines of the first `size` bytes of a file, the last one first, until `take` has enough. Answers
/// whether it went through all of them.
fn backwards(mut file: &File, size: u64, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
    let mut at = size;
    // The beginning of this is the middle of a line that goes on before it.
    let mut rest: Vec<u8> = Vec::new();
    while at > 0 {
        let size = at.min(CHUNK);
        at -= size;
        file.seek(SeekFrom::Start(at))?;
        let mut chunk = Vec::new();
        file.take(size).read_to_end(&mut chunk)?;
        chunk.extend_from_slice(&rest);
        let whole = match at {
            0 => 0,
            _ => chunk.iter().position(|byte| *byte == b'\n').map_or(chunk.len(), |end| end + 1),
        };
        for line in chunk[whole..].rsplit(|byte| *byte == b'\n') {
            if !line.is_empty() && !take(line) {
                return Ok(false);
            }
        }
        chunk.truncate(if whole > LINE_MAX { 0 } else { whole });
        rest = chunk;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn log(folder: &Path, max: u64, files: u32) -> Log {
        Log::open(folder, AuditConfig { max, files }).unwrap()
    }

    fn entry(id: u64, word: &str) -> Entry {
        let text = |text: &str| text.to_owned();
        Entry {
            id,
            at: text("2026-11-01T00:00:00Z"),
            who: text("admin"),
            client: text("127.0.0.1"),
            verb: text("dead.retry"),
            object: None,
            parameters: json!({ "word": word }),
            ended: None,
        }
    }

    fn ended(status: u16) -> Ended {
        Ended { at: "2026-11-01T00:00:01Z".to_owned(), status, code: None }
    }

    fn ids(log: &Log, before: Option<u64>, limit: usize) -> (Vec<u64>, bool) {
        let (found, more) = log.written().unwrap().read(before, limit).unwrap();
        (found.iter().map(|entry| entry.id).collect(), more)
    }

    #[test]
    fn changes_are_read_with_their_ends_and_counted_on_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = log(folder.path(), 1 << 20, 2);
        assert_eq!(ids(&first, None, 9), (vec![], false));
        for id in 1..=3 {
            assert_eq!(first.next(), id);
            first.write(&entry(id, "x")).unwrap();
        }
        first.write(&End { id: 1, ended: ended(200) }).unwrap();
        first.write(&End { id: 3, ended: ended(409) }).unwrap();
        let statuses = |log: &Log| {
            let (found, _) = log.written().unwrap().read(None, 9).unwrap();
            found.into_iter().map(|entry| entry.ended.map(|e| e.status)).collect::<Vec<_>>()
        };
        assert_eq!(statuses(&first), [Some(409), None, Some(200)]);
        assert_eq!(ids(&first, None, 2), (vec![3, 2], true));
        assert_eq!(ids(&first, Some(2), 2), (vec![1], false));
        let mut again = log(folder.path(), 1 << 20, 2);
        assert_eq!((again.next(), statuses(&again).len()), (4, 3));
    }

    #[test]
    fn half_a_line_does_not_spoil_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("audit.jsonl"), "{\"id\":1,\"at\":\"20").unwrap();
        let log = log(folder.path(), 1 << 20, 2);
        log.write(&entry(7, "x")).unwrap();
        assert_eq!(ids(&log, None, 9), (vec![7], false));
    }

    #[test]
    fn what_was_written_is_read_as_it_was_while_more_is_written_and_files_are_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path(), 1000, 2);
        let change = |log: &mut Log| {
            let id = log.next();
            log.write(&entry(id, "x")).unwrap();
            id
        };
        while !log.path(1).exists() {
            change(&mut log);
        }
        let last = change(&mut log);
        let written = log.written().unwrap();
        // Enough for the last file to be forgotten.
        for _ in 0..100 {
            change(&mut log);
        }
        let (found, more) = written.read(None, 1000).unwrap();
        let found: Vec<_> = found.iter().map(|entry| entry.id).collect();
        assert_eq!((found, more), ((1..=last).rev().collect::<Vec<_>>(), false));
    }

    #[test]
    fn it_never_takes_more_than_its_size_and_the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        for files in [0, 1, 3] {
            let inside = folder.path().join(files.to_string());
            fs::create_dir(&inside).unwrap();
            let mut log = log(&inside, 1000, files);
            for _ in 0..100 {
                let id = log.next();
                log.write(&entry(id, "x")).unwrap();
            }
            let sizes: Vec<_> = fs::read_dir(&inside)
                .unwrap()
                .map(|e| e.unwrap().metadata().unwrap().len())
                .collect();
            assert_eq!(sizes.len(), files as usize + 1);
            assert!(sizes.iter().all(|size| *size <= 1000), "{sizes:?}");
            let (found, more) = ids(&log, None, 1000);
            let kept = found.len() as u64;
            assert!(kept > 5 * u64::from(files) && !more);
            assert_eq!(found, (101 - kept..=100).rev().collect::<Vec<_>>());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_was_written_is_read_wherever_the_chunks_end(sizes in prop::collection::vec(0..90_000usize, 0..9), limit in 1..9usize) {
            let folder = tempfile::tempdir().unwrap();
            let mut log = log(folder.path(), 1 << 30, 1);
            for size in &sizes {
                let id = log.next();
                log.write(&entry(id, &"w".repeat(*size))).unwrap();
            }
            let (mut all, mut before) = (Vec::new(), None);
            loop {
                let (found, more) = log.written().unwrap().read(before, limit).unwrap();
                all.extend(found.iter().map(|entry| entry.parameters["word"].as_str().unwrap().len()));
                before = found.last().map(|entry| entry.id);
                if !more {
                    break;
                }
            }
            let mut expected = sizes;
            expected.reverse();
            prop_assert_eq!(all, expected);
        }
    }
}
