//! A guest that tells the time and draws lots by the crates that authors use for that, with the SDK's features.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use hookweir_sdk::prelude::*;
use jiff::Timestamp;
use rand::RngExt as _;
use serde_json::json;
use uuid::Uuid;

#[plugin(subscribe = ["test/*"])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    match event.event_type() {
        "times" => {
            let (jiff, received): (Timestamp, Timestamp) = (clock::now(), event.received_at());
            let chrono: DateTime<Utc> = clock::now();
            let system = clock::now::<SystemTime>().duration_since(SystemTime::UNIX_EPOCH);
            let times = json!({
                "jiff": jiff.to_string(),
                "chrono": chrono.to_rfc3339(),
                "systemMs": system.or_retry()?.as_millis(),
                "receivedMs": received.as_millisecond(),
            });
            Ok(outputs![Output::json("times", &times)?])
        }
        "ids" => {
            let ids: [Uuid; 4] =
                [random::uuid_v4(), random::uuid_v4(), random::uuid_v7(), random::uuid_v7()];
            Ok(outputs![Output::json("ids", &ids.map(|id| id.to_string()))?])
        }
        "lots" => {
            let lots = json!({
                "host": [random::rng().random::<u64>(), random::rng().random::<u64>()],
                "own": [rand::rng().random::<u64>(), rand::rng().random::<u64>()],
                "range": random::rng().random_range(3..=5),
            });
            Ok(outputs![Output::json("lots", &lots)?])
        }
        // More than the host gives at once.
        "fill" => {
            let mut buffer = vec![0; 200_000];
            random::fill(&mut buffer);
            let longest = buffer.split(|byte| *byte != 0).map(<[u8]>::len).max();
            Ok(outputs![Output::new("fill", longest.unwrap_or_default().to_string())])
        }
        // What would need no host is not there: the author is told so by a trap with a message.
        "own-clock" => Ok(outputs![Output::new("never", format!("{:?}", SystemTime::now()))]),
        other => Err(Failure::reject(format!("no behaviour `{other}`"))),
    }
}
