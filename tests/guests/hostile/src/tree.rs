//! Work that is mostly the guest's own: JSON is read as a tree and written into a log line.

use hookweir_sdk::prelude::*;

#[allow(clippy::needless_pass_by_value, reason = "as a handler has it")]
pub(crate) fn written(event: Event) -> Result<Outputs, Failure> {
    let tree: serde_json::Value = event.json()?;
    log::info!("{tree}");
    Ok(outputs![])
}
