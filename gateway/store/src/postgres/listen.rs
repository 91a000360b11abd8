//! Gateways tell each other that there is work, through the database, so that none has to ask all the time.
//!
//! Telling is a transaction of its own, some time after the one that made the work: a transaction that tells something
//! waits for all others that do when it commits, and appends must not. Who is not told, since a connection broke or the
//! database has no such thing, looks all the same every few seconds.

use std::{
    future::{pending, poll_fn},
    sync::Arc,
    time::Duration,
};

use tokio_postgres::AsyncMessage;

use super::{Fault, link, worker::Shared};

/// So often others are told at most.
const PAUSE: Duration = Duration::from_millis(20);
/// So long until a connection is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The most bytes of a channel's name.
const CHANNEL_MAX: usize = 63;

/// The channel of a store: what is there in other schemas is none of its business. Where the names of schemas are so long
/// that several have the same one, they look in vain now and then.
fn channel(schema: &str) -> String {
    let mut channel = format!("hookweir_{schema}");
    while channel.len() > CHANNEL_MAX {
        channel.pop();
    }
    channel
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
    let boot = shared.boot().to_string();
    connection.execute("SELECT pg_notify($1, $2)", &[&channel, &boot]).await?;
    Ok(())
}

/// Wakes those who wait for work when another gateway says that there is some.
pub(super) async fn listen(shared: Arc<Shared>, schema: String) {
    let channel = channel(&schema);
    loop {
        if let Err(fault) = hear(&shared, &channel).await {
            tracing::debug!(?fault, "not listening for other gateways");
        }
        tokio::time::sleep(AGAIN).await;
        // There may have been something to hear meanwhile.
        shared.signals.wakeups.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Hears until the connection ends.
async fn hear(shared: &Shared, channel: &str) -> Result<(), Fault> {
    let (client, mut connection) = shared.link.hosts().apart().await?;
    let heard = async {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            // After an error it is not to be asked for more.
            if let AsyncMessage::Notification(note) = message?
                && note.payload() != shared.boot().to_string()
            {
                // However many there are: it is one number that changes.
                shared.signals.wakeups.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
        Ok(())
    };
    let asked = async {
        let sql = format!("LISTEN {}", link::quoted(channel));
        link::in_time(async { Ok(client.batch_execute(&sql).await?) }).await?;
        // As long as the client is there the connection is.
        pending().await
    };
    tokio::select! {
        ended = heard => ended,
        failed = asked => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channels_name_is_not_too_long_whatever_the_schemas_is() {
        assert_eq!(channel("hookweir"), "hookweir_hookweir");
        assert_eq!(channel(&"s".repeat(54)).len(), 63);
        assert_eq!(channel(&"s".repeat(63)).len(), 63);
        assert_eq!(channel(&"ß".repeat(31)).len(), 63);
    }
}
