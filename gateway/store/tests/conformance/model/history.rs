//! Random histories: what is asked of the store, alone or together, what time does, and how it ends.

use std::time::Duration;

use hookweir_event::Fate;
use hookweir_store::Mend;
use proptest::prelude::*;

use crate::conformance::support::WINDOW;

pub(super) const PLUGINS: [&str; 3] = ["a", "b", "c"];
/// Plugins, and order keys behind some.
const ROUTES: [&str; 6] = ["a", "a:j", "a:k", "b", "b:k", "c"];

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Verbs that are asked one right after the other, before any is answered.
    Together(Vec<Ask>),
    Pass(Duration),
    Restart(End),
}

#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Append {
        claims: Vec<u8>,
        routes: Vec<&'static str>,
    },
    /// It has more deliveries than an event can have.
    AppendTooMuch,
    Lease {
        plugin: &'static str,
        max: usize,
    },
    Settle {
        which: usize,
        fate: Fate,
        outputs: Vec<Vec<&'static str>>,
        state: Vec<Touch>,
    },
    /// By what a lease saw, and without it.
    WriteState {
        which: usize,
        state: Vec<Touch>,
    },
    GiveBack {
        which: usize,
        after: Duration,
    },
    Mend {
        event: usize,
        ordinal: u16,
        how: Mend,
    },
    Unblock {
        plugin: &'static str,
    },
    Replay {
        event: usize,
        routes: Vec<&'static str>,
    },
    /// The source of all events that are no outputs is held, or is not any more.
    Hold(bool),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Close,
    Drop,
    Crash,
}

/// What an attempt does to one of three entries.
#[derive(Debug, Clone)]
pub(crate) struct Touch {
    pub(super) key: u8,
    /// Whether it relies on what was there when it was leased.
    pub(super) looked: bool,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Keep,
    Set,
    Delete,
}

fn touch() -> impl Strategy<Value = Touch> {
    let what = prop_oneof![1 => Just(What::Keep), 3 => Just(What::Set), 1 => Just(What::Delete)];
    (0..3_u8, any::<bool>(), what).prop_map(|(key, looked, what)| Touch { key, looked, what })
}

fn routes() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(&ROUTES[..], 0..=3)
}

fn plugin() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&PLUGINS[..])
}

fn wait() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), 1..2000_u64].prop_map(Duration::from_millis)
}

fn ask() -> impl Strategy<Value = Ask> {
    let fate = prop_oneof![
        2 => Just(Fate::Done),
        2 => wait().prop_map(|after| Fate::Due { after }),
        1 => any::<bool>().prop_map(|blocks| Fate::Dead { blocks }),
    ];
    let outputs = prop::collection::vec(routes(), 0..3);
    let state = || prop::collection::vec(touch(), 0..3);
    prop_oneof![
        24 => (prop::collection::vec(0..6_u8, 0..3), routes())
            .prop_map(|(claims, routes)| Ask::Append { claims, routes }),
        1 => Just(Ask::AppendTooMuch),
        16 => (plugin(), 1..4_usize).prop_map(|(plugin, max)| Ask::Lease { plugin, max }),
        20 => (0..50_usize, fate, outputs, state())
            .prop_map(|(which, fate, outputs, state)| Ask::Settle { which, fate, outputs, state }),
        6 => (0..50_usize, state()).prop_map(|(which, state)| Ask::WriteState { which, state }),
        8 => (0..50_usize, wait()).prop_map(|(which, after)| Ask::GiveBack { which, after }),
        8 => (0..20_usize, 0..3_u16, proptest::sample::select(vec![Mend::Retry, Mend::Skip, Mend::Discard]))
            .prop_map(|(event, ordinal, how)| Ask::Mend { event, ordinal, how }),
        1 => plugin().prop_map(|plugin| Ask::Unblock { plugin }),
        3 => (0..20_usize, routes()).prop_map(|(event, routes)| Ask::Replay { event, routes }),
        3 => any::<bool>().prop_map(Ask::Hold),
    ]
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => ask().prop_map(|ask| Step::Together(vec![ask])),
        4 => prop::collection::vec(ask(), 2..12).prop_map(Step::Together),
        3 => prop_oneof![4 => wait(), 1 => Just(WINDOW / 2)].prop_map(Step::Pass),
        1 => proptest::sample::select(vec![End::Close, End::Drop, End::Crash])
            .prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}
