//! The operators' side: the first that is there and the last that goes.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{StartError, listen::listen};
use crate::{
    admin::{Admin, Reception},
    config::Config,
    readiness::Readiness,
    serve::{Bounds, Connections, Peer, Terms, serve},
    supervisor::{Supervisor, Vitals},
    tasks::{Spawner, Stop, Stopper, Tasks},
};

/// Connections that operators and their supervisors may have open.
const CONNECTIONS: usize = 64;

/// The operators' listener, and what runs for as long as it does.
pub(super) struct Operators {
    address: SocketAddr,
    reception: Reception,
    vitals: Arc<OnceLock<Vitals>>,
    tasks: Tasks,
    last: Stopper,
    asked: Stop,
}

impl Operators {
    /// Answers probes from now on, and tells `supervisor` the same.
    pub(super) async fn receive(
        config: &Config,
        readiness: &Readiness,
        supervisor: Supervisor,
    ) -> Result<Self, StartError> {
        let (listener, address) = listen(config.admin.listen).await?;
        let reception = Reception::new(readiness.clone(), config.admin.tls.clone());
        let (last, asked) = Stopper::new();
        let bounds = Bounds {
            connections: Connections::at_most(CONNECTIONS),
            header_timeout: config.server.header_timeout,
            idle_timeout: config.server.idle_timeout,
            grace: Duration::ZERO,
        };
        let (speaks, answers) = (reception.clone(), reception.clone());
        let terms = move || Terms { tls: speaks.tls(), ..Terms::default() };
        let handler = move |request, peer: Peer| answers.clone().answer(request, peer);
        let door = serve(listener, bounds, terms, handler, Spawner::here(), asked.clone());
        let mut tasks = Tasks::default();
        tasks.run("admin", async move {
            let _ = door.await;
        });
        let vitals = Arc::<OnceLock<Vitals>>::default();
        let told = supervisor.attend(readiness.clone(), vitals.clone(), asked.clone());
        tasks.run("supervisor", told);
        tracing::info!(admin = %address, "starting");
        Ok(Self { address, reception, vitals, tasks, last, asked })
    }

    /// Where that is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on all of the admin API is answered.
    pub(super) fn admit(&self, admin: Admin) {
        self.reception.admit(admin);
    }

    /// From now on a watchdog is fed, while these are well.
    pub(super) fn live_by(&self, vitals: Vitals) {
        // There is one gateway to live.
        let _ = self.vitals.set(vitals);
    }

    /// Runs something that is to end with it.
    pub(super) fn beside<F>(&mut self, name: &'static str, task: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.run(name, task(self.asked.clone()));
    }

    /// Waits for a part of it to end before its time, and names it.
    pub(super) async fn first_to_end(&mut self) -> String {
        self.tasks.first_to_end().await
    }

    /// The end.
    pub(super) async fn leave(mut self) {
        self.last.stop();
        self.tasks.all().await;
    }
}
