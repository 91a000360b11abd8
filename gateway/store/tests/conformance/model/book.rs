//! The model: what a store is, if one may forget that processes die and disks are slow.

use std::{collections::BTreeMap, time::Duration};

use hookweir_event::{EventId, Fate, Outcome, Timestamp};
use hookweir_store::{DeliveryState, Mend, Queue, Settled, Written};

use super::history::{Touch, What};
use crate::conformance::support::WINDOW;

/// Event and ordinal of a delivery.
pub(super) type At = (usize, usize);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) plugin: &'static str,
    pub(super) order_key: Option<&'static str>,
    /// Its place in the line of its key.
    place: usize,
    in_line: bool,
    pub(super) blocks: bool,
    pub(super) state: DeliveryState,
    pub(super) due_at: Timestamp,
    /// Whether a lease came upon it while its source was held, and nobody took it back since.
    aside: bool,
    /// When the hold was lifted that it was aside for.
    let_go_at: Timestamp,
    pub(super) replayed_at: Option<Timestamp>,
    pub(super) discarded_at: Option<Timestamp>,
    pub(super) excused: usize,
    /// Which lease it is under, counted over the whole history.
    lease: usize,
    pub(super) outcomes: Vec<Outcome>,
    /// Of each attempt that was settled: under which lease.
    pub(super) settled: Vec<Option<usize>>,
    pub(super) lost: u32,
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: EventId,
    pub(super) parent: Option<EventId>,
    pub(super) root: Option<EventId>,
    pub(super) hops: u8,
    pub(super) duplicates: u32,
    pub(super) deliveries: Vec<Delivery>,
}

/// A lease that was handed out at some time.
#[derive(Debug, Clone)]
pub(super) struct Handed {
    pub(super) at: At,
    pub(super) serial: usize,
    /// What the plugin's state was: by key, the write that made it.
    pub(super) seen: BTreeMap<u8, usize>,
}

#[derive(Default)]
pub(super) struct Book {
    pub(super) now: Timestamp,
    pub(super) events: Vec<Kept>,
    /// By claim: the event that holds it, and until when.
    claims: BTreeMap<u8, (usize, Timestamp)>,
    /// By plugin and key: the write that made the entry.
    pub(super) entries: BTreeMap<(&'static str, u8), usize>,
    leases: usize,
    /// Whether the source is held, and since when it is not any more.
    held: bool,
    lifted_at: Timestamp,
}

impl Book {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { now, ..Self::default() }
    }

    /// `None`: it is new. Otherwise the first event's id.
    pub(super) fn append(
        &mut self,
        id: EventId,
        claims: &[u8],
        routes: &[&'static str],
    ) -> Option<EventId> {
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
        self.keep(id, None, routes);
        None
    }

    fn keep(&mut self, id: EventId, from: Option<usize>, routes: &[&'static str]) {
        let from = from.map(|from| &self.events[from]);
        let hops = from.map_or(0, |from| from.hops + 1);
        let kept = Kept {
            id,
            parent: from.map(|from| from.id),
            root: from.map(|from| from.root.unwrap_or(from.id)),
            hops,
            duplicates: 0,
            deliveries: Vec::new(),
        };
        let event = self.events.len();
        self.events.push(kept);
        for route in routes {
            match hops > 8 {
                true => self.bury(event, route),
                false => self.deliver(event, event, route, None),
            }
        }
    }

    fn deliver(
        &mut self,
        event: usize,
        place: usize,
        route: &'static str,
        replayed_at: Option<Timestamp>,
    ) {
        let (plugin, order_key) = match route.split_once(':') {
            Some((plugin, key)) => (plugin, Some(key)),
            None => (route, None),
        };
        let behind = order_key.is_some_and(|key| self.line(plugin, key).next().is_some());
        self.events[event].deliveries.push(Delivery {
            plugin,
            order_key,
            place,
            in_line: order_key.is_some(),
            blocks: false,
            state: if behind { DeliveryState::Behind } else { DeliveryState::Due },
            due_at: self.now,
            aside: false,
            let_go_at: Timestamp::default(),
            replayed_at,
            discarded_at: None,
            excused: 0,
            lease: 0,
            outcomes: Vec::new(),
            settled: Vec::new(),
            lost: 0,
        });
    }

    /// It went through too many plugins.
    fn bury(&mut self, event: usize, route: &'static str) {
        let plugin = route.split_once(':').map_or(route, |(plugin, _)| plugin);
        self.deliver(event, event, plugin, None);
        let delivery = self.events[event].deliveries.last_mut().unwrap();
        (delivery.state, delivery.outcomes) = (DeliveryState::Dead, vec![Outcome::HopLimit]);
        delivery.settled = vec![None];
    }

    /// How many deliveries were made.
    pub(super) fn replay(&mut self, event: usize, routes: &[&'static str]) -> u64 {
        for route in routes {
            // Behind all events there are, and before the next.
            self.deliver(event, self.events.len(), route, Some(self.now));
        }
        routes.len() as u64
    }

    /// Those of a line, in the order of their places.
    fn line(&self, plugin: &str, key: &str) -> impl Iterator<Item = At> {
        let mut line: Vec<_> = self
            .deliveries()
            .filter(|(_, d)| d.plugin == plugin && d.order_key == Some(key) && d.in_line)
            .map(|(at, d)| (d.place, at))
            .collect();
        line.sort_unstable();
        line.into_iter().map(|(_, at)| at)
    }

    fn delivery(&mut self, (event, ordinal): At) -> &mut Delivery {
        &mut self.events[event].deliveries[ordinal]
    }

    /// It is over: its line goes on.
    fn step_out(&mut self, at: At) {
        let now = self.now;
        let delivery = self.delivery(at);
        (delivery.in_line, delivery.blocks) = (false, false);
        let (plugin, Some(key)) = (delivery.plugin, delivery.order_key) else { return };
        let first = self.line(plugin, key).next();
        if let Some(first) = first {
            let first = self.delivery(first);
            if first.state == DeliveryState::Behind {
                (first.state, first.due_at) = (DeliveryState::Due, now);
            }
        }
    }

    fn die(&mut self, at: At, blocks: bool) {
        let delivery = self.delivery(at);
        delivery.state = DeliveryState::Dead;
        match blocks && delivery.order_key.is_some() {
            true => delivery.blocks = true,
            false => self.step_out(at),
        }
    }

    /// How many were there to mend.
    pub(super) fn mend(&mut self, at: At, how: Mend) -> u64 {
        let now = self.now;
        let Some(delivery) = self.events.get_mut(at.0).and_then(|e| e.deliveries.get_mut(at.1))
        else {
            return 0;
        };
        match how {
            Mend::Skip if delivery.blocks => self.step_out(at),
            Mend::Discard if delivery.state == DeliveryState::Dead => {
                delivery.state = DeliveryState::Discarded;
                delivery.discarded_at = Some(now);
                if delivery.blocks {
                    self.step_out(at);
                }
            }
            Mend::Retry
                if matches!(delivery.state, DeliveryState::Dead | DeliveryState::Discarded) =>
            {
                let (plugin, key) = (delivery.plugin, delivery.order_key);
                let left = !delivery.blocks && key.is_some();
                let behind = left && key.is_some_and(|key| self.line(plugin, key).next().is_some());
                let delivery = self.delivery(at);
                (delivery.blocks, delivery.due_at, delivery.lost) = (false, now, 0);
                delivery.discarded_at = None;
                delivery.in_line = key.is_some();
                delivery.excused = delivery.outcomes.len();
                delivery.state = if behind { DeliveryState::Behind } else { DeliveryState::Due };
            }
            _ => return 0,
        }
        1
    }

    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// Whether it was held.
    pub(super) fn lift(&mut self) -> bool {
        if self.held {
            self.lifted_at = self.now;
        }
        std::mem::take(&mut self.held)
    }

    /// Where a delivery stands for all to see, and since when.
    pub(super) fn stands(&self, delivery: &Delivery) -> (DeliveryState, Timestamp) {
        let since = delivery.due_at.max(delivery.let_go_at);
        match (delivery.aside, self.held) {
            (true, true) => (DeliveryState::Held, since),
            (true, false) => (DeliveryState::Due, self.lifted_at),
            (false, _) => (delivery.state, since),
        }
    }

    /// Sets aside what a lease comes upon, or takes it back.
    fn keep_aside(&mut self, plugin: &str, max: usize) {
        if !self.held {
            let at = self.lifted_at;
            let all = self.events.iter_mut().flat_map(|kept| &mut kept.deliveries);
            for delivery in all.filter(|d| d.plugin == plugin && d.aside).take(max) {
                (delivery.aside, delivery.let_go_at) = (false, at);
            }
            return;
        }
        let mut left = max;
        for at in self.due(plugin) {
            if left == 0 {
                return;
            }
            match self.events[at.0].parent {
                None => self.delivery(at).aside = true,
                Some(_) => left -= 1,
            }
        }
    }

    /// Those of a plugin that are due and not aside, the longest due first.
    fn due(&self, plugin: &str) -> Vec<At> {
        let is_due =
            |d: &Delivery| d.state == DeliveryState::Due && !d.aside && d.due_at <= self.now;
        let mut due: Vec<_> = (self.deliveries())
            .filter(|(_, d)| d.plugin == plugin && is_due(d))
            .map(|(at, d)| (d.due_at, at))
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, at)| at).collect()
    }

    /// What waits for a plugin, if anything was ever routed to it.
    pub(super) fn queue(&self, plugin: &'static str) -> Queue {
        let mine = || self.deliveries().map(|(_, d)| d).filter(|d| d.plugin == plugin);
        let count = |is: &dyn Fn(&Delivery) -> bool| mine().filter(|d| is(d)).count() as u64;
        let is_due = |d: &Delivery| self.stands(d).0 == DeliveryState::Due;
        let due = |d: &Delivery| is_due(d) && self.stands(d).1 <= self.now;
        let later = |d: &Delivery| is_due(d) && self.stands(d).1 > self.now;
        Queue {
            plugin: plugin.parse().unwrap(),
            due: count(&due),
            later: count(&later),
            behind: count(&|d| d.state == DeliveryState::Behind),
            held: count(&|d| self.stands(d).0 == DeliveryState::Held),
            leased: count(&|d| d.state == DeliveryState::Leased),
            dead: count(&|d| d.state == DeliveryState::Dead),
            blocked_keys: count(&|d| d.blocks),
            oldest_due_at: mine().filter(|d| due(d)).map(|d| self.stands(d).1).min(),
            next_due_at: mine().filter(|d| later(d)).map(|d| d.due_at).min(),
        }
    }

    pub(super) fn unblock(&mut self, plugin: &str) -> u64 {
        let blocking: Vec<_> = (self.deliveries())
            .filter(|(_, d)| d.plugin == plugin && d.blocks)
            .map(|(at, _)| at)
            .collect();
        blocking.into_iter().map(|at| self.mend(at, Mend::Skip)).sum()
    }

    /// Those that are leased, and when the next will be due.
    pub(super) fn lease(
        &mut self,
        plugin: &'static str,
        max: usize,
    ) -> (Vec<Handed>, Option<Duration>) {
        let now = self.now;
        self.keep_aside(plugin, max);
        let of_plugin = |d: &Delivery| d.plugin == plugin && d.state == DeliveryState::Due;
        let mut due = self.due(plugin);
        due.truncate(max);
        let next = (self.deliveries())
            .filter(|(_, d)| of_plugin(d) && !d.aside && d.due_at > now)
            .map(|(_, d)| d.due_at.since(now))
            .min();
        let entries = self.entries.iter().filter(|((whose, _), _)| *whose == plugin);
        let seen: BTreeMap<_, _> = entries.map(|((_, key), write)| (*key, *write)).collect();
        let hand = |at: At| {
            self.leases += 1;
            let serial = self.leases;
            let delivery = self.delivery(at);
            (delivery.state, delivery.lease) = (DeliveryState::Leased, serial);
            Handed { at, serial, seen: seen.clone() }
        };
        (due.into_iter().map(hand).collect(), next)
    }

    fn deliveries(&self) -> impl Iterator<Item = (At, &Delivery)> {
        self.events.iter().enumerate().flat_map(|(e, kept)| {
            kept.deliveries.iter().enumerate().map(move |(n, delivery)| ((e, n), delivery))
        })
    }

    fn held(&mut self, handed: &Handed) -> Option<&mut Delivery> {
        let delivery = self.delivery(handed.at);
        let held = delivery.state == DeliveryState::Leased && delivery.lease == handed.serial;
        held.then_some(delivery)
    }

    pub(super) fn give_back(&mut self, handed: &Handed, after: Duration) {
        let due_at = self.now + after;
        if let Some(delivery) = self.held(handed) {
            (delivery.state, delivery.due_at) = (DeliveryState::Due, due_at);
        }
    }

    /// The attempt is recorded as one that asked to be retried, whatever its fate.
    pub(super) fn settle(
        &mut self,
        handed: &Handed,
        fate: Fate,
        outputs: &[(EventId, &[&'static str])],
        touched: &[Touch],
    ) -> Settled {
        let now = self.now;
        let stale = self.is_stale(handed, touched);
        let Some(delivery) = self.held(handed) else {
            return Settled::LeaseLost;
        };
        if stale {
            delivery.state = DeliveryState::Due;
            return Settled::Conflict;
        }
        delivery.outcomes.push(Outcome::Retry);
        delivery.settled.push(Some(handed.serial));
        if let Fate::Due { after } = fate {
            (delivery.state, delivery.due_at) = (DeliveryState::Due, now + after);
        }
        self.touch(handed, touched);
        for (id, routes) in outputs {
            self.keep(*id, Some(handed.at.0), routes);
        }
        match fate {
            Fate::Done => {
                self.delivery(handed.at).state = DeliveryState::Done;
                self.step_out(handed.at);
            }
            Fate::Dead { blocks } => self.die(handed.at, blocks),
            Fate::Due { .. } => {}
        }
        Settled::Committed
    }

    /// The view of a lease, for a write that is not its own.
    pub(super) fn view(&mut self, handed: &Handed) -> Handed {
        self.leases += 1;
        Handed { serial: self.leases, ..handed.clone() }
    }

    pub(super) fn write(&mut self, view: &Handed, touched: &[Touch]) -> Written {
        if self.is_stale(view, touched) {
            return Written::Conflict;
        }
        self.touch(view, touched);
        Written::Committed
    }

    /// Whether an entry that the attempt looked at is another one now.
    fn is_stale(&self, handed: &Handed, touched: &[Touch]) -> bool {
        let plugin = self.events[handed.at.0].deliveries[handed.at.1].plugin;
        touched
            .iter()
            .filter(|touch| touch.looked)
            .any(|touch| self.entries.get(&(plugin, touch.key)) != handed.seen.get(&touch.key))
    }

    fn touch(&mut self, handed: &Handed, touched: &[Touch]) {
        let plugin = self.delivery(handed.at).plugin;
        for touch in touched {
            match touch.what {
                What::Keep => {}
                What::Set => _ = self.entries.insert((plugin, touch.key), handed.serial),
                What::Delete => _ = self.entries.remove(&(plugin, touch.key)),
            }
        }
    }

    /// Another process opens the store.
    pub(super) fn boot(&mut self) {
        for delivery in self.events.iter_mut().flat_map(|kept| &mut kept.deliveries) {
            if delivery.state == DeliveryState::Leased {
                delivery.lost += 1;
                delivery.outcomes.push(Outcome::Lost);
                delivery.settled.push(None);
                delivery.state = DeliveryState::Due;
                if delivery.lost == 3 {
                    delivery.state = DeliveryState::Dead;
                    delivery.blocks = delivery.order_key.is_some();
                }
            }
        }
    }
}
