//! Gateways tell each other that there is work, through the database, so that none has to ask all the time.
//!
//! Telling is a transaction of its own, some time after the one that made the work: a transaction that tells something
//! waits for all others that do when it commits, and appends must not. Who is not told, since a connection broke or the
//! database has no such thing, looks all the same every few seconds.

use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio_postgres::AsyncMessage;

use super::{Fault, link, worker::Shared};
use crate::PostgresDatabase;

/// So often others are told at most.
const PAUSE: Duration = Duration::from_millis(20);
/// So long until a connection is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The channel of a store: what is there in other schemas is none of its business.
fn channel(schema: &str) -> String {
    format!("hookweir_{schema}")
}

/// Tells others that there is work.
pub(super) async fn announce(shared: Arc<Shared>, schema: String) {
    let channel = channel(&schema);
    loop {
        shared.announce.notified().await;
        if let Err(fault) = tell(&shared, &channel).await {
            tracing::debug!(?fault, "could not tell other gateways that there is work");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn tell(shared: &Shared, channel: &str) -> Result<(), Fault> {
    let connection = shared.link.connect().await?;
    let boot = shared.boot.load(Ordering::Acquire).to_string();
    connection.execute("SELECT pg_notify($1, $2)", &[&channel, &boot]).await?;
    Ok(())
}

/// Wakes those who wait for work when another gateway says that there is some.
pub(super) async fn listen(shared: Arc<Shared>, database: PostgresDatabase) {
    let channel = channel(&database.schema);
    loop {
        if let Err(fault) = hear(&shared, &database, &channel).await {
            tracing::debug!(?fault, "not listening for other gateways");
        }
        tokio::time::sleep(AGAIN).await;
        // There may have been something to hear meanwhile.
        shared.signals.wakeups.send_modify(|count| *count = count.wrapping_add(1));
    }
}

async fn hear(shared: &Shared, database: &PostgresDatabase, channel: &str) -> Result<(), Fault> {
    let (client, mut connection) = link::apart(database).await?;
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let driven = tokio::spawn(async move {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let Ok(AsyncMessage::Notification(note)) = message
                && said.send(note.payload().to_owned()).is_err()
            {
                break;
            }
        }
    });
    let _driven = Ended(driven);
    client.batch_execute(&format!("LISTEN {}", link::quoted(channel))).await?;
    while let Some(boot) = heard.recv().await {
        if boot != shared.boot.load(Ordering::Acquire).to_string() {
            shared.signals.wakeups.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
    Ok(())
}

/// A task that ends with whoever waits for it.
struct Ended(tokio::task::JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}
