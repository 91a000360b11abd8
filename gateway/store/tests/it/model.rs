//! The store against a model of it that fits on two screens, over random histories: appends, leases,
//! settlements on time and too late, leases given back, time passing, and every way to restart.

use std::{collections::BTreeMap, time::Duration};

use hookweir_event::{Event, EventId, Fate, Outcome, Timestamp};
use hookweir_store::{Counts, DeliveryState, Lease, Settled, Settlement, Store};
use proptest::prelude::*;

use crate::support::{Bed, START, WINDOW, attempt, event, new, output, recount};

const PLUGINS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    Append { claims: Vec<u8>, routes: Vec<&'static str> },
    Lease { plugin: &'static str, max: usize },
    Settle { which: usize, fate: Fate, outputs: Vec<Vec<&'static str>> },
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

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let routes = || proptest::sample::subsequence(&PLUGINS[..], 0..=3);
    let wait = || prop_oneof![Just(0), 1..2000_u64].prop_map(Duration::from_millis);
    let fate = prop_oneof![
        2 => Just(Fate::Done),
        2 => wait().prop_map(|after| Fate::Due { after }),
        1 => Just(Fate::Dead),
    ];
    let step = prop_oneof![
        6 => (prop::collection::vec(0..6_u8, 0..3), routes())
            .prop_map(|(claims, routes)| Step::Append { claims, routes }),
        4 => (proptest::sample::select(&PLUGINS[..]), 1..4_usize)
            .prop_map(|(plugin, max)| Step::Lease { plugin, max }),
        5 => (0..50_usize, fate, prop::collection::vec(routes(), 0..3))
            .prop_map(|(which, fate, outputs)| Step::Settle { which, fate, outputs }),
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
    state: DeliveryState,
    due_at: Timestamp,
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
        let delivery = |plugin: &&'static str| Delivery {
            plugin,
            state: if buried { DeliveryState::Dead } else { DeliveryState::Due },
            due_at: self.now,
            lease: 0,
            outcomes: if buried { vec![Outcome::HopLimit] } else { vec![] },
            lost: 0,
        };
        let kept = Kept {
            id,
            parent: from.map(|from| from.id),
            root: from.map(|from| from.root.unwrap_or(from.id)),
            hops,
            duplicates: 0,
            deliveries: routes.iter().map(delivery).collect(),
        };
        self.events.push(kept);
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

    fn boot(&mut self) {
        for delivery in self.events.iter_mut().flat_map(|kept| &mut kept.deliveries) {
            if delivery.state == DeliveryState::Leased {
                delivery.lost += 1;
                delivery.outcomes.push(Outcome::Lost);
                delivery.state =
                    if delivery.lost == 3 { DeliveryState::Dead } else { DeliveryState::Due };
            }
        }
    }
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
            Step::Settle { which, fate, outputs } if !self.handed.is_empty() => {
                self.settle(&store, which % self.handed.len(), fate, &outputs).await;
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
            self.handed.push(Handed { lease, at, serial: self.model.leases });
        }
        assert_eq!(leased.next_due, self.model.next_due(plugin));
    }

    async fn settle(
        &mut self,
        store: &Store,
        which: usize,
        fate: Fate,
        made: &[Vec<&'static str>],
    ) {
        let handed = &self.handed[which];
        let outputs: Vec<_> = made.iter().map(|routes| output("built", routes)).collect();
        let now = self.model.now;
        let held = self.model.held(handed).map(|delivery| {
            delivery.outcomes.push(Outcome::Retry);
            delivery.state = match fate {
                Fate::Done => DeliveryState::Done,
                Fate::Dead => DeliveryState::Dead,
                Fate::Due { after } => {
                    delivery.due_at = now + after;
                    DeliveryState::Due
                }
            };
        });
        if held.is_some() {
            for (output, routes) in outputs.iter().zip(made) {
                self.model.keep(output.event.id, Some(handed.at.0), routes);
            }
        }
        let (key, attempt) = (handed.lease.key.clone(), attempt(Outcome::Retry));
        let settled = store.settle(Settlement { key, attempt, fate, outputs }).await.unwrap();
        assert_eq!(settled == Settled::Committed, held.is_some());
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
