//! The macro and the gateway judge subscriptions alike. The macro can't depend on the gateway's
//! crates, so it has a grammar of its own; both are held to one list.

use hookweir_event::Pattern;

const VERDICTS: &str = include_str!("../../../plugin-sdk/macros/patterns.txt");

#[test]
fn the_gateway_takes_the_patterns_that_the_macro_takes() {
    let lines = VERDICTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut judged = 0;
    for line in lines {
        let (verdict, pattern) = line.split_once(' ').unwrap();
        let good = match verdict {
            "good" => true,
            "bad" => false,
            other => panic!("`{other}` is no verdict"),
        };
        let pattern: String = serde_json::from_str(pattern).unwrap();
        assert_eq!(pattern.parse::<Pattern>().is_ok(), good, "{pattern}");
        judged += 1;
    }
    assert!(judged >= 40, "only {judged} patterns were judged");
}
