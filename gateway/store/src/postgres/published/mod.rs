//! Versions of plugins that gateways share. Whoever changes any of it has one row locked until the commit (`sharing`), so
//! changes come one after another. A gateway lives until it signs off or is declared gone (`boots`).
//!
//! Here is what gateways say and ask; `decide` has what becomes of proposals, `look` what is seen of them.

mod decide;
mod look;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use hookweir_event::{Digest, PluginName, Timestamp};

use super::{Fault, Link, Moment, boots, columns::Columns, link};
use crate::{
    OpenError, PostgresDatabase, StoreError,
    published::{Away, PROPOSAL_TIME, Proposed, Proposing, Runs, Word, bounded},
};

/// One for looks and words, one for contents.
const CONNECTIONS: usize = 2;
/// So often a transaction is done again that was in another's way.
const TRIES_MAX: u32 = 8;
/// Contents that nothing names are kept for so long, in milliseconds: a proposal may name them still.
const UNNAMED_KEPT: i64 = 600_000;

/// A gateway's part in it. Clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Publishing {
    link: Link,
    /// What the engine leases by: who that is lives.
    boot: Arc<AtomicI64>,
    name: Arc<str>,
}

/// What a gateway says or asks for.
#[derive(Debug, Clone, Copy)]
enum Change<'c> {
    Put(Digest, &'c [u8]),
    Propose(&'c Proposing),
    Say(&'c PluginName, i64, &'c Word),
    Decide,
    Run(&'c BTreeMap<PluginName, Runs>),
    Hold(&'c PluginName, Option<Digest>),
    Forgive(&'c PluginName, Digest),
}

/// What came of it.
enum Changed {
    Said,
    Proposed(Proposed),
    /// Whether it could be.
    Held(bool),
}

/// A transaction that may change things: nobody else's does until it ends.
struct Turn<'m> {
    moment: &'m Moment<'m>,
    /// Of what is there after it.
    revision: i64,
    now: Timestamp,
    boot: i64,
    name: &'m str,
}

impl Publishing {
    /// No connection is made yet. `boot` is read whenever something is said.
    pub(super) fn at(database: &PostgresDatabase, boot: Arc<AtomicI64>) -> Result<Self, OpenError> {
        Ok(Self { link: Link::new(database, CONNECTIONS)?, boot, name: "a gateway".into() })
    }

    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn boot(&self) -> i64 {
        self.boot.load(Ordering::Acquire)
    }

    pub(crate) async fn put(&self, version: Digest, content: &[u8]) -> Result<(), StoreError> {
        self.change(Change::Put(version, content)).await.map(drop)
    }

    pub(crate) async fn propose(&self, what: &Proposing) -> Result<Proposed, StoreError> {
        match self.change(Change::Propose(what)).await? {
            Changed::Proposed(proposed) => Ok(proposed),
            _ => unreachable!("invariant: each change is answered by its own variant"),
        }
    }

    pub(crate) async fn say(
        &self,
        plugin: &PluginName,
        number: i64,
        word: &Word,
    ) -> Result<(), StoreError> {
        self.change(Change::Say(plugin, number, word)).await.map(drop)
    }

    pub(crate) async fn decide(&self) -> Result<(), StoreError> {
        self.change(Change::Decide).await.map(drop)
    }

    pub(crate) async fn run(&self, runs: &BTreeMap<PluginName, Runs>) -> Result<(), StoreError> {
        self.change(Change::Run(runs)).await.map(drop)
    }

    pub(crate) async fn hold(
        &self,
        plugin: &PluginName,
        version: Option<Digest>,
    ) -> Result<bool, StoreError> {
        match self.change(Change::Hold(plugin, version)).await? {
            Changed::Held(held) => Ok(held),
            _ => unreachable!("invariant: each change is answered by its own variant"),
        }
    }

    pub(crate) async fn forgive(
        &self,
        plugin: &PluginName,
        version: Digest,
    ) -> Result<(), StoreError> {
        self.change(Change::Forgive(plugin, version)).await.map(drop)
    }

    /// One transaction, again if it was in another's way.
    async fn change(&self, change: Change<'_>) -> Result<Changed, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.change_once(change).await {
                Err(Fault::InTheWay(reason)) if tries < TRIES_MAX => {
                    tracing::debug!(
                        reason,
                        tries,
                        "a change of what is published was in another's way"
                    );
                    tokio::time::sleep(Duration::from_millis(u64::from(tries) * 5)).await;
                }
                done => return done.map_err(Fault::into_answer),
            }
        }
    }

    async fn change_once(&self, change: Change<'_>) -> Result<Changed, Fault> {
        let mut connection = self.link.connect().await?;
        let changed = async {
            let moment = Moment::write(&mut connection).await?;
            let sql = "UPDATE sharing SET revision = revision + 1 RETURNING revision";
            let revision = moment.the_row(sql, &[]).await?.get(0);
            let now = boots::server_time(&moment).await?;
            let (boot, name) = (self.boot(), &*self.name);
            let turn = Turn { moment: &moment, revision, now, boot, name };
            let changed = turn.take(change).await?;
            moment.commit().await?;
            Ok(changed)
        };
        let changed = link::in_time(changed).await;
        if matches!(changed, Err(Fault::Lost(_))) {
            link::give_up(connection);
        }
        changed
    }
}

impl Turn<'_> {
    async fn take(&self, change: Change<'_>) -> Result<Changed, Fault> {
        match change {
            Change::Put(version, content) => self.put(version, content).await?,
            Change::Propose(what) => return self.propose(what).await.map(Changed::Proposed),
            Change::Say(plugin, number, word) => {
                self.say(plugin.as_str(), number, word).await?;
                self.decide().await?;
            }
            Change::Decide => self.decide().await?,
            Change::Run(runs) => self.run(runs).await?,
            Change::Hold(plugin, version) => {
                return self.hold(plugin.as_str(), version).await.map(Changed::Held);
            }
            Change::Forgive(plugin, version) => self.forgive(plugin.as_str(), version).await?,
        }
        Ok(Changed::Said)
    }

    async fn put(&self, version: Digest, content: &[u8]) -> Result<(), Fault> {
        let (version, at) = (&version.as_bytes()[..], self.now.as_millis());
        let sql = "UPDATE modules SET put_at = $2 WHERE version = $1";
        if self.moment.run(sql, &[&version, &at]).await? == 0 {
            let sql = "INSERT INTO modules (version, put_at, content) VALUES ($1, $2, $3)";
            self.moment.run(sql, &[&version, &at, &content]).await?;
        }
        Ok(())
    }

    async fn propose(&self, what: &Proposing) -> Result<Proposed, Fault> {
        let name = what.plugin.as_str();
        let sql = "SELECT number, version, pin FROM published WHERE plugin = $1";
        let (mut live, mut pin) = (None, None);
        if let Some(row) = self.moment.row(sql, &[&name]).await? {
            live = Some((row.value::<i64>("number")?, version_if_any(&row, "version")?));
            pin = version_if_any(&row, "pin")?;
        }
        // Before it is said to be outdated: it may be that this was committed, and nobody heard of it.
        if let Some((number, version)) = live
            && version == what.version
            && (!what.hold || pin == what.version)
        {
            return Ok(Proposed::Live(number));
        }
        if let Some(pin) = pin.filter(|pin| !what.hold && Some(*pin) != what.version) {
            return Ok(Proposed::Pinned(pin));
        }
        let served = live.and_then(|(_, version)| version);
        if what.instead_of.is_some() && what.instead_of != served {
            return Ok(Proposed::Outdated);
        }
        let sql = "SELECT number, version, by_whom FROM proposals WHERE plugin = $1 AND refused_by IS NULL";
        if let Some(row) = self.moment.row(sql, &[&name]).await? {
            if version_if_any(&row, "version")? != what.version {
                return Ok(Proposed::After(row.value("by_whom")?));
            }
            let number = row.value("number")?;
            self.say(name, number, &Word::Ready).await?;
            return self.outcome(name, number).await;
        }
        if let Some(version) = what.version {
            let sql = "SELECT 1 FROM modules WHERE version = $1";
            if self.moment.row(sql, &[&&version.as_bytes()[..]]).await?.is_none() {
                return Ok(Proposed::NoContent);
            }
            self.remember(name, version).await?;
        }
        self.make(what).await?;
        self.say(name, self.revision, &Word::Ready).await?;
        self.outcome(name, self.revision).await
    }

    /// A proposal in the place of the last one.
    async fn make(&self, what: &Proposing) -> Result<(), Fault> {
        let name = what.plugin.as_str();
        for sql in
            ["DELETE FROM proposals WHERE plugin = $1", "DELETE FROM words WHERE plugin = $1"]
        {
            self.moment.run(sql, &[&name]).await?;
        }
        let now = self.now.as_millis();
        let until = now + i64::try_from(PROPOSAL_TIME.as_millis()).unwrap_or(i64::MAX);
        let version = what.version.as_ref().map(|version| &version.as_bytes()[..]);
        let away = what.away.as_ref();
        let away_version = away.map(|away| &away.version.as_bytes()[..]);
        let cause = away.map(|away| &*away.cause);
        let reason = away.map(|away| bounded(&away.reason).as_bytes());
        let sql = "INSERT INTO proposals (plugin, number, version, trusted, hold, away, away_cause, away_reason,
                       by_whom, made_at, until_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        self.moment
            .run(
                sql,
                &[
                    &name,
                    &self.revision,
                    &version,
                    &what.trusted,
                    &what.hold,
                    &away_version,
                    &cause,
                    &reason,
                    &self.name,
                    &now,
                    &until,
                ],
            )
            .await?;
        Ok(())
    }

    /// A version is one that was proposed from now on.
    async fn remember(&self, plugin: &str, version: Digest) -> Result<(), Fault> {
        let sql = "INSERT INTO versions (plugin, version, number) VALUES ($1, $2, $3)
                   ON CONFLICT (plugin, version) DO UPDATE SET number = excluded.number";
        self.moment.run(sql, &[&plugin, &&version.as_bytes()[..], &self.revision]).await?;
        let sql = "DELETE FROM versions WHERE plugin = $1 AND number <
                       (SELECT min(number) FROM (SELECT number FROM versions WHERE plugin = $1
                                                 ORDER BY number DESC LIMIT $2) AS kept)";
        self.moment.run(sql, &[&plugin, &crate::published::REMEMBERED_MAX]).await?;
        Ok(())
    }

    /// Says a word, if the proposal is under way.
    async fn say(&self, plugin: &str, number: i64, word: &Word) -> Result<(), Fault> {
        let sql =
            "SELECT 1 FROM proposals WHERE plugin = $1 AND number = $2 AND refused_by IS NULL";
        if self.moment.row(sql, &[&plugin, &number]).await?.is_none() {
            return Ok(());
        }
        let (word, reason) = word.parts();
        let reason = reason.map(str::as_bytes);
        let sql = "INSERT INTO words (plugin, boot, gateway, word, reason) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (plugin, boot) DO UPDATE SET word = excluded.word, reason = excluded.reason";
        self.moment.run(sql, &[&plugin, &self.boot, &self.name, &word, &reason]).await?;
        Ok(())
    }

    async fn run(&self, runs: &BTreeMap<PluginName, Runs>) -> Result<(), Fault> {
        // Whose boot was freed is no gateway any more.
        for sql in [
            "DELETE FROM runs WHERE boot NOT IN (SELECT key FROM boots)",
            "DELETE FROM words WHERE boot NOT IN (SELECT key FROM boots) AND word = 'ready'",
            "DELETE FROM gateways WHERE boot NOT IN (SELECT key FROM boots)",
        ] {
            self.moment.run(sql, &[]).await?;
        }
        let sql = "INSERT INTO gateways (boot, name) VALUES ($1, $2)
                   ON CONFLICT (boot) DO UPDATE SET name = excluded.name";
        self.moment.run(sql, &[&self.boot, &self.name]).await?;
        self.moment.run("DELETE FROM runs WHERE boot = $1", &[&self.boot]).await?;
        for (plugin, Runs { version, standing }) in runs {
            let version = version.as_ref().map(|version| &version.as_bytes()[..]);
            let standing = bounded(standing).as_bytes();
            let sql = "INSERT INTO runs (boot, plugin, version, standing) VALUES ($1, $2, $3, $4)";
            self.moment.run(sql, &[&self.boot, &plugin.as_str(), &version, &standing]).await?;
        }
        Ok(())
    }

    async fn hold(&self, plugin: &str, version: Option<Digest>) -> Result<bool, Fault> {
        let held = match version {
            Some(version) => {
                let sql = "UPDATE published SET pin = version, trusted = true WHERE plugin = $1 AND version = $2";
                self.moment.run(sql, &[&plugin, &&version.as_bytes()[..]]).await?
            }
            None => {
                let sql = "UPDATE published SET pin = NULL WHERE plugin = $1";
                self.moment.run(sql, &[&plugin]).await?
            }
        };
        Ok(held == 1)
    }

    async fn forgive(&self, plugin: &str, version: Digest) -> Result<(), Fault> {
        let sql = "UPDATE versions SET away_cause = NULL, away_reason = NULL, away_at = NULL
                   WHERE plugin = $1 AND version = $2";
        self.moment.run(sql, &[&plugin, &&version.as_bytes()[..]]).await?;
        Ok(())
    }

    /// Turns a version away, from now on.
    async fn turn_away(&self, plugin: &str, away: &Away) -> Result<(), Fault> {
        let sql = "INSERT INTO versions (plugin, version, number, away_cause, away_reason, away_at)
                   VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (plugin, version) DO UPDATE SET away_cause = excluded.away_cause,
                       away_reason = excluded.away_reason, away_at = excluded.away_at";
        let (version, reason) = (&away.version.as_bytes()[..], away.reason.as_bytes());
        let at = away.at.as_millis();
        let params: link::Params<'_> =
            &[&plugin, &version, &self.revision, &away.cause, &reason, &at];
        self.moment.run(sql, params).await?;
        Ok(())
    }
}

/// The digest in a column.
fn version(row: &tokio_postgres::Row, column: &str) -> Result<Digest, Fault> {
    version_if_any(row, column)?.ok_or_else(|| Fault::unreadable(column))
}

/// The same where there may be none.
fn version_if_any(row: &tokio_postgres::Row, column: &str) -> Result<Option<Digest>, Fault> {
    let bytes = row.value::<Option<&[u8]>>(column)?;
    let digest = |bytes: &[u8]| Some(Digest::from_bytes(bytes.try_into().ok()?));
    bytes.map(|bytes| digest(bytes).ok_or_else(|| Fault::unreadable(column))).transpose()
}
