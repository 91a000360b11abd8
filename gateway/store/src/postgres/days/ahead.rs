//! Makes the partitions of days to come.

use deadpool_postgres::Object;
use hookweir_event::Timestamp;

use super::{DAY, Day, TABLES, all, bound, hurry};
use crate::postgres::{Fault, Moment, link};

/// So many days there are partitions for: today's, and those that begin before the server may be back at the latest.
const DAYS: u32 = 3;

/// Makes those that are missing, each of so many days.
pub(super) async fn make(connection: &mut Object, now: Timestamp, width: u64) -> Result<(), Fault> {
    let today = day_of(now);
    let made = link::in_time(all(connection)).await?.last().map(|day| day.until);
    // Behind those that are there, however wide they were to be then.
    let mut first = made.map_or(today, |until| until.max(today));
    while first < today + DAYS * DAY {
        let until = first + DAY * u32::try_from(width).unwrap_or(1);
        let made = link::in_time(make_one(connection, first, until)).await?;
        first = if made { until } else { first + DAY };
    }
    Ok(())
}

/// When the day began, in UTC.
fn day_of(time: Timestamp) -> Timestamp {
    let day = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().div_euclid(day) * day)
}

/// Makes the partitions from one time to another. False if there is something of that in the default ones.
async fn make_one(
    connection: &mut Object,
    first: Timestamp,
    until: Timestamp,
) -> Result<bool, Fault> {
    let moment = Moment::write(connection).await?;
    hurry(&moment).await?;
    let (from, to) = (bound(first), bound(until));
    let sql = "SELECT EXISTS (SELECT FROM events_other WHERE id >= $1 AND id < $2)";
    if moment.the_row(sql, &[&from, &to]).await?.get(0) {
        return Ok(false);
    }
    let sql = "SELECT to_char(to_timestamp($1::bigint / 1000) AT TIME ZONE 'UTC', 'YYYYMMDD')";
    let name = moment.the_row(sql, &[&first.as_millis()]).await?.get(0);
    let day = Day { name, first, until };
    // Only that they become part of the others keeps everybody out; what takes time is done before.
    let mut attach = String::new();
    for (table, _) in TABLES {
        let part = format!("{table}_{}", day.name);
        let with = settings_of(&moment, table).await?;
        moment.script(&format!("CREATE TABLE {part} (LIKE {table} INCLUDING ALL){with}")).await?;
        let (from, to) = (hex(&from), hex(&to));
        attach += &format!(
            "ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES FROM ({from}) TO ({to});"
        );
    }
    moment.script(&attach).await?;
    let sql = "INSERT INTO days (name, first_at, until_at) VALUES ($1, $2, $3)";
    moment.run(sql, &[&day.name, &first.as_millis(), &until.as_millis()]).await?;
    moment.commit().await?;
    tracing::debug!(day = day.name, "made a day's partitions");
    Ok(true)
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
