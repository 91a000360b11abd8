//! Bulk work that the gateway does, and how far it is: a bar on a terminal. Ctrl-C cancels it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::{
    operator::{Look, Operator, with_query},
    tell,
};

/// How often it is asked how far it is.
const EVERY: Duration = Duration::from_millis(200);

/// Has the gateway do a job, all that the parameters mean, and waits for its end. Answers the job as it ended.
pub(super) fn run<'a>(
    operator: &Operator,
    parameters: impl IntoIterator<Item = (&'a str, Option<String>)>,
    order: &Value,
) -> Result<Value, String> {
    // Before there is a job: one that nobody hears of would go on.
    operator.heed_interrupts()?;
    let mut job = operator.post(&with_query("jobs", parameters), order)?;
    let place = format!("jobs/{}", job["id"].as_str().unwrap_or_default());
    // Draws nothing where standard error is no terminal.
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len}  {msg}") {
        bar.set_style(style);
    }
    while job["endedAt"].is_null() {
        show(&bar, &job);
        job = next(operator, &place).map_err(|reason| {
            format!(
                "{reason}; a job does not outlive the gateway's process. Ask again for what is left: \
                 dead letters are not mended twice, and --unless-replayed-since keeps a replay from it"
            )
        })?;
    }
    bar.finish_and_clear();
    match job["state"].as_str() {
        Some("done") => {}
        Some("cancelled") => tell(format_args!("cancelled: {} are left", job["left"])),
        _ => return Err(job["error"].as_str().unwrap_or("the job failed").to_owned()),
    }
    if let (Some(reason), Some(failed)) = (job["error"].as_str(), job["failed"].as_u64()) {
        tell(format_args!("{failed} failed, the first one so: {reason}"));
    }
    Ok(job)
}

/// How far it is after a moment; if Ctrl-C is pressed meanwhile, that it is cancelled.
fn next(operator: &Operator, place: &str) -> Result<Value, String> {
    if !operator.wait(EVERY)? {
        match operator.look(place)? {
            Look::Found(job) => return Ok(job),
            Look::Refused(refused) => return Err(refused.reason),
            Look::Interrupted => {}
        }
    }
    operator.post(&format!("{place}/cancel"), &Value::Null)
}

fn show(bar: &ProgressBar, job: &Value) {
    let count = |name: &str| job[name].as_u64().unwrap_or(0);
    bar.set_length(count("found"));
    bar.set_position(count("found").saturating_sub(count("left")));
    bar.set_message(job["state"].as_str().unwrap_or_default().to_owned());
}
