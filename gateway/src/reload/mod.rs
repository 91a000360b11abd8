//! Follows the plugins folder and `gateway.toml` while the gateway runs.
//!
//! A hint or a timer starts a look; what is found decides. New versions are made off to the side and
//! put on the board in one atomic store; running attempts finish on what they started with. A bad
//! file, plugin or config, is reported once and leaves the last good one in force.

mod approve;
mod last_good;
mod scan;
mod shelf;
mod watch;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use hookweir_event::{Digest, SourceName};
use hookweir_host::Host;
use tokio::sync::Notify;

pub(crate) use self::approve::approve;
use self::{last_good::LastGood, shelf::Shelf, watch::Watch};
use crate::{
    config::{Config, SourceConfig, Surroundings},
    live::{Board, Live, Source},
    tasks::Stop,
};

/// How long a folder must be quiet before it is looked at.
const QUIET: Duration = Duration::from_millis(200);
/// How long a folder that is never quiet is left alone.
const RESTLESS: Duration = Duration::from_secs(2);
/// How often the folder is looked at without a hint: some file systems give none.
const RESCAN: Duration = Duration::from_secs(15);
/// How soon a look is repeated that could not decide about a file.
const AGAIN: Duration = Duration::from_millis(250);

/// The driver that writes the board.
pub struct Reload {
    config_path: PathBuf,
    config: Config,
    /// The content of the config and its secrets that was last followed or refused.
    seen: Digest,
    shelf: Shelf,
    /// A file is not decided about: look again soon.
    pending: bool,
    board: Arc<Board>,
    changed: Arc<Notify>,
    watch: Watch,
}

impl Reload {
    /// Loads what is there and puts it on a new board. `changed` is notified at each swap.
    ///
    /// # Errors
    /// If the data folder can't be written. A plugin that can't be loaded is no error.
    pub async fn start(
        config_path: PathBuf,
        config: Config,
        host: Host,
        changed: Arc<Notify>,
    ) -> io::Result<Self> {
        let kept = LastGood::open(config.store.data_folder().join("last-good")).await?;
        let mut shelf = Shelf::new(host, kept);
        let pending = first_look(&mut shelf, &config).await;
        let board = Arc::new(Board::from_pointee(live(&config, &shelf, None)));
        let seen = fingerprint(&config_path, &config, &Surroundings::real());
        let watch = Watch::new();
        let mut reload = Self { config_path, config, seen, shelf, pending, board, changed, watch };
        reload.follow();
        Ok(reload)
    }

    /// Where what is in force can be read.
    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// Follows changes until `stop`.
    pub async fn run(mut self, mut stop: Stop) {
        loop {
            let rest = if self.pending { AGAIN } else { RESCAN };
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = self.watch.hint() => self.settle_down().await,
                () = tokio::time::sleep(rest) => {}
            }
            self.look_at_config().await;
            self.pending = self.look_at_plugins().await;
        }
    }

    /// Waits until hints stop coming.
    async fn settle_down(&self) {
        let deadline = Instant::now() + RESTLESS;
        while Instant::now() < deadline
            && tokio::time::timeout(QUIET, self.watch.hint()).await.is_ok()
        {}
    }

    /// Whether to look again soon.
    async fn look_at_plugins(&mut self) -> bool {
        let looked = self.shelf.look(&self.config, Instant::now(), SystemTime::now()).await;
        match looked {
            Ok(looked) => {
                if looked.changed {
                    self.publish();
                }
                looked.pending
            }
            Err(error) => {
                tracing::warn!(folder = %self.config.host.dir.display(), %error, "failed to list the plugins folder");
                false
            }
        }
    }

    /// Follows a changed config whole, or not at all.
    async fn look_at_config(&mut self) {
        let around = Surroundings::real();
        let seen = fingerprint(&self.config_path, &self.config, &around);
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        match self.changed_config(&around).await {
            Ok((config, shelf)) => {
                (self.config, self.shelf) = (config, shelf);
                // The secrets' files may be others now.
                self.seen = fingerprint(&self.config_path, &self.config, &around);
                self.follow();
                self.publish();
                tracing::info!(path = %self.config_path.display(), "config reloaded");
            }
            Err(reason) => tracing::error!(
                path = %self.config_path.display(),
                "config not reloaded, the old one stays in force:\n{reason}"
            ),
        }
    }

    async fn changed_config(&self, around: &Surroundings<'_>) -> Result<(Config, Shelf), String> {
        let config = Config::load(&self.config_path, around).map_err(|error| error.to_string())?;
        let restart = self.config.needs_restart(&config);
        if !restart.is_empty() {
            return Err(format!("a change of {} needs a restart", restart.join(", ")));
        }
        let shelf = self.shelf.under(&self.config, &config).await?;
        Ok((config, shelf))
    }

    fn publish(&self) {
        let before = self.board.load();
        self.board.store(Arc::new(live(&self.config, &self.shelf, Some(&before))));
        self.changed.notify_one();
    }

    fn follow(&mut self) {
        let folder = |path: &'_ Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let files = self.config.secret_files.iter().map(|file| folder(file));
        let folders: Vec<_> =
            files.chain([folder(&self.config_path), self.config.host.dir.clone()]).collect();
        self.watch.follow(folders.iter().map(PathBuf::as_path));
    }
}

/// Looks until nothing is pending: a gateway that starts beside a half-written file waits for it a
/// moment, and no longer. Answers whether something is pending still.
///
/// Only the waiting counts, not the looks: plugins compile in them, and one that takes long must not
/// use up the time of the next one's file, whose events would have nowhere to go.
async fn first_look(shelf: &mut Shelf, config: &Config) -> bool {
    let mut waited = Duration::ZERO;
    loop {
        let looked = shelf.look(config, Instant::now(), SystemTime::now()).await;
        let pending = looked.map_or_else(
            |error| {
                tracing::warn!(folder = %config.host.dir.display(), %error, "failed to list the plugins folder");
                true
            },
            |looked| looked.pending,
        );
        if !pending {
            return false;
        }
        if waited >= RESTLESS {
            shelf.fall_back_all(config).await;
            return true;
        }
        tokio::time::sleep(AGAIN).await;
        waited += AGAIN;
    }
}

/// What is in force under `config`, after what was before.
fn live(config: &Config, shelf: &Shelf, before: Option<&Live>) -> Live {
    let data = config.store.data_folder();
    let source = |(name, source): (&SourceName, &SourceConfig)| {
        let before = before.and_then(|live| live.source(name)).map(AsRef::as_ref);
        Arc::new(Source::new(name.clone(), source.clone(), data).following(before))
    };
    let sources = config.sources.iter().map(source);
    let mut plugins = shelf.plugins(config);
    for (name, plugin) in &mut plugins {
        if let Some(before) = before.and_then(|live| live.plugins().get(name)) {
            plugin.record = before.record.clone();
        }
    }
    Live::new(config.server.clone(), sources, plugins)
}

/// Changes when the config or a file it names does.
fn fingerprint(path: &Path, config: &Config, around: &Surroundings<'_>) -> Digest {
    let mut texts = vec![(around.file)(path).unwrap_or_default()];
    texts.extend(config.secret_files.iter().map(|file| (around.file)(file).unwrap_or_default()));
    let fields: Vec<_> = texts.iter().map(String::as_bytes).collect();
    Digest::of_fields(&fields)
}
