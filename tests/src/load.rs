//! Load: senders that post one event after the other and send again what was not answered, across
//! any number of kills and restarts, until they are told to come to an end.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hookweir_event::EventId;
use hookweir_store::Reader;
use tokio::task::JoinHandle;

use crate::{
    house::{House, PATIENCE},
    sender::Sender,
};

/// Senders rest while more than this is due, so that what they leave behind is soon done.
const BACKLOG_MAX: u64 = 200;
/// How long a sender waits before it looks at the backlog or tries a gone gateway again.
const REST: Duration = Duration::from_millis(10);

/// What a sender sends.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Whose events they are.
    pub source: &'static str,
    /// What happened.
    pub event_type: &'static str,
    /// The body of the event with this id.
    pub body: fn(id: &str) -> String,
    /// How many outputs each makes.
    pub outputs: usize,
}

/// For the example plugin `payments`: a paid order.
pub const PAYMENT: Kind = Kind {
    source: "stripe",
    event_type: "payment_intent.succeeded",
    body: |id| payment(id, "{}"),
    outputs: 1,
};

/// For the guest `hostile`: comes back as an output.
pub const ECHO: Kind = Kind { source: "test", event_type: "echo", body: str::to_owned, outputs: 1 };

/// For the guest `hostile`: counts itself in the plugin's state, and comes back with the count.
pub const COUNT: Kind =
    Kind { source: "test", event_type: "count", body: str::to_owned, outputs: 1 };

/// For the guest `hostile`: comes back as an output, or traps in a version of ill temper.
pub const TEMPER: Kind =
    Kind { source: "test", event_type: "temper", body: str::to_owned, outputs: 1 };

/// For the guest `hostile`: takes it 3 ms, so that there is always an attempt that runs.
pub const SPIN: Kind =
    Kind { source: "test", event_type: "spin", body: |_| "3".to_owned(), outputs: 0 };

/// A Stripe event that says that a payment succeeded; `metadata` is a JSON object of the shop's own.
pub fn payment(id: &str, metadata: &str) -> String {
    let mut metadata: serde_json::Value = serde_json::from_str(metadata).unwrap();
    metadata["order_id"] = format!("order-{id}").into();
    let intent = serde_json::json!({
        "id": format!("pi_{id}"), "amount_received": 4200, "currency": "eur",
        "customer": "cus_1", "last_payment_error": null, "metadata": metadata,
    });
    let event = serde_json::json!({
        "id": id, "type": PAYMENT.event_type, "data": { "object": intent },
    });
    event.to_string()
}

/// An event that was answered with a 2xx.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The id it was answered with.
    pub id: EventId,
    /// What it is.
    pub kind: Kind,
    /// How often it was sent until it was answered.
    pub sent: u32,
    /// Whether an earlier sending had come through, unanswered.
    pub duplicate: bool,
}

/// Running senders.
pub struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    pause: Duration,
    ending: AtomicBool,
    accepted: Mutex<Vec<Accepted>>,
}

impl Load {
    /// One sender for each of these. The house's gateway has been ready before.
    pub fn start(house: &House, kinds: &[Kind]) -> Self {
        Self::start_from(house, kinds, 0)
    }

    /// The same, whose senders are numbered from `first` on: two loads at one store send events of their own.
    pub fn start_from(house: &House, kinds: &[Kind], first: usize) -> Self {
        Self::make(house, kinds, (first, Duration::ZERO))
    }

    /// The same, where each rests a little after each answer: else most of the time goes into the load.
    pub fn with_pauses(house: &House, kinds: &[Kind], pause: Duration) -> Self {
        Self::make(house, kinds, (0, pause))
    }

    fn make(house: &House, kinds: &[Kind], (first, pause): (usize, Duration)) -> Self {
        let shared = Arc::new(Shared { pause, ..Shared::default() });
        let start = |(number, &kind): (usize, &Kind)| {
            let (shared, sender) = (shared.clone(), house.sender(kind.source));
            tokio::spawn(shared.run(first + number, kind, sender, house.reader()))
        };
        let senders = kinds.iter().enumerate().map(start).collect();
        Self { shared, senders }
    }

    /// What was accepted so far.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.shared.accepted().clone()
    }

    /// Lets each sender get its last event accepted. Every event that was ever sent is among these.
    pub async fn end(self) -> Vec<Accepted> {
        self.shared.ending.store(true, Ordering::Relaxed);
        for sender in self.senders {
            let ended = tokio::time::timeout(2 * PATIENCE, sender).await;
            ended.expect("the last event of each is accepted in the end").unwrap();
        }
        self.shared.accepted().clone()
    }
}

impl Shared {
    async fn run(self: Arc<Self>, number: usize, kind: Kind, sender: Sender, reader: Reader) {
        for event in 0.. {
            // A store that can't be read says nothing against sending: the gateway will.
            let behind =
                async || reader.counts().await.is_ok_and(|counts| counts.due > BACKLOG_MAX);
            while behind().await && !self.is_ending() {
                tokio::time::sleep(REST).await;
            }
            if self.is_ending() {
                return;
            }
            let accepted = get_accepted(&sender, kind, &format!("{number}-{event}")).await;
            self.accepted().push(accepted);
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    fn accepted(&self) -> MutexGuard<'_, Vec<Accepted>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends until there is an answer, always with the same id.
async fn get_accepted(sender: &Sender, kind: Kind, id: &str) -> Accepted {
    let body = (kind.body)(id);
    for sent in 1.. {
        match sender.send(kind.event_type, id, body.as_bytes()).await {
            Ok(reply) if reply.status == 202 => {
                let duplicate = reply.duplicate();
                return Accepted { id: reply.id().unwrap(), kind, sent, duplicate };
            }
            Ok(reply) => assert_eq!(reply.status, 503, "{reply:?}"),
            // The gateway is gone, or went while it had the request.
            Err(error) => assert!(!error.is_timeout(), "{error}"),
        }
        tokio::time::sleep(REST).await;
    }
    unreachable!("there is no end to 1..")
}
