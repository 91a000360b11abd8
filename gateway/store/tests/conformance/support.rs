//! Builders that read aloud, a clock that moves when told, and a store in a temporary folder.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use hookweir_event::{
    Answered, Attempt, Clock, Digest, Event, EventId, EventType, Excerpt, Exchange, Fate, Hops,
    LogLevel, LogLine, OrderKey, Outcome, PluginName, Timestamp,
};
use hookweir_store::{
    DeliveryState, Depth, Lease, NewEvent, Options, Output, Reader, Retention, Route, Settled,
    Settlement, Shown, ShownDelivery, Store, Want,
};

use crate::ground::Ground;

pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
pub(crate) const WINDOW: Duration = Duration::from_secs(72 * 3600);

/// A clock that moves when told, and can be set.
#[derive(Clone)]
pub(crate) struct ManualClock {
    wall: Arc<AtomicI64>,
    passed: Arc<AtomicU64>,
}

impl ManualClock {
    pub(crate) fn new() -> Self {
        Self { wall: Arc::new(AtomicI64::new(START.as_millis())), passed: Arc::default() }
    }

    /// Time passes.
    pub(crate) fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap();
        self.passed.fetch_add(millis, Ordering::SeqCst);
        self.wall.fetch_add(millis.cast_signed(), Ordering::SeqCst);
    }

    /// Somebody sets the clock on the wall.
    pub(crate) fn set(&self, by_hours: i64) {
        self.wall.fetch_add(by_hours * 3_600_000, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.wall.load(Ordering::SeqCst))
    }

    pub(crate) fn clock(&self) -> Clock {
        let (this, passed) = (self.clone(), Arc::clone(&self.passed));
        Clock::new(move || this.now())
            .with_ticks(move || Duration::from_millis(passed.load(Ordering::SeqCst)))
    }
}

/// A store that can be closed, dropped or crashed, and opened again.
pub(crate) struct Bed {
    pub(crate) ground: Ground,
    pub(crate) time: ManualClock,
    pub(crate) retention: Retention,
    boots: u8,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let retention = Retention::default();
        Self { ground: Ground::new(), time: ManualClock::new(), retention, boots: 0 }
    }

    pub(crate) fn options(&self) -> Options {
        let options = Options::new(self.ground.location(), [self.boots; 16], self.time.clock());
        Options { retention: self.retention, ..options }
    }

    /// Opens with a new boot id.
    pub(crate) async fn boot(&mut self) -> Store {
        self.boots += 1;
        Store::open(self.options()).await.unwrap()
    }

    /// Leaves what a kill of the process would. The running store goes on, unseen.
    pub(crate) fn crash(&mut self) {
        self.ground.crash();
    }
}

pub(crate) fn plugin(name: &str) -> PluginName {
    name.parse().unwrap()
}

/// Routes to plugins; to `a:k`, the plugin `a` in the order of the key `k`.
pub(crate) fn routes(to: &[&str]) -> Vec<Route> {
    let route = |to: &&str| match to.split_once(':') {
        None => Route::to(plugin(to)),
        Some((name, key)) => Route { plugin: plugin(name), order_key: Some(OrderKey::new(key)) },
    };
    to.iter().map(route).collect()
}

/// An event with something in every field, and an id of its own.
pub(crate) fn event(event_type: &str) -> Event {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut chance = [0; 10];
    chance[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Event {
        id: EventId::new(START, chance),
        origin: "github".parse().unwrap(),
        event_type: event_type.parse::<EventType>().unwrap(),
        received_at: START,
        method: "POST".into(),
        path: "/webhooks/github".into(),
        query: Some("a=1".into()),
        headers: vec![("x-odd".into(), vec![0xff, 0]), ("x-odd".into(), b"again".to_vec())],
        body: format!("{{\"type\":\"{event_type}\"}}").into_bytes(),
        attributes: vec![("traceparent".into(), "00-1".into())],
        hops: Hops::default(),
    }
}

/// Bytes that nothing can pack, each time others.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut bytes = Vec::with_capacity(len + 32);
    while bytes.len() < len {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        bytes.extend_from_slice(Digest::of(&next.to_le_bytes()).as_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(crate) fn claim(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(crate) fn new(event: Event, claims: &[&str], to: &[&str]) -> NewEvent {
    NewEvent {
        event,
        claims: claims.iter().map(|text| claim(text)).collect(),
        dedupe_window: WINDOW,
        routes: routes(to),
    }
}

pub(crate) fn attempt(outcome: Outcome) -> Attempt {
    Attempt {
        outcome,
        message: (outcome != Outcome::Done).then(|| "no luck".to_owned()),
        version: Some(Digest::of(b"version 1")),
        wall: Duration::from_micros(1500),
        cpu: Duration::from_micros(900),
        logs: vec![LogLine { level: LogLevel::Warn, text: "hm".into() }],
    }
}

/// A request with something in every field, `number` among it, and an answer.
pub(crate) fn exchange(number: usize) -> Exchange {
    let excerpt = |bytes: &[u8], digest| Excerpt { bytes: bytes.to_vec(), len: 9000, digest };
    Exchange {
        method: "POST".into(),
        url: format!("https://api.example.com/v1/orders?number={number}"),
        headers: vec![("x-odd".into(), vec![0xff, 0]), ("x-odd".into(), b"again".to_vec())],
        body: excerpt(b"the beginning", Some(Digest::of(b"of something long"))),
        answer: Answered::Response {
            status: 201,
            headers: vec![("content-type".into(), b"application/json".to_vec())],
            body: excerpt(&number.to_le_bytes(), None),
        },
    }
}

pub(crate) fn output(event_type: &str, to: &[&str]) -> Output {
    let mut event = event(event_type);
    event.origin = "plugin.a".parse().unwrap();
    Output { event, routes: routes(to) }
}

/// The verbs, as tests say them.
pub(crate) trait Verbs {
    async fn keep(&self, new: NewEvent) -> EventId;
    async fn lease_up_to(&self, name: &str, max: usize) -> Vec<Lease>;
    async fn lease_one(&self, name: &str) -> Lease;
    async fn end(&self, lease: &Lease, outcome: Outcome, fate: Fate) -> Settled;
    async fn end_with(&self, lease: &Lease, outputs: Vec<Output>) -> Settled;
    async fn shown(&self, id: EventId) -> Shown;
}

impl Verbs for Store {
    async fn keep(&self, new: NewEvent) -> EventId {
        self.append(new).await.unwrap().id()
    }

    async fn lease_up_to(&self, name: &str, max: usize) -> Vec<Lease> {
        self.lease(vec![Want { plugin: plugin(name), max }]).await.unwrap().leases
    }

    async fn lease_one(&self, name: &str) -> Lease {
        self.lease_up_to(name, 1).await.pop().expect("something to lease")
    }

    async fn end(&self, lease: &Lease, outcome: Outcome, fate: Fate) -> Settled {
        let (key, attempt) = (lease.key.clone(), attempt(outcome));
        let (outputs, state, exchanges) = (vec![], vec![], None);
        self.settle(Settlement { key, attempt, fate, outputs, state, exchanges }).await.unwrap()
    }

    async fn end_with(&self, lease: &Lease, outputs: Vec<Output>) -> Settled {
        let (key, attempt) = (lease.key.clone(), attempt(Outcome::Done));
        let (fate, state, exchanges) = (Fate::Done, vec![], None);
        self.settle(Settlement { key, attempt, fate, outputs, state, exchanges }).await.unwrap()
    }

    async fn shown(&self, id: EventId) -> Shown {
        self.reader().show(id).await.unwrap().expect("the event is kept")
    }
}

/// Counts by looking at each event: what the totals must agree with. What is said of each plugin agrees with
/// it already.
pub(crate) async fn recount(reader: &Reader) -> hookweir_store::Counts {
    let mut counts = hookweir_store::Counts::default();
    let mut depths = BTreeMap::new();
    let mut after = None;
    loop {
        let page = reader.events(after, 100).await.unwrap();
        let Some(last) = page.last() else {
            let survey = reader.survey().await.unwrap();
            // Who looks at one delivery can't tell that it was held until lately.
            let said = survey.depths.into_iter().map(|depth| Depth { let_go: 0, ..depth });
            let said = said.map(|depth| (depth.plugin.clone(), depth));
            assert_eq!(said.collect::<BTreeMap<_, _>>(), depths);
            assert_eq!(survey.counts, reader.counts().await.unwrap());
            return counts;
        };
        after = Some(last.event.id);
        for shown in page {
            counts.events += 1;
            counts.outputs += u64::from(shown.event.parent.is_some());
            counts.unrouted += u64::from(shown.deliveries.is_empty());
            counts.duplicates += u64::from(shown.duplicates);
            for delivery in shown.deliveries {
                note(&mut depths, &delivery);
                match delivery.state {
                    DeliveryState::Due | DeliveryState::Behind | DeliveryState::Held => {
                        counts.due += 1;
                    }
                    DeliveryState::Leased => counts.leased += 1,
                    DeliveryState::Done => counts.done += 1,
                    DeliveryState::Dead => counts.dead += 1,
                    DeliveryState::Discarded => counts.discarded += 1,
                }
            }
        }
    }
}

fn note(depths: &mut BTreeMap<PluginName, Depth>, delivery: &ShownDelivery) {
    if matches!(delivery.state, DeliveryState::Done | DeliveryState::Discarded) {
        return;
    }
    let (plugin, due_at) = (delivery.plugin.clone(), delivery.due_at);
    let none = Depth {
        plugin: plugin.clone(),
        due: 0,
        behind: 0,
        held: 0,
        let_go: 0,
        leased: 0,
        dead: 0,
        due_at: None,
    };
    let depth = depths.entry(plugin).or_insert(none);
    match delivery.state {
        DeliveryState::Due => {
            depth.due += 1;
            depth.due_at = Some(depth.due_at.map_or(due_at, |first| first.min(due_at)));
        }
        DeliveryState::Behind => depth.behind += 1,
        DeliveryState::Held => depth.held += 1,
        DeliveryState::Leased => depth.leased += 1,
        DeliveryState::Dead => depth.dead += 1,
        DeliveryState::Done | DeliveryState::Discarded => {}
    }
}
