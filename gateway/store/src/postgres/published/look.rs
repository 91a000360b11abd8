//! What is seen of what gateways share: all of it, of one moment.

use std::collections::BTreeMap;

use hookweir_event::{Digest, PluginName};
use tokio_postgres::Row;

use super::{
    Publishing,
    decide::{LIVING, said},
    version, version_if_any,
};
use crate::{
    ReadError,
    postgres::{Fault, Moment, boots, columns::Columns, link},
    published::{
        Away, KnownVersion, Proposal, Published, PublishedPlugin, PublishedVersion, Refused, Runs,
        SharingGateway,
    },
};

impl Publishing {
    pub(crate) async fn look(&self, since: Option<i64>) -> Result<Option<Published>, ReadError> {
        let mut connection = self.link.connect().await?;
        let boot = self.boot();
        let seen = async {
            let moment = Moment::look(&mut connection).await?;
            let row = moment.the_row("SELECT revision FROM sharing", &[]).await?;
            let revision = row.value("revision")?;
            if since == Some(revision) {
                return Ok(None);
            }
            let now = boots::server_time(&moment).await?;
            let gateways = gateways(&moment).await?;
            let plugins = plugins(&moment).await?;
            Ok(Some(Published { revision, now, boot, gateways, plugins }))
        };
        let seen = link::in_time(seen).await;
        if matches!(seen, Err(Fault::Lost(_))) {
            link::give_up(connection);
        }
        Ok(seen?)
    }

    pub(crate) async fn content(&self, version: Digest) -> Result<Option<Vec<u8>>, ReadError> {
        let mut connection = self.link.connect().await?;
        let found = async {
            let moment = Moment::look(&mut connection).await?;
            let sql = "SELECT content FROM modules WHERE version = $1";
            let row = moment.row(sql, &[&&version.as_bytes()[..]]).await?;
            row.map(|row| row.value("content")).transpose()
        };
        let found = link::in_time(found).await;
        if matches!(found, Err(Fault::Lost(_))) {
            link::give_up(connection);
        }
        Ok(found?)
    }
}

/// Those that live, with what they run.
async fn gateways(moment: &Moment<'_>) -> Result<Vec<SharingGateway>, Fault> {
    let mut gateways = Vec::new();
    for row in moment.rows(LIVING, &[]).await? {
        let (boot, name) = (row.value("boot")?, row.value("name")?);
        gateways.push(SharingGateway { boot, name, runs: BTreeMap::new() });
    }
    let sql = "SELECT boot, plugin, version, standing FROM runs";
    for row in moment.rows(sql, &[]).await? {
        let boot: i64 = row.value("boot")?;
        let Some(gateway) = gateways.iter_mut().find(|gateway| gateway.boot == boot) else {
            continue;
        };
        let runs =
            Runs { version: version_if_any(&row, "version")?, standing: row.text("standing")? };
        gateway.runs.insert(row.parsed("plugin")?, runs);
    }
    Ok(gateways)
}

async fn plugins(moment: &Moment<'_>) -> Result<BTreeMap<PluginName, PublishedPlugin>, Fault> {
    let mut plugins: BTreeMap<PluginName, PublishedPlugin> = BTreeMap::new();
    let sql =
        "SELECT plugin, version, from_at, until_at, away_cause, away_reason, away_at FROM versions
               ORDER BY plugin, number DESC, version";
    for row in moment.rows(sql, &[]).await? {
        plugins.entry(row.parsed("plugin")?).or_default().versions.push(known(&row)?);
    }
    let sql = "SELECT plugin, number, version, trusted, pin, by_whom, live_at FROM published";
    for row in moment.rows(sql, &[]).await? {
        let plugin = plugins.entry(row.parsed("plugin")?).or_default();
        plugin.pin = version_if_any(&row, "pin")?;
        plugin.live = Some(PublishedVersion {
            number: row.value("number")?,
            version: version_if_any(&row, "version")?,
            trusted: row.value("trusted")?,
            by: row.value("by_whom")?,
            at: row.time("live_at")?,
        });
    }
    let sql = "SELECT plugin, number, version, by_whom, made_at, until_at, refused_by, refused_reason FROM proposals";
    for row in moment.rows(sql, &[]).await? {
        plugins.entry(row.parsed("plugin")?).or_default().proposal = Some(proposal(&row)?);
    }
    let sql =
        "SELECT plugin, boot, gateway, word, reason FROM words ORDER BY plugin, gateway, boot";
    for row in moment.rows(sql, &[]).await? {
        let plugin = plugins.entry(row.parsed("plugin")?).or_default();
        if let Some(proposal) = &mut plugin.proposal {
            proposal.words.push(said(&row)?);
        }
    }
    Ok(plugins)
}

fn known(row: &Row) -> Result<KnownVersion, Fault> {
    let version = version(row, "version")?;
    let away = match row.value::<Option<String>>("away_cause")? {
        Some(cause) => {
            let reason = row.text_if_any("away_reason")?.unwrap_or_default();
            Some(Away { version, cause, reason, at: row.time("away_at")? })
        }
        None => None,
    };
    let (from, until) = (row.time_if_any("from_at")?, row.time_if_any("until_at")?);
    Ok(KnownVersion { version, from, until, away })
}

fn proposal(row: &Row) -> Result<Proposal, Fault> {
    let refused = match row.value::<Option<String>>("refused_by")? {
        Some(by) => {
            Some(Refused { by, reason: row.text_if_any("refused_reason")?.unwrap_or_default() })
        }
        None => None,
    };
    Ok(Proposal {
        number: row.value("number")?,
        version: version_if_any(row, "version")?,
        by: row.value("by_whom")?,
        at: row.time("made_at")?,
        until: row.time("until_at")?,
        refused,
        words: Vec::new(),
    })
}
