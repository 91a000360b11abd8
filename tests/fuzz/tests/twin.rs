//! The fuzzer's twin: the same targets over inputs near those that it begins with, in every `cargo test`.

use hookweir_fuzz::Target;
use proptest::{prelude::*, sample::Index};

/// Something near a seed: bytes replaced, cut out, put in, doubled.
fn near(target: Target) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<Index>(), 0_u8..4, any::<[u8; 2]>());
    let changes = proptest::collection::vec(change, 0..6);
    (proptest::sample::select(target.seeds()), changes).prop_map(|(mut input, changes)| {
        for (at, len, kind, bytes) in changes {
            let at = at.index(input.len() + 1);
            let end = (at + len.index(9)).min(input.len());
            let part: Vec<u8> = match kind {
                0 => Vec::new(),
                1 => bytes.to_vec(),
                2 => [&input[at..end], &input[at..end]].concat(),
                _ => b"\r\n"[..usize::from(bytes[0] % 3)].to_vec(),
            };
            input.splice(at..end, part);
        }
        input
    })
}

fn try_near(target: Target, cases: u32) {
    for seed in target.seeds() {
        target.one(&seed);
    }
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    proptest!(config, |(input in near(target))| target.one(&input));
}

#[test]
fn the_edge_answers_or_hangs_up_and_keeps_its_books() {
    try_near(Target::Edge, 500);
}

#[test]
fn the_admin_api_is_never_at_a_loss() {
    try_near(Target::Admin, 500);
}

#[test]
fn a_config_is_taken_or_refused_with_reasons() {
    try_near(Target::Config, 300);
}

#[test]
fn a_plugin_is_told_all_of_an_event_unchanged() {
    try_near(Target::Told, 500);
}

#[test]
fn a_target_is_found_by_its_name() {
    for target in Target::ALL {
        assert_eq!(target.name().parse(), Ok(target));
    }
    assert!("none".parse::<Target>().is_err());
}
