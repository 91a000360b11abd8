//! Guarantee 5: with `order_by`, deliveries of one plugin with one key run strictly one after another,
//! in the order they were accepted, over failures, restarts and kills; other keys go on.

use std::collections::BTreeMap;

use hookweir_event::EventId;
use hookweir_store::{DeliveryState, Shown, ShownDelivery};
use hookweir_tests::{
    house::House,
    load::{Load, SPIN},
};
use serde_json::json;

const ORDERED: &str = "[plugins.hostile]\norder_by = \"header:x-order\"\nrate = \"off\"\n\
                       backoff = \"100ms\"\nmax_attempts = 2\n";

fn house(sections: &str) -> House {
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), sections);
    house.put_guest("hostile");
    house
}

/// Sends an event whose order key is `key`.
async fn send(house: &House, event_type: &str, key: &str, body: &str) -> EventId {
    let sender = house.sender("test");
    let id = uuid();
    let mut request = sender.signed(event_type, &id, body.as_bytes());
    request.headers.push(("x-order".into(), key.as_bytes().to_vec()));
    let reply = sender.post(request).await.unwrap();
    assert_eq!(reply.status, 202, "{reply:?}");
    reply.id().unwrap()
}

/// An id that no other event has.
fn uuid() -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    format!("{:x}", RandomState::new().build_hasher().finish())
}

/// Each delivery begins after the one of its key that was accepted before it ended. Answers how often
/// deliveries of two keys ran at the same time.
fn audit(events: &[Shown]) -> usize {
    let mut ended = BTreeMap::new();
    let mut spans = Vec::new();
    for shown in events.iter().filter(|shown| !shown.deliveries.is_empty()) {
        let delivery = &shown.deliveries[0];
        let key = delivery.order_key.as_ref().unwrap().as_str();
        let begun = delivery.attempts[0].started_at;
        let end = delivery.settled_at.unwrap();
        if let Some(before) = ended.insert(key, end) {
            assert!(begun >= before, "{key}: {shown:?}");
        }
        spans.push((key, begun, end));
    }
    let overlap = |&(a, from, to): &(&str, _, _), &(b, begun, end): &(&str, _, _)| {
        a < b && from < end && begun < to
    };
    spans.iter().map(|one| spans.iter().filter(|other| overlap(one, other)).count()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_is_handled_one_after_another_over_retries_and_a_kill() {
    let house = house(ORDERED);
    let gateway = house.start().await;
    house.operate("plugins/hostile/pause", &json!({})).await;
    for round in 0..4 {
        for key in ["a", "b", "c"] {
            let event_type = if round == 1 { "retry-until" } else { "spin" };
            let body = if round == 1 { "2" } else { "40" };
            send(&house, event_type, key, body).await;
        }
    }
    house.operate("plugins/hostile/resume", &json!({})).await;
    house.until("the first to run", |counts| counts.leased > 0).await;
    gateway.kill();
    let is_behind = |d: &ShownDelivery| d.state == DeliveryState::Behind;
    let behind = |shown: &&Shown| shown.deliveries.first().is_some_and(is_behind);
    assert!(house.events().await.iter().filter(behind).count() > 0, "nothing waits at the kill");
    let gateway = house.start().await;
    let events = house.settled().await;
    assert!(audit(&events) > 0, "no two keys ran at the same time");
    let tried_again = events.iter().filter(|shown| {
        shown.deliveries.first().is_some_and(|delivery| delivery.attempts.len() > 1)
    });
    assert!(tried_again.count() >= 3);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_blocks_its_key_until_the_policy_lets_it_go_on() {
    let house = house(ORDERED);
    let gateway = house.start().await;
    let dead = send(&house, "retry", "a", "").await;
    let next = send(&house, "nothing", "a", "").await;
    let other = send(&house, "nothing", "b", "").await;
    house
        .until_event(dead, "its death", |shown| shown.deliveries[0].state == DeliveryState::Dead)
        .await;
    let done = |shown: &Shown| shown.deliveries[0].state == DeliveryState::Done;
    house.until_event(other, "the other key", done).await;
    let waits = house.reader().show(next).await.unwrap().unwrap();
    assert_eq!(waits.deliveries[0].state, DeliveryState::Behind);
    assert_eq!(house.reader().blocked(None, 9).await.unwrap()[0].by.event, dead);

    house.write_config(&format!("{ORDERED}order_on_dead = \"continue\"\n"));
    house.until_event(next, "what was blocked", done).await;
    assert!(gateway.stop().await.success());
}

/// The driver then looks again and again for what to start, and hears of a change between any two looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_policy_is_heard_while_there_is_always_more_to_do() {
    let house = house(ORDERED);
    let gateway = house.start().await;
    let load = Load::start(&house, &[SPIN; 8]);
    let reload = async |policy: &str| {
        let before = house.log().len();
        house.write_config(&format!("{ORDERED}order_on_dead = \"{policy}\"\n"));
        house.until_log(before, &["config reloaded"]).await;
    };
    for round in 0..5 {
        let key = format!("round {round}");
        let dead = send(&house, "retry", &key, "").await;
        let next = send(&house, "nothing", &key, "").await;
        let is = |state| move |shown: &Shown| shown.deliveries[0].state == state;
        house.until_event(dead, "its death", is(DeliveryState::Dead)).await;
        house.until_event(next, "the next to wait", is(DeliveryState::Behind)).await;
        reload("continue").await;
        house.until_event(next, "what was blocked", is(DeliveryState::Done)).await;
        reload("block").await;
    }
    load.end().await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_reject_the_key_goes_on() {
    let house = house(ORDERED);
    let gateway = house.start().await;
    send(&house, "reject", "a", "").await;
    let next = send(&house, "nothing", "a", "").await;
    let done = |shown: &Shown| shown.deliveries[0].state == DeliveryState::Done;
    house.until_event(next, "the next", done).await;
    assert!(gateway.stop().await.success());
}
