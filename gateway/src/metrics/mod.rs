//! Metrics: what the gateway counts and measures, as one page for Prometheus.
//!
//! What happens on the line is counted by [`figures`]; how things stand is looked at when the page is asked
//! for, the store once a second at most. Labels are the names of sources and plugins in force, and words of
//! the gateway's own: nothing that a stranger says becomes one.

pub mod figures;
mod page;
mod process;
mod surveyor;
mod tell;

use std::{path::Path, sync::Arc};

use hookweir_event::Clock;
use hookweir_host::Host;
use hookweir_store::Store;

pub(crate) use self::page::MEDIA_TYPE;
pub use self::surveyor::Surveyor;
use self::{figures::Count, page::Page};
use crate::{
    alerts::Standing, budget::Budget, dispatch::Monitor, health::Health, limits::SharedRates,
    live::Board, pauses::Pauses, serve::Connections,
};

/// Where all that is told is counted or known.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// What is in force, with its figures.
    pub board: Arc<Board>,
    /// What became of attempts and reloads.
    pub health: Arc<Health>,
    /// How deliveries go.
    pub monitor: Monitor,
    /// How full the pool is.
    pub host: Host,
    /// What the store has done.
    pub store: Store,
    /// How the store stands.
    pub surveyor: Surveyor,
    /// Requests to a path that leads nowhere.
    pub strays: Arc<Count>,
    /// Of the public listener.
    pub connections: Connections,
    /// What its requests hold.
    pub budget: Arc<Budget>,
    /// The rates that gateways share.
    pub(crate) rates: Arc<SharedRates>,
    /// What is raised.
    pub alerts: Arc<Standing>,
    /// What is paused.
    pub pauses: Pauses,
    /// The time.
    pub clock: Clock,
}

impl Metrics {
    /// The page. Without what the store holds, if that can't be read.
    pub async fn text(&self) -> String {
        let survey = self.surveyor.survey().await;
        let live = self.board.load_full();
        let mut page = Page::default();
        tell::process(&mut page, process::read(Path::new("/proc")));
        tell::gateway(&mut page, self);
        tell::certificates(&mut page, &live);
        tell::sources(&mut page, &live, &self.strays);
        tell::budget(&mut page, &live, &self.budget);
        tell::attempts(&mut page, &live);
        tell::deliveries(&mut page, &live, survey.as_deref(), self.clock.now());
        tell::plugins(&mut page, &live, (&self.monitor, &self.health));
        tell::pauses(&mut page, &live, &self.pauses);
        tell::rates(&mut page, &live, &self.rates);
        tell::store(&mut page, &self.store, survey.as_deref());
        tell::unseen(&mut page, self.surveyor.failures());
        tell::alerts(&mut page, &self.alerts);
        page.text()
    }
}
