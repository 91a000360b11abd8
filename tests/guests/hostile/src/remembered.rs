//! State, step by step: the body says what to do, a line for each, and the output what came of each.
//!
//! `get KEY`, `set KEY VALUE [TTL]`, `absent KEY VALUE`, `add KEY NUMBER`, `delete KEY`, `keys PREFIX
//! [AFTER] [LIMIT]`, `big KEY BYTES`, `many PREFIX COUNT`, `random BYTES`.

use std::time::Duration;

use hookweir_sdk::prelude::*;

/// Does all of them; one that fails says so and is no end.
pub(crate) fn steps(text: &str) -> Result<Outputs, Failure> {
    let said: Vec<String> = text.lines().map(|line| said(step(line))).collect();
    Ok(outputs![Output::new("said", said.join("\n"))])
}

fn said(step: Result<String, Failure>) -> String {
    step.unwrap_or_else(|failure| format!("failed: {}", failure.message()))
}

fn step(line: &str) -> Result<String, Failure> {
    let words: Vec<&str> = line.split(' ').collect();
    let text = |value: Option<Vec<u8>>| match value {
        Some(value) => String::from_utf8_lossy(&value).into_owned(),
        None => "nothing".to_owned(),
    };
    Ok(match words[..] {
        ["get", key] => text(state::get(key)?),
        ["set", key, value] => state::set(key, value).map(|()| "set".to_owned())?,
        ["set", key, value, ttl] => {
            let ttl = Duration::from_millis(ttl.parse().or_reject()?);
            state::set_for(key, value, ttl).map(|()| "set".to_owned())?
        }
        ["absent", key, value] => state::set_if_absent(key, value, None)?.to_string(),
        ["add", key, number] => state::increment(key, number.parse().or_reject()?)?.to_string(),
        ["delete", key] => state::delete(key)?.to_string(),
        ["keys", prefix] => state::keys(prefix, None, 100)?.join(","),
        ["keys", prefix, after, limit] => {
            state::keys(prefix, Some(after), limit.parse().or_reject()?)?.join(",")
        }
        ["big", key, bytes] => {
            let bytes = vec![b'x'; bytes.parse().or_reject()?];
            state::set(key, bytes).map(|()| "set".to_owned())?
        }
        ["many", prefix, count] => {
            let count: u32 = count.parse().or_reject()?;
            (0..count).try_for_each(|n| state::set(&format!("{prefix}{n}"), "v"))?;
            "set".to_owned()
        }
        ["random", bytes] => format!("{:?}", random::bytes(bytes.parse().or_reject()?)),
        _ => return Err(Failure::reject(format!("no step `{line}`"))),
    })
}
