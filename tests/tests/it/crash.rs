//! The gateway's end in all its ways, and what is left of its work after the next start. Guarantees
//! 1 and 3.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use hookweir_event::{Clock, EventId, Origin, Outcome};
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    bounded,
    house::{House, PATIENCE},
    load::{Accepted, COUNT, ECHO, Load, PAYMENT, SPIN},
};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

fn house(sections: &str) -> House {
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), sections);
    house.put_guest("payments");
    house.put_guest("hostile");
    house
}

/// Less than a given number, by chance.
fn chance(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

fn is_open(shown: &Shown) -> bool {
    let open = [DeliveryState::Due, DeliveryState::Behind, DeliveryState::Leased];
    shown.deliveries.iter().any(|delivery| open.contains(&delivery.state))
}

fn is_leased(shown: &Shown) -> bool {
    shown.deliveries.iter().any(|delivery| delivery.state == DeliveryState::Leased)
}

fn outcomes(shown: &Shown) -> Vec<Outcome> {
    shown.deliveries[0].attempts.iter().map(|shown| shown.attempt.outcome).collect()
}

/// The events that have open deliveries. All events up to `settled` have none; it is moved on.
async fn open_events(house: &House, settled: &mut Option<EventId>) -> Vec<Shown> {
    let reader = house.reader();
    let (mut open, mut last) = (Vec::new(), *settled);
    loop {
        let page = reader.events(last, 1000).await.unwrap();
        let Some(end) = page.last() else { return open };
        last = Some(end.event.id);
        for shown in page {
            if is_open(&shown) {
                open.push(shown);
            } else if open.is_empty() {
                *settled = Some(shown.event.id);
            }
        }
    }
}

/// A round counts if, at the kill, an acknowledged event was not done yet and an attempt was running.
/// `HOOKWEIR_KILL_ROUNDS` makes a campaign of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_events_survive_kill_9_and_end_done_exactly_once() {
    let rounds = std::env::var("HOOKWEIR_KILL_ROUNDS").map_or(20, |n| n.parse().unwrap());
    // Few at a time: what a kill cut off is soon done after the restart.
    let house = house(
        "[plugins.payments]\nrate = \"off\"\nconcurrency = 4\n\
         [plugins.hostile]\nrate = \"off\"\nconcurrency = 4\n",
    );
    let mut gateway = house.start().await;
    let load = Load::start(&house, &[PAYMENT, COUNT, COUNT, ECHO, SPIN, SPIN]);
    let (mut counted, mut cut, mut settled) = (0, Vec::new(), None);
    for round in 0..rounds * 5 {
        // Every other round, so that no event is lost three times, which would be its end.
        if round % 2 == 0 {
            for id in cut {
                house.until_event(id, "what the kill cut off", |shown| !is_open(shown)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(chance(100))).await;
        gateway.kill();
        let accepted: HashSet<_> = load.accepted().iter().map(|accepted| accepted.id).collect();
        let open = open_events(&house, &mut settled).await;
        // Those of earlier kills too: this one may have come before they were leased again.
        let is_cut = |shown: &&Shown| is_leased(shown) || shown.deliveries[0].lost_leases > 0;
        cut = open.iter().filter(is_cut).map(|shown| shown.event.id).collect();
        let acknowledged = open.iter().filter(|shown| accepted.contains(&shown.event.id)).count();
        counted += u32::from(acknowledged > 0 && open.iter().any(is_leased));
        gateway = house.start().await;
        if counted == rounds {
            break;
        }
    }
    assert_eq!(counted, rounds, "too few kills met a running attempt of an acknowledged event");
    let accepted = load.end().await;
    let events = house.settled().await;
    assert!(gateway.stop().await.success());
    let lost = audit(&accepted, &events);
    audit_count(&house, &accepted).await;
    assert!(lost >= rounds as usize, "{rounds} rounds, but only {lost} attempts were cut off");
    let resent: Vec<_> = accepted.iter().filter(|accepted| accepted.sent > 1).collect();
    let known = resent.iter().filter(|accepted| accepted.duplicate).count();
    println!(
        "{rounds} kills, {} events, {lost} attempts cut off, {} events sent again, {known} of them known",
        accepted.len(),
        resent.len()
    );
}

/// The plugin's own counter has counted each event once, whatever was cut off or sent again.
async fn audit_count(house: &House, accepted: &[Accepted]) {
    let counted = accepted.iter().filter(|a| a.kind.event_type == COUNT.event_type).count();
    let entry = house.reader().state(&"hostile".parse().unwrap(), "counted").await.unwrap();
    let entry = entry.map(|entry| String::from_utf8(entry.value).unwrap());
    assert!(counted > 0, "there was nothing to count");
    assert_eq!(entry, Some(counted.to_string()));
}

/// Each accepted event is there once, done once, with its outputs and no more. Answers how many
/// attempts were lost on the way.
pub(crate) fn audit(accepted: &[Accepted], events: &[Shown]) -> usize {
    let mut outputs: HashMap<EventId, usize> = HashMap::new();
    for parent in events.iter().filter_map(|shown| shown.event.parent) {
        *outputs.entry(parent).or_default() += 1;
    }
    let by_id: HashMap<_, _> = events.iter().map(|shown| (shown.event.id, shown)).collect();
    let mut lost = 0;
    for Accepted { id, kind, .. } in accepted {
        let shown = by_id.get(id).unwrap_or_else(|| panic!("{id} was acknowledged and is gone"));
        assert_eq!(shown.deliveries.len(), 1, "{shown:#?}");
        assert_eq!(shown.deliveries[0].state, DeliveryState::Done, "{shown:#?}");
        let (last, before) = outcomes(shown).split_last().map(|(l, b)| (*l, b.to_vec())).unwrap();
        assert_eq!(last, Outcome::Done, "{shown:#?}");
        assert!(before.iter().all(|outcome| *outcome == Outcome::Lost), "{shown:#?}");
        assert_eq!(outputs.get(id).copied().unwrap_or(0), kind.outputs, "outputs of {shown:#?}");
        lost += before.len();
    }
    let ids: HashSet<_> = accepted.iter().map(|accepted| accepted.id).collect();
    assert_eq!(ids.len(), accepted.len(), "two events were answered with one id");
    let webhooks = events.iter().filter(|s| matches!(s.event.origin, Origin::Source(_))).count();
    assert_eq!(webhooks, accepted.len(), "an event sent again must end up as one");
    let expected: usize = accepted.iter().map(|accepted| accepted.kind.outputs).sum();
    assert_eq!(events.len() - webhooks, expected, "outputs in all");
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn due_retries_survive_a_restart() {
    // The first wait is 2 · 3 s, give or take a fifth.
    let house = house("[plugins.hostile]\nbackoff = \"3s\"\n");
    for calm in [true, false] {
        let gateway = house.start().await;
        let id = format!("calm-{calm}");
        let reply = house.sender("test").send("retry-until", &id, b"2").await.unwrap();
        let id = reply.id().unwrap();
        let failed = |shown: &Shown| outcomes(shown) == [Outcome::Retry];
        let due = house.until_event(id, "the first attempt", failed).await.deliveries[0].due_at;
        if calm {
            assert!(gateway.stop().await.success());
        } else {
            gateway.kill();
        }
        assert!(due > Clock::system().now(), "it was not due yet when the gateway ended");
        let shown = house.reader().show(id).await.unwrap().unwrap();
        assert_eq!(shown.deliveries[0].state, DeliveryState::Due);
        let gateway = house.start().await;
        let shown = house.until_event(id, "the second attempt", |shown| !is_open(shown)).await;
        assert_eq!(outcomes(&shown), [Outcome::Retry, Outcome::Done]);
        assert!(shown.deliveries[0].attempts[1].started_at >= due, "{shown:#?}");
        assert!(gateway.stop().await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_lets_running_attempts_finish_and_exits_zero() {
    let house = house("[plugins.hostile]\ncpu = \"20s\"\n");
    let gateway = house.start().await;
    let spinning = house.sender("test").send("spin", "1", b"3000").await.unwrap().id().unwrap();
    let mut open = OpenRequest::begin(&house, "echo", "2", b"half of it, and the other half").await;
    house.until_event(spinning, "the attempt to run", is_leased).await;
    gateway.signal(Signal::TERM);
    // It no longer accepts, but goes on with the request that it has.
    bounded::until_closed(house.public).await;
    assert!(
        is_leased(&house.reader().show(spinning).await.unwrap().unwrap()),
        "the attempt still ran"
    );
    let reply = open.finish().await;
    assert!(reply.starts_with("HTTP/1.1 202 "), "{reply}");
    let status = gateway.ended().await;
    assert!(status.success(), "{status}\n{}", house.log());
    let shown = house.reader().show(spinning).await.unwrap().unwrap();
    assert_eq!((outcomes(&shown), is_open(&shown)), (vec![Outcome::Done], false));
    // What was accepted while stopping is done after the next start.
    let gateway = house.start().await;
    let events = house.settled().await;
    let echoed = events.iter().find(|shown| shown.event.event_type.as_str() == "echo").unwrap();
    assert_eq!(outcomes(echoed), [Outcome::Done]);
    assert!(gateway.stop().await.success());
}

/// A request whose headers the gateway has taken and whose body it waits for.
struct OpenRequest {
    stream: TcpStream,
    body: Vec<u8>,
}

impl OpenRequest {
    async fn begin(house: &House, event_type: &str, id: &str, body: &[u8]) -> Self {
        let request = house.sender("test").signed(event_type, id, body);
        let mut head = format!(
            "POST /webhooks/test HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in &request.headers {
            head += &format!("{name}: {}\r\n", String::from_utf8_lossy(value));
        }
        let mut stream = TcpStream::connect(house.public).await.unwrap();
        stream.write_all((head + "\r\n").as_bytes()).await.unwrap();
        // The gateway says so when it begins to read the body.
        let mut proceed = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut proceed).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&proceed), "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(&body[..5]).await.unwrap();
        Self { stream, body: body[5..].to_vec() }
    }

    /// Sends the rest and reads to the end of the connection.
    async fn finish(&mut self) -> String {
        self.stream.write_all(&self.body).await.unwrap();
        let mut reply = String::new();
        let reading = self.stream.read_to_string(&mut reply);
        tokio::time::timeout(PATIENCE, reading).await.expect("the connection ends").unwrap();
        reply
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_kills_the_process_is_dead_as_lost_after_three() {
    let house = house("[plugins.hostile]\ncpu = \"60s\"\ntimeout = \"60s\"\n");
    let mut gateway = house.start().await;
    let deadly = house.sender("test").send("spin", "1", b"50000").await.unwrap().id().unwrap();
    for lost in 1..=3 {
        house.until_event(deadly, "the deadly attempt to run", is_leased).await;
        gateway.kill();
        gateway = house.start().await;
        let shown = house.reader().show(deadly).await.unwrap().unwrap();
        assert_eq!(shown.deliveries[0].lost_leases, lost, "{shown:#?}");
    }
    let shown = house.reader().show(deadly).await.unwrap().unwrap();
    assert_eq!(shown.deliveries[0].state, DeliveryState::Dead, "{shown:#?}");
    assert_eq!(outcomes(&shown), [Outcome::Lost; 3]);
    // Nobody else is the worse for it.
    let reply = house.sender("test").send("echo", "2", b"").await.unwrap();
    let shown = house.until_event(reply.id().unwrap(), "a neighbour", |s| !is_open(s)).await;
    assert_eq!(outcomes(&shown), [Outcome::Done]);
    assert!(gateway.stop().await.success());
}
