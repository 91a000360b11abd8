//! For how long each source's dedupe keys were kept, and since when: what was claimed under a window that was
//! shorter than today's is forgotten sooner than today's says.
//!
//! In `windows.json` of the data folder, so that it is known after a restart. Where nobody wrote down what was
//! before, nothing is said to be known of that time.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hookweir_event::{Clock, SourceName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The format that is written, and the only one that is read.
const FORMAT: u32 = 1;
/// Windows of one source that are remembered: of more, what was under the oldest counts as forgotten.
const SPANS_MAX: usize = 16;
/// Sources that are remembered though the config has them no more.
const GONE_MAX: usize = 1000;
/// How long a request takes at most that has its body.
const UNDER_WAY: Duration = Duration::from_secs(60);
/// Before anything was ever received.
const EVER: Timestamp = Timestamp::from_millis(0);

/// The windows of all sources. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Windows {
    path: PathBuf,
    clock: Clock,
    spans: Arc<Mutex<BTreeMap<String, Vec<Span>>>>,
}

/// A time with one window: it ends where the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Span {
    from_ms: i64,
    window_ms: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    sources: BTreeMap<String, Vec<Span>>,
}

impl Windows {
    /// Goes on with what is written down in this folder, with the windows of `config` from now on. `is_new`: the
    /// store is, so that nothing can have been forgotten yet.
    pub fn open(data: &Path, config: &Config, clock: Clock, is_new: bool) -> Self {
        let path = data.join("windows.json");
        let read = match read(&path) {
            Ok(None) if is_new => Ok(Some(BTreeMap::new())),
            read => read,
        };
        let (spans, since) = match read {
            // A source that is not in there never was.
            Ok(Some(spans)) => (spans, EVER),
            Ok(None) => (BTreeMap::new(), clock.now()),
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "how long dedupe keys were kept before is not known");
                (BTreeMap::new(), clock.now())
            }
        };
        let windows = Self { path, clock, spans: Arc::new(Mutex::new(spans)) };
        windows.follow_since(config, since);
        windows
    }

    /// Notes the windows of a config that is in force now.
    pub fn follow(&self, config: &Config) {
        self.follow_since(config, EVER);
    }

    /// `new_since` is since when a source has its window that had none.
    fn follow_since(&self, config: &Config, new_since: Timestamp) {
        let now = self.clock.now();
        let mut spans = self.lock();
        let before = spans.clone();
        let begun = config.server.body_timeout + UNDER_WAY;
        for (name, source) in &config.sources {
            let spans = spans.entry(name.to_string()).or_default();
            note(spans, source.dedupe_window, now, new_since, begun);
        }
        let is_gone = |name: &String| !config.sources.keys().any(|known| known.as_str() == name);
        let gone: Vec<_> = spans.keys().filter(|name| is_gone(name)).cloned().collect();
        for name in gone.iter().skip(GONE_MAX) {
            spans.remove(name);
        }
        if *spans == before {
            return;
        }
        let written = Written { format: FORMAT, sources: spans.clone() };
        if let Err(error) = write(&self.path, &written) {
            let path = self.path.display();
            // After a restart less is known than could be.
            tracing::warn!(%path, %error, "how long dedupe keys are kept is not written down");
        }
    }

    /// Since when all that a source was sent is known still, by the keys that are kept.
    pub fn known_since(&self, source: &SourceName) -> Timestamp {
        let now = self.clock.now();
        self.lock().get(source.as_str()).map_or(now, |spans| known_since(spans, now))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Span>>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes a source's window, if it is another than before. Requests that have `begun` may still claim under the one
/// before, which matters if that was shorter.
fn note(
    spans: &mut Vec<Span>,
    window: Duration,
    now: Timestamp,
    new_since: Timestamp,
    begun: Duration,
) {
    let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
    if spans.last().is_some_and(|last| last.window_ms == window_ms) {
        return;
    }
    let begun_ms = i64::try_from(begun.as_millis()).unwrap_or(i64::MAX);
    let from_ms = match spans.last() {
        None => new_since.as_millis(),
        Some(last) if last.window_ms < window_ms => now.as_millis().saturating_add(begun_ms),
        Some(_) => now.as_millis(),
    };
    spans.push(Span { from_ms, window_ms });
    spans.drain(..spans.len().saturating_sub(SPANS_MAX));
}

/// The end of what is forgotten: of each span what is older than its window, and all that was before the first.
fn known_since(spans: &[Span], now: Timestamp) -> Timestamp {
    let now = now.as_millis();
    let mut since = spans.first().map_or(now, |first| first.from_ms);
    for (nth, span) in spans.iter().enumerate() {
        let end = spans.get(nth + 1).map_or(now, |next| next.from_ms);
        let kept = now.saturating_sub(span.window_ms);
        if kept > span.from_ms {
            since = since.max(kept.min(end));
        }
    }
    Timestamp::from_millis(since)
}

/// What is written down; none, if nothing ever was.
fn read(path: &Path) -> io::Result<Option<BTreeMap<String, Vec<Span>>>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let Written { format, sources } = serde_json::from_slice(&text)?;
    if format != FORMAT {
        let newer = format!("it has format {format}, and this gateway reads {FORMAT}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, newer));
    }
    Ok(Some(sources))
}

/// Written aside and renamed: no reader sees half of it.
fn write(path: &Path, written: &Written) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let aside = tempfile::Builder::new().make_in(folder, |path| {
        File::options().write(true).create_new(true).mode(0o600).open(path)
    })?;
    aside.as_file().write_all(&serde_json::to_vec(written)?)?;
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::config::Surroundings;

    const DAY: i64 = 24 * 3600 * 1000;

    fn config(window: &str) -> Config {
        let text = format!(
            "[sources.erp]\npath = \"/erp\"\nscheme = \"github\"\nsecrets = [{{ env = \"S\" }}]\n\
             dedupe_window = \"{window}\"\n"
        );
        let around = Surroundings {
            env: &|_| Some("a-secret-of-some-length".to_owned()),
            file: &|_| Err(io::ErrorKind::NotFound.into()),
        };
        Config::parse(&text, Path::new("/x"), &around).unwrap()
    }

    /// A data folder, and the day that it is.
    struct Bed {
        folder: tempfile::TempDir,
        day: Arc<AtomicI64>,
    }

    impl Bed {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), day: Arc::new(AtomicI64::new(1000)) }
        }

        fn open(&self, window: &str, is_new: bool) -> Windows {
            let day = self.day.clone();
            let clock =
                Clock::new(move || Timestamp::from_millis(day.load(Ordering::SeqCst) * DAY));
            Windows::open(self.folder.path(), &config(window), clock, is_new)
        }

        /// Since which day all is known, on that day.
        fn known(&self, windows: &Windows, on: i64) -> i64 {
            self.day.store(on, Ordering::SeqCst);
            windows.known_since(&"erp".parse().unwrap()).as_millis() / DAY
        }
    }

    #[test]
    fn a_longer_window_brings_nothing_back() {
        let bed = Bed::new();
        let windows = bed.open("3d", true);
        assert_eq!(bed.known(&windows, 1010), 1007);
        windows.follow(&config("30d"));
        assert_eq!(bed.known(&windows, 1010), 1007, "what was forgotten stays so");
        assert_eq!(
            bed.known(&windows, 1012),
            1009,
            "what was claimed before goes by its own window"
        );
        assert_eq!(bed.known(&windows, 1030), 1010);
        assert_eq!(bed.known(&windows, 1050), 1020);
    }

    #[test]
    fn a_shorter_window_takes_nothing_that_is_kept() {
        let bed = Bed::new();
        let windows = bed.open("30d", true);
        bed.known(&windows, 1100);
        windows.follow(&config("1d"));
        assert_eq!(bed.known(&windows, 1100), 1070);
        assert_eq!(bed.known(&windows, 1110), 1109, "and what came since is soon forgotten");
    }

    #[test]
    fn it_is_known_after_a_restart_also_of_a_change_meanwhile() {
        let bed = Bed::new();
        bed.open("3d", true);
        bed.day.store(1010, Ordering::SeqCst);
        let windows = bed.open("30d", false);
        assert_eq!(bed.known(&windows, 1010), 1007);
        let windows = bed.open("30d", false);
        assert_eq!(bed.known(&windows, 1020), 1010);
    }

    #[test]
    fn where_nothing_is_written_down_nothing_is_said_to_be_known() {
        let bed = Bed::new();
        let windows = bed.open("3d", false);
        assert_eq!(bed.known(&windows, 1001), 1000);
        assert_eq!(bed.known(&windows, 1010), 1007);
        fs::write(bed.folder.path().join("windows.json"), "{\"format\":2}").unwrap();
        let windows = bed.open("3d", false);
        assert_eq!(bed.known(&windows, 1011), 1010);
    }

    #[test]
    fn of_many_changes_the_last_are_remembered() {
        let bed = Bed::new();
        let windows = bed.open("1d", true);
        for day in 0..100 {
            bed.day.store(2000 + day, Ordering::SeqCst);
            windows.follow(&config(if day % 2 == 0 { "50d" } else { "60d" }));
        }
        let first = 2099 - i64::try_from(SPANS_MAX).unwrap() + 1;
        assert_eq!(bed.known(&windows, 2100), first);
    }
}
