//! What happens in the demo, and what must come of it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use hookweir_event::EventId;
use hookweir_store::{DeliveryState, Reader};

use super::{
    report::{Check, Delivery, Expected},
    sender::{Answer, Sender},
};

/// How long all deliveries may take to be settled.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Webhooks sent before, and at least after, the new version is live.
const BATCH: usize = 20;
/// Webhooks sent at most while the gateway takes the new version up.
const BATCH_MAX: usize = 2000;

/// What was sent and what was answered.
#[derive(Default)]
pub(super) struct Told {
    /// Events whose fate is known beforehand.
    pub(super) expected: Vec<Expected>,
    /// What could be judged from the answers alone.
    pub(super) checks: Vec<Check>,
    /// Events sent while a plugin was replaced.
    pub(super) reload: Vec<EventId>,
    /// All accepted events.
    pub(super) accepted: usize,
}

/// Sends everything.
pub(super) async fn tell(
    sender: &Sender<'_>,
    plugins: &Path,
    reader: &Reader,
) -> Result<Told, String> {
    use DeliveryState::{Dead, Done};
    let mut told = Told::default();
    let once = |plugin, state| (plugin, state, 1);

    let push = sender.github("push", "push.json", "72d3162e-cc78-11e3-81ab-4c9367dc0958").await?;
    told.accept("a push is handled", &push, vec![once("github", Done)], vec![]);

    let ping = sender.github("ping", "ping.json", "83d3162e-cc78-11e3-81ab-4c9367dc0959").await?;
    told.accept("nobody subscribed to a ping: kept, unrouted", &ping, vec![], vec![]);

    let paid = sender.stripe("payment_intent.succeeded.json", "evt_demo_paid").await?;
    let order = |event_type| vec![(event_type, vec![])];
    told.accept("a payment", &paid, vec![once("payments", Done)], order("order.paid"));

    let failed = sender.stripe("payment_intent.payment_failed.json", "evt_demo_failed").await?;
    let outcome = order("order.payment_failed");
    told.accept("a failed payment", &failed, vec![once("payments", Done)], outcome);

    let retried =
        sender.stripe("payment_intent.succeeded.fail-once.json", "evt_demo_retry").await?;
    let twice = vec![("payments", Done, 2)];
    told.accept("a retry that succeeds", &retried, twice, order("order.paid"));

    let orphan = sender.stripe("payment_intent.succeeded.no-order.json", "evt_demo_orphan").await?;
    told.accept("no order in it: a dead letter", &orphan, vec![once("payments", Dead)], vec![]);

    let again = sender.github("push", "push.json", "72d3162e-cc78-11e3-81ab-4c9367dc0958").await?;
    let same = again.status == 202 && again.duplicate && again.id == push.id;
    told.check("a duplicate is answered with the first one's id", same, &again);

    let forged = sender.forged("payment_intent.succeeded.json").await?;
    told.check(
        "a forged signature is refused",
        forged.status == 401 && forged.id.is_none(),
        &forged,
    );

    settled(reader).await?;
    replace(sender, plugins, reader, &mut told).await?;
    settled(reader).await?;
    Ok(told)
}

/// Replaces a plugin while webhooks for it keep coming.
async fn replace(
    sender: &Sender<'_>,
    plugins: &Path,
    reader: &Reader,
    told: &mut Told,
) -> Result<(), String> {
    let mut since = None;
    for number in 0..BATCH_MAX {
        if number == BATCH {
            another_version(&plugins.join("payments.wasm")).map_err(|error| error.to_string())?;
        }
        let id = format!("evt_demo_reload_{number}");
        let answer = sender.paid(&id).await?;
        let Some(id) = answer.id.filter(|_| answer.status == 202) else {
            told.check("webhooks are accepted while a plugin is replaced", false, &answer);
            return Ok(());
        };
        told.accepted += 1;
        told.reload.push(id);
        if number > BATCH && number % 10 == 0 && since.is_none() {
            since = two_versions(reader, &told.reload).await?.then_some(number);
        }
        if since.is_some_and(|since| number >= since + BATCH) {
            break;
        }
    }
    Ok(())
}

/// Whether both the old and the new version have run.
async fn two_versions(reader: &Reader, events: &[EventId]) -> Result<bool, String> {
    let mut seen = Vec::new();
    for id in [events.first(), events.iter().rev().nth(3)].into_iter().flatten() {
        let shown = reader.show(*id).await.map_err(|error| error.to_string())?;
        let attempts =
            shown.into_iter().flat_map(|shown| shown.deliveries).flat_map(|d| d.attempts);
        seen.extend(attempts.filter_map(|made| made.attempt.version));
    }
    seen.dedup();
    Ok(seen.len() > 1)
}

/// The same module with one more custom section: another version, by its digest, that does the same.
fn another_version(module: &PathBuf) -> std::io::Result<()> {
    let mut bytes = fs::read(module)?;
    let (name, content) = (b"demo", b"2");
    // WebAssembly core specification, 5.5.3: id 0, size, then a name with its length, then anything.
    bytes.extend([0, 1 + 4 + 1, 4]);
    bytes.extend(name);
    bytes.extend(content);
    let aside = module.with_extension("wasm.tmp");
    fs::write(&aside, bytes)?;
    fs::rename(aside, module)
}

/// Waits until nothing is due or running.
async fn settled(reader: &Reader) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counts = reader.counts().await.map_err(|error| error.to_string())?;
        if counts.due + counts.leased == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("still {} due and {} running", counts.due, counts.leased));
        }
        tokio::time::sleep(POLL).await;
    }
}

impl Told {
    fn accept(
        &mut self,
        what: &'static str,
        answer: &Answer,
        deliveries: Vec<Delivery>,
        outputs: Vec<(&'static str, Vec<Delivery>)>,
    ) {
        match answer.id.filter(|_| answer.status == 202 && !answer.duplicate) {
            Some(event) => {
                self.accepted += 1;
                self.expected.push(Expected { event, what, deliveries, outputs });
            }
            None => self.check(what, false, answer),
        }
    }

    fn check(&mut self, what: &'static str, ok: bool, answer: &Answer) {
        let detail = match answer.id {
            Some(id) => format!("{} id {id} duplicate {}", answer.status, answer.duplicate),
            None => answer.status.to_string(),
        };
        self.checks.push(Check { what: what.into(), ok, detail });
    }
}
