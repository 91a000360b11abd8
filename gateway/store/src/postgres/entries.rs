//! What is asked of plugins' state.
//!
//! When an entry expires the database's clock decides; a gateway compares with its own. So it is told what is left by the
//! one as a time by the other.

use hookweir_event::{PluginName, StateEntry, StateKey, Timestamp};
use tokio_postgres::Row;

use super::{
    Fault,
    columns::{Columns, count},
    look::limit_of,
    window::Window,
};
use crate::{ReadError, ShownEntry};

/// How many milliseconds an entry lasts still, by the time that it was written by (`boots::server_time`).
macro_rules! lasts {
    () => {
        "expires_at - floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
             - (SELECT ahead FROM meta) AS lasts"
    };
}

/// Entries under a prefix, behind another, in the order of their keys' bytes.
macro_rules! under {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            ", expires_at, ",
            lasts!(),
            " FROM state WHERE plugin = $1 AND name >= $2",
            " AND ($3::bytea IS NULL OR name < $3) AND ($4::bytea IS NULL OR name > $4)",
            " ORDER BY name LIMIT $5"
        )
    };
}

impl Window {
    /// An entry, expired or not.
    pub(crate) async fn state(
        &self,
        plugin: &PluginName,
        key: &str,
    ) -> Result<Option<StateEntry>, ReadError> {
        let sql = concat!(
            "SELECT name, version, value, expires_at, ",
            lasts!(),
            " FROM state WHERE plugin = $1 AND name = $2"
        );
        let row = self.ask_one(sql, &[&plugin.as_str(), &key.as_bytes()]).await?;
        Ok(row.as_ref().map(|row| self.entry(row)).transpose()?)
    }

    /// Entries under a prefix.
    pub(crate) async fn state_from(
        &self,
        plugin: &PluginName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StateEntry>, ReadError> {
        let sql = under!("name, version, value");
        self.under(sql, (plugin, prefix, after, limit), |row| self.entry(row)).await
    }

    /// Keys in the same way as entries, without their values.
    pub(crate) async fn state_keys(
        &self,
        plugin: &PluginName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StateKey>, ReadError> {
        let key =
            |row: &Row| Ok(StateKey { key: row.text("name")?, expires_at: self.expires_at(row)? });
        self.under(under!("name"), (plugin, prefix, after, limit), key).await
    }

    /// The same with what listings show of them.
    pub(crate) async fn state_listed(
        &self,
        plugin: &PluginName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ShownEntry>, ReadError> {
        let sql = under!("name, version, octet_length(value)::bigint AS bytes");
        let shown = |row: &Row| {
            Ok(ShownEntry {
                key: row.text("name")?,
                version: row.number("version")?,
                bytes: row.number("bytes")?,
                expires_at: self.expires_at(row)?,
            })
        };
        self.under(sql, (plugin, prefix, after, limit), shown).await
    }

    /// What a plugin's state takes.
    pub(crate) async fn state_bytes(&self, plugin: &PluginName) -> Result<u64, ReadError> {
        let row = self.ask_one(BYTES, &[&plugin.as_str()]).await?;
        Ok(row.map_or(Ok(0), |row| row.number("state_bytes"))?)
    }

    /// All entries of a plugin's state, unless they have more than `max` bytes.
    pub(crate) async fn whole_state(
        &self,
        plugin: &PluginName,
        max: u64,
    ) -> Result<Option<Vec<StateEntry>>, ReadError> {
        let mut connection = self.connect().await?;
        let moment = connection.moment().await?;
        let plugin = plugin.as_str();
        let row = moment.row(BYTES, &[&plugin]).await?;
        if count(row.map_or(Ok(0), |row| row.value("state_bytes"))?) > max {
            return Ok(None);
        }
        let sql = concat!(
            "SELECT name, version, value, expires_at, ",
            lasts!(),
            " FROM state WHERE plugin = $1 ORDER BY name"
        );
        let rows = moment.rows(sql, &[&plugin]).await?;
        Ok(Some(rows.iter().map(|row| self.entry(row)).collect::<Result<_, _>>()?))
    }

    fn entry(&self, row: &Row) -> Result<StateEntry, Fault> {
        Ok(StateEntry {
            key: row.text("name")?,
            version: row.number("version")?,
            value: row.value("value")?,
            expires_at: self.expires_at(row)?,
        })
    }

    /// When an entry expires, by the clock of whoever looks.
    fn expires_at(&self, row: &Row) -> Result<Option<Timestamp>, Fault> {
        let Some(clock) = self.clock() else { return row.time_if_any("expires_at") };
        let now = clock.now().as_millis();
        let lasts: Option<i64> = row.value("lasts")?;
        Ok(lasts.map(|lasts| Timestamp::from_millis(now.saturating_add(lasts))))
    }

    async fn under<T>(
        &self,
        sql: &'static str,
        (plugin, prefix, after, limit): (&PluginName, &str, Option<&str>, usize),
        read: impl Fn(&Row) -> Result<T, Fault>,
    ) -> Result<Vec<T>, ReadError> {
        let (from, to) = (prefix.as_bytes(), behind(prefix));
        let after = after.map(str::as_bytes);
        let rows = self.ask(sql, &[&plugin.as_str(), &from, &to, &after, &limit_of(limit)]).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }
}

const BYTES: &str = "SELECT state_bytes FROM plugins WHERE name = $1";

/// The first key behind all that begin with a prefix. No byte of UTF-8 is the last that there is.
fn behind(prefix: &str) -> Option<Vec<u8>> {
    let mut behind = prefix.as_bytes().to_vec();
    *behind.last_mut()? += 1;
    Some(behind)
}
