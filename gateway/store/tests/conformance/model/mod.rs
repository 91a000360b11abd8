//! The store against a model of it, over random histories: appends, leases, settlements on time and too
//! late, with outputs and changes of state, leases given back, dead letters retried and skipped, replays,
//! holds, time passing, and every way to restart. Verbs come alone and together, so that one commit has many.

mod book;
mod history;

use std::{collections::BTreeMap, pin::Pin, task::Poll, time::Duration};

use hookweir_event::{Basis, Change, Event, Exchanges, Fate, Lasts, Outcome, StateChange};
use hookweir_store::{
    DeliveryId, Keep, Lease, Leased, Pausable, Receipt, Replay, Retention, Route, Settled,
    Settlement, Store, StoreError, Want, Written,
};
use proptest::prelude::*;

pub(crate) use self::history::{End, Step, steps};
use self::{
    book::{Book, Handed},
    history::{Ask, PLUGINS, Touch, What},
};
use crate::{
    conformance::support::{
        Bed, START, attempt, event, exchange, new, output, plugin, recount, routes,
    },
    ground::Ground,
};

/// What the store answers.
#[derive(Debug)]
enum Answer {
    Append(Result<Receipt, StoreError>),
    Leased(Leased),
    Settled(Settled),
    Written(Written),
    GaveBack,
    Count(u64),
}

/// What it has to.
enum Expected {
    /// Of this event: `None` if it is new, else the id of the first one.
    Append(Event, Option<hookweir_event::EventId>),
    Refused,
    Lease(Vec<Expects>, Option<Duration>),
    Settled(Settled),
    Written(Written),
    GaveBack,
    Count(u64),
}

/// What a lease has to be like.
struct Expects {
    handed: Handed,
    event: hookweir_event::EventId,
    attempt: usize,
    lost: u32,
    excused: usize,
    replayed: bool,
}

type Asked = Pin<Box<dyn Future<Output = Answer>>>;

/// The store, the model beside it, and the leases handed out so far.
pub(crate) struct Run {
    pub(crate) bed: Bed,
    pub(crate) store: Option<Store>,
    book: Book,
    handed: Vec<(Handed, Lease)>,
    /// The store's names for writes of entries, as far as they were seen.
    versions: BTreeMap<(&'static str, u8, usize), u64>,
}

impl Run {
    /// A store in which nothing has happened.
    pub(crate) async fn new(mut bed: Bed) -> Self {
        let for_ever = Keep { age: Duration::MAX, bytes: u64::MAX };
        bed.retention = Retention { done: for_ever, dead: for_ever };
        let (store, book) = (Some(bed.boot().await), Book::new(START));
        Self { bed, store, book, handed: Vec::new(), versions: BTreeMap::new() }
    }

    pub(crate) async fn step(&mut self, step: Step) {
        match step {
            Step::Together(asks) => self.together(asks).await,
            Step::Pass(time) => {
                self.bed.time.advance(time);
                self.book.now = self.bed.time.now();
            }
            Step::Restart(end) => {
                self.restart(async |run: &mut Self| match end {
                    End::Close => run.store.take().unwrap().close().await.unwrap(),
                    End::Drop => drop(run.store.take()),
                    End::Crash => run.bed.crash(),
                })
                .await;
            }
        }
    }

    /// The store comes to an end, and begins again.
    pub(crate) async fn restart(&mut self, end: impl AsyncFnOnce(&mut Self)) {
        end(self).await;
        self.store = Some(self.bed.boot().await);
        self.book.boot();
    }

    /// Where the store does them in the order they were asked, all are asked before one is answered.
    async fn together(&mut self, asks: Vec<Ask>) {
        let mut asked: Vec<(Expected, Asked)> = Vec::new();
        for ask in asks {
            asked.extend(self.ask(ask));
        }
        let (expected, asked): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        for (expected, answer) in expected.into_iter().zip(all(asked).await) {
            self.compare(expected, answer);
        }
        self.name_entries().await;
    }

    /// What to ask, and what the model says to it; nothing if there is nothing to ask it about.
    fn ask(&mut self, ask: Ask) -> Option<(Expected, Asked)> {
        let store = self.store.clone().unwrap();
        Some(match ask {
            Ask::Append { claims, routes } => {
                let event = event("push");
                let expected = self.book.append(event.id, &claims, &routes);
                let claims: Vec<_> = claims.iter().map(u8::to_string).collect();
                let claims: Vec<_> = claims.iter().map(String::as_str).collect();
                let new = new(event.clone(), &claims, &routes);
                let asked = async move { Answer::Append(store.append(new).await) };
                (Expected::Append(event, expected), Box::pin(asked))
            }
            Ask::AppendTooMuch => {
                let mut new = new(event("push"), &["never kept"], &[]);
                new.routes = vec![Route::to(plugin("a")); 1024];
                let asked = async move { Answer::Append(store.append(new).await) };
                (Expected::Refused, Box::pin(asked))
            }
            Ask::Lease { plugin: name, max } => {
                let expected = self.expect_leases(name, max);
                let want = Want { plugin: plugin(name), max };
                let asked = async move { Answer::Leased(store.lease(vec![want]).await.unwrap()) };
                (expected, Box::pin(asked))
            }
            Ask::Settle { which, fate, outputs, state } => {
                let which = which.checked_rem(self.handed.len())?;
                let (settlement, expected) = self.settlement(which, (fate, &outputs, &state));
                let asked = async move { Answer::Settled(store.settle(settlement).await.unwrap()) };
                (Expected::Settled(expected), Box::pin(asked))
            }
            Ask::WriteState { which, state } => {
                let which = which.checked_rem(self.handed.len())?;
                let view = self.book.view(&self.handed[which].0);
                let name = self.book.events[view.at.0].deliveries[view.at.1].plugin;
                let change = |touch: &Touch| self.change(touch, name, &view);
                let changes: Vec<_> = state.iter().map(change).collect();
                let expected = self.book.write(&view, &state);
                let asked = async move {
                    Answer::Written(store.write_state(plugin(name), changes).await.unwrap())
                };
                (Expected::Written(expected), Box::pin(asked))
            }
            Ask::GiveBack { which, after } => {
                let which = which.checked_rem(self.handed.len())?;
                let (handed, lease) = &self.handed[which];
                self.book.give_back(handed, after);
                let keys = vec![lease.key.clone()];
                let asked = async move {
                    store.give_back(keys, after).await.unwrap();
                    Answer::GaveBack
                };
                (Expected::GaveBack, Box::pin(asked))
            }
            Ask::Mend { event, ordinal, how } => {
                let id = DeliveryId { event: self.book.events.get(event)?.id, ordinal };
                let expected = self.book.mend((event, usize::from(ordinal)), how);
                let asked = async move { Answer::Count(store.mend(vec![id], how).await.unwrap()) };
                (Expected::Count(expected), Box::pin(asked))
            }
            Ask::Unblock { plugin: name } => {
                let expected = self.book.unblock(name);
                let asked =
                    async move { Answer::Count(store.unblock(plugin(name)).await.unwrap()) };
                (Expected::Count(expected), Box::pin(asked))
            }
            Ask::Replay { event, routes: to } => {
                let id = self.book.events.get(event)?.id;
                let expected = self.book.replay(event, &to);
                let replay = Replay { event: id, routes: routes(&to) };
                let asked = async move { Answer::Count(store.replay(vec![replay]).await.unwrap()) };
                (Expected::Count(expected), Box::pin(asked))
            }
            Ask::Hold(held) => self.hold(store, held),
        })
    }

    /// The source is held, or is not any more.
    fn hold(&mut self, store: Store, held: bool) -> (Expected, Asked) {
        if held {
            self.book.hold();
            let asked = async move {
                store.pause(source(), "anna".to_owned(), None).await.unwrap();
                Answer::Count(1)
            };
            return (Expected::Count(1), Box::pin(asked));
        }
        let expected = u64::from(self.book.lift());
        let asked = async move { Answer::Count(store.resume([source()]).await.unwrap().into()) };
        (Expected::Count(expected), Box::pin(asked))
    }

    fn expect_leases(&mut self, plugin: &'static str, max: usize) -> Expected {
        let (handed, next_due) = self.book.lease(plugin, max);
        let expects = |handed: Handed| {
            let kept = &self.book.events[handed.at.0];
            let delivery = &kept.deliveries[handed.at.1];
            Expects {
                event: kept.id,
                attempt: delivery.outcomes.len() + 1,
                lost: delivery.lost,
                excused: delivery.excused,
                replayed: delivery.replayed_at.is_some(),
                handed,
            }
        };
        Expected::Lease(handed.into_iter().map(expects).collect(), next_due)
    }

    fn settlement(
        &mut self,
        which: usize,
        (fate, made, touched): (Fate, &[Vec<&'static str>], &[Touch]),
    ) -> (Settlement, Settled) {
        let (handed, lease) = &self.handed[which];
        let plugin = self.book.events[handed.at.0].deliveries[handed.at.1].plugin;
        let change = |touch: &Touch| self.change(touch, plugin, handed);
        let state: Vec<_> = touched.iter().map(change).collect();
        let outputs: Vec<_> = made.iter().map(|routes| output("built", routes)).collect();
        let ids: Vec<_> =
            outputs.iter().zip(made).map(|(made, to)| (made.event.id, &to[..])).collect();
        let expected = self.book.settle(handed, fate, &ids, touched);
        let (key, attempt) = (lease.key.clone(), attempt(Outcome::Retry));
        let exchanges = sent_under(handed.serial);
        (Settlement { key, attempt, fate, outputs, state, exchanges }, expected)
    }

    /// A touch as the store is told of it. What is written is the lease's serial.
    fn change(&self, touch: &Touch, plugin: &'static str, handed: &Handed) -> StateChange {
        let based_on = match (touch.looked, handed.seen.get(&touch.key)) {
            (false, _) => Basis::Anything,
            (true, None) => Basis::Nothing,
            // One that nobody ever saw was written over in the commit that made it.
            (true, Some(write)) => {
                let version = self.versions.get(&(plugin, touch.key, *write));
                Basis::Version(version.copied().unwrap_or(u64::MAX >> 1))
            }
        };
        let change = match touch.what {
            What::Keep => Change::Keep,
            What::Set => {
                Change::Set { value: handed.serial.to_string().into(), lasts: Lasts::ForEver }
            }
            What::Delete => Change::Delete,
        };
        StateChange { key: touch.key.to_string(), based_on, change }
    }

    fn compare(&mut self, expected: Expected, answer: Answer) {
        match (expected, answer) {
            (Expected::Append(event, first), Answer::Append(Ok(receipt))) => {
                assert_eq!(receipt.is_duplicate(), first.is_some());
                assert_eq!(receipt.id(), first.unwrap_or(event.id));
            }
            (Expected::Refused, Answer::Append(Err(StoreError::Failed(_)))) => {}
            (Expected::Lease(expects, next_due), Answer::Leased(leased)) => {
                assert_eq!(leased.leases.len(), expects.len());
                for (expects, lease) in expects.into_iter().zip(leased.leases) {
                    assert_eq!(lease.event.id, expects.event);
                    assert_eq!(lease.attempt as usize, expects.attempt);
                    assert_eq!(lease.lost_leases, expects.lost);
                    assert_eq!(lease.excused as usize, expects.excused);
                    assert_eq!(lease.replayed_at.is_some(), expects.replayed);
                    self.handed.push((expects.handed, lease));
                }
                assert_eq!(leased.next_due, next_due);
            }
            (Expected::Settled(expected), Answer::Settled(settled)) => {
                assert_eq!(settled, expected);
            }
            (Expected::Written(expected), Answer::Written(written)) => {
                assert_eq!(written, expected);
            }
            (Expected::GaveBack, Answer::GaveBack) => {}
            (Expected::Count(expected), Answer::Count(count)) => assert_eq!(count, expected),
            (_, answer) => panic!("{answer:?}"),
        }
    }

    /// The model counts writes, the store versions; both must tell the same entries apart.
    async fn name_entries(&mut self) {
        let reader = self.store.as_ref().unwrap().reader();
        for name in PLUGINS {
            let found = reader.state_from(&plugin(name), "", None, 1000).await.unwrap();
            let entries = self.book.entries.iter().filter(|((whose, _), _)| *whose == name);
            assert_eq!(found.len(), entries.clone().count());
            for (found, ((_, key), write)) in found.iter().zip(entries) {
                assert_eq!(found.key, key.to_string());
                assert_eq!(found.value, write.to_string().into_bytes());
                let known = self.versions.entry((name, *key, *write)).or_insert(found.version);
                assert_eq!(*known, found.version, "changed without a write");
            }
        }
    }

    /// All that can be seen.
    pub(crate) async fn look(&self) {
        let reader = self.store.as_ref().unwrap().reader();
        let shown = reader.events(None, 1000).await.unwrap();
        assert_eq!(shown.len(), self.book.events.len());
        for (shown, kept) in shown.iter().zip(&self.book.events) {
            assert_eq!(shown.event.id, kept.id);
            assert_eq!((shown.event.parent, shown.event.root), (kept.parent, kept.root));
            assert_eq!((shown.event.hops.0, shown.duplicates), (kept.hops, kept.duplicates));
            assert_eq!(shown.deliveries.len(), kept.deliveries.len());
            for (shown, delivery) in shown.deliveries.iter().zip(&kept.deliveries) {
                assert_eq!(shown.plugin.as_str(), delivery.plugin);
                assert_eq!((shown.state, shown.due_at), self.book.stands(delivery));
                assert_eq!(shown.lost_leases, delivery.lost);
                assert_eq!(shown.blocks, delivery.blocks);
                assert_eq!(shown.replayed_at, delivery.replayed_at);
                assert_eq!(shown.discarded_at, delivery.discarded_at);
                let outcomes: Vec<_> = shown.attempts.iter().map(|a| a.attempt.outcome).collect();
                assert_eq!(outcomes, delivery.outcomes);
                for (made, lease) in shown.attempts.iter().zip(&delivery.settled) {
                    let sent = lease.and_then(sent_under);
                    let kept = reader.exchanges(shown.id, made.number).await.unwrap();
                    assert_eq!(kept, sent);
                    let counted = made.exchanges.map(|counts| (counts.kept, counts.left_out));
                    assert_eq!(
                        counted,
                        sent.map(|sent| (u32::try_from(sent.kept.len()).unwrap(), sent.left_out))
                    );
                }
            }
        }
        assert_eq!(reader.counts().await.unwrap(), recount(&reader).await);
        // A plugin that nothing was ever routed to has no queue.
        for queue in reader.queues(self.bed.time.now()).await.unwrap() {
            let name = PLUGINS.into_iter().find(|name| *name == queue.plugin.as_str()).unwrap();
            assert_eq!(queue, self.book.queue(name));
        }
    }
}

/// The source of all events that are no outputs.
fn source() -> Pausable {
    Pausable::Held("github".parse().unwrap())
}

/// What an attempt sent under a lease: of every third nothing is kept, and every third sent nothing.
fn sent_under(lease: usize) -> Option<Exchanges> {
    let kept = match lease % 3 {
        0 => return None,
        1 => Vec::new(),
        _ => vec![exchange(lease), exchange(lease + 1)],
    };
    Some(Exchanges { kept, left_out: u32::try_from(lease).unwrap() })
}

/// Asks in this order, each time before any is answered that was asked later; one after another, where they would be
/// done in any order.
async fn all(mut asked: Vec<Asked>) -> Vec<Answer> {
    if !Ground::IN_ORDER {
        let mut answers = Vec::new();
        for asked in asked {
            answers.push(asked.await);
        }
        return answers;
    }
    let mut answers: Vec<Option<Answer>> = asked.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (asked, answer) in asked.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(ready) = asked.as_mut().poll(cx)
            {
                *answer = Some(ready);
            }
        }
        if answers.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.into_iter().flatten().collect()
}

/// How many histories: the long run is `HOOKWEIR_HISTORIES=10000`.
fn histories() -> u32 {
    std::env::var("HOOKWEIR_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(96)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: histories(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new(Bed::new()).await;
            for step in steps {
                run.step(step).await;
            }
            run.look().await;
        });
    }
}
