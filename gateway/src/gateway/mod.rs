//! The whole house: builds every part, runs them, and takes them down in order.
//!
//! The operators' address comes first and goes last, so that whoever looks on sees how it stands all the while. The
//! senders' is listened on when all else stands.
//!
//! Shutdown is ownership: stop accepting, let requests and attempts finish within the grace time,
//! close the store, which syncs. What an attempt left unfinished is leased again after the restart.

mod build;
mod listen;
mod operators;
mod run;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use hookweir_event::Clock;
use hookweir_host::HostError;
use hookweir_store::{OpenError, ReadError, Store, StoreError};
use thiserror::Error;
use tokio::net::TcpListener;

use self::operators::Operators;
use crate::{
    alerts::Watch,
    chance::Chance,
    config::{Seen, ServerConfig},
    dispatch::Dispatch,
    egress::Names,
    intake::Intake,
    jobs::Jobs,
    live::Board,
    peers::Peers,
    readiness::Latch,
    reload::{Reload, Wishes},
    serve::Connections,
    supervisor::Supervisor,
    tasks::{GuestRuntime, Stop},
    trace::Exporter,
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
    /// Who waits to hear how it stands.
    pub supervisor: Supervisor,
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
    /// The store does not say which other gateways there are.
    #[error("failed to meet other gateways at the store: {0}")]
    Peers(#[from] StoreError),
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
    /// It was asked to stop before it had started: no fault.
    #[error("stopped before it had started")]
    Stopped,
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

/// A gateway that is built and listens, but takes no webhooks yet.
pub struct Gateway {
    server: ServerConfig,
    public: TcpListener,
    /// Of the public listener.
    connections: Connections,
    operators: Operators,
    /// Dropped when webhooks are taken.
    starting: Latch,
    store: Store,
    guests: GuestRuntime,
    board: Arc<Board>,
    intake: Arc<Intake>,
    dispatch: Dispatch,
    peers: Peers,
    reload: Reload,
    watch: Watch,
    jobs: Jobs,
    exporter: Option<Exporter>,
    supervisor: Supervisor,
    stop: Stop,
}

impl Gateway {
    /// Where senders post.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn public_address(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Where health is asked for.
    pub fn admin_address(&self) -> SocketAddr {
        self.operators.address()
    }

    /// Where operators' wishes are handed in.
    pub fn wishes(&self) -> Wishes {
        self.reload.wishes()
    }

    /// What is in force.
    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }
}
