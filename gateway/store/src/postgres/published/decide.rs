//! What becomes of proposals: decided by whoever has the turn, from what was said and who lives at that moment.

use hookweir_event::Timestamp;
use tokio_postgres::Row;

use super::{Turn, UNNAMED_KEPT, version, version_if_any};
use crate::{
    postgres::{Fault, columns::Columns},
    published::{
        Away, Decision, EARLIER_MAX, GatewayWord, Proposed, Refused, Word, bounded, decide,
    },
};

/// Who lives and takes part: all that are not gone, as for leases (`boots`). When each said so last is nothing to go by:
/// after an outage of the database that is long ago for all of them, and the first to be back must not decide alone.
pub(super) const LIVING: &str = "SELECT gateways.boot, gateways.name FROM gateways
    JOIN boots ON boots.key = gateways.boot JOIN beats ON beats.boot = gateways.boot
    WHERE NOT boots.gone AND beats.seen_at > 0 ORDER BY gateways.name, gateways.boot";

/// What was said.
pub(super) fn said(row: &Row) -> Result<GatewayWord, Fault> {
    let word = Word::of_parts(row.value("word")?, row.text_if_any("reason")?);
    let word = word.ok_or_else(|| Fault::unreadable("word"))?;
    Ok(GatewayWord { boot: row.value("boot")?, gateway: row.value("gateway")?, word })
}

impl Turn<'_> {
    /// Decides about all proposals that are under way.
    pub(super) async fn decide(&self) -> Result<(), Fault> {
        let sql = "SELECT plugin, number, until_at FROM proposals WHERE refused_by IS NULL ORDER BY plugin";
        for row in self.moment.rows(sql, &[]).await? {
            let until = row.time("until_at")?;
            self.decide_on(row.value("plugin")?, row.value("number")?, until).await?;
        }
        Ok(())
    }

    async fn decide_on(&self, plugin: &str, number: i64, until: Timestamp) -> Result<(), Fault> {
        let sql =
            "SELECT boot, gateway, word, reason FROM words WHERE plugin = $1 ORDER BY gateway";
        let words = self.moment.rows(sql, &[&plugin]).await?;
        let words = words.iter().map(said).collect::<Result<Vec<_>, _>>()?;
        let living = self.moment.rows(LIVING, &[]).await?;
        let living = living.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, &str>(1)));
        match decide(&words, living, self.now, until) {
            Decision::Wait => Ok(()),
            Decision::Live => self.go_live(plugin, number).await,
            Decision::Refused(Refused { by, reason }) => {
                let sql = "UPDATE proposals SET refused_by = $3, refused_reason = $4
                           WHERE plugin = $1 AND number = $2";
                let reason = bounded(&reason).as_bytes();
                self.moment.run(sql, &[&plugin, &number, &by, &reason]).await?;
                Ok(())
            }
        }
    }

    /// What came of a proposal that was made in this turn, or that this gateway joined.
    pub(super) async fn outcome(&self, plugin: &str, number: i64) -> Result<Proposed, Fault> {
        self.decide().await?;
        let sql = "SELECT 1 FROM published WHERE plugin = $1 AND number = $2";
        let is_live = self.moment.row(sql, &[&plugin, &number]).await?.is_some();
        Ok(if is_live { Proposed::Live(number) } else { Proposed::UnderWay(number) })
    }

    async fn go_live(&self, plugin: &str, number: i64) -> Result<(), Fault> {
        let sql = "SELECT version, hold, away, away_cause, away_reason FROM proposals
                   WHERE plugin = $1 AND number = $2";
        let row = self.moment.the_row(sql, &[&plugin, &number]).await?;
        let now = self.now.as_millis();
        let sql = "UPDATE versions SET until_at = $2 WHERE plugin = $1
                       AND version = (SELECT version FROM published WHERE plugin = $1)";
        self.moment.run(sql, &[&plugin, &now]).await?;
        let sql = "INSERT INTO published (plugin, number, version, trusted, pin, by_whom, live_at)
                   SELECT plugin, number, version, trusted, CASE WHEN hold THEN version END, by_whom, $2 FROM proposals
                   WHERE plugin = $1
                   ON CONFLICT (plugin) DO UPDATE SET number = excluded.number, version = excluded.version,
                       trusted = excluded.trusted, pin = coalesce(excluded.pin, published.pin),
                       by_whom = excluded.by_whom, live_at = excluded.live_at";
        self.moment.run(sql, &[&plugin, &now]).await?;
        if let Some(version) = version_if_any(&row, "version")? {
            let sql = "UPDATE versions SET from_at = $3, until_at = NULL, away_cause = NULL, away_reason = NULL,
                           away_at = NULL
                       WHERE plugin = $1 AND version = $2";
            self.moment.run(sql, &[&plugin, &&version.as_bytes()[..], &now]).await?;
        }
        if row.value::<Option<&[u8]>>("away")?.is_some() {
            let reason = row.text_if_any("away_reason")?.unwrap_or_default();
            let cause = row.value("away_cause")?;
            let away = Away { version: version(&row, "away")?, cause, reason, at: self.now };
            self.turn_away(plugin, &away).await?;
        }
        for sql in
            ["DELETE FROM proposals WHERE plugin = $1", "DELETE FROM words WHERE plugin = $1"]
        {
            self.moment.run(sql, &[&plugin]).await?;
        }
        self.forget_contents().await
    }

    /// Forgets contents that nothing names: neither what is live, held or proposed, nor the last few that were live.
    async fn forget_contents(&self) -> Result<(), Fault> {
        let sql = "DELETE FROM modules WHERE put_at < $1 AND NOT EXISTS (
                       SELECT 1 FROM published WHERE published.version = modules.version OR pin = modules.version)
                   AND NOT EXISTS (SELECT 1 FROM proposals WHERE proposals.version = modules.version)
                   AND version NOT IN (
                       SELECT version FROM (
                           SELECT version, row_number() OVER (PARTITION BY plugin ORDER BY until_at DESC) AS nth
                           FROM versions WHERE until_at IS NOT NULL AND away_cause IS DISTINCT FROM 'probation'
                       ) AS earlier WHERE nth <= $2)";
        let before = self.now.as_millis() - UNNAMED_KEPT;
        self.moment.run(sql, &[&before, &EARLIER_MAX]).await?;
        Ok(())
    }
}
