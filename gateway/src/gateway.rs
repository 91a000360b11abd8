//! The whole house: builds every part, runs them, and takes them down in order.
//!
//! Shutdown is ownership: stop accepting, let requests and attempts finish within the grace time,
//! close the store, which syncs. What an attempt left unfinished is leased again after the restart.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hookweir_event::Clock;
use hookweir_host::{Host, HostError, Settings};
use hookweir_store::{Counts, OpenError, Options, ReadError, Room, SqliteFile, Store, Survey};
use thiserror::Error;
use tokio::{net::TcpListener, sync::Notify};

use crate::{
    admin::{Admin, Audit, Desk, Guard, token_file},
    alerts::Watch,
    budget::Budget,
    chance::Chance,
    config::{Config, Seen, ServerConfig},
    dispatch::{Capacity, Dispatch},
    egress::{Names, Post, Roads, Web},
    health::Health,
    intake::{Door, Intake},
    jobs::Jobs,
    keys::Keys,
    live::Board,
    metrics::{Metrics, Surveyor, figures::Count},
    pauses::Pauses,
    plugin_state::PluginState,
    readiness::Readiness,
    reload::{Reload, Wishes},
    serve::{Bounds, Connections, Peer, Terms, serve},
    supervisor::{Supervisor, Vitals},
    tasks::{GuestRuntime, Stop, Stopper, Tasks},
    trace::{Exporter, Tracer},
    windows::Windows,
};

/// What the gateway is told beside its config.
#[derive(Debug, Clone)]
pub struct Surrounds {
    /// The files that the config was read from, followed while the gateway runs.
    pub seen: Seen,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub chance: Chance,
    /// Where names lead.
    pub names: Names,
    /// The SQLite VFS, for tests that make the disk fail.
    pub vfs: Option<String>,
}

/// Why the gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The store can't be opened.
    #[error("failed to open the store: {0}")]
    Store(#[from] OpenError),
    /// What is paused can't be read.
    #[error("failed to read what is paused: {0}")]
    Pauses(#[from] ReadError),
    /// The plugin host can't start.
    #[error("failed to start the plugin host: {0}")]
    Host(#[from] HostError),
    /// The authorities of `[egress]` are none.
    #[error("failed to read egress.roots: {0}")]
    Roots(String),
    /// An address can't be listened on.
    #[error("failed to listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A folder can't be made or written.
    #[error("failed to use {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no threads.
    #[error("failed to start the plugins' threads: {0}")]
    Threads(#[source] io::Error),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// As asked; with this many attempts and connections cut off by the end of the grace time.
    Stopped {
        /// What was still running.
        cut_off: usize,
    },
    /// A part ended by itself, which it must not.
    Failed(String),
}

/// A gateway that is built and listens, but answers nobody yet.
pub struct Gateway {
    server: ServerConfig,
    store: Store,
    reload: Reload,
    dispatch: Dispatch,
    intake: Arc<Intake>,
    guests: GuestRuntime,
    public: TcpListener,
    admin: TcpListener,
    guard: Guard,
    metrics: Metrics,
    metrics_on: bool,
    watch: Watch,
    desk: Desk,
    exporter: Option<Exporter>,
    supervisor: Supervisor,
}

impl Gateway {
    /// Builds every part. Nothing is accepted before all of them stand.
    ///
    /// # Errors
    /// If a part can't be built. A plugin that can't be loaded is no error: its deliveries wait.
    pub async fn build(config: Config, around: Surrounds) -> Result<Self, StartError> {
        let Surrounds { seen, clock, chance, names, vfs } = around;
        let started_at = clock.now();
        let public = listen(config.server.listen).await?;
        let admin = listen(config.admin.listen).await?;
        folder(&config.host.dir)?;
        let guests = GuestRuntime::start(config.host.threads).map_err(StartError::Threads)?;
        let store = Store::open(options(&config, vfs, &chance, clock.clone())).await?;
        let data = config.store.data_folder().to_owned();
        let drawn = (clock.clone(), chance.clone());
        let (guard, audit) = admission(&config, &data, &drawn)?;
        let state = Arc::new(PluginState::new(&store.reader()));
        let egress = &config.egress;
        let roots = egress.roots.as_deref();
        let (tracer, exporter) =
            tracing_to(&config, drawn.clone(), &names).map_err(StartError::Roots)?;
        let network = Roads::new(roots, names.clone()).map_err(StartError::Roots)?;
        let network = network.traced(tracer.clone());
        let host = Host::new(settings(&config), clock.clone(), state, Arc::new(network))?;
        let keys = Keys::new(Web::new(roots, &egress.allow, names).map_err(StartError::Roots)?);
        let changed = Arc::new(Notify::new());
        let (server, metrics_on) = (config.server.clone(), config.admin.metrics);
        let capacity = capacity(&config);
        let health = Arc::new(Health::default());
        let windows = windows(&store, &config, clock.clone()).await;
        let told = (health.clone(), windows.clone());
        let reload = Reload::start(seen, config, host.clone(), changed.clone(), told)
            .await
            .map_err(|source| StartError::Folder { path: data, source })?;
        let board = reload.board();
        let (strays, spawner) = (Arc::<Count>::default(), guests.spawner());
        let pauses = Pauses::read(store.clone(), spawner.clone(), changed.clone()).await?;
        let told = (changed, health.clone(), pauses.clone());
        let jobs = Jobs::new(store.clone(), board.clone(), drawn.clone(), spawner.clone());
        let door = Door::new(host.clone(), spawner.clone(), store.clone());
        let traced = (clock.clone(), chance.clone(), tracer.clone());
        let (on, kept, runs) = (board.clone(), store.clone(), host.clone());
        let dispatch = Dispatch::new(on, kept, runs, traced, capacity, spawner, told);
        let behind = (keys, door, pauses.clone());
        let seen = (tracer, strays.clone());
        let budget = Arc::<Budget>::default();
        let kept = (store.clone(), guests.spawner(), budget.clone());
        let intake = Arc::new(Intake::new(board.clone(), kept, behind, drawn.clone(), seen));
        let desk = Desk {
            board: board.clone(),
            store: store.clone(),
            health,
            monitor: dispatch.monitor(),
            wishes: reload.wishes(),
            jobs,
            pauses,
            windows,
            clock: clock.clone(),
            audit,
            started_at,
        };
        let surveyor = Surveyor::new(&store.reader(), clock);
        let looks = (surveyor.clone(), desk.pauses.clone());
        let watch = Watch::new(board, store.clone(), looks, drawn);
        let connections = Connections::at_most(server.connections);
        let metrics = metrics(&desk, (&watch, surveyor), host, (strays, connections, budget));
        Ok(Self {
            server,
            store,
            reload,
            dispatch,
            intake,
            guests,
            public,
            admin,
            guard,
            metrics,
            metrics_on,
            watch,
            desk,
            exporter,
            supervisor: Supervisor::default(),
        })
    }

    /// The same, which says how it stands to whoever started it.
    #[must_use]
    pub fn supervised_by(self, supervisor: Supervisor) -> Self {
        Self { supervisor, ..self }
    }

    /// Where senders post.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn public_address(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Where health is asked for.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Where operators' wishes are handed in.
    pub fn wishes(&self) -> Wishes {
        self.reload.wishes()
    }

    /// What is in force.
    pub fn board(&self) -> Arc<Board> {
        self.desk.board.clone()
    }

    /// Runs until `stop` is asked for or a part fails, then takes everything down in order.
    pub async fn run(self, mut stop: Stop) -> Ended {
        let Self {
            server,
            store,
            reload,
            dispatch,
            intake,
            guests,
            public,
            admin,
            guard,
            metrics,
            metrics_on,
            watch,
            desk,
            exporter,
            supervisor,
        } = self;
        let readiness = Readiness::new(store.health(), stop.clone());
        let starting = readiness.latch();
        let (stopper, asked) = Stopper::new();
        let bounds = bounds(&server, metrics.connections.clone());
        let cut_off = CutOff::default();
        let mut line = Tasks::default();
        let (counted, spawner) = (cut_off.clone(), guests.spawner());
        let handler = move |request, peer: Peer| {
            let intake = intake.clone();
            async move { intake.answer(request, &peer).await }
        };
        let board = desk.board.clone();
        let terms = move || public_terms(&board);
        let front = serve(public, bounds.clone(), terms, handler, spawner, asked.clone());
        line.run("intake", async move { add(&counted.connections, front.await) });
        let (counted, back) = (cut_off.clone(), dispatch.run(asked.clone(), server.grace));
        line.run("dispatch", async move { add(&counted.attempts, back.await) });
        line.run("alerts", watch.run(asked.clone()));
        line.run("reload", reload.run(asked));

        // Health is answered to the last, so that a balancer sees the gateway go.
        let (last, asked_last) = Stopper::new();
        let mut health = Tasks::default();
        let jobs = desk.jobs.clone();
        let metrics = metrics_on.then_some(metrics);
        let board = desk.board.clone();
        let terms = move || admin_terms(&board);
        let vitals = Vitals::of(&readiness, &store, &guests);
        let answers = Admin::new(readiness, guard, desk, metrics);
        let handler =
            move |request, peer: Peer| answers.clone().answer(request, peer.address().ip());
        let connections = Connections::at_most(ADMIN_CONNECTIONS);
        let bounds = Bounds { connections, grace: Duration::ZERO, ..bounds };
        let door = serve(admin, bounds, terms, handler, guests.spawner(), asked_last.clone());
        health.run("admin", async move {
            let _ = door.await;
        });
        health.run("supervisor", supervisor.clone().attend(vitals, asked_last.clone()));
        // The last spans end with the line.
        if let Some(exporter) = exporter {
            health.run("traces", exporter.run(asked_last, server.grace));
        }
        drop(starting);
        supervisor.started();

        let failed = tokio::select! {
            () = drained(&mut stop, &supervisor, server.drain_delay) => None,
            ended = line.first_to_end() => Some(ended),
            ended = health.first_to_end() => Some(ended),
        };
        stopper.stop();
        jobs.close();
        line.all().await;
        cut_off.report(&store).await;
        last.stop();
        health.all().await;
        if let Err(error) = store.close().await {
            tracing::error!(%error, "failed to close the store");
        }
        drop(guests);
        failed.map_or_else(|| Ended::Stopped { cut_off: cut_off.get() }, Ended::Failed)
    }
}

/// What the public listener grants.
fn bounds(server: &ServerConfig, connections: Connections) -> Bounds {
    let ServerConfig { header_timeout, idle_timeout, grace, .. } = *server;
    Bounds { connections, header_timeout, idle_timeout, grace }
}

/// What records traces, and what sends them, if that is wanted.
fn tracing_to(
    config: &Config,
    (clock, chance): (Clock, Chance),
    names: &Names,
) -> Result<(Tracer, Option<Exporter>), String> {
    let Some(traces) = &config.traces else { return Ok((Tracer::default(), None)) };
    let (url, headers, roots) =
        (traces.url.clone(), traces.headers.clone(), config.egress.roots.as_deref());
    let post = Post::new(url, headers, traces.timeout, roots, names.clone())?;
    let (tracer, exporter) = Exporter::new(traces, post, clock, chance);
    Ok((tracer, Some(exporter)))
}

/// Connections that operators and their supervisors may have open.
const ADMIN_CONNECTIONS: usize = 64;

/// What the public listener asks of a connection, as the config in force has it.
fn public_terms(board: &Board) -> Terms {
    let live = board.load();
    let server = &live.config.server;
    Terms {
        per_address: server.connections_per_address,
        trusted: server.trusted_proxies.networks.clone(),
        proxy_protocol: server.proxy_protocol,
        tls: server.tls.clone(),
    }
}

/// The same of the operators' listener.
fn admin_terms(board: &Board) -> Terms {
    Terms { tls: board.load().config.admin.tls.clone(), ..Terms::default() }
}

/// Returns `delay` after the stop was asked for: readiness is false from the stop on, and requests are taken all that
/// time, so that whoever balances the load sees the one before it feels the end of the other.
async fn drained(stop: &mut Stop, supervisor: &Supervisor, delay: Duration) {
    stop.asked().await;
    supervisor.stopping();
    if !delay.is_zero() {
        tracing::info!(?delay, "not ready any more; requests are taken still");
        tokio::time::sleep(delay).await;
    }
}

/// How much the end of the grace time cut off.
#[derive(Debug, Clone, Default)]
struct CutOff {
    connections: Arc<AtomicUsize>,
    attempts: Arc<AtomicUsize>,
}

fn add(count: &AtomicUsize, more: usize) {
    count.fetch_add(more, Ordering::Relaxed);
}

impl CutOff {
    fn get(&self) -> usize {
        self.connections.load(Ordering::Relaxed) + self.attempts.load(Ordering::Relaxed)
    }

    /// Says what was cut off, and what the store has for the next start.
    async fn report(&self, store: &Store) {
        let [connections, attempts] =
            [&self.connections, &self.attempts].map(|count| count.load(Ordering::Relaxed));
        match store.reader().survey().await {
            Ok(Survey { counts: Counts { due, leased, dead, .. }, depths, .. }) => {
                let behind: u64 = depths.iter().map(|depth| depth.behind).sum();
                tracing::info!(connections, attempts, due, behind, leased, dead, "left");
            }
            Err(error) => {
                tracing::warn!(connections, attempts, %error, "left; the store can't be read");
            }
        }
    }
}

fn metrics(
    desk: &Desk,
    (watch, surveyor): (&Watch, Surveyor),
    host: Host,
    (strays, connections, budget): (Arc<Count>, Connections, Arc<Budget>),
) -> Metrics {
    Metrics {
        board: desk.board.clone(),
        health: desk.health.clone(),
        monitor: desk.monitor.clone(),
        host,
        store: desk.store.clone(),
        surveyor,
        strays,
        connections,
        budget,
        alerts: watch.standing(),
        pauses: desk.pauses.clone(),
        clock: desk.clock.clone(),
    }
}

fn options(config: &Config, vfs: Option<String>, chance: &Chance, clock: Clock) -> Options {
    let room = Room::least(config.store.disk_free_min);
    let file = SqliteFile { path: config.store.path.clone(), vfs, room };
    let retention = config.store.retention;
    Options { retention, ..Options::new(file, chance.bytes(), clock) }
}

fn settings(config: &Config) -> Settings {
    Settings {
        cache: Some(config.store.data_folder().join("compiled")),
        instances: config.host.instances,
        stack: config.host.stack,
        warm_instances: config.host.kept,
        warm_memory: config.host.kept_memory,
        ..Settings::default()
    }
}

fn capacity(config: &Config) -> Capacity {
    let instances = usize::try_from(config.host.instances).unwrap_or(usize::MAX);
    Capacity { instances, memory: config.host.memory }
}

/// Who is let in by the admin API, and where it is written down what they change.
fn admission(
    config: &Config,
    data: &Path,
    (clock, chance): &(Clock, Chance),
) -> Result<(Guard, Audit), StartError> {
    let guard = Guard::new(&config.admin, data, chance)
        .map_err(|source| StartError::Folder { path: token_file(data), source })?;
    let audit = Audit::open(data, config.admin.audit, clock.clone())
        .map_err(|source| StartError::Folder { path: data.to_owned(), source })?;
    Ok((guard, audit))
}

/// For how long dedupe keys were kept, as far as that is known.
async fn windows(store: &Store, config: &Config, clock: Clock) -> Windows {
    let is_new = store.reader().counts().await.is_ok_and(|counts| counts.events == 0);
    Windows::open(config.store.data_folder(), config, clock, is_new)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

fn folder(path: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(path)
        .map_err(|source| StartError::Folder { path: path.to_owned(), source })
}
