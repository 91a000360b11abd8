//! Makes the partitions of days to come.
//!
//! The server looks whether anything of a new partition is in the default one, and meanwhile nobody gets at that. Where
//! there is much in it, it is proved before, beside other work: a constraint says that there is nothing, and the server
//! finds that it holds. As long as the constraint is there nothing of that time can be written to the default partition.
//! So it is made long before the time comes, and whoever comes upon one that is left takes it away.

use std::{fmt::Write as _, time::Duration};

use deadpool_postgres::Object;
use hookweir_event::Timestamp;

use super::{CLAIM, DAY, Day, TABLES, Turn, all, bound, hurry, put_off};
use crate::postgres::{Fault, Moment, link};

/// So many days there are partitions for: today's, and those that begin before the server may be back at the latest.
const DAYS: u32 = 3;
/// So many bytes in the default partitions a server looks through in about a tenth of a second.
const MUCH: i64 = 64 << 20;
/// What the constraints are named.
const PROOF: &str = "nothing_of_that_day";
/// So long it may take to find that they hold: it blocks nobody but vacuum.
const PROOF_MAX: Duration = Duration::from_secs(900);
/// A day's constraints are made so long before it begins at the latest. It is more than what the proof takes, and a gateway
/// that takes over from one that died over it, and the hour that a gateway's clock may be early.
const BEFORE: Duration = Duration::from_secs(2 * 3600);

/// How the default partitions stand to a day.
enum Rest {
    /// There is something of the day in them.
    Taken,
    /// They are looked through at once.
    Little,
    Much,
}

/// Makes those that are missing, each of so many days.
pub(super) async fn make(
    connection: &mut Object,
    now: Timestamp,
    width: u64,
    turn: Turn,
) -> Result<(), Fault> {
    let today = day_of(now);
    let made = link::in_time(all(connection)).await?.last().map(|day| day.until);
    // Behind those that are there, however wide they were to be then.
    let mut first = made.map_or(today, |until| until.max(today));
    while first < today + DAYS * DAY {
        let until = first + DAY * u32::try_from(width).unwrap_or(1);
        let day = (first, until);
        let rest = link::in_time(rest(connection, day)).await?;
        let made = match rest {
            Rest::Taken => false,
            // It is too late for a proof; what is of that day goes to the default partitions.
            Rest::Much if first < now + BEFORE => false,
            // Whoever starts does not wait for it.
            Rest::Much if turn == Turn::First => {
                return Err(Fault::InTheWay("there is much in the default partitions".to_owned()));
            }
            Rest::Much => {
                link::in_time(put_off(connection, now + PROOF_MAX + CLAIM)).await?;
                prove(connection, day).await?;
                link::in_time(attach(connection, day, true)).await?;
                true
            }
            Rest::Little => {
                link::in_time(attach(connection, day, false)).await?;
                true
            }
        };
        first = if made { until } else { first + DAY };
    }
    Ok(())
}

/// Takes away constraints that nobody made use of.
pub(super) async fn take_proofs_away(connection: &mut Object) -> Result<(), Fault> {
    let moment = Moment::write(connection).await?;
    let sql =
        "SELECT c.relname::text FROM pg_constraint AS p JOIN pg_class AS c ON c.oid = p.conrelid
               WHERE c.relnamespace = current_schema()::regnamespace AND p.conname = $1";
    let rows = moment.rows(sql, &[&PROOF]).await?;
    if rows.is_empty() {
        return Ok(());
    }
    // Long enough that a vacuum gives way, which one does after a second.
    let mut script = "SET LOCAL lock_timeout = '3s';".to_owned();
    for row in &rows {
        let table: &str = row.get(0);
        let _ = write!(script, "ALTER TABLE {table} DROP CONSTRAINT {PROOF};");
    }
    moment.script(&script).await?;
    moment.commit().await?;
    tracing::info!("took away what a day's partitions were begun with and not made");
    Ok(())
}

/// When the day began, in UTC.
fn day_of(time: Timestamp) -> Timestamp {
    let day = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().div_euclid(day) * day)
}

async fn rest(
    connection: &mut Object,
    (first, until): (Timestamp, Timestamp),
) -> Result<Rest, Fault> {
    let moment = Moment::look(connection).await?;
    let sql = "SELECT EXISTS (SELECT FROM events_other WHERE id >= $1 AND id < $2),
                   pg_relation_size('events_other') + pg_relation_size('deliveries_other')
                       + pg_relation_size('attempts_other') + pg_relation_size('exchanges_other')";
    let row = moment.the_row(sql, &[&bound(first), &bound(until)]).await?;
    Ok(match (row.get::<_, bool>(0), row.get::<_, i64>(1)) {
        (true, _) => Rest::Taken,
        (false, ..MUCH) => Rest::Little,
        (false, _) => Rest::Much,
    })
}

/// Has the server find that there is nothing in the default partitions from one time to another, and keep it so.
async fn prove(
    connection: &mut Object,
    (first, until): (Timestamp, Timestamp),
) -> Result<(), Fault> {
    let (from, to) = (hex(&bound(first)), hex(&bound(until)));
    let say = async {
        let moment = Moment::write(connection).await?;
        hurry(&moment).await?;
        let mut script = String::new();
        for (table, key) in TABLES {
            let _ = write!(
                script,
                "ALTER TABLE {table}_other ADD CONSTRAINT {PROOF} CHECK ({key} < {from} OR {key} >= {to}) NOT VALID;"
            );
        }
        moment.script(&script).await?;
        moment.commit().await
    };
    link::in_time(say).await?;
    let look = async {
        let moment = Moment::write(connection).await?;
        let limit = PROOF_MAX.as_millis();
        moment.script(&format!("SET LOCAL statement_timeout = {limit}")).await?;
        for (table, _) in TABLES {
            moment
                .script(&format!("ALTER TABLE {table}_other VALIDATE CONSTRAINT {PROOF}"))
                .await?;
        }
        moment.commit().await
    };
    let late = || Fault::Lost("the database did not answer in time".to_owned());
    tokio::time::timeout(PROOF_MAX, look).await.map_err(|_| late())?
}

/// Makes the partitions from one time to another, of which there is nothing in the default ones.
async fn attach(
    connection: &mut Object,
    (first, until): (Timestamp, Timestamp),
    proven: bool,
) -> Result<(), Fault> {
    let moment = Moment::write(connection).await?;
    hurry(&moment).await?;
    let (from, to) = (hex(&bound(first)), hex(&bound(until)));
    let sql = "SELECT to_char(to_timestamp($1::bigint / 1000) AT TIME ZONE 'UTC', 'YYYYMMDD')";
    let name = moment.the_row(sql, &[&first.as_millis()]).await?.get(0);
    let day = Day { name, first, until };
    // Only that they become part of the others keeps everybody out; what takes time is done before.
    let mut attach = String::new();
    for (table, _) in TABLES {
        let part = format!("{table}_{}", day.name);
        let with = settings_of(&moment, table).await?;
        moment.script(&format!("CREATE TABLE {part} (LIKE {table} INCLUDING ALL){with}")).await?;
        let _ = write!(
            attach,
            "ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES FROM ({from}) TO ({to});"
        );
        if proven {
            let _ = write!(attach, "ALTER TABLE {table}_other DROP CONSTRAINT {PROOF};");
        }
    }
    moment.script(&attach).await?;
    let sql = "INSERT INTO days (name, first_at, until_at) VALUES ($1, $2, $3)";
    moment.run(sql, &[&day.name, &first.as_millis(), &until.as_millis()]).await?;
    moment.commit().await?;
    tracing::debug!(day = day.name, "made a day's partitions");
    Ok(())
}

/// How the default partition is stored.
async fn settings_of(moment: &Moment<'_>, table: &str) -> Result<String, Fault> {
    let sql = "SELECT array_to_string(reloptions, ', ') FROM pg_class
               WHERE relnamespace = current_schema()::regnamespace AND relname = $1 || '_other'";
    let row = moment.the_row(sql, &[&table]).await?;
    let settings: Option<String> = row.get(0);
    Ok(settings.map(|settings| format!(" WITH ({settings})")).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'\\x{digits}'")
}
