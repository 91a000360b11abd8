//! Where gateways at one database are met: each speaks in one small transaction, one at a time, and hears what the
//! others said last (`crate::confer` has the rules).
//!
//! It has a connection of its own, so that it neither waits for batches nor holds one up. Nobody waits until its commits
//! are on a disk: a crash of the server, or a standby that takes over, may lose the last words. They are said again
//! within a second; until then somebody else may have got what was lost of a part.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::Object;
use hookweir_event::{Digest, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;

use super::{Fault, Link, Moment, columns::Columns, link, link::Params, told, worker::Shared};
use crate::{
    BreakerWord, Heard, PostgresDatabase, Said, StoreError,
    confer::{Answered, Speaker, answer},
};

/// Who asks, and what for.
pub(super) type Asked = (Said, oneshot::Sender<Result<Heard, StoreError>>);

/// What was said so long ago is taken away by whoever comes upon it.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Where one asks.
#[derive(Debug, Clone)]
pub(crate) struct Council(mpsc::Sender<Asked>);

impl Council {
    /// One, and where what is asked comes out.
    pub(super) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (ask, asked) = mpsc::channel(1);
        (Self(ask), asked)
    }

    pub(crate) async fn confer(&self, said: Said) -> Result<Heard, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.send((said, reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Answers what is asked, one after the other.
pub(super) async fn attend(
    shared: Arc<Shared>,
    database: PostgresDatabase,
    mut asked: mpsc::Receiver<Asked>,
) {
    // If it can't be set up, which the others could, it shares theirs.
    let link = Link::new(&database, 1).unwrap_or_else(|_| shared.link.clone());
    while let Some((said, reply)) = asked.recv().await {
        let heard = confer(&shared, &link, &said).await;
        let _ = reply.send(heard.map_err(Fault::into_answer));
    }
}

async fn confer(shared: &Shared, link: &Link, said: &Said) -> Result<Heard, Fault> {
    let mut connection = link.connect().await?;
    let heard = link::in_time(speak(shared, &mut connection, said)).await;
    if matches!(heard, Err(Fault::Lost(_))) {
        link::give_up(connection);
    }
    heard
}

async fn speak(shared: &Shared, connection: &mut Object, said: &Said) -> Result<Heard, Fault> {
    let moment = Moment::write(connection).await?;
    // Who is cut off while it speaks is not waited for by all others until they don't count any more.
    let sql = "SET LOCAL synchronous_commit = off;
               SET LOCAL idle_in_transaction_session_timeout = 1000;
               SET LOCAL lock_timeout = 3000";
    moment.script(sql).await?;
    moment.row("SELECT 1 FROM chores WHERE name = 'confer' FOR UPDATE", &[]).await?;
    let now = shared.now(&moment).await?;
    let sql = "SELECT boot, heard_at, rates, asked, parts, short, plugins, versions, whys, open_ms FROM said ORDER BY boot";
    let speakers = moment.rows(sql, &[]).await?;
    let speakers = speakers.iter().map(speaker).collect::<Result<Vec<_>, _>>()?;
    let mut heard = answer(shared.owner, now, &speakers, said);
    note(&moment, now, said, &heard).await?;
    forget(&moment, now, &speakers).await?;
    let pauses = moment.rows(told::PAUSES, &[]).await?;
    heard.pauses = pauses.iter().map(told::pause).collect::<Result<_, _>>()?;
    moment.commit().await?;
    Ok(heard)
}

/// Writes down what was said, and what is answered.
async fn note(
    moment: &Moment<'_>,
    now: Timestamp,
    said: &Said,
    heard: &Heard,
) -> Result<(), Fault> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let rates: Vec<&str> = said.rates.keys().map(String::as_str).collect();
    let asked: Vec<i64> = said.rates.values().map(|bid| number(bid.asked)).collect();
    let part = |name: &str| heard.parts.get(name).copied().unwrap_or(0);
    let parts: Vec<i64> = rates.iter().map(|name| i64::from(part(name))).collect();
    let wanted = said.rates.iter();
    let short: Vec<i64> =
        wanted.map(|(name, bid)| i64::from(bid.wants.saturating_sub(part(name)))).collect();
    let words = &said.breakers;
    let plugins: Vec<&str> = words.iter().map(|word| word.plugin.as_str()).collect();
    let versions: Vec<&[u8]> = words.iter().map(|word| &word.version.as_bytes()[..]).collect();
    let whys: Vec<&str> = words.iter().map(|word| word.open.as_deref().unwrap_or("")).collect();
    let millis = |word: &BreakerWord| i64::try_from(word.open_for.as_millis()).unwrap_or(i64::MAX);
    let open_ms: Vec<i64> = words.iter().map(millis).collect();
    let sql = "INSERT INTO said (boot, heard_at, rates, asked, parts, short, plugins, versions, whys, open_ms)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
               ON CONFLICT (boot) DO UPDATE SET heard_at = excluded.heard_at, rates = excluded.rates,
                   asked = excluded.asked, parts = excluded.parts, short = excluded.short,
                   plugins = excluded.plugins, versions = excluded.versions, whys = excluded.whys,
                   open_ms = excluded.open_ms";
    let (boot, at) = (&heard.boot[..], now.as_millis());
    let of_rates: Params<'_> = &[&boot, &at, &rates, &asked, &parts, &short];
    let of_breakers: Params<'_> = &[&plugins, &versions, &whys, &open_ms];
    moment.run(sql, &[of_rates, of_breakers].concat()).await?;
    Ok(())
}

/// Takes away what those said who are gone, which was not taken away when they went.
async fn forget(moment: &Moment<'_>, now: Timestamp, speakers: &[Speaker]) -> Result<(), Fault> {
    let before = now.as_millis() - i64::try_from(FORGOTTEN.as_millis()).unwrap_or(i64::MAX);
    if speakers.iter().any(|speaker| speaker.heard_at.as_millis() < before) {
        moment.run("DELETE FROM said WHERE heard_at < $1", &[&before]).await?;
    }
    Ok(())
}

/// Has nothing more to say, so that the others need not wait until it does not count.
pub(super) async fn leave(moment: &Moment<'_>, owner: &[u8; 16]) -> Result<(), Fault> {
    moment.run("DELETE FROM said WHERE boot = $1", &[&&owner[..]]).await?;
    Ok(())
}

fn speaker(row: &Row) -> Result<Speaker, Fault> {
    let boot: &[u8] = row.value("boot")?;
    let names: Vec<String> = row.value("rates")?;
    let (asked, parts, short): (Vec<i64>, Vec<i64>, Vec<i64>) =
        (row.value("asked")?, row.value("parts")?, row.value("short")?);
    let part = |number: i64| u32::try_from(number).unwrap_or(0);
    let answered = asked.into_iter().zip(parts).zip(short).map(|((asked, has), short)| Answered {
        asked: u64::try_from(asked).unwrap_or(0),
        part: part(has),
        short: part(short),
    });
    Ok(Speaker {
        boot: boot.try_into().map_err(|_| Fault::unreadable("a boot"))?,
        heard_at: row.time("heard_at")?,
        rates: names.into_iter().zip(answered).collect(),
        breakers: breakers(row)?,
    })
}

fn breakers(row: &Row) -> Result<Vec<BreakerWord>, Fault> {
    let plugins: Vec<&str> = row.value("plugins")?;
    let versions: Vec<&[u8]> = row.value("versions")?;
    let whys: Vec<&str> = row.value("whys")?;
    let open_ms: Vec<i64> = row.value("open_ms")?;
    let words = plugins.into_iter().zip(versions).zip(whys.into_iter().zip(open_ms));
    let word =
        |((plugin, version), (why, open_ms)): ((&str, &[u8]), (&str, i64))| -> Result<_, Fault> {
            let version: [u8; 32] =
                version.try_into().map_err(|_| Fault::unreadable("a version"))?;
            Ok(BreakerWord {
                plugin: plugin.parse().map_err(|_| Fault::unreadable("a plugin"))?,
                version: Digest::from_bytes(version),
                open: (!why.is_empty()).then(|| why.to_owned()),
                open_for: Duration::from_millis(u64::try_from(open_ms).unwrap_or(0)),
            })
        };
    words.map(word).collect()
}
