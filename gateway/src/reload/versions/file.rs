//! `versions.json`: how the record of versions lies on the disk. Private twins of the types, so that the
//! format stays when those change. Pure.

use std::collections::BTreeMap;

use hookweir_event::{Digest, PluginName, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::record::{Live, Record};
use crate::standing::{Cause, Served, TurnedAway};

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 1;

/// Why the record can't be used.
#[derive(Debug, Error)]
pub(super) enum FormatFault {
    /// A newer gateway wrote it.
    #[error("it has format {0}, and this gateway reads up to {FORMAT}")]
    Newer(u32),
    /// It is damaged.
    #[error("{0}")]
    Malformed(String),
}

/// What every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    plugins: BTreeMap<String, RawRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawRecord {
    live: Option<RawLive>,
    earlier: Vec<RawServed>,
    pin: Option<String>,
    turned_away: Vec<RawAway>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawLive {
    version: String,
    since_ms: i64,
    on_probation_after: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawServed {
    version: String,
    from_ms: i64,
    until_ms: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawAway {
    version: String,
    cause: String,
    reason: String,
    at_ms: i64,
}

/// The file's text.
pub(super) fn write(records: &BTreeMap<PluginName, Record>) -> Result<Vec<u8>, serde_json::Error> {
    let plugins = records.iter().map(|(name, record)| (name.to_string(), raw(record))).collect();
    serde_json::to_vec_pretty(&File { format: FORMAT, plugins })
}

fn raw(record: &Record) -> RawRecord {
    let live = |live: Live| RawLive {
        version: live.version.to_string(),
        since_ms: live.since.as_millis(),
        on_probation_after: live.probation.map(|version| version.to_string()),
    };
    let served = |served: &Served| RawServed {
        version: served.version.to_string(),
        from_ms: served.from.as_millis(),
        until_ms: served.until.as_millis(),
    };
    let away = |away: &TurnedAway| RawAway {
        version: away.version.to_string(),
        cause: away.cause.as_str().to_owned(),
        reason: away.reason.clone(),
        at_ms: away.at.as_millis(),
    };
    RawRecord {
        live: record.live.map(live),
        earlier: record.earlier.iter().map(served).collect(),
        pin: record.pin.map(|version| version.to_string()),
        turned_away: record.turned_away.iter().map(away).collect(),
    }
}

/// What the file says.
pub(super) fn read(text: &[u8]) -> Result<BTreeMap<PluginName, Record>, FormatFault> {
    let malformed = |error: serde_json::Error| FormatFault::Malformed(error.to_string());
    let Head { format } = serde_json::from_slice(text).map_err(malformed)?;
    if format > FORMAT {
        return Err(FormatFault::Newer(format));
    }
    let file: File = serde_json::from_slice(text).map_err(malformed)?;
    let entry = |(name, raw): (String, RawRecord)| {
        let name = name.parse().map_err(|error| FormatFault::Malformed(format!("{name}: {error}")));
        Ok((name?, record(raw)?))
    };
    file.plugins.into_iter().map(entry).collect()
}

fn record(raw: RawRecord) -> Result<Record, FormatFault> {
    let live = |raw: RawLive| {
        let (version, since) = (digest(&raw.version)?, Timestamp::from_millis(raw.since_ms));
        let probation = raw.on_probation_after.as_deref().map(digest).transpose()?;
        Ok(Live { version, since, probation })
    };
    let served = |raw: RawServed| {
        let [from, until] = [raw.from_ms, raw.until_ms].map(Timestamp::from_millis);
        Ok(Served { version: digest(&raw.version)?, from, until })
    };
    let away = |raw: RawAway| {
        let cause = Cause::from_word(&raw.cause)
            .ok_or_else(|| FormatFault::Malformed(format!("no cause is {:?}", raw.cause)))?;
        let at = Timestamp::from_millis(raw.at_ms);
        Ok(TurnedAway { version: digest(&raw.version)?, cause, reason: raw.reason, at })
    };
    Ok(Record {
        live: raw.live.map(live).transpose()?,
        earlier: raw.earlier.into_iter().map(served).collect::<Result<_, _>>()?,
        pin: raw.pin.as_deref().map(digest).transpose()?,
        turned_away: raw.turned_away.into_iter().map(away).collect::<Result<_, _>>()?,
    })
}

fn digest(text: &str) -> Result<Digest, FormatFault> {
    text.parse().map_err(|error| FormatFault::Malformed(format!("{text:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> BTreeMap<PluginName, Record> {
        let [one, two] = [b"1", b"2"].map(|bytes| Digest::of(bytes));
        let at = Timestamp::from_millis;
        let mut record = Record::default();
        record.go_live(one, at(1), true);
        record.go_live(two, at(2), true);
        record.pin = Some(two);
        let reason = "failed to load: \"quoted\"".to_owned();
        let away = TurnedAway { version: Digest::of(b"3"), cause: Cause::Load, reason, at: at(3) };
        record.turn_away(away);
        let names = ["ci", "orders"].map(|name| name.parse().unwrap());
        names.into_iter().zip([record, Record::default()]).collect()
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = write(&records()).unwrap();
        assert_eq!(read(&text).unwrap(), records());
    }

    #[test]
    fn whatever_is_cut_off_is_malformed_and_nothing_panics() {
        let text = write(&records()).unwrap();
        for end in 0..text.len() {
            assert!(matches!(read(&text[..end]), Err(FormatFault::Malformed(_))), "{end}");
        }
        let text = String::from_utf8(text).unwrap();
        for (from, to) in [("\"load\"", "\"whim\""), ("\"ci\"", "\"C I\""), ("sinceMs", "since")] {
            let bad = text.replace(from, to);
            assert_ne!(bad, text);
            assert!(matches!(read(bad.as_bytes()), Err(FormatFault::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let newer = br#"{ "format": 2, "anything": [] }"#;
        assert!(matches!(read(newer), Err(FormatFault::Newer(2))));
    }
}
