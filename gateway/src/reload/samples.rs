//! Sample events beside a plugin's file: `NAME.samples/*.json`, as [`Sample`] reads them. A new version is run
//! on each of them before it goes live, with the state and the answers that the sample brings, and one that
//! does not come to what the sample expects keeps the version out.

use std::{io, path::Path};

use hookweir_event::{Outcome, PluginName, Timestamp};
use hookweir_host::{Host, LoadFault, Sample, Version};
use tokio::fs;

/// Samples of one plugin, and bytes of one of them.
const SAMPLES_MAX: usize = 50;
const BYTES_MAX: u64 = 1 << 20;

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
        let (name, Sample { rehearsal, expect }) = sample;
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
async fn read(
    dir: &Path,
    plugin: &PluginName,
    now: Timestamp,
) -> Result<Vec<(String, Sample)>, LoadFault> {
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
        let sample = Sample::parse(&text, now).map_err(|error| fault(&name, error.to_string()))?;
        samples.push((name, sample));
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
