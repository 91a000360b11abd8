//! What the gateway forgets, and what it never does. Part of guarantee 8.

use hookweir_event::EventId;
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::house::House;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_is_forgotten_and_what_is_due_is_not() {
    let house = House::new(
        env!("CARGO_BIN_EXE_hookweir-under-test"),
        "[store]\nkeep_done = \"1s\"\nkeep_dead = \"2s\"\n\
         [plugins.hostile]\nbackoff = \"1h\"\n",
    );
    house.put_guest("hostile");
    let gateway = house.start().await;
    let sender = house.sender("test");
    let mut ids = Vec::<EventId>::new();
    for (n, event_type) in ["echo", "reject", "retry"].into_iter().enumerate() {
        let reply = sender.send(event_type, &n.to_string(), b"{}").await.unwrap();
        ids.push(reply.id().unwrap());
    }
    let due = ids[2];
    let failed = |shown: &Shown| !shown.deliveries[0].attempts.is_empty();
    house.until_event(due, "its first attempt", failed).await;
    // Two webhooks and one output are over.
    house.until("all but one to be forgotten", |counts| counts.events == 1).await;
    let shown = async |id| house.reader().show(id).await.unwrap();
    assert_eq!(shown(due).await.unwrap().deliveries[0].state, DeliveryState::Due);
    assert_eq!((shown(ids[0]).await, shown(ids[1]).await), (None, None));
    // What is forgotten is known still: it is not run again.
    let again = sender.send("echo", "0", b"{}").await.unwrap();
    assert!(again.duplicate() && again.id() == Some(ids[0]), "{again:?}");
    assert!(gateway.stop().await.success());
}
