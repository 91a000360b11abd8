//! Three gateways at one database, behind a balancer, under load: one of them is killed while it holds leases, and then the
//! database's server while commits are under way, so that its standby takes over. Guarantees 1, 3, 4 and 5, for all of them
//! together.
//!
//! Each order key has a counter and the number of its last event in the plugin's state, and each event comes back as an output
//! that says what both were: an effect that is done twice, left out, or done out of turn is seen at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hookweir_event::{Clock, EventId, Origin, Outcome, Timestamp};
use hookweir_store::{Counts, DeliveryState, Exported, Filter, Reader, ShownDelivery};
use hookweir_tests::{
    house::{Gateway, House, PATIENCE},
    postgres::Postgres,
    sender::Sender,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{sync::watch, task::JoinSet, time::timeout};

const GATEWAYS: usize = 3;
/// Which of them is killed.
const KILLED: usize = 2;
const KEYS: usize = 50;
/// So many send at the same time, each in the order of its keys' numbers.
const CONNECTIONS: usize = 25;
/// Of so many events of a key one is sent again after its answer, and another to two gateways at the same time.
const TWICE_EACH: usize = 20;
/// How long a sender rests when no gateway took an event.
const REST: Duration = Duration::from_millis(20);
/// Slower than this it is not, on any machine.
const PER_EVENT: Duration = Duration::from_millis(50);
const SECTIONS: &str =
    "[plugins.hostile]\norder_by = \"header:x-order\"\nrate = \"off\"\nbackoff = \"100ms\"\n";

/// An event as its sender knows it: its order key, and which of that key's it is, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Name {
    key: usize,
    number: usize,
}

impl Name {
    fn key(self) -> String {
        format!("k{}", self.key)
    }

    fn id(self) -> String {
        format!("{}-{}", self.key(), self.number)
    }

    /// What the plugin is to do.
    fn body(self) -> String {
        let (key, number) = (self.key(), self.number);
        format!("get last-{key}\nset last-{key} {number}\nadd count-{key} 1")
    }

    /// What comes of it if each one before it was done once, and none after it.
    fn effect(self) -> String {
        let before = self.number - 1;
        let last = if before == 0 { "nothing".to_owned() } else { before.to_string() };
        format!("{last}\nset\n{}", self.number)
    }
}

/// A 2xx.
#[derive(Debug, Clone, Copy)]
struct Ack {
    name: Name,
    id: EventId,
    at: Instant,
    /// How often it was sent until then.
    sent: usize,
    duplicate: bool,
}

/// A provider, which sends again what got no 2xx, through a balancer in front of the gateways.
struct Provider {
    senders: Vec<Sender>,
    acks: Mutex<Vec<Ack>>,
    /// How many events have been acknowledged.
    acked: watch::Sender<usize>,
}

impl Provider {
    fn new(houses: &[House]) -> Arc<Self> {
        let senders = houses.iter().map(|house| house.sender("test")).collect();
        Arc::new(Self { senders, acks: Mutex::default(), acked: watch::Sender::new(0) })
    }

    /// Posts until there is a 2xx: to the next gateway where one refuses or is gone.
    async fn post(&self, name: Name, first: usize) -> Ack {
        for sent in 1.. {
            let sender = &self.senders[(first + sent - 1) % GATEWAYS];
            let mut request = sender.signed("state", &name.id(), name.body().as_bytes());
            request.headers.push(("x-order".into(), name.key().into_bytes()));
            match sender.post(request).await {
                Ok(reply) if reply.status == 202 => {
                    let (id, duplicate) = (reply.id().unwrap(), reply.duplicate());
                    return Ack { name, id, at: Instant::now(), sent, duplicate };
                }
                Ok(reply) => assert_eq!(reply.status, 503, "{reply:?}"),
                // The gateway is gone, or went while it had the request.
                Err(error) => assert!(!error.is_timeout(), "{error}"),
            }
            if sent % GATEWAYS == 0 {
                tokio::time::sleep(REST).await;
            }
        }
        unreachable!("there is no end to 1..")
    }

    /// Has an event acknowledged, some of them twice.
    async fn send(&self, name: Name) {
        let first = name.key + name.number;
        let acks = match name.number % TWICE_EACH {
            0 => {
                let (one, other) = tokio::join!(self.post(name, first), self.post(name, first + 1));
                assert!(one.duplicate || other.duplicate, "it is two events: {one:?}, {other:?}");
                vec![one, other]
            }
            1 => {
                let one = self.post(name, first).await;
                let again = self.post(name, first + 1).await;
                assert!(again.duplicate, "it is two events: {one:?}, {again:?}");
                vec![one, again]
            }
            _ => vec![self.post(name, first).await],
        };
        assert!(acks.iter().all(|ack| ack.id == acks[0].id), "two ids for one event: {acks:?}");
        self.acks.lock().unwrap().extend(acks);
        self.acked.send_modify(|acked| *acked += 1);
    }

    /// Sends all events of all keys with these numbers, each key's one after the other.
    fn start(self: &Arc<Self>, numbers: std::ops::RangeInclusive<usize>) -> JoinSet<()> {
        let mut connections = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let (this, numbers) = (Arc::clone(self), numbers.clone());
            connections.spawn(async move {
                for number in numbers {
                    for key in (connection..KEYS).step_by(CONNECTIONS) {
                        this.send(Name { key, number }).await;
                    }
                }
            });
        }
        connections
    }

    /// Waits until so many events have been acknowledged.
    async fn until(&self, acked: usize) {
        let mut seen = self.acked.subscribe();
        let enough = seen.wait_for(|so_far| *so_far >= acked);
        timeout(patience(acked), enough).await.expect("events are acknowledged").unwrap();
    }

    /// The first 2xx after this.
    fn first_after(&self, at: Instant) -> Instant {
        let acks = self.acks.lock().unwrap();
        acks.iter().map(|ack| ack.at).filter(|acked| *acked > at).min().expect("there is one")
    }
}

fn patience(events: usize) -> Duration {
    PATIENCE + PER_EVENT * u32::try_from(events).unwrap()
}

/// How many events of each key there are. `HOOKWEIR_FAILOVER_EVENTS` makes a campaign of it.
fn numbers() -> usize {
    let events = std::env::var("HOOKWEIR_FAILOVER_EVENTS").map_or(4000, |n| n.parse().unwrap());
    (events / KEYS).max(2 * TWICE_EACH)
}

/// A database with a standby, and gateways at them.
struct Site {
    primary: Postgres,
    standby: Postgres,
    houses: Vec<House>,
    gateways: Vec<Option<Gateway>>,
}

/// What a gateway left when it was killed.
struct Left {
    at: Timestamp,
    /// What its leases say of whom they are.
    boot: i64,
    leases: usize,
    settled: usize,
}

/// When the server was killed and the other one took over.
struct Failover {
    killed: Instant,
    /// Nothing of the old one answers any more.
    gone: Instant,
    promoted: Instant,
    /// How many commits were under way.
    commits: usize,
}

impl Site {
    async fn start() -> Self {
        let primary = Postgres::durable();
        let standby = primary.standby();
        let url = Postgres::url_at(&[primary.address(), standby.address()]);
        let house = |nth: usize| {
            let program = env!("CARGO_BIN_EXE_hookweir-under-test");
            let url = format!("{url}?application_name={}", application(nth));
            let house = House::in_database(program, SECTIONS, url);
            house.put_guest("hostile");
            house
        };
        let houses: Vec<_> = (0..GATEWAYS).map(house).collect();
        let mut gateways = Vec::new();
        for house in &houses {
            gateways.push(Some(house.start().await));
        }
        Self { primary, standby, houses, gateways }
    }

    /// Kills a gateway while it holds leases.
    fn kill_gateway(&mut self) -> Left {
        let gateway = self.gateways[KILLED].take().unwrap();
        let server = &self.primary;
        let name = application(KILLED);
        // It was the last to be started.
        let boot = number(server, "SELECT max(key) FROM hookweir.boots");
        let leases = format!("SELECT count(*) FROM hookweir.deliveries WHERE boot = {boot}");
        let settled = format!("SELECT count(*) FROM hookweir.attempts WHERE boot = {boot}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            // While it stands still, what it has begun comes to an end, and it begins no more.
            gateway.signal(Signal::STOP);
            server.until(
                "its statements",
                &format!(
                    "SELECT count(*) FROM pg_stat_activity
                     WHERE application_name = '{name}' AND state = 'active'"
                ),
                "0",
            );
            if number(server, &leases) > 0 {
                break;
            }
            gateway.signal(Signal::CONT);
            assert!(Instant::now() < deadline, "it never holds a lease");
        }
        let at = Clock::system().now();
        gateway.kill();
        server.until(
            "its connections",
            &format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'"),
            "0",
        );
        let count = |sql: &str| usize::try_from(number(server, sql)).unwrap();
        let left = Left { at, boot, leases: count(&leases), settled: count(&settled) };
        assert!(left.leases > 0, "it held no lease when it was killed");
        left
    }

    /// Kills the server while commits wait for the standby, which then takes over.
    fn fail_over(&mut self) -> Failover {
        let receiver = number(&self.standby, "SELECT pid FROM pg_stat_wal_receiver");
        let receiver = Pid::from_raw(i32::try_from(receiver).unwrap()).unwrap();
        let waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        // The standby is behind for a moment, so that there are some for certain.
        kill_process(receiver, Signal::STOP).unwrap();
        let sql = format!("SELECT count(*) > 0 {waiting}");
        self.primary.until("a commit that waits for the standby", &sql, "t");
        let commits = number(&self.primary, &format!("SELECT count(*) {waiting}"));
        let killed = Instant::now();
        self.primary.kill();
        let gone = Instant::now();
        kill_process(receiver, Signal::CONT).unwrap();
        self.standby.promote();
        let promoted = Instant::now();
        assert!(commits > 0, "no commit was under way");
        Failover { killed, gone, promoted, commits: usize::try_from(commits).unwrap() }
    }

    /// Waits until nothing is left to do.
    async fn until_settled(&self, events: usize) {
        let reader = self.houses[0].reader();
        let open = |counts: &Counts| counts.due + counts.leased;
        let settled = async {
            while open(&reader.counts().await.unwrap()) > 0 {
                tokio::time::sleep(REST).await;
            }
        };
        timeout(patience(events), settled).await.expect("all is done in the end");
    }
}

/// By which a gateway's connections are known.
fn application(gateway: usize) -> String {
    format!("gateway-{gateway}")
}

fn number(server: &Postgres, sql: &str) -> i64 {
    server.ask(sql).parse().unwrap()
}

/// All that is in the store.
#[derive(Default)]
struct Books {
    webhooks: HashMap<String, (EventId, ShownDelivery)>,
    outputs: HashMap<EventId, Vec<String>>,
}

impl Books {
    async fn read(reader: &Reader) -> Self {
        let (mut books, mut from) = (Self::default(), None);
        loop {
            let page = reader.whole(&Filter::default(), from, 1000).await.unwrap();
            page.found.into_iter().for_each(|exported| books.add(exported));
            from = page.next;
            if from.is_none() {
                return books;
            }
        }
    }

    fn add(&mut self, exported: Exported) {
        let Exported { mut shown, event, .. } = exported;
        let event = event.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        if let Origin::Plugin(_) = event.origin {
            self.outputs.entry(shown.event.parent.unwrap()).or_default().push(text(&event.body));
            return;
        }
        let id = event.headers.iter().find(|(name, _)| name == "x-webhook-id").unwrap();
        assert_eq!(shown.deliveries.len(), 1, "{shown:#?}");
        let kept = (event.id, shown.deliveries.remove(0));
        assert!(self.webhooks.insert(text(&id.1), kept).is_none(), "{} is there twice", event.id);
    }

    /// Every acknowledged event is there once and done, with its effect, in its turn; and nothing else is there. Answers
    /// the first attempts that ran again what a killed process had begun.
    fn audit(&self, acks: &[Ack], numbers: usize) -> Vec<Timestamp> {
        let mut again = Vec::new();
        for key in 0..KEYS {
            for number in 1..=numbers {
                let name = Name { key, number };
                let (id, delivery) = &self.webhooks[&name.id()];
                assert_eq!(delivery.state, DeliveryState::Done, "{delivery:#?}");
                let (last, lost) = delivery.attempts.split_last().unwrap();
                assert_eq!(last.attempt.outcome, Outcome::Done, "{delivery:#?}");
                let all_lost = lost.iter().all(|it| it.attempt.outcome == Outcome::Lost);
                assert!(all_lost, "{delivery:#?}");
                assert_eq!(self.outputs.get(id), Some(&vec![name.effect()]), "{name:?}");
                again.extend(lost.iter().map(|_| last.started_at));
            }
        }
        assert_eq!(self.webhooks.len(), KEYS * numbers);
        assert_eq!(self.outputs.len(), KEYS * numbers);
        let of_sender: HashMap<_, _> = acks.iter().map(|ack| (ack.name.id(), ack.id)).collect();
        assert_eq!(of_sender.len(), KEYS * numbers);
        for ack in acks {
            assert_eq!(self.webhooks[&ack.name.id()].0, ack.id, "another was acknowledged");
        }
        again
    }
}

/// The plugin's state has counted each event of each key, once.
async fn audit_state(reader: &Reader, numbers: usize) {
    let plugin = "hostile".parse().unwrap();
    for key in 0..KEYS {
        for what in ["count", "last"] {
            let name = format!("{what}-k{key}");
            let entry = reader.state(&plugin, &name).await.unwrap().unwrap();
            assert_eq!(String::from_utf8(entry.value).unwrap(), numbers.to_string(), "{name}");
        }
    }
}

/// Of the killed gateway's leases all were lost, and it settled nothing after its death.
fn audit_left(server: &Postgres, left: &Left) {
    let Left { boot, leases, settled, .. } = left;
    let attempts =
        format!("SELECT count(*) FROM hookweir.attempts WHERE boot = {boot} AND outcome");
    assert_eq!(number(server, &format!("{attempts} = 'lost'")), i64::try_from(*leases).unwrap());
    assert_eq!(number(server, &format!("{attempts} <> 'lost'")), i64::try_from(*settled).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_of_which_one_dies_and_a_failover_do_each_event_once_and_in_order() {
    let mut site = Site::start().await;
    let (numbers, provider) = (numbers(), Provider::new(&site.houses));
    let events = KEYS * numbers;
    let begun = Instant::now();
    let connections = provider.start(1..=numbers);
    provider.until(events / 3).await;
    let left = site.kill_gateway();
    provider.until(events / 2).await;
    let failover = site.fail_over();
    let before = *provider.acked.borrow();
    assert!(before < events, "all was sent before the failover");
    timeout(patience(events), connections.join_all()).await.expect("all are acknowledged");
    let sending = begun.elapsed();
    site.until_settled(events).await;
    let all = begun.elapsed();

    // It comes back, and takes one more of each key.
    site.gateways[KILLED] = Some(site.houses[KILLED].start().await);
    let more = provider.start(numbers + 1..=numbers + 1);
    timeout(patience(KEYS), more.join_all()).await.expect("these too");
    site.until_settled(KEYS).await;
    let reader = site.houses[KILLED].reader();
    let (books, acks) = (Books::read(&reader).await, provider.acks.lock().unwrap().clone());
    let again = books.audit(&acks, numbers + 1);
    audit_state(&reader, numbers + 1).await;
    audit_left(&site.standby, &left);
    assert_eq!(again.len(), left.leases);
    for gateway in site.gateways.into_iter().flatten() {
        assert!(gateway.stop().await.success());
    }

    let later = |at: &Timestamp| at.since(left.at);
    let (first, last) = (again.iter().map(later).min(), again.iter().map(later).max());
    let answered = provider.first_after(failover.gone);
    let sent_again: Vec<_> = acks.iter().filter(|ack| ack.sent > 1).collect();
    let known = sent_again.iter().filter(|ack| ack.duplicate).count();
    assert!(!sent_again.is_empty(), "no sender saw anything of it");
    println!(
        "{events} events and {} duplicates sent in {sending:.1?}, done in {all:.1?}; {} sent again, {known} of them known; \
         the gateway held {} leases, which ran elsewhere {:.1?} to {:.1?} after its death; {} commits were under way when the \
         server was killed, the first 2xx came {:.2?} after that and {:.2?} after the standby was promoted",
        acks.len() - events - KEYS,
        sent_again.len(),
        left.leases,
        first.unwrap(),
        last.unwrap(),
        failover.commits,
        answered - failover.killed,
        answered.saturating_duration_since(failover.promoted),
    );
}
