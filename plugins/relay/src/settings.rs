//! What the operator sets under `[plugins.relay] config`.

use std::time::Duration;

use hookweir_sdk::prelude::*;
use serde::Deserialize;

/// Of each endpoint a listing reads three entries, and one call may read 1000.
const ENDPOINTS_MOST: u32 = 300;
/// A hundred years; the time of then can still be written.
const DISABLE_AFTER_MOST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The config. All of it may be left out.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// How many endpoints there can be. An event makes an output for each that wants it, and the gateway takes
    /// 100 of one event unless it is told otherwise.
    pub(crate) endpoints_max: u32,
    /// How long an endpoint may fail, without a success in between, before it is disabled: `"5d"`.
    disable_after: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { endpoints_max: 100, disable_after: "5d".to_owned() }
    }
}

impl Settings {
    pub(crate) fn load() -> Result<Self, Failure> {
        config::all()
    }

    pub(crate) fn disable_after(&self) -> Result<Duration, Failure> {
        duration(&self.disable_after).or_retry()
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if !(1..=ENDPOINTS_MOST).contains(&self.endpoints_max) {
            return Err(format!("endpoints_max is a number from 1 to {ENDPOINTS_MOST}"));
        }
        duration(&self.disable_after).map(drop)
    }
}

/// A duration as the gateway's own config has them.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let millis = match &text[digits..] {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let number = text[..digits].parse::<u64>().ok();
    let duration = number.zip(millis).and_then(|(number, millis)| number.checked_mul(millis));
    let duration = duration.map(Duration::from_millis);
    duration
        .filter(|time| !time.is_zero() && *time <= DISABLE_AFTER_MOST)
        .ok_or_else(|| "disable_after is a duration such as \"30s\", \"12h\" or \"5d\"".to_owned())
}
