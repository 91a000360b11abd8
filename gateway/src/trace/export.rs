//! Sends spans to the collector, some at a time: OTLP over HTTP, in protobuf. What it can't take for now is sent
//! again; the queue is bounded, so that a collector that is away costs spans and nothing else.

use std::{sync::Arc, time::Duration};

use hookweir_event::Clock;
use tokio::sync::mpsc;

use super::{
    context::Share,
    span::Span,
    tracer::{Shared, Tracer},
    wire,
};
use crate::{
    chance::Chance,
    config::TracesConfig,
    egress::{Post, PostFault},
    tasks::Stop,
};

/// Spans of one request.
const BATCH: usize = 512;
/// How long the first of a batch waits for the others.
const LINGER: Duration = Duration::from_secs(1);
/// How long a batch waits for a collector that is away, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long the last spans may take, if the grace time is longer.
const FLUSH: Duration = Duration::from_secs(5);

/// The exporter.
pub(crate) struct Exporter {
    shared: Arc<Shared>,
    spans: mpsc::Receiver<Span>,
    batch: Vec<Span>,
    service: String,
    post: Post,
    /// Whether the collector took the last batch.
    well: bool,
    /// Dropped spans that the log has told of.
    told: u64,
}

impl Exporter {
    /// Records what the config asks for, and sends it over this way.
    pub(crate) fn new(
        config: &TracesConfig,
        post: Post,
        clock: Clock,
        chance: Chance,
    ) -> (Tracer, Self) {
        let (shared, spans) = Tracer::shared(Share::new(config.sample), clock, chance);
        let service = config.service.clone();
        let tracer = Tracer::over(shared.clone());
        let batch = Vec::new();
        (tracer, Self { shared, spans, batch, service, post, well: true, told: 0 })
    }

    /// Sends until `stop`, and then what is left, for as long as `grace` at most.
    pub(crate) async fn run(mut self, mut stop: Stop, grace: Duration) {
        loop {
            let stopping = tokio::select! {
                biased;
                () = stop.asked() => true,
                () = self.gather() => false,
            };
            if stopping || self.send_whole(&mut stop).await {
                break;
            }
            self.shared.set_clock();
            self.tell_dropped();
        }
        let flushed = tokio::time::timeout(grace.min(FLUSH), self.flush()).await;
        if flushed.is_err() {
            // Those of the batch are counted by nobody else.
            self.shared.drop_some(self.batch.len() + self.spans.len());
        }
        self.tell_dropped();
    }

    /// Waits for spans: for one as long as it takes, for more of them a moment. Loses none if it is dropped.
    async fn gather(&mut self) {
        while self.batch.is_empty() {
            if self.spans.recv_many(&mut self.batch, 1).await == 0 {
                // Nobody can make a span any more.
                std::future::pending::<()>().await;
            }
        }
        let more = async {
            while self.batch.len() < BATCH {
                let room = BATCH - self.batch.len();
                if self.spans.recv_many(&mut self.batch, room).await == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, more).await;
    }

    /// Sends the batch, again and again if it may work later. Whether it was stopped meanwhile.
    async fn send_whole(&mut self, stop: &mut Stop) -> bool {
        let (mut pause, longest) = PAUSE;
        loop {
            // Cut off, it is not known whether the collector has it; sent twice, it is told apart by the ids.
            let sent = tokio::select! {
                biased;
                () = stop.asked() => return true,
                sent = self.send() => sent,
            };
            if sent {
                return false;
            }
            tokio::select! {
                biased;
                () = stop.asked() => return true,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// Sends the batch once. Whether it is over with.
    async fn send(&mut self) -> bool {
        let version = env!("CARGO_PKG_VERSION");
        let body = wire::request(&self.service, version, &self.batch);
        match self.post.send("application/x-protobuf", body.into()).await {
            Ok(()) => {
                if !self.well {
                    tracing::info!("the collector takes traces again");
                }
                self.well = true;
            }
            Err(PostFault::Later(error)) => {
                if self.well {
                    tracing::warn!(%error, "failed to send traces; trying again");
                }
                self.well = false;
                return false;
            }
            Err(PostFault::Never(error)) => {
                if self.well {
                    tracing::warn!(%error, spans = self.batch.len(), "the collector refuses traces");
                }
                self.well = false;
                self.shared.drop_some(self.batch.len());
            }
        }
        self.batch.clear();
        true
    }

    /// Sends what has ended by now, as far as the collector takes it.
    async fn flush(&mut self) {
        loop {
            while self.batch.len() < BATCH
                && let Ok(span) = self.spans.try_recv()
            {
                self.batch.push(span);
            }
            if self.batch.is_empty() {
                return;
            }
            if !self.send().await {
                self.shared.drop_some(self.batch.len() + self.spans.len());
                return;
            }
        }
    }

    fn tell_dropped(&mut self) {
        let dropped = self.shared.dropped();
        if dropped > self.told {
            let (spans, in_all) = (dropped - self.told, dropped);
            tracing::warn!(
                spans,
                in_all,
                "spans were dropped: the collector did not take them in time"
            );
            self.told = dropped;
        }
    }
}
