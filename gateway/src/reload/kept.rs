//! What another process may have of the versions that a gateway keeps: their bytes, to be run beside it. Looks
//! only.

use std::path::Path;

use hookweir_event::{Digest, PluginName};

use super::versions::{NotOne, Versions, named};

/// A version of a plugin from the data folder: the live one, or the one whose digest begins with `which`.
///
/// # Errors
/// In words: if the gateway keeps none of that name, or it can't be read.
pub(crate) async fn kept(
    data: &Path,
    plugin: &PluginName,
    which: Option<&str>,
) -> Result<(Digest, Vec<u8>), String> {
    let versions = Versions::look(data).await.map_err(|error| error.to_string())?;
    let record = versions.record(plugin);
    let record = record.ok_or_else(|| format!("no version of {plugin} was ever live"))?;
    let version = match which {
        None => record.live.map(|live| live.version).ok_or_else(|| {
            format!("no version of {plugin} is live; name one that was, by its first digits")
        })?,
        Some(digits) => named(digits, record.kept()).map_err(|fault| match fault {
            NotOne::None => format!("no kept version of {plugin} begins with {digits}"),
            NotOne::Several(_) => {
                format!("more than one kept version of {plugin} begins with {digits}")
            }
        })?,
    };
    let bytes = versions.read(version).await;
    let bytes =
        bytes.map_err(|fault| format!("version {} of {plugin}: {fault}", version.short()))?;
    Ok((version, bytes))
}
