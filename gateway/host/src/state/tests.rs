//! The view of an attempt against a map, and its limits.
//!
//! What is committed is kept by a reader that does with a settlement what a store does.

use std::sync::{Mutex, PoisonError};

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Committed entries, each in a version of its own.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<String, StateEntry>>);

impl Kept {
    fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, StateEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what a store does with a settlement.
    fn commit(&self, now: Timestamp, changes: Vec<StateChange>, version: u64) {
        let mut entries = self.entries();
        for StateChange { key, based_on, change } in changes {
            let found = entries.get(&key).map(|entry| entry.version);
            match based_on {
                Basis::Anything => {}
                Basis::Nothing => assert_eq!(found, None),
                Basis::Version(version) => assert_eq!(found, Some(version)),
            }
            match change {
                Change::Keep => {}
                Change::Delete => _ = entries.remove(&key),
                Change::Set { value, lasts } => {
                    let expires_at = match lasts {
                        Lasts::ForEver => None,
                        Lasts::For(ttl) => Some(now + ttl),
                        Lasts::AsBefore => entries.get(&key).and_then(|e| e.expires_at),
                    };
                    let entry = StateEntry { key: key.clone(), version, value, expires_at };
                    entries.insert(key, entry);
                }
            }
        }
    }
}

impl StateReader for Kept {
    fn get<'a>(&'a self, _: &'a PluginName, key: &'a str) -> Answer<'a, Option<StateEntry>> {
        let found = self.entries().get(key).cloned();
        Box::pin(async { Ok(found) })
    }

    fn keys<'a>(
        &'a self,
        _: &'a PluginName,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<StateKey>> {
        let entries = self.entries();
        let meant = entries.values().filter(|entry| {
            entry.key.starts_with(prefix) && after.is_none_or(|after| entry.key.as_str() > after)
        });
        let key = |e: &StateEntry| StateKey { key: e.key.clone(), expires_at: e.expires_at };
        let keys = meant.map(key).take(limit).collect();
        Box::pin(async { Ok(keys) })
    }

    fn bytes<'a>(&'a self, _: &'a PluginName) -> Answer<'a, u64> {
        Box::pin(async { Ok(0) })
    }
}

#[derive(Debug, Clone)]
enum Step {
    Get(String),
    Set(String, u8, Option<u64>),
    SetIfAbsent(String, u8),
    Increment(String, i64),
    Delete(String),
    List {
        prefix: &'static str,
        after: Option<String>,
        limit: u32,
    },
    /// The attempt is settled, and another begins so many seconds later.
    Commit(u64),
}

fn key() -> impl Strategy<Value = String> {
    proptest::sample::select(&["a", "a:1", "a:2", "a:3", "b", "b:1"][..]).prop_map(str::to_owned)
}

fn step() -> impl Strategy<Value = Step> {
    let ttl = prop_oneof![3 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(5))];
    prop_oneof![
        key().prop_map(Step::Get),
        (key(), 0..10_u8, ttl).prop_map(|(key, value, ttl)| Step::Set(key, value, ttl)),
        (key(), 0..10_u8).prop_map(|(key, value)| Step::SetIfAbsent(key, value)),
        (key(), -3..4_i64).prop_map(|(key, by)| Step::Increment(key, by)),
        key().prop_map(Step::Delete),
        (
            proptest::sample::select(&["", "a", "a:", "b", "c"][..]),
            proptest::option::of(key()),
            0..4_u32
        )
            .prop_map(|(prefix, after, limit)| Step::List { prefix, after, limit }),
        (0..4_u64).prop_map(Step::Commit),
    ]
}

/// A map whose entries have a time.
#[derive(Default)]
struct Model(BTreeMap<String, (Vec<u8>, Option<Timestamp>)>);

impl Model {
    fn seen(&self, now: Timestamp, key: &str) -> Option<&(Vec<u8>, Option<Timestamp>)> {
        self.0.get(key).filter(|(_, until)| until.is_none_or(|until| until > now))
    }

    fn value(&self, now: Timestamp, key: &str) -> Option<Vec<u8>> {
        self.seen(now, key).map(|(value, _)| value.clone())
    }
}

/// What a plugin sees is that map: in a call, and from one to the next.
async fn run(steps: Vec<Step>) {
    let (kept, plugin) = (Arc::new(Kept::default()), "a".parse::<PluginName>().unwrap());
    let open = || State::new(kept.clone(), plugin.clone(), u64::MAX);
    let (mut state, mut model, mut now) = (open(), Model::default(), NOW);
    let number = |value: Vec<u8>| str::from_utf8(&value).unwrap().parse::<i64>().unwrap();
    for (nth, step) in steps.into_iter().enumerate() {
        match step {
            Step::Get(key) => {
                let expected = model.value(now, &key);
                assert_eq!(state.get(now, key).await, Ok(expected));
            }
            Step::Set(key, value, ttl) => {
                let (value, ttl) = (value.to_string().into_bytes(), ttl.map(Duration::from_secs));
                state.set(now, key.clone(), value.clone(), ttl).await.unwrap();
                model.0.insert(key, (value, ttl.map(|ttl| now + ttl)));
            }
            Step::SetIfAbsent(key, value) => {
                let value = value.to_string().into_bytes();
                let is_absent = model.seen(now, &key).is_none();
                let set = state.set_if_absent(now, key.clone(), value.clone(), None).await;
                assert_eq!(set, Ok(is_absent));
                if is_absent {
                    model.0.insert(key, (value, None));
                }
            }
            Step::Increment(key, by) => {
                let until = model.seen(now, &key).and_then(|(_, until)| *until);
                let sum = model.value(now, &key).map_or(0, number) + by;
                assert_eq!(state.increment(now, key.clone(), by, None).await, Ok(sum));
                model.0.insert(key, (sum.to_string().into_bytes(), until));
            }
            Step::Delete(key) => {
                let was_there = model.seen(now, &key).is_some();
                model.0.remove(&key);
                assert_eq!(state.delete(now, key).await, Ok(was_there));
            }
            Step::List { prefix, after, limit } => {
                let is_meant = |key: &&String| {
                    key.starts_with(prefix)
                        && after.as_ref().is_none_or(|after| *key > after)
                        && model.seen(now, key).is_some()
                };
                let keys = model.0.keys().filter(is_meant);
                let expected: Vec<_> = keys.take(limit as usize).cloned().collect();
                assert_eq!(state.list(now, prefix, after.clone(), limit).await, Ok(expected));
            }
            Step::Commit(secs) => {
                let settled = std::mem::replace(&mut state, open());
                kept.commit(now, settled.into_changes(), nth as u64);
                now = now + Duration::from_secs(secs);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_plugin_sees_a_map(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps));
    }
}

/// What was looked at is relied on, and nothing else.
#[tokio::test]
async fn a_settlement_relies_on_what_was_read() {
    let kept = Arc::new(Kept::default());
    let set = |key: &str| StateChange {
        key: key.to_owned(),
        based_on: Basis::Anything,
        change: Change::Set { value: b"1".to_vec(), lasts: Lasts::ForEver },
    };
    kept.commit(NOW, vec![set("read"), set("written")], 7);
    let mut state = State::new(kept, "a".parse().unwrap(), u64::MAX);
    state.get(NOW, "read".into()).await.unwrap();
    state.get(NOW, "absent".into()).await.unwrap();
    state.set(NOW, "written".into(), b"2".to_vec(), None).await.unwrap();
    state.list(NOW, "", None, 10).await.unwrap();
    let based_on: Vec<_> = state.into_changes().into_iter().map(|c| (c.key, c.based_on)).collect();
    let expected = [
        ("absent".to_owned(), Basis::Nothing),
        ("read".to_owned(), Basis::Version(7)),
        ("written".to_owned(), Basis::Anything),
    ];
    assert_eq!(based_on, expected);
}

#[tokio::test]
async fn what_one_attempt_holds_is_bounded_however_it_is_written() {
    let mut state = State::new(Arc::new(Kept::default()), "a".parse().unwrap(), u64::MAX);
    let large = vec![b'x'; VALUE_MAX];
    let mut kept = 0;
    for nth in 0..TOUCHED_MAX {
        // An entry that is small at first grows as well.
        let key = format!("k{nth}");
        state.set(NOW, key.clone(), Vec::new(), None).await.unwrap();
        kept += usize::from(state.set(NOW, key, large.clone(), None).await.is_ok());
    }
    let fit = HELD_MAX / VALUE_MAX;
    assert!((fit - 1..=fit).contains(&kept), "{kept}");
    let held: usize = state.touched.iter().map(|(key, t)| key.len() + t.held()).sum();
    assert_eq!(state.held, held);
    assert!(held <= HELD_MAX);
}

#[tokio::test]
async fn what_is_replaced_or_deleted_makes_room() {
    let kept = Arc::new(Kept::default());
    let plugin = || "a".parse::<PluginName>().unwrap();
    // The reader says that nothing is there, so this attempt may write 100 bytes.
    let mut state = State::new(kept, plugin(), 100);
    state.set(NOW, "a".into(), vec![0; 90], None).await.unwrap();
    assert!(state.set(NOW, "b".into(), vec![0; 20], None).await.is_err());
    state.set(NOW, "a".into(), vec![0; 10], None).await.unwrap();
    state.set(NOW, "b".into(), vec![0; 20], None).await.unwrap();
    assert!(state.set(NOW, "c".into(), vec![0; 90], None).await.is_err());
    assert_eq!(state.delete(NOW, "b".into()).await, Ok(true));
    state.set(NOW, "c".into(), vec![0; 80], None).await.unwrap();
}
