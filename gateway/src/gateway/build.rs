//! How the gateway is put together.

use std::{
    fs::DirBuilder, net::SocketAddr, os::unix::fs::DirBuilderExt as _, path::Path, pin::pin,
    sync::Arc,
};

use hookweir_event::{Clock, Timestamp};
use hookweir_host::{Host, Settings};
use hookweir_store::{Location, Options, Publishing, SqliteFile, Store};
use tokio::sync::Notify;

use super::{Gateway, StartError, Surrounds, listen::Reserved, operators::Operators};
use crate::{
    admin::{Admin, Audit, Desk, Guard, token_file},
    alerts::Watch,
    budget::Budget,
    chance::Chance,
    config::{Config, Versions},
    dispatch::{Capacity, Dispatch},
    egress::{Names, Post, Roads, Web},
    health::Health,
    intake::{Door, Intake},
    jobs::Jobs,
    keys::Keys,
    limits::SharedRates,
    metrics::{Metrics, Surveyor, figures::Count},
    pauses::Pauses,
    peers::Peers,
    plugin_state::PluginState,
    readiness::{Latch, Readiness},
    reload::Reload,
    serve::Connections,
    tasks::{GuestRuntime, Stop, to_its_end},
    trace::{Exporter, Tracer},
    windows::Windows,
};

/// The steps of a start, each until it is taken.
struct Steps {
    store: Latch,
    plugins: Latch,
    serving: Latch,
}

impl Steps {
    fn of(readiness: &Readiness) -> Self {
        Self {
            store: readiness.latch("opening the store"),
            plugins: readiness.latch("loading plugins"),
            serving: readiness.latch("opening the public address"),
        }
    }
}

/// What there is before the store.
struct Begun {
    started_at: Timestamp,
    readiness: Readiness,
    steps: Steps,
    public: Reserved,
    operators: Operators,
    stop: Stop,
}

impl Gateway {
    /// Builds every part. Probes are answered from the beginning; senders can connect when all else stands.
    ///
    /// # Errors
    /// If a part can't be built, or once a stop is asked for, whatever is being built then. A plugin that can't be
    /// loaded is no error: its deliveries wait.
    pub async fn build(
        config: Config,
        around: Surrounds,
        mut stop: Stop,
    ) -> Result<Self, StartError> {
        let started_at = around.clock.now();
        let readiness = Readiness::new(stop.clone());
        let steps = Steps::of(&readiness);
        let public = Reserved::take(config.server.listen)?;
        let supervisor = around.supervisor.clone();
        let operators = Operators::receive(&config, &readiness, supervisor.clone()).await?;
        folder(&config.host.dir)?;
        let begun = Begun { started_at, readiness, steps, public, operators, stop: stop.clone() };
        let mut stopped = pin!(async {
            stop.asked().await;
            supervisor.stopping();
        });
        // To bring it up to date is one transaction, which is rolled back by the next start: nobody waits for it.
        let opening = to_its_end(Store::open(options(&config, &around)));
        let store = tokio::select! {
            biased;
            () = &mut stopped => return Err(StartError::Stopped),
            store = opening => store?,
        };
        let built = tokio::select! {
            biased;
            () = stopped => Err(StartError::Stopped),
            built = begun.furnish(config, around, store.clone()) => built,
        };
        if built.is_err()
            && let Err(error) = store.close().await
        {
            tracing::error!(%error, "failed to close the store");
        }
        built
    }
}

impl Begun {
    /// All that stands on a store.
    async fn furnish(
        self,
        config: Config,
        around: Surrounds,
        store: Store,
    ) -> Result<Gateway, StartError> {
        let Self { started_at, readiness, steps, public, operators, stop } = self;
        readiness.follow(store.health());
        drop(steps.store);
        let Surrounds { seen, clock, chance, names, supervisor, .. } = around;
        let data = config.store.data_folder().to_owned();
        let drawn = (clock.clone(), chance);
        let (guard, audit) = admission(&config, &data, &drawn)?;
        let (tracer, exporter) = tracing_to(&config, drawn.clone(), &names)?;
        let (host, keys) = outward(&config, &store, (clock.clone(), names), &tracer)?;
        let guests = GuestRuntime::start(config.host.threads).map_err(StartError::Threads)?;
        let (changed, health) = (Arc::new(Notify::new()), Arc::new(Health::default()));
        let (server, metrics_on) = (config.server.clone(), config.admin.metrics);
        let capacity = capacity(&config);
        let windows = windows(&store, &config, clock.clone()).await;
        let told = (health.clone(), windows.clone());
        let serving = (host.clone(), publishing(&config, &store, operators.address()));
        let reload = Reload::start(seen, config, serving, changed.clone(), told)
            .await
            .map_err(|source| StartError::Folder { path: data, source })?;
        drop(steps.plugins);
        let (board, spawner) = (reload.board(), guests.spawner());
        let pauses = Pauses::read(store.clone(), spawner.clone(), changed.clone()).await?;
        let peers = Peers::meet(&store, &pauses).await?;
        let jobs = Jobs::new(store.clone(), board.clone(), drawn.clone(), spawner.clone());
        let door = Door::new(host.clone(), spawner.clone(), store.clone());
        let runs = (drawn.0.clone(), drawn.1.clone(), tracer.clone());
        let told = (changed, health.clone(), pauses.clone(), peers.rates());
        let (on, kept) = (board.clone(), store.clone());
        let dispatch = Dispatch::new(on, kept, host.clone(), runs, capacity, spawner, told);
        let (strays, budget) = (Arc::<Count>::default(), Arc::<Budget>::default());
        let (behind, seen) = ((keys, door, pauses.clone()), (tracer, strays.clone()));
        let kept = (store.clone(), guests.spawner(), budget.clone(), peers.rates());
        let intake = Arc::new(Intake::new(board.clone(), kept, behind, drawn.clone(), seen));
        let desk = Desk {
            board: board.clone(),
            store: store.clone(),
            health,
            monitor: dispatch.monitor(),
            wishes: reload.wishes(),
            jobs: jobs.clone(),
            pauses,
            windows,
            clock: clock.clone(),
            audit,
            started_at,
        };
        let surveyor = Surveyor::new(&store.reader(), clock);
        let looks = (surveyor.clone(), desk.pauses.clone());
        let watch = Watch::new(board.clone(), store.clone(), looks, drawn);
        let connections = Connections::at_most(server.connections);
        let counted = (strays, connections.clone(), budget, peers.rates());
        let metrics = metrics_on.then(|| metrics(&desk, (&watch, surveyor), host, counted));
        operators.admit(Admin::new(&readiness, guard, desk, metrics));
        Ok(Gateway {
            server,
            // The last: what comes now is taken at once.
            public: public.listen()?,
            connections,
            operators,
            starting: steps.serving,
            store,
            guests,
            board,
            intake,
            dispatch,
            peers,
            reload,
            watch,
            jobs,
            exporter,
            supervisor,
            stop,
        })
    }
}

/// What plugins' versions are shared by, if they are. The gateway's name is that of its machine with the port on which
/// operators reach it: the same after a restart, and another for each gateway on one machine.
fn publishing(config: &Config, store: &Store, operators: SocketAddr) -> Option<Publishing> {
    let publishing = store.publishing().filter(|_| config.host.versions == Versions::Store)?;
    // proc(5); a system that does not have it says it in the environment, or not at all.
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let machine = machine.or_else(|| std::env::var("HOSTNAME").ok());
    let machine = machine.unwrap_or_else(|| "localhost".to_owned());
    Some(publishing.named(&format!("{}:{}", machine.trim(), operators.port())))
}

/// What runs plugins, and what fetches keys: both reach out to the world.
fn outward(
    config: &Config,
    store: &Store,
    (clock, names): (Clock, Names),
    tracer: &Tracer,
) -> Result<(Host, Keys), StartError> {
    let egress = &config.egress;
    let roots = egress.roots.as_deref();
    let network = Roads::new(roots, names.clone()).map_err(StartError::Roots)?;
    let network = Arc::new(network.traced(tracer.clone()));
    let state = Arc::new(PluginState::new(&store.reader()));
    let host = Host::new(settings(config), clock, state, network)?;
    let keys = Keys::new(Web::new(roots, &egress.allow, names).map_err(StartError::Roots)?);
    Ok((host, keys))
}

/// What records traces, and what sends them, if that is wanted.
fn tracing_to(
    config: &Config,
    (clock, chance): (Clock, Chance),
    names: &Names,
) -> Result<(Tracer, Option<Exporter>), StartError> {
    let Some(traces) = &config.traces else { return Ok((Tracer::default(), None)) };
    let (url, headers, roots) =
        (traces.url.clone(), traces.headers.clone(), config.egress.roots.as_deref());
    let post = Post::new(url, headers, traces.timeout, roots, names.clone());
    let post = post.map_err(StartError::Roots)?;
    let (tracer, exporter) = Exporter::new(traces, post, clock, chance);
    Ok((tracer, Some(exporter)))
}

fn metrics(
    desk: &Desk,
    (watch, surveyor): (&Watch, Surveyor),
    host: Host,
    (strays, connections, budget, rates): (Arc<Count>, Connections, Arc<Budget>, Arc<SharedRates>),
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
        rates,
        alerts: watch.standing(),
        pauses: desk.pauses.clone(),
        clock: desk.clock.clone(),
    }
}

/// Makes the data folder, if the store has not: one in a database has none.
fn make_folder(path: &Path) -> Result<(), StartError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::Folder { path: path.to_owned(), source })
}

fn options(config: &Config, around: &Surrounds) -> Options {
    let location = match config.store.location() {
        Location::Sqlite(file) => SqliteFile { vfs: around.vfs.clone(), ..file }.into(),
        database @ Location::Postgres(_) => database,
    };
    let retention = config.store.retention;
    Options { retention, ..Options::new(location, around.chance.bytes(), around.clock.clone()) }
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

/// Who is let in by the admin API, and where it is written down what they change: in the data folder, which is made.
fn admission(
    config: &Config,
    data: &Path,
    (clock, chance): &(Clock, Chance),
) -> Result<(Guard, Audit), StartError> {
    make_folder(data)?;
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

fn folder(path: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(path)
        .map_err(|source| StartError::Folder { path: path.to_owned(), source })
}
