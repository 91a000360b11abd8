//! The gateway's life and its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hookweir_store::{Counts, Store, Survey};

use super::{Ended, Gateway};
use crate::{
    config::ServerConfig,
    live::Board,
    serve::{Bounds, Peer, Terms, serve},
    supervisor::{Supervisor, Vitals},
    tasks::{Stop, Stopper, Tasks},
};

impl Gateway {
    /// Runs until a stop is asked for or a part fails, then takes everything down in order.
    pub async fn run(self) -> Ended {
        let Self {
            server,
            public,
            connections,
            mut operators,
            starting,
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
            mut stop,
        } = self;
        let (stopper, asked) = Stopper::new();
        let cut_off = CutOff::default();
        let (spawner, rounds) = (guests.spawner(), dispatch.rounds());
        let breakers = dispatch.breakers();
        // Before anything is leased.
        peers.introduce(&breakers);
        let vitals = Vitals { store: store.clone(), spawner, rounds };
        let mut line = Tasks::default();
        let (counted, spawner) = (cut_off.clone(), guests.spawner());
        let handler = move |request, peer: Peer| {
            let intake = intake.clone();
            async move { intake.answer(request, &peer).await }
        };
        let ServerConfig { header_timeout, idle_timeout, grace, drain_delay, .. } = server;
        let bounds = Bounds { connections, header_timeout, idle_timeout, grace };
        let terms = move || public_terms(&board);
        let front = serve(public, bounds, terms, handler, spawner, asked.clone());
        line.run("intake", async move { add(&counted.connections, front.await) });
        let (counted, back) = (cut_off.clone(), dispatch.run(asked.clone(), grace));
        line.run("dispatch", async move { add(&counted.attempts, back.await) });
        line.run("alerts", watch.run(asked.clone()));
        line.run("reload", reload.run(asked));
        operators.live_by(vitals);
        // What ends may use its part of the rates to the last.
        operators.beside("peers", |last| peers.run(breakers, last));
        if let Some(exporter) = exporter {
            // The last spans end with the line.
            operators.beside("traces", |last| exporter.run(last, grace));
        }
        drop(starting);
        supervisor.started();

        let failed = tokio::select! {
            () = drained(&mut stop, &supervisor, drain_delay) => None,
            ended = line.first_to_end() => Some(ended),
            ended = operators.first_to_end() => Some(ended),
        };
        stopper.stop();
        jobs.close();
        line.all().await;
        cut_off.report(&store).await;
        // Health is told to the last, so that a balancer sees the gateway go.
        operators.leave().await;
        if let Err(error) = store.close().await {
            tracing::error!(%error, "failed to close the store");
        }
        drop(guests);
        failed.map_or_else(|| Ended::Stopped { cut_off: cut_off.get() }, Ended::Failed)
    }
}

/// What the public listener asks of a connection, as the config in force has it.
fn public_terms(board: &Board) -> Terms {
    let live = board.load();
    let server = &live.config.server;
    Terms {
        per_address: server.connections_per_address,
        trusted: server.trusted_proxies.networks.clone(),
        denied: server.addresses.deny.networks.clone(),
        proxy_protocol: server.proxy_protocol,
        tls: server.tls.clone(),
    }
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
