//! What plugins remember: exactly what their attempts that ended well wrote, each once.

use std::{collections::BTreeSet, time::Duration};

use hookweir_event::{EventId, Outcome, PluginName};
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::house::House;

fn house(sections: &str) -> House {
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), sections);
    house.put_guest("hostile");
    house
}

fn is_done(shown: &Shown) -> bool {
    shown.deliveries.iter().all(|delivery| delivery.state == DeliveryState::Done)
}

/// Has the guest do these steps; answers what came of each.
async fn steps(house: &House, id: &str, steps: &[&str]) -> Vec<String> {
    let sent = house.sender("test").send("state", id, steps.join("\n").as_bytes()).await.unwrap();
    let sent = sent.id().unwrap();
    house.until_event(sent, "the steps", is_done).await;
    let said = outputs(house, sent).await.pop().unwrap();
    said.lines().map(str::to_owned).collect()
}

async fn outputs(house: &House, of: EventId) -> Vec<String> {
    let mut bodies = Vec::new();
    for made in house.events().await.iter().filter(|shown| shown.event.parent == Some(of)) {
        let event = house.reader().event(made.event.id).await.unwrap().unwrap();
        bodies.push(String::from_utf8(event.body).unwrap());
    }
    bodies
}

async fn stored(house: &House, key: &str) -> Option<String> {
    let plugin: PluginName = "hostile".parse().unwrap();
    let entry = house.reader().state(&plugin, key).await.unwrap();
    entry.map(|entry| String::from_utf8(entry.value).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_sees_what_it_wrote_and_the_next_one_what_was_committed() {
    let house = house("");
    let gateway = house.start().await;
    let first = [
        ("get a", "nothing"),
        ("set a 1", "set"),
        ("get a", "1"),
        ("absent a 2", "false"),
        ("absent b 2", "true"),
        ("add n 5", "5"),
        ("add n -7", "-2"),
        ("add a 1", "2"),
        ("delete b", "true"),
        ("delete b", "false"),
        ("absent b 3", "true"),
        ("set zz x 1", "set"),
        ("set word text", "set"),
        ("add word 1", "failed: state: the value of `word` is no number"),
        ("keys ", "a,b,n,word"),
        ("keys  a 2", "b,n"),
    ];
    let expected = first.map(|(_, said)| said);
    // The entry of a millisecond may be there still when the keys are listed.
    let said = steps(&house, "1", &first.map(|(step, _)| step)).await;
    let said: Vec<_> = said.iter().map(|said| said.replace(",zz", "")).collect();
    assert_eq!(said, expected);
    assert!(gateway.stop().await.success());

    let gateway = house.start().await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let second = [
        ("get a", "2"),
        ("get b", "3"),
        ("get zz", "nothing"),
        ("absent zz y", "true"),
        ("keys ", "a,b,n,word,zz"),
        ("delete n", "true"),
        ("set m 1", "set"),
        ("keys  b 2", "m,word"),
        ("keys w", "word"),
    ];
    assert_eq!(
        steps(&house, "2", &second.map(|(step, _)| step)).await,
        second.map(|(_, said)| said)
    );
    assert_eq!(stored(&house, "n").await, None);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_bounded_and_who_goes_over_is_told() {
    let house = house("[plugins.hostile]\nstate_max = \"256KiB\"\n");
    let gateway = house.start().await;
    let long = format!("set {} v", "k".repeat(513));
    let first = [
        ("get ", "failed: state: a key has at least one byte"),
        (&long, "failed: state: the key has 513 bytes, at most 512 are kept"),
        ("big v 65537", "failed: state: the value has 65537 bytes, at most 65536 are kept"),
        ("big v1 65536", "set"),
        ("big v2 65536", "set"),
        ("big v3 65536", "set"),
        ("big v4 65536", "failed: state: its state is full: it may have 262144 bytes and has 0"),
        ("delete v1", "true"),
        ("big v4 65536", "set"),
    ];
    assert_eq!(steps(&house, "1", &first.map(|(step, _)| step)).await, first.map(|(_, said)| said));
    let full = steps(&house, "2", &["big v5 65536", "set small 1"]).await;
    assert!(full[0].contains("is full"), "{full:?}");
    assert_eq!(full[1], "set");
    let many = steps(&house, "3", &["many k 1001"]).await;
    assert_eq!(many, ["failed: state: one attempt can use 1000 entries of its state"]);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_attempt_wrote_was_never_there() {
    let house = house("[plugins.hostile]\nmax_attempts = 2\nbackoff = \"10ms\"\n");
    let gateway = house.start().await;
    let sender = house.sender("test");
    let failing = sender.send("count-and-fail", "1", b"").await.unwrap().id().unwrap();
    let is_dead = |shown: &Shown| shown.deliveries[0].state == DeliveryState::Dead;
    let shown = house.until_event(failing, "its end", is_dead).await;
    assert_eq!(shown.deliveries[0].attempts.len(), 2);
    assert_eq!(stored(&house, "counted").await, None);
    let counted = sender.send("count", "2", b"").await.unwrap().id().unwrap();
    house.until_event(counted, "the count", is_done).await;
    assert_eq!(
        (stored(&house, "counted").await.as_deref(), outputs(&house, counted).await),
        (Some("1"), vec!["1".to_owned()])
    );
    assert!(gateway.stop().await.success());
}

/// Attempts that read the same entry at the same time: one of them commits, the others run again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_that_all_want_at_once_counts_each_once() {
    let house = house("[plugins.hostile]\nrate = \"off\"\nconcurrency = 16\n");
    let gateway = house.start().await;
    let mut sending = tokio::task::JoinSet::new();
    for number in 0..200 {
        let sender = house.sender("test");
        sending.spawn(async move {
            sender.send("count", &number.to_string(), b"").await.unwrap().id().unwrap()
        });
    }
    let sent: BTreeSet<_> = sending.join_all().await.into_iter().collect();
    let events = house.settled().await;
    let mut seen = BTreeSet::new();
    for shown in &events {
        match shown.event.parent {
            Some(parent) => {
                assert!(sent.contains(&parent));
                let event = house.reader().event(shown.event.id).await.unwrap().unwrap();
                seen.insert(String::from_utf8(event.body).unwrap().parse::<u32>().unwrap());
            }
            None => {
                let attempts = &shown.deliveries[0].attempts;
                assert!(
                    attempts.len() == 1 && attempts[0].attempt.outcome == Outcome::Done,
                    "{shown:#?}"
                );
            }
        }
    }
    assert_eq!(seen, (1..=200).collect());
    assert_eq!(stored(&house, "counted").await.as_deref(), Some("200"));
    assert!(house.log().is_empty() || !house.log().contains("panicked"));
    assert!(gateway.stop().await.success());
}
