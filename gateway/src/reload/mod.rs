//! Follows the plugins folder and `gateway.toml` while the gateway runs.
//!
//! A hint or a timer starts a look; what is found decides. New versions are made off to the side and
//! put on the board in one atomic store; running attempts finish on what they started with. A bad
//! file, plugin or config, is reported once and leaves the last good one in force. A version that fails
//! where the one before did not is taken back, and operators have a say through [`Wishes`].
//!
//! Where gateways share versions, what the folder shows and operators ask for is proposed to all, and what all agree on
//! is followed: looked for every second.

mod approve;
mod kept;
mod probation;
mod samples;
mod scan;
mod shelf;
mod verb;
mod versions;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use hookweir_event::{Digest, PluginName, SourceName};
use hookweir_host::{Host, Version};
use hookweir_store::Publishing;
use tokio::sync::{Notify, mpsc, oneshot};

pub use self::verb::{ConfigLook, Looked, PluginLook, Refusal, Verb, Wishes};
pub(crate) use self::{approve::approve, kept::kept};
use self::{
    shelf::{Moment, Obeyed, Shelf},
    verb::{Asked, Wish},
    versions::Versions,
    watch::Watch,
};
use crate::{
    config::{Config, Seen, SourceConfig, Surroundings},
    health::Health,
    live::{Board, Live, Plugin, Source},
    tasks::Stop,
    windows::Windows,
};

/// How long a folder must be quiet before it is looked at.
const QUIET: Duration = Duration::from_millis(200);
/// How long a folder that is never quiet is left alone.
const RESTLESS: Duration = Duration::from_secs(2);
/// How soon a look is repeated that could not decide about a file.
const AGAIN: Duration = Duration::from_millis(250);
/// How long an operator who asks for a look waits for other gateways.
const AGREED: Duration = Duration::from_secs(10);
/// How often it is looked for what gateways share.
const EXCHANGE: Duration = Duration::from_secs(1);

/// The driver that writes the board.
pub struct Reload {
    config: Arc<Config>,
    /// What was last followed or refused.
    seen: Seen,
    /// Why that was refused, if it was.
    refused: Option<String>,
    shelf: Shelf,
    /// A file is not decided about: look again soon.
    pending: bool,
    board: Arc<Board>,
    changed: Arc<Notify>,
    health: Arc<Health>,
    windows: Windows,
    wishes: (Wishes, mpsc::Receiver<Asked>),
    /// Those that wait for all gateways.
    waiting: Vec<Waiting>,
    watch: Watch,
    /// When it is looked next for what gateways share.
    exchange_at: Instant,
}

/// A wish that waits for all gateways.
struct Waiting {
    plugin: PluginName,
    /// Of the proposal.
    number: i64,
    /// What was done, when it is live.
    said: String,
    answer: oneshot::Sender<Result<String, Refusal>>,
}

/// What made the driver wake.
enum Cause {
    Stop,
    Hint,
    Rest,
    News,
    Exchange,
    Wish(Wish),
    Look(oneshot::Sender<Looked>),
}

impl Reload {
    /// Loads what is there and puts it on a new board: first what was live before the last stop, then what
    /// the plugins folder has. `seen` is what `config` was read from: what was edited since is another
    /// config, however long the start took. `changed` is notified at each swap; `health` tells how versions do;
    /// `windows` is told of each config. With what gateways share, what is live for all is what serves.
    ///
    /// # Errors
    /// If the data folder can't be written. A plugin that can't be loaded is no error.
    pub async fn start(
        seen: Seen,
        config: Config,
        (host, publishing): (Host, Option<Publishing>),
        changed: Arc<Notify>,
        (health, windows): (Arc<Health>, Windows),
    ) -> io::Result<Self> {
        let config = Arc::new(config);
        let versions = Versions::open(config.store.data_folder()).await?;
        let mut shelf = Shelf::new(host, versions, health.clone()).sharing(publishing);
        match shelf.shares() {
            true => shelf.join(&config, now()).await,
            false => shelf.serve_kept(&config, now()).await,
        }
        let pending = first_look(&mut shelf, &config).await;
        let board = Arc::new(Board::from_pointee(live(&config, &shelf, None)));
        shelf.tell();
        let watch = Watch::new(config.host.watch);
        let wishes = Wishes::new();
        let mut reload = Self {
            config,
            seen,
            refused: None,
            shelf,
            pending,
            board,
            changed,
            health,
            windows,
            wishes,
            waiting: Vec::new(),
            watch,
            exchange_at: Instant::now(),
        };
        reload.follow();
        Ok(reload)
    }

    /// Where operators' wishes are handed in.
    pub fn wishes(&self) -> Wishes {
        self.wishes.0.clone()
    }

    /// Where what is in force can be read.
    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// Follows changes until `stop`.
    pub async fn run(mut self, mut stop: Stop) {
        loop {
            match self.next(&mut stop).await {
                Cause::Stop => return,
                Cause::Hint => self.settle_down().await,
                Cause::Rest => {}
                // The version that fails is taken back without a look at the folder.
                Cause::News => {
                    self.judge().await;
                    continue;
                }
                Cause::Exchange => {
                    if !self.exchange().await {
                        continue;
                    }
                }
                Cause::Wish(wish) => {
                    self.grant(wish).await;
                    continue;
                }
                Cause::Look(answer) => {
                    let looked = self.look_for_operator().await;
                    // Who asked may have gone.
                    let _ = answer.send(looked);
                    continue;
                }
            }
            self.look().await;
        }
    }

    async fn next(&mut self, stop: &mut Stop) -> Cause {
        let rest = if self.pending { AGAIN } else { self.config.host.rescan };
        let trial = self.shelf.judges_in(Instant::now());
        let rest = trial.map_or(rest, |trial| rest.min(trial));
        let (shares, exchange_at) = (self.shelf.shares(), self.exchange_at);
        tokio::select! {
            biased;
            () = stop.asked() => Cause::Stop,
            () = self.health.news() => Cause::News,
            Some(asked) = self.wishes.1.recv() => match asked {
                Asked::Wish(wish) => Cause::Wish(wish),
                Asked::Look(answer) => Cause::Look(answer),
            },
            () = self.watch.hint() => Cause::Hint,
            () = tokio::time::sleep_until(exchange_at.into()), if shares => Cause::Exchange,
            () = tokio::time::sleep(rest) => Cause::Rest,
        }
    }

    /// Looks at everything, and answers what became of the config.
    async fn look(&mut self) -> ConfigLook {
        let config = self.look_at_config().await;
        self.pending = self.look_at_plugins().await;
        self.judge().await;
        // What was proposed may be live already.
        self.pending |= self.exchange().await;
        config
    }

    /// The same with what it brings. A file that may be half copied is waited for a moment: whoever copied
    /// it asks for a look right after. So is what others have to be ready for.
    async fn look_for_operator(&mut self) -> Looked {
        let before = versions(&self.board.load());
        let config = self.look().await;
        let mut waited = Duration::ZERO;
        while (self.pending && waited < RESTLESS) || (self.shelf.awaits_others() && waited < AGREED)
        {
            tokio::time::sleep(AGAIN).await;
            waited += AGAIN;
            self.look().await;
        }
        let live = self.board.load();
        let now = versions(&live);
        let names: BTreeSet<_> = before.keys().chain(now.keys()).collect();
        let look = |name: &&PluginName| {
            let (before, now) = (before.get(*name).copied(), now.get(*name).copied());
            (before != now).then(|| PluginLook { name: (*name).clone(), before, now })
        };
        let not_live = live.plugins().iter().filter_map(|(name, plugin)| {
            let file = plugin.standing.file.as_ref()?;
            Some((name.clone(), file.reason.clone()))
        });
        Looked {
            config,
            plugins: names.iter().filter_map(look).collect(),
            not_live: not_live.collect(),
            pending: self.pending,
        }
    }

    /// Looks at what gateways share, if they do, and answers who waited for it. Whether the folder is to be looked at.
    async fn exchange(&mut self) -> bool {
        if !self.shelf.shares() {
            return false;
        }
        let Self { config, shelf, board, changed, .. } = self;
        let put_up = |shelf: &mut Shelf| publish(board, config, shelf, changed);
        let look = shelf.exchange(config, now(), put_up).await;
        self.exchange_at = Instant::now() + EXCHANGE;
        let waiting = std::mem::take(&mut self.waiting);
        for wish in waiting.into_iter().filter(|wish| !wish.answer.is_closed()) {
            match self.shelf.came_of(&wish.plugin, wish.number) {
                None => self.waiting.push(wish),
                Some(came) => {
                    let answer = came.map(|()| wish.said).map_err(Refusal::NotAgreed);
                    // Who asked may have gone.
                    let _ = wish.answer.send(answer);
                }
            }
        }
        look
    }

    async fn judge(&mut self) {
        if self.shelf.judge(&self.config, now()).await {
            self.publish();
            // The file that was taken back is still in the folder: say why it is not live.
            self.pending = true;
        }
    }

    /// Does what an operator asks for, and answers when it is in force. Only what is approved needs a look
    /// at the folder for that, which may have to compile what others put there.
    async fn grant(&mut self, wish: Wish) {
        if wish.is_forsaken() {
            return;
        }
        let done = self.shelf.obey(&wish, &self.config, now()).await;
        let Wish { plugin, verb, answer } = wish;
        let mut done = match done {
            Ok(Obeyed { said, number: Some(number) }) => {
                self.waiting.push(Waiting { plugin, number, said, answer });
                self.pending |= self.exchange().await;
                return;
            }
            done => done.map(|obeyed| obeyed.said),
        };
        let obeyed = done.is_ok();
        if obeyed {
            self.publish();
        }
        if let (Verb::Approve { .. }, Ok(said)) = (&verb, &mut done) {
            self.pending = self.look_at_plugins().await;
            self.pending |= self.exchange().await;
            if let Some(reason) = self.shelf.still_held(&plugin) {
                said.push_str("; it is not live: ");
                said.push_str(&reason);
            }
        }
        // Who asked may have gone.
        let _ = answer.send(done);
        if obeyed && !matches!(verb, Verb::Approve { .. }) {
            self.pending = self.look_at_plugins().await;
        }
    }

    /// Waits until hints stop coming, or all that changed is known to be complete.
    async fn settle_down(&self) {
        let deadline = Instant::now() + RESTLESS;
        while !self.watch.is_settled()
            && Instant::now() < deadline
            && tokio::time::timeout(QUIET, self.watch.hint()).await.is_ok()
        {}
    }

    /// Whether to look again soon.
    async fn look_at_plugins(&mut self) -> bool {
        let complete = self.watch.take_complete();
        let Self { config, shelf, board, changed, .. } = self;
        let put_up = |shelf: &mut Shelf| publish(board, config, shelf, changed);
        let looked = shelf.look(config, now(), &complete, put_up).await;
        shelf.tell();
        match looked {
            Ok(looked) => looked.pending,
            Err(error) => {
                tracing::warn!(folder = %self.config.host.dir.display(), %error, "failed to list the plugins folder");
                false
            }
        }
    }

    /// Follows a changed config whole, or not at all.
    async fn look_at_config(&mut self) -> ConfigLook {
        let around = Surroundings::real();
        if self.seen.holds(&around) {
            return match &self.refused {
                Some(reason) => ConfigLook::Refused(reason.clone()),
                None => ConfigLook::Unchanged,
            };
        }
        let (config, seen) = Seen::load(self.seen.config(), &around);
        self.seen = seen;
        let path = self.seen.config().display().to_string();
        let changed = match config {
            Ok(config) => self.changed(config).await,
            Err(error) => Err(error.to_string()),
        };
        self.follow();
        match changed {
            Ok((config, shelf)) => {
                (self.config, self.shelf) = (Arc::new(config), shelf);
                self.publish();
                // Not before: until then claims are held for as long as it was.
                self.windows.follow(&self.config);
                self.refused = None;
                tracing::info!(path, "config reloaded");
                ConfigLook::Reloaded
            }
            Err(reason) => {
                tracing::error!(path, "config not reloaded, the old one stays in force:\n{reason}");
                self.refused = Some(reason.clone());
                ConfigLook::Refused(reason)
            }
        }
    }

    /// A changed config, and the shelf under it.
    async fn changed(&self, config: Config) -> Result<(Config, Shelf), String> {
        let restart = self.config.needs_restart(&config);
        if !restart.is_empty() {
            return Err(format!("a change of {} needs a restart", restart.join(", ")));
        }
        let shelf = self.shelf.under(&self.config, &config, now()).await?;
        Ok((config, shelf))
    }

    fn publish(&mut self) {
        publish(&self.board, &self.config, &mut self.shelf, &self.changed);
    }

    fn follow(&mut self) {
        // Also where only the last good config's are: it is what is in force.
        let files = self.config.secret_files.iter().map(PathBuf::as_path);
        self.watch.follow(&self.config.host.dir, files.chain(self.seen.files()));
    }
}

/// Puts on the board what is on the shelf, and says what is in force with that.
fn publish(board: &Board, config: &Arc<Config>, shelf: &mut Shelf, changed: &Notify) {
    let before = board.load();
    board.store(Arc::new(live(config, shelf, Some(&before))));
    shelf.tell();
    changed.notify_one();
}

/// What serves.
fn versions(live: &Live) -> BTreeMap<PluginName, Digest> {
    let version = |(name, plugin): (&PluginName, &Plugin)| {
        Some((name.clone(), plugin.version.as_ref()?.digest()))
    };
    live.plugins().iter().filter_map(version).collect()
}

/// The time, by both clocks.
fn now() -> Moment {
    Moment { now: Instant::now(), wall: SystemTime::now() }
}

/// Looks until every name that has a file has a version, or a reason for having none: a gateway that starts
/// beside a half-written file waits for it a moment, and no longer. Answers whether something is pending
/// still. What serves already is not waited for.
///
/// Only the waiting counts, not the looks: plugins compile in them, and one that takes long must not
/// use up the time of the next one's file, whose events would have nowhere to go.
async fn first_look(shelf: &mut Shelf, config: &Config) -> bool {
    let mut waited = Duration::ZERO;
    let pending = loop {
        let (mut pending, unserved) = match shelf
            .look(config, now(), &BTreeSet::new(), |_| {})
            .await
        {
            Ok(looked) => (looked.pending, looked.unserved),
            Err(error) => {
                tracing::warn!(folder = %config.host.dir.display(), %error, "failed to list the plugins folder");
                (true, true)
            }
        };
        // What nobody else has to agree on is live already.
        pending |= shelf.exchange(config, now(), |_| {}).await;
        if !unserved || waited >= RESTLESS {
            break pending;
        }
        tokio::time::sleep(AGAIN).await;
        waited += AGAIN;
    };
    shelf.started();
    pending
}

/// What is in force under `config`, after what was before.
fn live(config: &Arc<Config>, shelf: &Shelf, before: Option<&Live>) -> Live {
    let data = config.store.data_folder();
    let source = |(name, source): (&SourceName, &SourceConfig)| {
        let before = before.and_then(|live| live.source(name)).map(AsRef::as_ref);
        let counted = config.admin.metrics;
        Arc::new(Source::new(name.clone(), source.clone(), data, counted).following(before))
    };
    let sources = config.sources.iter().map(source);
    let mut plugins = shelf.plugins(config);
    for (name, plugin) in &mut plugins {
        if let Some(before) = before.and_then(|live| live.plugins().get(name)) {
            plugin.record = before.record.clone();
            plugin.figures = plugin.figures.following(&before.figures);
        }
        let version = plugin.version.as_ref().map(Version::digest);
        plugin.figures = plugin.figures.serving(version);
    }
    let mut live = Live::new(config.clone(), sources, plugins);
    live.gateways = shelf.gateways();
    live
}
