//! The store against a model of it that fits on three screens, over random histories: appends, leases,
//! settlements on time and too late, with outputs and changes of state, leases given back, dead letters
//! retried and skipped, time passing, and every way to restart.

use std::{collections::BTreeMap, time::Duration};

use hookweir_event::{Event, EventId, Fate, Outcome, Timestamp};
use hookweir_store::{
    Basis, Change, Counts, DeliveryId, DeliveryState, Keep, Lease, Mend, Retention, Settled,
    Settlement, StateChange, Store,
};
use proptest::prelude::*;

use crate::support::{Bed, START, WINDOW, attempt, event, new, output, recount};

const PLUGINS: [&str; 3] = ["a", "b", "c"];
/// Plugins, and order keys behind some.
const ROUTES: [&str; 6] = ["a", "a:j", "a:k", "b", "b:k", "c"];

#[derive(Debug, Clone)]
enum Step {
    Append { claims: Vec<u8>, routes: Vec<&'static str> },
    Lease { plugin: &'static str, max: usize },
    Settle { which: usize, fate: Fate, outputs: Vec<Vec<&'static str>>, state: Vec<Touch> },
    Mend { event: usize, ordinal: u16, how: Mend },
    GiveBack { which: usize, after: Duration },
    Pass(Duration),
    Restart(End),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Close,
    Drop,
    Crash,
}

/// What an attempt does to one of three entries.
#[derive(Debug, Clone)]
struct Touch {
    key: u8,
    /// Whether it relies on what was there when it was leased.
    looked: bool,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Keep,
    Set,
    Delete,
}

fn touch() -> impl Strategy<Value = Touch> {
    let what = prop_oneof![1 => Just(What::Keep), 3 => Just(What::Set), 1 => Just(What::Delete)];
    (0..3_u8, any::<bool>(), what).prop_map(|(key, looked, what)| Touch { key, looked, what })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let routes = || proptest::sample::subsequence(&ROUTES[..], 0..=3);
    let wait = || prop_oneof![Just(0), 1..2000_u64].prop_map(Duration::from_millis);
    let fate = prop_oneof![
        2 => Just(Fate::Done),
        2 => wait().prop_map(|after| Fate::Due { after }),
        1 => any::<bool>().prop_map(|blocks| Fate::Dead { blocks }),
    ];
    let step = prop_oneof![
        6 => (prop::collection::vec(0..6_u8, 0..3), routes())
            .prop_map(|(claims, routes)| Step::Append { claims, routes }),
        4 => (proptest::sample::select(&PLUGINS[..]), 1..4_usize)
            .prop_map(|(plugin, max)| Step::Lease { plugin, max }),
        5 => (0..50_usize, fate, prop::collection::vec(routes(), 0..3), prop::collection::vec(touch(), 0..3))
            .prop_map(|(which, fate, outputs, state)| Step::Settle { which, fate, outputs, state }),
        2 => (0..20_usize, 0..3_u16, proptest::sample::select(vec![Mend::Retry, Mend::Skip]))
            .prop_map(|(event, ordinal, how)| Step::Mend { event, ordinal, how }),
        2 => (0..50_usize, wait()).prop_map(|(which, after)| Step::GiveBack { which, after }),
        3 => prop_oneof![4 => wait(), 1 => Just(WINDOW / 2)].prop_map(Step::Pass),
        1 => proptest::sample::select(vec![End::Close, End::Drop, End::Crash])
            .prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Delivery {
    plugin: &'static str,
    order_key: Option<&'static str>,
    /// Its place in its line, while it is in it.
    place: Option<usize>,
    blocks: bool,
    state: DeliveryState,
    due_at: Timestamp,
    excused: usize,
    /// Which lease it is under, counted over the whole history.
    lease: usize,
    outcomes: Vec<Outcome>,
    lost: u32,
}

#[derive(Debug)]
struct Kept {
    id: EventId,
    parent: Option<EventId>,
    root: Option<EventId>,
    hops: u8,
    duplicates: u32,
    deliveries: Vec<Delivery>,
}

/// A lease that the store handed out at some time, with its place in the model.
struct Handed {
    /// What the plugin's state was: by key, the write that made it.
    seen: BTreeMap<u8, (usize, u64)>,
    lease: Lease,
    at: (usize, usize),
    serial: usize,
}

#[derive(Default)]
struct Model {
    now: Timestamp,
    events: Vec<Kept>,
    /// By claim: the event that holds it, and until when.
    claims: BTreeMap<u8, (usize, Timestamp)>,
    /// By plugin and key: the write that made the entry, and the store's name for it.
    entries: BTreeMap<(&'static str, u8), (usize, u64)>,
    leases: usize,
}

impl Model {
    /// `None`: it is new. Otherwise the first event's id.
    fn append(&mut self, event: &Event, claims: &[u8], routes: &[&'static str]) -> Option<EventId> {
        let held = claims.iter().find_map(|claim| {
            self.claims.get(claim).filter(|(_, until)| *until > self.now).map(|(first, _)| *first)
        });
        if let Some(first) = held {
            self.events[first].duplicates += 1;
            return Some(self.events[first].id);
        }
        for claim in claims {
            self.claims.insert(*claim, (self.events.len(), self.now + WINDOW));
        }
        self.keep(event.id, None, routes);
        None
    }

    fn keep(&mut self, id: EventId, from: Option<usize>, routes: &[&'static str]) {
        let from = from.map(|from| &self.events[from]);
        let hops = from.map_or(0, |from| from.hops + 1);
        let buried = hops > 8;
        let kept = Kept {
            id,
            parent: from.map(|from| from.id),
            root: from.map(|from| from.root.unwrap_or(from.id)),
            hops,
            duplicates: 0,
            deliveries: Vec::new(),
        };
        let place = self.events.len();
        self.events.push(kept);
        for route in routes {
            let (plugin, order_key) = match route.split_once(':') {
                Some((plugin, key)) if !buried => (plugin, Some(key)),
                Some((plugin, _)) => (plugin, None),
                None => (*route, None),
            };
            let behind = order_key.is_some_and(|key| self.line(plugin, key).next().is_some());
            let state = match (buried, behind) {
                (true, _) => DeliveryState::Dead,
                (false, true) => DeliveryState::Behind,
                (false, false) => DeliveryState::Due,
            };
            self.events[place].deliveries.push(Delivery {
                plugin,
                order_key,
                place: order_key.map(|_| place),
                blocks: false,
                state,
                due_at: self.now,
                excused: 0,
                lease: 0,
                outcomes: if buried { vec![Outcome::HopLimit] } else { vec![] },
                lost: 0,
            });
        }
    }

    /// Those of a line, in the order of their places.
    fn line(&self, plugin: &str, key: &str) -> impl Iterator<Item = (usize, usize)> {
        let mut line: Vec<_> = self
            .deliveries()
            .filter(|(_, d)| d.plugin == plugin && d.order_key == Some(key) && d.place.is_some())
            .map(|(at, d)| (d.place, at))
            .collect();
        line.sort();
        line.into_iter().map(|(_, at)| at)
    }

    fn delivery(&mut self, (event, ordinal): (usize, usize)) -> &mut Delivery {
        &mut self.events[event].deliveries[ordinal]
    }

    /// It is over: its line goes on.
    fn step_out(&mut self, at: (usize, usize)) {
        let now = self.now;
        let delivery = self.delivery(at);
        (delivery.place, delivery.blocks) = (None, false);
        let (plugin, Some(key)) = (delivery.plugin, delivery.order_key) else { return };
        let first = self.line(plugin, key).next();
        if let Some(first) = first {
            let first = self.delivery(first);
            if first.state == DeliveryState::Behind {
                (first.state, first.due_at) = (DeliveryState::Due, now);
            }
        }
    }

    fn die(&mut self, at: (usize, usize), blocks: bool) {
        let delivery = self.delivery(at);
        delivery.state = DeliveryState::Dead;
        match blocks && delivery.order_key.is_some() {
            true => delivery.blocks = true,
            false => self.step_out(at),
        }
    }

    /// Whether there was something to mend.
    fn mend(&mut self, at: (usize, usize), how: Mend) -> bool {
        let now = self.now;
        let Some(delivery) = self.events.get_mut(at.0).and_then(|e| e.deliveries.get_mut(at.1))
        else {
            return false;
        };
        match how {
            Mend::Skip if delivery.blocks => self.step_out(at),
            Mend::Retry if delivery.state == DeliveryState::Dead => {
                let (plugin, key) = (delivery.plugin, delivery.order_key);
                let left = !delivery.blocks && key.is_some();
                let behind = left && key.is_some_and(|key| self.line(plugin, key).next().is_some());
                let delivery = self.delivery(at);
                (delivery.blocks, delivery.due_at, delivery.lost) = (false, now, 0);
                delivery.place = key.map(|_| at.0);
                delivery.excused = delivery.outcomes.len();
                delivery.state = if behind { DeliveryState::Behind } else { DeliveryState::Due };
            }
            _ => return false,
        }
        true
    }

    fn lease(&mut self, plugin: &str, max: usize) -> Vec<(usize, usize)> {
        let now = self.now;
        let mut due: Vec<_> = (self.deliveries())
            .filter(|(_, d)| d.plugin == plugin && d.state == DeliveryState::Due && d.due_at <= now)
            .map(|(at, d)| (d.due_at, at))
            .collect();
        due.sort();
        due.truncate(max);
        due.into_iter().map(|(_, at)| at).collect()
    }

    fn next_due(&self, plugin: &str) -> Option<Duration> {
        self.deliveries()
            .filter(|(_, d)| d.plugin == plugin && d.state == DeliveryState::Due)
            .filter(|(_, d)| d.due_at > self.now)
            .map(|(_, d)| d.due_at.since(self.now))
            .min()
    }

    fn deliveries(&self) -> impl Iterator<Item = ((usize, usize), &Delivery)> {
        self.events.iter().enumerate().flat_map(|(e, kept)| {
            kept.deliveries.iter().enumerate().map(move |(n, delivery)| ((e, n), delivery))
        })
    }

    fn held(&mut self, handed: &Handed) -> Option<&mut Delivery> {
        let delivery = &mut self.events[handed.at.0].deliveries[handed.at.1];
        let held = delivery.state == DeliveryState::Leased && delivery.lease == handed.serial;
        held.then_some(delivery)
    }

    /// Whether an entry that the attempt looked at is another one now.
    fn stale(&self, handed: &Handed, touched: &[Touch]) -> bool {
        let plugin = self.events[handed.at.0].deliveries[handed.at.1].plugin;
        touched.iter().filter(|touch| touch.looked).any(|touch| {
            let now = self.entries.get(&(plugin, touch.key)).map(|entry| entry.0);
            now != handed.seen.get(&touch.key).map(|entry| entry.0)
        })
    }

    fn touch(&mut self, handed: &Handed, touched: &[Touch]) {
        let plugin = self.events[handed.at.0].deliveries[handed.at.1].plugin;
        for touch in touched {
            match touch.what {
                What::Keep => {}
                What::Set => _ = self.entries.insert((plugin, touch.key), (handed.serial, 0)),
                What::Delete => _ = self.entries.remove(&(plugin, touch.key)),
            }
        }
    }

    fn boot(&mut self) {
        for delivery in self.events.iter_mut().flat_map(|kept| &mut kept.deliveries) {
            if delivery.state == DeliveryState::Leased {
                delivery.lost += 1;
                delivery.outcomes.push(Outcome::Lost);
                delivery.state = DeliveryState::Due;
                if delivery.lost == 3 {
                    delivery.state = DeliveryState::Dead;
                    delivery.blocks = delivery.order_key.is_some();
                }
            }
        }
    }
}

/// A touch as the store is told of it. What is written is the lease's serial.
fn change(touch: &Touch, handed: &Handed) -> StateChange {
    let based_on = match (touch.looked, handed.seen.get(&touch.key)) {
        (false, _) => Basis::Anything,
        (true, None) => Basis::Nothing,
        (true, Some((_, version))) => Basis::Version(*version),
    };
    let change = match touch.what {
        What::Keep => Change::Keep,
        What::Set => Change::Set { value: handed.serial.to_string().into(), ttl: None },
        What::Delete => Change::Delete,
    };
    StateChange { key: touch.key.to_string(), based_on, change }
}

/// The store, the model beside it, and the leases handed out so far.
struct Run {
    bed: Bed,
    store: Option<Store>,
    model: Model,
    handed: Vec<Handed>,
}

impl Run {
    async fn step(&mut self, step: Step) {
        let store = self.store.clone().unwrap();
        match step {
            Step::Append { claims, routes } => {
                let event = event("push");
                let expected = self.model.append(&event, &claims, &routes);
                let texts: Vec<_> = claims.iter().map(u8::to_string).collect();
                let texts: Vec<_> = texts.iter().map(String::as_str).collect();
                let receipt = store.append(new(event.clone(), &texts, &routes)).await.unwrap();
                assert_eq!(receipt.is_duplicate(), expected.is_some());
                assert_eq!(receipt.id(), expected.unwrap_or(event.id));
            }
            Step::Lease { plugin, max } => self.lease(&store, plugin, max).await,
            Step::Settle { which, fate, outputs, state } if !self.handed.is_empty() => {
                self.settle(&store, which % self.handed.len(), (fate, &outputs, &state)).await;
            }
            Step::Mend { event, ordinal, how } => {
                let Some(kept) = self.model.events.get(event) else { return };
                let id = DeliveryId { event: kept.id, ordinal };
                let expected = self.model.mend((event, usize::from(ordinal)), how);
                let mended = store.mend(vec![id], how).await.unwrap();
                assert_eq!(mended == 1, expected);
            }
            Step::GiveBack { which, after } if !self.handed.is_empty() => {
                let handed = &self.handed[which % self.handed.len()];
                let due_at = self.model.now + after;
                if let Some(delivery) = self.model.held(handed) {
                    delivery.state = DeliveryState::Due;
                    delivery.due_at = due_at;
                }
                store.give_back(vec![handed.lease.key.clone()], after).await.unwrap();
            }
            Step::Settle { .. } | Step::GiveBack { .. } => {}
            Step::Pass(time) => {
                self.bed.time.advance(time);
                self.model.now = self.bed.time.now();
            }
            Step::Restart(end) => {
                match end {
                    End::Close => self.store.take().unwrap().close().await.unwrap(),
                    End::Drop => drop(self.store.take()),
                    End::Crash => self.bed.crash(),
                }
                drop(store);
                self.store = Some(self.bed.boot().await);
                self.model.boot();
            }
        }
    }

    async fn lease(&mut self, store: &Store, plugin: &'static str, max: usize) {
        let expected = self.model.lease(plugin, max);
        let want = hookweir_store::Want { plugin: plugin.parse().unwrap(), max };
        let leased = store.lease(vec![want]).await.unwrap();
        assert_eq!(leased.leases.len(), expected.len());
        for (lease, at) in leased.leases.into_iter().zip(expected) {
            self.model.leases += 1;
            let kept = &mut self.model.events[at.0];
            let delivery = &mut kept.deliveries[at.1];
            delivery.state = DeliveryState::Leased;
            delivery.lease = self.model.leases;
            assert_eq!(lease.event.id, kept.id);
            assert_eq!(lease.attempt as usize, delivery.outcomes.len() + 1);
            assert_eq!(lease.lost_leases, delivery.lost);
            assert_eq!(lease.excused as usize, delivery.excused);
            let entries = self.model.entries.iter().filter(|((whose, _), _)| *whose == plugin);
            let seen = entries.map(|((_, key), entry)| (*key, *entry)).collect();
            self.handed.push(Handed { seen, lease, at, serial: self.model.leases });
        }
        assert_eq!(leased.next_due, self.model.next_due(plugin));
    }

    async fn settle(
        &mut self,
        store: &Store,
        which: usize,
        (fate, made, touched): (Fate, &[Vec<&'static str>], &[Touch]),
    ) {
        let handed = &self.handed[which];
        let state: Vec<_> = touched.iter().map(|touch| change(touch, handed)).collect();
        let outputs: Vec<_> = made.iter().map(|routes| output("built", routes)).collect();
        let now = self.model.now;
        let stale = self.model.stale(handed, touched);
        let expected = match self.model.held(handed) {
            None => Settled::LeaseLost,
            Some(delivery) if stale => {
                (delivery.state, delivery.due_at) = (DeliveryState::Due, now);
                Settled::Conflict
            }
            Some(delivery) => {
                delivery.outcomes.push(Outcome::Retry);
                if let Fate::Due { after } = fate {
                    (delivery.state, delivery.due_at) = (DeliveryState::Due, now + after);
                }
                self.model.touch(handed, touched);
                for (output, routes) in outputs.iter().zip(made) {
                    self.model.keep(output.event.id, Some(handed.at.0), routes);
                }
                match fate {
                    Fate::Done => {
                        self.model.delivery(handed.at).state = DeliveryState::Done;
                        self.model.step_out(handed.at);
                    }
                    Fate::Dead { blocks } => self.model.die(handed.at, blocks),
                    Fate::Due { .. } => {}
                }
                Settled::Committed
            }
        };
        let (key, attempt) = (handed.lease.key.clone(), attempt(Outcome::Retry));
        let settlement = Settlement { key, attempt, fate, outputs, state };
        assert_eq!(store.settle(settlement).await.unwrap(), expected);
        self.name_entries(store);
    }

    /// The model counts writes, the store versions; both must tell the same entries apart.
    fn name_entries(&mut self, store: &Store) {
        for plugin in PLUGINS {
            for key in 0..3 {
                let found =
                    store.reader().state(&plugin.parse().unwrap(), &key.to_string()).unwrap();
                let entry = self.model.entries.get_mut(&(plugin, key));
                assert_eq!(found.is_some(), entry.is_some());
                if let (Some(found), Some(entry)) = (found, entry) {
                    assert_eq!(found.value, entry.0.to_string().into_bytes());
                    assert!(entry.1 == 0 || entry.1 == found.version, "changed without a write");
                    entry.1 = found.version;
                }
            }
        }
    }

    fn compare(&self) {
        let reader = self.store.as_ref().unwrap().reader();
        let shown = reader.events(None, 1000).unwrap();
        assert_eq!(shown.len(), self.model.events.len());
        for (shown, kept) in shown.iter().zip(&self.model.events) {
            assert_eq!(shown.event.id, kept.id);
            assert_eq!((shown.event.parent, shown.event.root), (kept.parent, kept.root));
            assert_eq!((shown.event.hops.0, shown.duplicates), (kept.hops, kept.duplicates));
            assert_eq!(shown.deliveries.len(), kept.deliveries.len());
            for (shown, delivery) in shown.deliveries.iter().zip(&kept.deliveries) {
                assert_eq!(shown.plugin.as_str(), delivery.plugin);
                assert_eq!((shown.state, shown.due_at), (delivery.state, delivery.due_at));
                assert_eq!(shown.lost_leases, delivery.lost);
                assert_eq!(shown.blocks, delivery.blocks);
                let outcomes: Vec<_> = shown.attempts.iter().map(|a| a.attempt.outcome).collect();
                assert_eq!(outcomes, delivery.outcomes);
            }
        }
        let counts: Counts = reader.counts().unwrap();
        assert_eq!(counts, recount(&reader));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut bed = Bed::new();
            let for_ever = Keep { age: Duration::MAX, bytes: u64::MAX };
            bed.retention = Retention { done: for_ever, dead: for_ever };
            let store = Some(bed.boot().await);
            let model = Model { now: START, ..Model::default() };
            let mut run = Run { bed, store, model, handed: Vec::new() };
            for step in steps {
                run.step(step).await;
            }
            run.compare();
        });
    }
}
