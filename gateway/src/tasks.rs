//! The one place that spawns. Every long-running part of the gateway has a name, and one that ends
//! before it was asked to stops the process with that name as the reason.
//!
//! There are two runtimes: ingress, which must always answer, and the guests', whose threads a
//! spinning plugin may keep busy. The system's scheduler keeps the first going beside the second.

use std::{future::Future, io};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    task::JoinSet,
};

/// A signal to stop, seen by any number of holders.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// Gives the signal.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// A signal not given yet.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stop(receiver))
    }

    /// Gives it.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns once the signal was given, or can't be any more.
    pub async fn asked(&mut self) {
        let _ = self.0.wait_for(|asked| *asked).await;
    }

    /// Whether it was given.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}

/// Spawns what comes and goes: connections and attempts.
#[derive(Debug, Clone)]
pub struct Spawner {
    ingress: Handle,
    guests: Handle,
}

impl Spawner {
    /// On the runtime that this is called from, for what runs no plugin's code.
    pub fn here() -> Self {
        Self { ingress: Handle::current(), guests: Handle::current() }
    }

    /// Runs something of the gateway's own.
    pub fn ingress(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.ingress.spawn(task);
    }

    /// Runs something that runs a plugin's code.
    pub fn guest(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.guests.spawn(task);
    }
}

/// The runtime of the guests. Dropped in a place where blocking is allowed.
#[derive(Debug)]
pub struct GuestRuntime(Option<Runtime>);

impl GuestRuntime {
    /// Starts `threads` threads for plugins' code.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn start(threads: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("hookweir-guest")
            // What plugins send and receive is their own, down to the sockets and TLS.
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Spawns on this runtime and on the one that this is called from.
    pub fn spawner(&self) -> Spawner {
        let guests = self.0.as_ref().expect("invariant: only drop takes it").handle().clone();
        Spawner { ingress: Handle::current(), guests }
    }
}

impl Drop for GuestRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The long-running parts of the gateway.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<&'static str>,
}

impl Tasks {
    /// Runs a part until it returns, which it does only after it was asked to.
    pub fn run(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            task.await;
            name
        });
    }

    /// Waits for a part to end and names it; a panic counts as an end.
    pub async fn first_to_end(&mut self) -> String {
        match self.set.join_next().await {
            Some(Ok(name)) => format!("{name} ended"),
            Some(Err(error)) => format!("a task failed: {error}"),
            None => std::future::pending().await,
        }
    }

    /// Waits for all parts to end.
    pub async fn all(&mut self) {
        while let Some(ended) = self.set.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task failed while stopping");
            }
        }
    }
}

/// Runs what blocks, a build, say, on a thread beside the runtime's. Nobody waits for it.
pub fn run_blocking(work: impl FnOnce() + Send + 'static) {
    drop(tokio::task::spawn_blocking(work));
}

/// Runs something to its end, also if nobody waits for that any more.
pub async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime ends, and with it whoever waits.
        Err(_) => std::future::pending().await,
    }
}

/// Listens for the process's signals for as long as it lives.
pub fn watch_signals(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}
