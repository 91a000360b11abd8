//! Sample events beside a plugin's file: `NAME.samples/*.json`. A new version is run on each of them before
//! it goes live, with the state and the answers that the sample brings, and one that does not come to what
//! the sample expects keeps the version out.
//!
//! ```json
//! { "source": "stripe", "type": "payment_intent.succeeded", "body": { "id": "evt_1" },
//!   "state": { "order:1": "open" }, "http": { "POST https://api.example.com/v1": { "status": 201 } },
//!   "expect": "done" }
//! ```

use std::{collections::BTreeMap, io, path::Path};

use hookweir_event::{Event, EventId, EventType, Hops, Origin, Outcome, PluginName, Timestamp};
use hookweir_host::{Host, LoadFault, Rehearsal, Version};
use serde::Deserialize;
use serde_json::Value;
use tokio::fs;

/// Samples of one plugin, and bytes of one of them.
const SAMPLES_MAX: usize = 50;
const BYTES_MAX: u64 = 1 << 20;

/// A sample as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    /// Text as it is, anything else as JSON.
    #[serde(default)]
    body: Value,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    query: Option<String>,
    #[serde(default)]
    state: BTreeMap<String, Value>,
    #[serde(default)]
    http: BTreeMap<String, WrittenAnswer>,
    #[serde(default = "done")]
    expect: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAnswer {
    status: u16,
    #[serde(default)]
    body: Value,
}

fn done() -> String {
    Outcome::Done.as_str().to_owned()
}

/// One that can be run.
struct Sample {
    name: String,
    rehearsal: Rehearsal,
    expect: Outcome,
}

/// Runs a version on the samples beside its file.
///
/// # Errors
/// The first that can't be read or does not come to what it says.
pub(super) async fn rehearse(
    host: &Host,
    dir: &Path,
    plugin: &PluginName,
    version: &Version,
    now: Timestamp,
) -> Result<(), LoadFault> {
    for sample in read(dir, plugin, now).await? {
        let Sample { name, rehearsal, expect } = sample;
        let ran = host.rehearse(version, &rehearsal).await?;
        let (outcome, message) = match ran.result {
            Ok(_) => (Outcome::Done, String::new()),
            Err(failure) => (failure.outcome, format!(": {}", failure.message)),
        };
        if outcome != expect {
            let why = format!("ended as {outcome} and not as {expect}{message}");
            return Err(LoadFault::Sample { sample: name, why });
        }
    }
    Ok(())
}

/// The samples in the order of their names. No folder: none.
async fn read(dir: &Path, plugin: &PluginName, now: Timestamp) -> Result<Vec<Sample>, LoadFault> {
    let folder = dir.join(format!("{plugin}.samples"));
    let fault = |sample: &str, why: String| LoadFault::Sample { sample: sample.to_owned(), why };
    let mut names = match list(&folder).await {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault("folder", format!("can't be listed: {error}"))),
    };
    names.sort();
    if names.len() > SAMPLES_MAX {
        return Err(fault("folder", format!("has more than {SAMPLES_MAX} samples")));
    }
    let mut samples = Vec::with_capacity(names.len());
    for name in names {
        let text = contents(&folder.join(&name)).await;
        let text = text.map_err(|error| fault(&name, format!("can't be read: {error}")))?;
        let sample = parse(&name, &text, now).map_err(|why| fault(&name, why))?;
        samples.push(sample);
    }
    Ok(samples)
}

async fn list(folder: &Path) -> io::Result<Vec<String>> {
    let mut entries = fs::read_dir(folder).await?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".json") && !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

async fn contents(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path).await?.len() > BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {BYTES_MAX} bytes")));
    }
    fs::read(path).await
}

fn parse(name: &str, text: &[u8], now: Timestamp) -> Result<Sample, String> {
    let written: Written =
        serde_json::from_slice(text).map_err(|error| format!("is no sample: {error}"))?;
    let origin: Origin =
        written.source.parse().map_err(|error| format!("has no source: {error}"))?;
    let event_type: EventType =
        written.event_type.parse().map_err(|error| format!("has no type: {error}"))?;
    let expect = Outcome::from_word(&written.expect)
        .filter(|outcome| matches!(outcome, Outcome::Done | Outcome::Retry | Outcome::Reject));
    let expect = expect.ok_or("expects neither done, retry nor reject")?;
    let headers = written.headers.into_iter();
    let event = Event {
        id: EventId::new(now, [0; 10]),
        origin,
        event_type,
        received_at: now,
        method: "POST".to_owned(),
        path: format!("/webhooks/{}", written.source),
        query: written.query,
        headers: headers.map(|(name, value)| (name.to_lowercase(), value.into_bytes())).collect(),
        body: bytes(written.body),
        attributes: Vec::new(),
        hops: Hops::default(),
    };
    let state = written.state.into_iter().map(|(key, value)| (key, bytes(value)));
    let answers = written.http.into_iter();
    let answers = answers.map(|(line, answer)| (line, (answer.status, bytes(answer.body))));
    let rehearsal = Rehearsal { event, state: state.collect(), answers: answers.collect() };
    Ok(Sample { name: name.to_owned(), rehearsal, expect })
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        parse("a.json", text.as_bytes(), Timestamp::default()).err().unwrap()
    }

    #[test]
    fn a_sample_is_an_event_with_what_it_needs() {
        let text = r#"{ "source": "shop", "type": "order", "body": {"id":1}, "headers": {"X-A":"b"},
            "state": {"k":"v"}, "http": {"GET https://a.test/": {"status": 200, "body": "x"}},
            "expect": "retry" }"#;
        let sample = parse("a.json", text.as_bytes(), Timestamp::default()).unwrap();
        assert_eq!(sample.expect, Outcome::Retry);
        assert_eq!(sample.rehearsal.event.body, br#"{"id":1}"#);
        assert_eq!(sample.rehearsal.event.headers, [("x-a".to_owned(), b"b".to_vec())]);
        assert_eq!(sample.rehearsal.state["k"], b"v");
        assert_eq!(sample.rehearsal.answers["GET https://a.test/"], (200, b"x".to_vec()));
    }

    #[test]
    fn what_is_none_is_said() {
        assert!(fault("{").starts_with("is no sample"));
        assert!(fault(r#"{"source":"a","type":"b","bdy":1}"#).contains("unknown field `bdy`"));
        assert!(fault(r#"{"source":"A b","type":"b"}"#).starts_with("has no source"));
        assert!(fault(r#"{"source":"a","type":""}"#).starts_with("has no type"));
        let expect = r#"{"source":"a","type":"b","expect":"trap"}"#;
        assert_eq!(fault(expect), "expects neither done, retry nor reject");
    }
}
