//! The samples through the handler, on the SDK's in-memory host, in all orders and more than once.

use hookweir_sdk::testing::{Host, Sample};
use serde_json::{Value, json};

use super::*;
use crate::level::At;

const UPDATE: &str = include_str!("../samples/inventory_levels.update.json");
const DISCONNECT: &str = include_str!("../samples/inventory_levels.disconnect.json");
const COUNTED: &str = include_str!("../samples/warehouse.stock.counted.json");
const MOVED: &str = include_str!("../samples/warehouse.stock.moved.json");
const MOVED_WITHOUT_ID: &str = include_str!("../samples/warehouse.stock.moved.no-id.json");

fn stock(host: &Host, path: &str) -> Value {
    let answer = host.respond(respond, Request::builder("GET", path).build()).unwrap();
    answer.parse().unwrap()
}

/// A level of Shopify's, with the second of `updated_at` and the millisecond of the header.
fn update(available: i64, second: u32, milli: u32) -> Event {
    let mut body = Sample::parse(UPDATE).body().clone();
    body["available"] = available.into();
    body["updated_at"] = format!("2024-08-07T18:56:{second:02}-04:00").into();
    let triggered = format!("2024-08-07T22:56:{second:02}.{milli:03}Z");
    let event = Event::builder("shopify", "inventory_levels/update").json(&body);
    event.header("x-shopify-triggered-at", triggered).build()
}

/// All orders of some numbers.
fn orders(numbers: &[usize]) -> Vec<Vec<usize>> {
    if numbers.is_empty() {
        return vec![Vec::new()];
    }
    let with_first = |&first: &usize| {
        let rest: Vec<_> = numbers.iter().copied().filter(|n| *n != first).collect();
        let with = move |mut order: Vec<usize>| {
            order.insert(0, first);
            order
        };
        orders(&rest).into_iter().map(with)
    };
    numbers.iter().flat_map(with_first).collect()
}

#[test]
fn a_level_is_what_was_told_last() {
    let host = Host::new();
    let outputs = Sample::parse(UPDATE).run(&host, handle).unwrap();
    assert_eq!(outputs[0].event_type(), "stock.changed");
    let expected = json!({
        "source": "shopify", "item": "271878346596884000", "location": "24826418", "available": 8
    });
    assert_eq!(outputs[0].parse::<Value>().unwrap(), expected);
    let expected = json!({ "available": 8, "locations": { "24826418": 8 } });
    assert_eq!(stock(&host, "/shopify/271878346596884000"), expected);
    // The same once more is no news.
    assert!(Sample::parse(UPDATE).run(&host, handle).unwrap().is_empty());
}

#[test]
fn levels_come_in_any_order_and_more_than_once() {
    // Two in one second: the header decides.
    let told = [(5, 20, 100), (3, 21, 200), (4, 21, 700), (9, 19, 900)];
    for order in orders(&[0, 1, 2, 3]) {
        let host = Host::new();
        for n in order.iter().chain(&order) {
            let (available, second, milli) = told[*n];
            host.run(handle, update(available, second, milli)).unwrap();
        }
        assert_eq!(stock(&host, "/shopify/271878346596884000")["available"], 4, "{order:?}");
    }
}

#[test]
fn a_place_that_no_longer_keeps_an_item_does_not_come_back_by_old_news() {
    let host = Host::new();
    Sample::parse(UPDATE).run(&host, handle).unwrap();
    let outputs = Sample::parse(DISCONNECT).run(&host, handle).unwrap();
    assert_eq!(outputs[0].parse::<Value>().unwrap()["available"], Value::Null);
    let nothing = json!({ "available": 0, "locations": {} });
    assert_eq!(stock(&host, "/shopify/271878346596884000"), nothing);
    host.run(handle, update(5, 1, 0)).unwrap();
    assert_eq!(stock(&host, "/shopify/271878346596884000"), nothing, "it is older");
    host.run(handle, update(5, 59, 0)).unwrap();
    assert_eq!(stock(&host, "/shopify/271878346596884000")["available"], 5);
}

#[test]
fn moves_and_counts_come_in_any_order_and_more_than_once() {
    // 10 counted, 3 went, 5 came, 11 counted (one was lost), 2 went.
    let told = [
        json!({ "item": "nail", "location": "north", "sequence": 1, "available": 10 }),
        json!({ "id": "a", "item": "nail", "location": "north", "sequence": 2, "by": -3 }),
        json!({ "id": "b", "item": "nail", "location": "north", "sequence": 3, "by": 5 }),
        json!({ "item": "nail", "location": "north", "sequence": 4, "available": 11 }),
        json!({ "id": "c", "item": "nail", "location": "north", "sequence": 5, "by": -2 }),
    ];
    for order in orders(&[0, 1, 2, 3, 4]) {
        let host = Host::new();
        for n in order.iter().chain(order.iter().rev()) {
            let kind = if told[*n]["by"].is_null() { "stock.counted" } else { "stock.moved" };
            let event = Event::builder("warehouse", kind).json(&told[*n]).build();
            host.run(handle, event).unwrap();
        }
        assert_eq!(stock(&host, "/warehouse/nail")["available"], 9, "{order:?}");
    }
}

#[test]
fn sources_and_places_are_told_apart() {
    let host = Host::new();
    for sample in [COUNTED, MOVED, UPDATE] {
        Sample::parse(sample).run(&host, handle).unwrap();
    }
    let south =
        json!({ "item": "IPOD2008PINK", "location": "south", "sequence": 1, "available": 7 });
    let south = Event::builder("warehouse", "stock.counted").json(&south).build();
    host.run(handle, south).unwrap();
    let expected = json!({ "available": 45, "locations": { "north": 38, "south": 7 } });
    assert_eq!(stock(&host, "/warehouse/IPOD2008PINK"), expected);
    assert_eq!(stock(&host, "/shopify/IPOD2008PINK")["available"], 0);
}

#[test]
fn a_level_that_falls_low_is_said_once() {
    let host = Host::new().config("low", 5);
    let mut said = Vec::new();
    for (second, available) in [(1, 9), (2, 5), (3, 4), (4, 6), (5, 0)] {
        let outputs = host.run(handle, update(available, second, 0)).unwrap();
        said.push(outputs.iter().any(|output| output.event_type() == "stock.low"));
    }
    assert_eq!(said, [false, true, false, false, true]);
}

#[test]
fn many_moves_without_a_count_are_bounded_and_exact() {
    let mut level = Level::default();
    for round in 0..2 {
        for n in 0..2_000 {
            level.moved(At(n, 0), n.to_string(), 1);
            if n % 7 == round {
                level.moved(At(n, 0), n.to_string(), 1);
            }
        }
    }
    assert_eq!(level.available(), Some(2_000));
    assert!(serde_json::to_vec(&level).unwrap().len() < 32 << 10);
}

#[test]
fn what_can_not_be_counted_is_rejected() {
    let failure = Sample::parse(MOVED_WITHOUT_ID).run(&Host::new(), handle).unwrap_err();
    assert_eq!(failure.message(), "no `id`: a move can't be told from another");
    let no_time = json!({ "inventory_item_id": 1, "location_id": 2, "available": 3 });
    let slash = json!({ "item": "a/b", "location": "c", "sequence": 1, "available": 3 });
    for (source, kind, body, why) in [
        ("shopify", "inventory_levels/update", no_time, "it says no time"),
        ("warehouse", "stock.counted", slash, "an item or a location has no name that can be kept"),
        ("warehouse", "stock.eaten", json!({}), "nothing is known of `stock.eaten`"),
    ] {
        let event = Event::builder(source, kind).json(&body).build();
        assert_eq!(Host::new().run(handle, event).unwrap_err(), Failure::reject(why));
    }
}
