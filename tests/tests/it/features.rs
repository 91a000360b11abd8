//! Time and chance by `jiff`, `chrono`, `uuid` and `rand`, in a module that was built for the gateway.

use hookweir_kit::{Event, Kit, Outcome, Plugin};
use hookweir_tests::guests;
use serde_json::Value;

/// 2023-11-14T22:13:20.123Z.
const NOW_MS: u64 = 1_700_000_000_123;

fn timely() -> Plugin {
    let kit = Kit::new().now_ms(i64::try_from(NOW_MS).unwrap());
    kit.load_bytes(&"timely".parse().unwrap(), guests::wasm("timely")).unwrap()
}

fn told(plugin: &Plugin, event_type: &str) -> Value {
    let ran = plugin.run(&Event::new("test", event_type));
    serde_json::from_slice(&ran.assert_done()[0].body).unwrap()
}

#[test]
fn the_hosts_clock_is_told_in_each_crates_words() {
    let times = told(&timely(), "times");
    assert_eq!(times["jiff"], "2023-11-14T22:13:20.123Z");
    assert_eq!(times["chrono"], "2023-11-14T22:13:20.123+00:00");
    assert_eq!(times["systemMs"], NOW_MS);
    // What the kit's events say of themselves: the start of 2026.
    assert_eq!(times["receivedMs"], 1_767_225_600_000_u64);
}

#[test]
fn ids_are_of_their_version_and_each_another() {
    let plugin = timely();
    let ids = told(&plugin, "ids");
    let ids: Vec<_> = ids.as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    let version = |id: &str| id.as_bytes()[14];
    assert_eq!(ids.iter().map(|id| version(id)).collect::<Vec<_>>(), b"4477");
    // The first 48 bits of version 7 are the time.
    assert!(ids[2..].iter().all(|id| id.replace('-', "").starts_with(&format!("{NOW_MS:012x}"))));
    assert!(ids[0] != ids[1] && ids[2] != ids[3], "{ids:?}");
    assert_ne!(told(&plugin, "ids")[0], ids[0]);
}

#[test]
fn generators_draw_from_the_host_by_the_sdk_and_by_getrandom() {
    let plugin = timely();
    let (first, second) = (told(&plugin, "lots"), told(&plugin, "lots"));
    for name in ["host", "own"] {
        assert_ne!(first[name][0], first[name][1], "{name}");
        // A fresh instance, and no seed that is the same in each.
        assert_ne!(first[name], second[name], "{name}");
    }
    assert!((3..=5).contains(&first["range"].as_u64().unwrap()), "{first}");
    // In 200,000 random bytes more than 7 zeros in a row come once in a hundred million million times.
    let longest = told(&plugin, "fill").as_u64().unwrap();
    assert!(longest < 8, "{longest} zeros in a row: some of it was not filled");
}

#[test]
fn the_systems_own_clock_is_not_there_and_the_log_says_so() {
    let ran = timely().run(&Event::new("test", "own-clock"));
    assert_eq!(ran.outcome(), Outcome::Trap);
    let said = ran.logs().last().map(|line| line.text.as_str()).unwrap_or_default();
    assert!(said.contains("time not implemented on this platform"), "{said}");
}
