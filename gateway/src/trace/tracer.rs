//! Begins spans, and hands those that have ended to the exporter: over a bounded queue, and never waiting for it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use hookweir_event::Clock;
use tokio::sync::mpsc;

use super::{
    context::{Context, Share},
    span::{Begun, Kind, Span},
};
use crate::chance::Chance;

/// Spans that wait for the exporter, some hundred bytes each. What is beyond is dropped and counted.
const QUEUE: usize = 4096;

/// Begins spans. Cheap to clone; one without a collector never does.
#[derive(Clone, Default)]
pub(crate) struct Tracer(Option<Arc<Shared>>);

/// What spans stand on.
pub(super) struct Shared {
    queue: mpsc::Sender<Span>,
    share: Share,
    clock: Clock,
    chance: Chance,
    /// From the clock's ticks to Unix time, in nanoseconds: set anew now and then, so that the clock on the
    /// wall may be set and no span is torn.
    offset_ns: AtomicI64,
    dropped: AtomicU64,
}

impl Tracer {
    /// One that records this share of the traces, and where its spans come out.
    pub(super) fn shared(
        share: Share,
        clock: Clock,
        chance: Chance,
    ) -> (Arc<Shared>, mpsc::Receiver<Span>) {
        let (queue, spans) = mpsc::channel(QUEUE);
        let (offset_ns, dropped) = Default::default();
        let shared = Shared { queue, share, clock, chance, offset_ns, dropped };
        shared.set_clock();
        (Arc::new(shared), spans)
    }

    pub(super) fn over(shared: Arc<Shared>) -> Self {
        Self(Some(shared))
    }

    /// The first span of ours in a trace: in the sender's, if it named one, or in a new one. Nothing, if the
    /// sender says that its trace is not recorded, or it is not among the share that is.
    pub(crate) fn begin(
        &self,
        kind: Kind,
        parent: impl FnOnce() -> Option<Context>,
        name: impl FnOnce() -> String,
    ) -> Begun {
        let Some(shared) = &self.0 else { return Begun::default() };
        let (trace, parent) = match parent() {
            Some(Context { recorded: false, .. }) => return Begun::default(),
            Some(parent) => (parent.trace, Some(parent.span)),
            None => (shared.chance.bytes(), None),
        };
        if !shared.share.has(trace) {
            return Begun::default();
        }
        shared.begin((trace, parent), name(), kind)
    }

    /// The next span of a trace that goes on here; nothing, if there is none or it is not recorded.
    pub(crate) fn go_on(
        &self,
        kind: Kind,
        parent: impl FnOnce() -> Option<Context>,
        name: impl FnOnce() -> String,
    ) -> Begun {
        if self.0.is_none() {
            return Begun::default();
        }
        match parent() {
            None => Begun::default(),
            parent => self.begin(kind, || parent, name),
        }
    }
}

impl Shared {
    pub(super) fn begin(
        self: &Arc<Self>,
        (trace, parent): ([u8; 16], Option<[u8; 8]>),
        name: String,
        kind: Kind,
    ) -> Begun {
        let began_ns = self.now_ns();
        let span = Span {
            trace,
            id: self.chance.bytes(),
            parent,
            name,
            kind,
            began_ns,
            ended_ns: began_ns,
            facts: Vec::new(),
            failure: None,
        };
        Begun::new(span, Arc::clone(self))
    }

    pub(super) fn hand_over(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.drop_some(1);
        }
    }

    /// These many will not be sent.
    pub(super) fn drop_some(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Relaxed);
    }

    /// How many were not sent, since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Unix time in nanoseconds.
    pub(super) fn now_ns(&self) -> u64 {
        let ticks = i64::try_from(self.clock.ticks().as_nanos()).unwrap_or(i64::MAX);
        u64::try_from(ticks.saturating_add(self.offset_ns.load(Relaxed))).unwrap_or(0)
    }

    /// Follows the clock on the wall.
    pub(super) fn set_clock(&self) {
        let ticks = i64::try_from(self.clock.ticks().as_nanos()).unwrap_or(i64::MAX);
        let now = self.clock.now().as_millis().saturating_mul(1_000_000);
        self.offset_ns.store(now.saturating_sub(ticks), Relaxed);
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracer({})", if self.0.is_some() { "on" } else { "off" })
    }
}

#[cfg(test)]
mod tests {
    use hookweir_event::Timestamp;

    use super::*;

    fn tracer(share: f64) -> (Tracer, Arc<Shared>, mpsc::Receiver<Span>) {
        let clock = Clock::new(|| Timestamp::from_secs(7));
        let (shared, spans) = Tracer::shared(Share::new(share), clock, Chance::system());
        (Tracer::over(shared.clone()), shared, spans)
    }

    fn context(recorded: bool) -> Context {
        Context { trace: [1; 16], span: [2; 8], recorded }
    }

    fn root(tracer: &Tracer, parent: Option<Context>) -> Begun {
        tracer.begin(Kind::Server, || parent, || "root".to_owned())
    }

    #[test]
    fn a_span_ends_in_its_place_of_the_trace() {
        let (tracer, _, mut spans) = tracer(1.0);
        let begun = root(&tracer, Some(context(true)));
        let made = begun.context().unwrap();
        drop(begun.child("part"));
        drop(begun);
        let (part, whole) = (spans.try_recv().unwrap(), spans.try_recv().unwrap());
        assert_eq!((whole.trace, whole.parent), ([1; 16], Some([2; 8])));
        assert_eq!((part.trace, part.parent), ([1; 16], Some(whole.id)));
        assert_eq!((made.trace, made.span), (whole.trace, whole.id));
        assert_eq!(whole.began_ns, 7_000_000_000);
    }

    #[test]
    fn what_is_not_recorded_is_nothing() {
        for (share, parent) in
            [(1.0, Some(context(false))), (0.0, None), (0.0, Some(context(true)))]
        {
            let (tracer, _, mut spans) = tracer(share);
            let begun = root(&tracer, parent);
            assert!(begun.context().is_none());
            drop((begun.child("part"), begun));
            assert!(spans.try_recv().is_err());
        }
        assert!(root(&Tracer::default(), None).context().is_none());
        let (tracer, ..) = tracer(1.0);
        assert!(tracer.go_on(Kind::Consumer, || None, String::new).context().is_none());
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (tracer, shared, mut spans) = tracer(1.0);
        (0..QUEUE + 3).for_each(|_| drop(root(&tracer, None)));
        assert_eq!(shared.dropped(), 3);
        assert!(spans.try_recv().is_ok());
        drop(root(&tracer, None));
        assert_eq!(shared.dropped(), 3, "there was room again");
    }
}
